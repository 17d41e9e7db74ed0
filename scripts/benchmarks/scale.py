"""Does the sampler follow the signal, at any number of cases? Simulated trainings, today's core beside another.

    python scripts/benchmarks/scale.py [--other CHECKOUT] [--quick] [--out docs/benchmarks/scale.json]

Cases have a true hardness, normal with a standard deviation between cases of 0 (all are equally hard), 0.02, 0.05 or
0.10; the loss of a visit scatters around it with 0.15, as losses of single patches do. In some trainings all losses
fall together, by 0.5 in all, with a time constant of 10 or 30 epochs. Epochs are of 250 batches of 2, as in nnU-Net,
and answers come as many batches late as workers draw ahead. ``--other`` names a checkout of an older version of this
repository, whose core goes through the same trainings in a process of its own.

- ESS in force: share of the cases that draws amount to, mean over the epochs after the first sweep.
- Over time: the same of what the epochs' distributions come to on average.
- Visits: their coefficient of variation over that of as many uniform draws (Poisson), smallest and largest.
- Tilt: mean true hardness of what is drawn, in standard deviations over the mean of all cases.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

import numpy as np
from experiments import run_all, write_json

from hws_nnunet import HardnessWeightedSampler, Settings

BATCH, STEPS, EPOCHS, LAG = 2, 250, 90, 25
NOISE, FALL = 0.15, 0.5
MORE = 8
"""Times as many seeds where one training tells little."""

BLOCK = 10
"""Epochs over which a tilt is averaged, where the smallest over a training is told."""


def training(job: dict) -> dict:
    """Return what the sampler of this process's core did in one simulated training, epoch by epoch."""
    n, rng = job["cases"], np.random.default_rng([job["seed"], job["cases"]])
    truth = rng.standard_normal(n)
    truth = (truth - truth.mean()) / truth.std()
    hardness = 0.4 + job["spread"] * truth
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], Settings(**job["settings"]), rng=rng)
    older = "cells" in inspect.signature(sampler.update).parameters
    waiting: deque = deque()
    visits, mean_p = np.zeros(n, dtype=int), np.zeros(n)
    ess, tilt, reliability = [], [], []
    for epoch in range(job["epochs"]):
        weighted = sampler.table.weighted
        for step in range(STEPS):
            waiting.append(sampler.draw_cases(BATCH, rng))
            if len(waiting) <= job["lag"]:
                continue
            drawn = waiting.popleft()
            visits[drawn.ids] += 1
            common = FALL * np.exp(-(epoch + step / STEPS) / job["fall"]) if job["fall"] else 0.0
            losses = hardness[drawn.ids] + common + NOISE * rng.standard_normal(BATCH)
            given = (drawn.ids, None, losses) if older else (drawn.ids, losses)
            sampler.update(*given, version=drawn.version)
        if weighted:
            p = sampler.probabilities()
            ess.append(1 / (n * p.dot(p)))
            tilt.append(float(p.dot(truth)))
            reliability.append(float(getattr(sampler, "reliability", np.nan)))
            mean_p += p
    share = mean_p / mean_p.sum()
    return {
        "ess": np.round(ess, 4).tolist(),
        "over_time": float(1 / (n * share.dot(share))),
        "variation": float(visits.std() / visits.mean()),
        "poisson": float(visits.mean() ** -0.5),
        "visits": [int(visits.min()), int(visits.max())],
        "tilt": np.round(tilt, 4).tolist(),
        "reliability": np.round(reliability, 4).tolist(),
    }


def cases_are_few(n: int, spread: float) -> bool:
    """Return whether the scatter of visits between cases is itself known badly: 16 % in one training of 20 cases."""
    return n == 20 and spread == 0


def jobs(seeds: int, *, quick: bool = False, settings: dict | None = None) -> list[dict]:
    """Return the trainings: equally hard cases, spreads, and losses that fall."""
    cases = [(n, spread, 0) for n in (20, 100, 1000) for spread in (0.0, 0.02, 0.05, 0.10)]
    cases += [(n, spread, fall) for n in (100, 1000, 4000) for fall in (10, 30) for spread in (0.0, 0.02, 0.05, 0.10)]
    if quick:
        cases = [(20, 0.0, 0), (100, 0.05, 10)]
    return [
        {
            "name": f"{n}-{spread}-{fall}-{seed}",
            "cases": n,
            "spread": spread,
            "fall": fall,
            "seed": seed,
            "epochs": 12 if quick else EPOCHS,
            "lag": LAG,
            "settings": settings or {},
        }
        for n, spread, fall in cases
        for seed in range(seeds * (MORE if cases_are_few(n, spread) else 1))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, help="a checkout of an older version, to run beside this one")
    parser.add_argument("--settings", type=json.loads, help="other settings than the default ones, as JSON")
    parser.add_argument("--quick", action="store_true", help="two short trainings: does it run?")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/scale.json"))
    args = parser.parse_args()
    wanted = jobs(1 if args.quick else args.seeds, quick=args.quick, settings=args.settings)
    with tempfile.TemporaryDirectory() as folder:
        found = {"runs": run_all(training, wanted, Path(folder), processes=args.processes)}
    if args.other:
        other = Path(str(args.out) + ".other")
        command = [sys.executable, __file__, "--seeds", str(args.seeds), "--processes", str(args.processes)]
        command += ["--out", str(other), *(["--quick"] if args.quick else [])]
        env = {**os.environ, "PYTHONPATH": str(args.other.resolve())}
        subprocess.run(command, env=env, check=True)
        found["other"] = json.loads(other.read_text())["runs"]
        other.unlink()
    write_json(args.out, found)


if __name__ == "__main__":
    main()
