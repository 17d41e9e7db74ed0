"""What hardness weighted sampling costs a training: stock nnU-Net and ours in turn on the same data, in pairs.

    python scripts/benchmarks/overhead.py [--quick] [--nnunet v1] [--network planned] [--patch 32] [--pairs N]
                                          [--steps N] [--device cpu] [--threads N]

Each training is a process of its own and goes through nnU-Net's augmenter with two workers. Told are the share of the
training process's time that is spent in our code (per-sample loss, update of the table, record), which is what our
code adds wherever the network, not the workers, is the bottleneck; what a batch's draws take in a worker; and the ratio
of epoch times, ours to stock, pair by pair, in trainings without timers. Where our code is timed on a GPU, computing is
waited for before and after it, so that its time is its own. The record's figure is drawn in the first epoch, which
warms up and does not count, and again only once that takes less than a thousandth of the time.

The small network is the experiments' (8 to 32 channels), next to which everything else weighs much; the planned one is
nnU-Net's own (32 to 256 channels here), of seconds a step on a CPU.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
from experiments import write_json
from overhead_hosts import HOSTS
from page import Lines, Section, arguments, finish, read_one, table, verdict

SHARE_BAR = 0.02  # of the training process's time
CUDA = {"device": "cuda", "network": "planned", "patch": [128, 128, 128]}


def measure(job: dict) -> dict:
    """Train some epochs; return seconds of each after the first, what was spent in our code, and peak memory."""
    import torch

    if job["timed"] and job["nnunet"] == "v2":
        _time_draws()
    host = HOSTS[job["nnunet"]](job)
    trainer, device = host.trainer, host.device
    spent = {"per-sample loss": 0.0, "update": 0.0, "record": 0.0}
    if job["timed"]:
        _time(trainer.loss, "_record", spent, "per-sample loss", device)
        _time(trainer.loss, "take", spent, "update", device)
        _time(trainer.sampler, "update", spent, "update", device)
        _time(trainer.weighting, "end_epoch", spent, "record", device)
        _time(trainer.weighting, "write_record", spent, "record", device)
    epochs, draws = [], []
    for epoch in range(job["epochs"]):
        if epoch == 1:  # the first one warms up
            spent.update(dict.fromkeys(spent, 0.0))
        begin = time.perf_counter()
        host.start_epoch()
        draws += [drawn for drawn in (host.step() for _ in range(job["steps"])) if drawn is not None]
        host.end_epoch()
        epochs.append(time.perf_counter() - begin)
    host.close()
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident()
    return {**job, "epochs": epochs[1:], "ours": spent, "draws": draws, "peak_MiB": peak / 2**20}


def _time_draws() -> None:
    """Have each batch tell what its draws of cases and structures took in the worker; before the workers are forked."""
    from hws_nnunet.nnunetv2.loader import HardnessWeightedDataLoader

    def timed(name: str) -> None:
        original = getattr(HardnessWeightedDataLoader, name)

        def call(self: HardnessWeightedDataLoader, *args: object) -> object:
            begin = time.perf_counter()
            result = original(self, *args)
            self.seconds = getattr(self, "seconds", 0.0) + time.perf_counter() - begin
            return result

        setattr(HardnessWeightedDataLoader, name, call)

    for name in ("get_indices", "_draw_structure"):
        timed(name)
    generate = HardnessWeightedDataLoader.generate_train_batch

    def told(self: HardnessWeightedDataLoader) -> dict:
        self.seconds = 0.0
        batch = generate(self)
        batch["seconds"] = self.seconds
        return batch

    HardnessWeightedDataLoader.generate_train_batch = told


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _time(owner: object, name: str, spent: dict[str, float], key: str, device: object) -> None:
    """Have the calls of a method timed."""
    import torch

    original: Callable = getattr(owner, name)

    def timed(*args: object, **kwargs: object) -> object:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        begin = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent[key] += time.perf_counter() - begin

    setattr(owner, name, timed)


def measured(work: Path, job: dict) -> dict:
    """Measure in a fresh process."""
    env = {**os.environ, **HOSTS[job["nnunet"]].environment(work)}
    for name in ("OMP_NUM_THREADS", "HWS_CONFIG"):
        env.pop(name, None)
    if job["threads"]:
        env["OMP_NUM_THREADS"] = str(job["threads"])
    file = work / "overhead.json"
    with open(work / "overhead.log", "a") as log:
        command = [sys.executable, __file__, "--job", json.dumps(job), str(file)]
        subprocess.run(command, env=env, stdout=log, stderr=log, check=True)
    return json.loads(file.read_text())


def summarise(results: list[dict]) -> dict:
    """Return the shares of our code, and the pairs' ratios of epoch times."""
    timed = [r for r in results if r["timed"]]
    both = {which: [r for r in results if r["which"] == which and not r["timed"]] for which in ("stock", "ours")}
    stock, ours = both.values()
    ratios = [float(np.median(b["epochs"]) / np.median(a["epochs"])) for a, b in zip(stock, ours, strict=True)]
    total = sum(sum(r["epochs"]) for r in timed)
    draws = [drawn for r in timed for drawn in r["draws"]]
    parts = {key: sum(r["ours"][key] for r in timed) for key in timed[0]["ours"]}
    return {
        **{key: ours[0][key] for key in ("nnunet", "device", "network", "patch", "threads", "steps")},
        "share": {key: value / total for key, value in parts.items()},
        "share_total": sum(parts.values()) / total,
        "draw_microseconds": 1e6 * float(np.median(draws)) if draws else None,
        "ratios": ratios,
        "seconds_per_step": {
            which: float(np.median([e / r["steps"] for r in rows for e in r["epochs"]])) for which, rows in both.items()
        },
        "peak_MiB": {which: max(r["peak_MiB"] for r in rows) for which, rows in both.items()},
    }


def run(args: Namespace) -> dict:
    """Measure pairs of trainings; return their figures, by the name of the file."""
    work = (args.work / ("quick" if args.quick else "work")).resolve()
    host = HOSTS[args.nnunet]
    if args.nnunet == "v1" and args.network == "planned":
        sys.exit("--network planned: given with --nnunet v1, there is only the small network for it")
    job = {name: getattr(args, name) for name in ("nnunet", "network", "device", "threads")}
    job |= host.prepare(work, args.network, args.patch)
    job |= {"epochs": 2, "steps": 4} if args.quick else {"epochs": 4, "steps": args.steps}
    results = []
    for pair in range(1 if args.quick else args.pairs):
        order = ("stock", "ours") if pair % 2 == 0 else ("ours", "stock")
        for which, timed in (*((which, False) for which in order), ("ours", True)):
            results.append(measured(work, {**job, "which": which, "trainer": host.trainers[which], "timed": timed}))
    parts = [args.nnunet, args.device, args.network, "x".join(str(size) for size in job["patch"])]
    name = "-".join(["overhead", *parts, *([f"{args.threads}t"] if args.threads else [])])
    return {name: summarise(results)}


def section(measured: list[dict], _: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    bars, rows = [], []
    keys = list(measured[0]["share"])
    for row in measured:
        ratios, steps, peak, draw = row["ratios"], row["seconds_per_step"], row["peak_MiB"], row["draw_microseconds"]
        threads, patch = row.get("threads"), " x ".join(str(size) for size in row["patch"])
        device = row["device"] + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "")
        share = f"{100 * row['share_total']:.2f} %"
        rows.append(
            (
                *(row["nnunet"], device, row["network"], patch),
                *(f"{100 * row['share'][key]:.2f} %" for key in keys),
                *(share, row["steps"], f"{np.median(ratios):.3f}"),
                f"{min(ratios):.3f} to {max(ratios):.3f} ({len(ratios)} pair{'s' if len(ratios) > 1 else ''})",
                *(f"{steps['stock']:.3f}", f"{steps['ours']:.3f}", "" if draw is None else f"{draw:.0f}"),
                *(f"{peak['stock']:.0f}", f"{peak['ours']:.0f}"),
            )
        )
        where = f"nnU-Net {row['nnunet']}, {device}, {row['network']} network, patch {patch}"
        told = f"{share} of the training process's time (bar: 2 %): {verdict(row['share_total'] <= SHARE_BAR)}"
        bars.append(f"- overhead, {where}: {told}")
    header = ("nnU-Net", "device", "network", "patch", *keys, "together", "steps an epoch")
    header += ("epoch time, ours / stock: median", "range", "seconds a step, stock", "ours")
    header += ("a draw in the workers, microseconds", "peak memory, MiB: stock", "ours")
    if not any(all(row[key] == value for key, value in CUDA.items()) for row in measured):
        rows.append(("v2", "cuda", "planned", "128 x 128 x 128", "not measured", *[""] * (len(header) - 5)))
        bars.append(
            "- overhead, nnU-Net v2, cuda, planned network, patch 128 x 128 x 128: not measured; on a GPU, "
            "`scripts/benchmarks/on_gpu.sh HIPPOCAMPUS` does all that needs one in 25 minutes"
        )
    told = (
        "Shares of the training process's time, summed over a run; what our code adds wherever the network, not the "
        "workers, is the bottleneck. The ratio is epoch time, ours to stock, pair by pair in trainings without timers."
    )
    return bars, [told, "", *table(header, rows)]


def _read(results: Path, name: str) -> list[dict]:
    """Return all of the experiment's results."""
    return [read_one(results, file.stem) for file in sorted(results.glob(f"{name}-*.json"))]


SECTIONS = (
    Section(
        "overhead",
        "Overhead: what a training pays",
        "overhead.py` with the options that the table tells, such as `--nnunet v1 --threads 1",
        section,
        _read,
        figure=False,
    ),
)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        write_json(Path(sys.argv[3]), measure(json.loads(sys.argv[2])))
        sys.exit()
    parser = arguments(__doc__, "phantom")
    parser.add_argument("--nnunet", choices=["v1", "v2"], default="v2")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--network", choices=["small", "planned"], default="small")
    words = "voxels along each axis; default 32, for the planned network nnU-Net's"
    parser.add_argument("--patch", type=int, help=words)
    parser.add_argument("--steps", type=int, default=60, help="of an epoch; there are four")
    parser.add_argument("--device", default="cpu")
    words = "of the training process on a CPU; default PyTorch's own"
    parser.add_argument("--threads", type=int, default=0, help=words)
    finish(parser.parse_args(), SECTIONS, run)
