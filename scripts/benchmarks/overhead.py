"""What whole epochs cost, loading included: stock nnU-Net v2 and ours in turn, through nnU-Net's own augmenter.

    python scripts/benchmarks/overhead.py [--quick] [--pairs N] [--steps N] [--device cuda]

Trainings on made-up brains with the experiments' small network and two loading workers, each training a process of its
own. Where workers are the bottleneck, this tells what they lose by drawing; what a step costs without them is told by
``step.py``. The first epoch warms up and does not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from experiments import write_json
from nnunet_runs import environment
from page import Lines, Section, arguments, finish, table
from phantom import CONFIGURATION, DATASET, prepare
from tqdm import tqdm

TRAINERS = {"stock": "nnUNetTrainer", "ours": "HardnessWeightedTrainer"}


def measure(job: dict) -> dict:
    """Train some epochs; return seconds a step of each after the first, and seconds of each batch's draws."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    from hws_nnunet.hosts.augmenters import stop

    if job["which"] == "ours":
        _time_draws()
    trainer = get_trainer_from_args(
        str(DATASET), CONFIGURATION, 0, TRAINERS[job["which"]], device=torch.device(job["device"])
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = job["epochs"], job["steps"]
    trainer.initialize()
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True  # as nnUNetv2_train sets them
    trainer.on_train_start()
    seconds, draws = [], []
    for _ in range(job["epochs"]):
        begin, outputs = time.perf_counter(), []
        trainer.on_train_epoch_start()
        for _ in range(job["steps"]):
            batch = next(trainer.dataloader_train)
            outputs.append(trainer.train_step(batch))
            draws.append(batch.get("seconds"))
        trainer.on_train_epoch_end(outputs)
        if weighting := getattr(trainer, "weighting", None):
            weighting.write_record(Path(trainer.output_folder), last=False)
        trainer.current_epoch += 1
        seconds.append((time.perf_counter() - begin) / job["steps"])
    stop(trainer.dataloader_train, trainer.dataloader_val)
    return {**job, "seconds": seconds[1:], "draws": [drawn for drawn in draws if drawn is not None]}


def _time_draws() -> None:
    """Have each batch tell what its draws of cases and structures took in the worker; before the workers are forked."""
    from hws_nnunet.nnunetv2.loader import HardnessWeightedDataLoader as Loader

    def timed(name: str) -> None:
        original = getattr(Loader, name)

        def call(self: Loader, *args: object) -> object:
            begin = time.perf_counter()
            result = original(self, *args)
            self.seconds = getattr(self, "seconds", 0.0) + time.perf_counter() - begin
            return result

        setattr(Loader, name, call)

    for name in ("get_indices", "_draw_structure"):
        timed(name)
    generate = Loader.generate_train_batch

    def told(self: Loader) -> dict:
        self.seconds = 0.0
        batch = generate(self)
        batch["seconds"] = self.seconds
        return batch

    Loader.generate_train_batch = told


def measured(work: Path, job: dict) -> dict:
    """Measure in a fresh process."""
    env = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "HWS_CONFIG")}
    env |= {**environment(work), "nnUNet_results": str(work / "results" / "overhead")}
    if job["device"] == "cpu":
        env["OMP_NUM_THREADS"] = "1"
    file = work / "overhead.json"
    with open(work / "overhead.log", "a") as log:
        command = [sys.executable, __file__, "--job", json.dumps(job), str(file)]
        subprocess.run(command, env=env, stdout=log, stderr=log, check=True)
    return json.loads(file.read_text())


def run(args: Namespace) -> dict:
    """Measure pairs of trainings; return the ratio of each, and what a batch's draws took."""
    work = (args.work / ("quick" if args.quick else "work")).resolve()
    prepare(work)
    job = {"device": args.device, "epochs": 4, "steps": args.steps} | ({"epochs": 2, "steps": 4} if args.quick else {})
    pairs = []
    for pair in tqdm(range(1 if args.quick else args.pairs), unit="pair"):
        order = list(TRAINERS)[:: -1 if pair % 2 else 1]
        pairs.append({which: measured(work, {**job, "which": which}) for which in order})
    seconds = {which: [float(np.median(pair[which]["seconds"])) for pair in pairs] for which in TRAINERS}
    draws = 1e6 * float(np.median([drawn for pair in pairs for drawn in pair["ours"]["draws"]]))
    return {"overhead": {**job, "seconds": seconds, "draw_microseconds": draws}}


def section(found: dict, _: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, of which there are none, and the section."""
    stock, ours = (np.array(found["seconds"][which]) for which in TRAINERS)
    ratios = ours / stock
    row = (
        found["device"],
        *(f"{1e3 * np.median(seconds):.0f}" for seconds in (stock, ours)),
        f"{np.median(ratios):.3f} ({ratios.min():.3f} to {ratios.max():.3f}, {len(ratios)} pairs)",
        f"{found['draw_microseconds']:.0f}",
    )
    header = ("device", "stock, ms a step", "ours", "ours / stock", "a batch's draws in a worker, microseconds")
    told = (
        "Epochs of nnU-Net v2 with two loading workers, record included; small network, patch 32 x 32 x 32, batches of "
        "2. The ratio is of paired trainings: median, lowest and highest."
    )
    return [], [told, "", *table(header, [row])]


SECTIONS = (Section("overhead", "What epochs cost, loading included", "overhead.py", section, figure=False),)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        write_json(Path(sys.argv[3]), measure(json.loads(sys.argv[2])))
        sys.exit()
    parser = arguments(__doc__, "phantom")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60, help="of an epoch; there are four")
    parser.add_argument("--device", default="cpu")
    finish(parser.parse_args(), SECTIONS, run)
