"""What the experiments on a rare group in real images share: arms, runs and the table of results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from experiments import ARMS, UNIFORM, run_all
from mechanisms import MECHANISMS
from plain import Example, Plan, train

from hws_nnunet import Settings
from hws_nnunet.loop.batch_sampler import HardnessWeightedBatchSampler


@dataclass(frozen=True)
class Data:
    """An experiment's data: its network, and what splits it into training and held-out cases by seed."""

    name: str
    plan: Plan
    split: Callable[[Path, int], tuple[list[Example], list[Example]]]
    steps: int


def batches_of(arm: str, size: int, batch: int, *, steps: int, seed: int) -> HardnessWeightedBatchSampler:
    """Return what draws an arm's batches; ``beta: 0`` is uniform sampling, whose losses are tracked all the same."""
    settings = Settings(beta=0.0) if arm == UNIFORM else Settings(**ARMS.get(arm, {}))
    made = HardnessWeightedBatchSampler(size, batch, settings=settings, steps_per_epoch=steps, seed=seed)
    if arm != UNIFORM and arm not in ARMS:
        made.sampler = MECHANISMS[arm](size, np.random.default_rng([seed, 2]), steps)
    return made


def main(text: str, *choices: Data) -> None:
    """Run what is asked for; with several data, ``--condition`` names one."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=[UNIFORM, "ours"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--steps", type=int, default=choices[0].steps)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="gets a folder of results for each data", default=Path("benchmark-results"))
    if len(choices) > 1:
        parser.add_argument("--condition", choices=[data.name for data in choices], required=True)
    args = parser.parse_args()
    data = next(data for data in choices if data.name == getattr(args, "condition", data.name))
    jobs = [
        {"name": f"{args.steps}-{arm}-{seed}", "arm": arm, "seed": seed, "steps": args.steps, "data": str(args.data)}
        for seed in args.seeds
        for arm in args.arms
    ]
    run_all(Run(data), jobs, args.out / data.name, processes=args.processes)


@dataclass(frozen=True)
class Run:
    """Trains one network: a job's arm and seed."""

    data: Data

    def __call__(self, job: dict) -> dict:
        """Return the job's result."""
        training, held_out = self.data.split(Path(job["data"]), job["seed"])
        plan, steps, seed = self.data.plan, job["steps"], job["seed"]
        batches = batches_of(job["arm"], len(training), plan.batch, steps=steps, seed=seed)
        return {
            "training": [[case.name, case.group] for case in training],
            "groups": {case.name: case.group for case in held_out},
            **train(training, held_out, plan, batches, steps=steps, seed=seed),
        }


def worst_tenth(dice: np.ndarray) -> float:
    """Return the mean of the worst tenth of the cases, at least of one."""
    return float(np.sort(dice)[: max(1, round(0.1 * len(dice)))].mean())
