"""What do groups that people know add? Simulated trainings with hardness pooled over groups, and without.

    python scripts/benchmarks/groups.py [--quick] [--out docs/benchmarks/groups.json]

One case in twenty belongs to a rare group. Epochs, batches, lag and the scatter of single visits are those of
``scale.py``. Three kinds of data:

- between: cases of the rare group are harder by 0.10, and alike otherwise;
- both: so they are, and cases of one group differ with a standard deviation of 0.05;
- within: groups mean nothing, all cases differ with a standard deviation of 0.10.

Told are the tilt (mean true hardness of what is drawn, in standard deviations over the mean of all cases) and how many
times as often as uniformly the rare group is drawn, both over the first ten epochs after the first sweep and over the
rest; and the pooling in force at the end.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from pathlib import Path

import numpy as np
from experiments import run_all, write_json
from scale import BATCH, EPOCHS, LAG, NOISE, STEPS

from hws_nnunet import HardnessWeightedSampler, Settings

SHARE, HARDER, EARLY = 0.05, 0.10, 10
KINDS = {"between": (HARDER, 0.0), "both": (HARDER, 0.05), "within": (0.0, 0.10)}
"""How much harder the rare group is, and the spread within groups."""
ARMS = {"no groups": 0.0, "pooled as losses say": None, "pooled entirely": 1.0}
SIZES = (100, 1000, 4000)


def training(job: dict) -> dict:
    """Return what the sampler did in one simulated training."""
    n, rng = job["cases"], np.random.default_rng([job["seed"], job["cases"]])
    harder, spread = KINDS[job["kind"]]
    rare = np.arange(n) < SHARE * n
    hardness = 0.4 + harder * rare + spread * rng.standard_normal(n)
    truth = (hardness - hardness.mean()) / hardness.std()
    groups = None if job["arm"] == "no groups" else np.where(rare, "rare", "common").tolist()
    settings = Settings(group_pooling=ARMS[job["arm"]])
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], settings, groups=groups, rng=rng)
    waiting: deque = deque()
    tilt, times = [], []
    for _ in range(job["epochs"]):
        weighted = sampler.table.weighted
        for _ in range(STEPS):
            waiting.append(sampler.draw_cases(BATCH, rng))
            if len(waiting) <= LAG:
                continue
            drawn = waiting.popleft()
            losses = hardness[drawn.ids] + NOISE * rng.standard_normal(BATCH)
            sampler.update(drawn.ids, losses, version=drawn.version)
        if weighted:
            p = sampler.probabilities()
            tilt.append(float(p.dot(truth)))
            times.append(float(p[rare].sum() / rare.mean()))
    means = {f"{name}_early": float(np.mean(values[:EARLY])) for name, values in (("tilt", tilt), ("times", times))}
    means |= {name: float(np.mean(values[EARLY:])) for name, values in (("tilt", tilt), ("times", times))}
    return {**means, "pooling": sampler.groups.pooling if sampler.groups else None}


def jobs(seeds: int, *, quick: bool = False) -> list[dict]:
    """Return the trainings."""
    return [
        {
            "name": f"{kind}-{n}-{arm.replace(' ', '_')}-{seed}",
            "kind": kind,
            "cases": n,
            "arm": arm,
            "seed": seed,
            "epochs": 13 if quick else EPOCHS,
        }
        for kind in KINDS
        for n in (SIZES[:1] if quick else SIZES)
        for arm in ARMS
        for seed in range(seeds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short trainings of 100 cases: does it run?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/groups.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wanted = jobs(1 if args.quick else args.seeds, quick=args.quick)
        write_json(args.out, run_all(training, wanted, Path(folder), processes=args.processes))


if __name__ == "__main__":
    main()
