"""What a training step costs, without loading: stock nnU-Net's and ours in turn on one batch, in blocks of steps.

    python scripts/benchmarks/step.py [--quick] [--device cuda] [--networks NAME ...] [--nnunet v1 v2]

nnU-Net's own trainers build networks and losses from plans; images and labels are made up, as they take no part in what
a step takes. Draws are made ahead of a block, as loading workers make them beside a training; everything else that ours
adds is in the step: what is recorded of each sample, its way to the host's memory, and the table's update.

On a GPU it is wall-clock time with computing waited for at both ends of a block, kernels and their time are those that
PyTorch's profiler sees, and memory is the most that a step allocates. On a CPU it is the process's time on one core,
which other programs change little, and operations are counted in place of kernels. One process a row.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from experiments import write_json
from page import Lines, Section, arguments, finish, read_one, table, verdict
from tqdm import tqdm

NETWORKS = {
    "small": {"features": (8, 16, 32), "patch": (32, 32, 32)},
    "planned": {"features": (32, 64, 128, 256), "patch": (48, 56, 48)},
    "full size": {
        "features": (32, 64, 128, 256, 320, 320),
        "patch": (128, 128, 128),
        "channels": 4,
        "classes": 3,
        "regions": True,
    },
}
"""The experiments' network, what nnU-Net plans for a small data set, and what it plans for BraTS."""
OF_VERSION = {"v1": {"regions": False}, "v2": {}}
"""v1 has other trainers for regions."""
BARS = {"small": (1.02, 1.04), "planned": (1.01, 1.02), "full size": (1.003, 1.01)}
"""Of a step's time, ours to stock: as it comes, and with ``draw_by: dice_ce``."""
MEMORY_BAR = 2.0  # MiB
ARMS = {"stock": None, "ours": {}, "ours, dice_ce": {"draw_by": "dice_ce"}}
STEPS = {"cuda": {"small": 100, "planned": 40, "full size": 20}, "cpu": {"small": 3, "planned": 1, "full size": 1}}
"""Of a block."""
QUICK = 2
"""Blocks and steps of a rehearsal, whose rows are not kept."""


def measure(job: dict) -> dict:
    """Return seconds a step of each block by arm, and what a step starts and allocates."""
    import torch
    from step_trainers import STEPPERS, Network

    device, folder = torch.device(job["device"]), Path(job["folder"])
    network, stepper = Network(**job["shape"]), STEPPERS[job["nnunet"]]
    steppers = {arm: stepper(network, folder / arm, settings, device) for arm, settings in ARMS.items()}

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            return time.perf_counter()
        return time.process_time()

    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for block in range(-1, job["blocks"]):  # the first one warms up, and compiles
        for arm in list(ARMS)[:: 1 if block % 2 else -1]:
            steppers[arm].prepare(job["steps"])
            begin = clock()
            for _ in range(job["steps"]):
                steppers[arm].step()
            if block >= 0:
                seconds[arm].append((clock() - begin) / job["steps"])
    return {
        **job,
        "seconds": seconds,
        "a_step": {arm: _of_a_step(stepper, device) for arm, stepper in steppers.items()},
    }


def _of_a_step(stepper: object, device: object) -> dict[str, float]:
    """Return what a step starts; on a GPU also what it computes, in ms, and allocates, in MiB."""
    import torch
    from operations import Operations

    stepper.prepare(2)
    if device.type != "cuda":
        with Operations() as operations:
            stepper.step()
        return {"kernels": len(operations.names)}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        stepper.step()
        torch.cuda.synchronize(device)
    events = [event for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    stepper.step()
    peak = torch.cuda.max_memory_allocated(device) - before
    gpu = sum(event.time_range.elapsed_us() for event in events)
    return {"kernels": len(events), "gpu_ms": gpu / 1e3, "peak_MiB": peak / 2**20}


def measured(job: dict) -> dict:
    """Measure in a fresh process and an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        job = {**job, "folder": folder}
        env = {name: value for name, value in os.environ.items() if name != "HWS_CONFIG"}
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_raw_data_base", "RESULTS_FOLDER"):
            env[name] = folder
        env["nnUNet_compile"] = str(job["compiled"])
        if job["device"] == "cpu":
            env |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # v1 trains on a GPU wherever it sees one
        file = Path(folder, "step.json")
        command = [sys.executable, __file__, "--job", json.dumps(job), str(file)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{job['nnunet']}, {job['network']}: {done.stderr[-2000:]}")
        return {name: value for name, value in json.loads(file.read_text()).items() if name != "folder"}


def run(args: Namespace) -> dict:
    """Measure the rows that were asked for; those of other devices and networks stay in the results."""
    import torch

    name = torch.cuda.get_device_name() if args.device == "cuda" else f"{args.device}, one core"
    made_by = f"PyTorch {torch.__version__.split('+')[0]}"
    old = read_one(args.docs / "benchmarks", "step") or []
    rows = {_key(row): row for row in old if args.quick or row["blocks"] > QUICK}
    compiled = (False, True) if args.device == "cuda" else (False,)
    jobs = [
        {
            **{"nnunet": nnunet, "network": network, "shape": {**NETWORKS[network], **OF_VERSION[nnunet]}},
            **{"device": args.device, "compiled": how, "on": name, "made_by": made_by},
        }
        for nnunet in args.nnunet
        for network in args.networks
        for how in (compiled if nnunet == "v2" else (False,))
    ]
    for job in tqdm(jobs, unit="row"):
        steps = QUICK if args.quick else STEPS[args.device][job["network"]]
        row = measured({**job, "steps": steps, "blocks": QUICK if args.quick else args.blocks})
        rows[_key(row)] = row
        write_json(args.docs / "benchmarks" / "step.json", list(rows.values()))  # one that is ended keeps its rows
    return {"step": list(rows.values())}


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in ("nnunet", "device", "network", "compiled"))


def section(found: list[dict], _: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    bars, rows = [], []
    for row in found:
        stock = row["seconds"]["stock"]
        of_stock = row["a_step"]["stock"]
        patch = " x ".join(map(str, row["shape"]["patch"]))
        where = (
            f"nnU-Net {row['nnunet']}, {row['network']} network{', compiled' if row['compiled'] else ''}, {row['on']}"
        )
        for arm, bar in zip(list(ARMS)[1:], BARS[row["network"]], strict=True):
            ratios = np.array(row["seconds"][arm]) / np.array(stock)
            middle, a_step = float(np.median(ratios)), row["a_step"][arm]
            bars.append(f"- {where}, {arm}: {middle:.3f} of stock's time (bar: {bar}): {verdict(middle <= bar)}")
            if "peak_MiB" in a_step:
                more = a_step["peak_MiB"] - of_stock["peak_MiB"]
                told = f"{more:+.1f} MiB (bar: +{MEMORY_BAR:g})"
                bars.append(f"- {where}, {arm}: {told}: {verdict(more <= MEMORY_BAR)}")
            rows.append(
                (
                    *(row["nnunet"], row["network"], patch, "yes" if row["compiled"] else "no", row["on"], arm),
                    *(f"{1e3 * np.median(stock):.1f}", f"{middle:.3f}"),
                    f"{ratios.min():.3f} to {ratios.max():.3f} ({len(ratios)} blocks of {row['steps']})",
                    f"{of_stock['kernels']} {a_step['kernels'] - of_stock['kernels']:+d}",
                    *(
                        f"{of_stock[key]:.1f} {a_step[key] - of_stock[key]:+.2f}" if key in a_step else ""
                        for key in MORE
                    ),
                )
            )
    if not any(row["device"] == "cuda" for row in found):
        bars.append("- on a GPU: not measured; `scripts/benchmarks/step.py --device cuda` does it")
    told = (
        "A step of stock nnU-Net in milliseconds; ours, ratio of paired blocks: their median, lowest and highest. "
        "Kernels, on a CPU operations; computing on the GPU in milliseconds; memory that a step allocates at most: "
        f"stock's, and what ours adds. Measured with {' and '.join(sorted({row['made_by'] for row in found}))}."
    )
    header = ("nnU-Net", "network", "patch", "compiled", "on", "sampling", "stock, ms", "ours / stock", "range")
    columns = zip((*header, "kernels", "GPU, ms", "memory, MiB"), *rows, strict=True)
    header, *rows = zip(*(column for column in columns if any(column[1:])), strict=True)  # none that says nothing
    return bars, [told, "", *table(header, rows)]


MORE = ("gpu_ms", "peak_MiB")
SECTIONS = (
    Section("step", "What a step costs", "step.py` and on a GPU `step.py --device cuda", section, figure=False),
)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        write_json(Path(sys.argv[3]), measure(json.loads(sys.argv[2])))
        sys.exit()
    parser = arguments(__doc__, "step")
    parser.add_argument("--device", choices=list(STEPS), default="cpu")
    parser.add_argument("--networks", choices=list(NETWORKS), nargs="+", help="default: on a CPU all but full size")
    parser.add_argument("--nnunet", choices=["v1", "v2"], nargs="+", default=["v2", "v1"])
    parser.add_argument("--blocks", type=int, default=20)
    args = parser.parse_args()
    args.networks = args.networks or list(NETWORKS)[: 3 if args.device == "cuda" else 2]
    finish(args, SECTIONS, run)
