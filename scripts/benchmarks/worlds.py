"""Simulated trainings in which what is hard can be rare, or hard by nature: does the sampler tell them apart?

    python scripts/benchmarks/worlds.py [--seeds N] [--quick] [--samplings NAME ...] [--show]

Cases are of two kinds. A kind is learnt by visits to it and, less, by visits to the other:

    V = visits to the kind's cases, in visits a case of all; uneven ones count less (mean of square roots, squared)
    E = V of the kind + transfer * V of the other
    loss of a visit = floor of the case + (top - floor) (1 + E / half) ** -power + visit noise

Floors are the cases' own and never fall. Three worlds: a rare kind lags, and floors hardly differ (fetal brains);
there is one kind, and floors differ (hearts of two vendors); both. The numbers are those of recorded trainings
(``rare.py``). The sampler is the package's own.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections import deque
from pathlib import Path

import numpy as np
from experiments import run_all
from page import Lines, Section, arguments, finish, table

from hws_nnunet import HardnessWeightedSampler, Settings

BATCH, LAG = 2, 8
VISITS = 160
"""Of a case, under uniform sampling, in all."""

SAMPLINGS = {"uniform": {"ess": 1.0}, "ess 0.5": {"ess": 0.5}, "ess 0.8": {"ess": 0.8}}
"""Settings by name."""

TOP, TRANSFER, HALF, POWER = 0.93, 0.54, 75.0, 0.7
BRAINS, HEARTS = {"spread": 0.02, "noise": 0.055}, {"spread": 0.085, "noise": 0.2}
"""Standard deviations between the floors of cases, and between the losses of a case's visits."""

WORLDS = {"lags": {"rare": 0.08, **BRAINS}, "floors": {"rare": 0.0, **HEARTS}, "both": {"rare": 0.08, **HEARTS}}


def curve(roots: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return how much of the loss is left to either kind, ``(2,)``, 1 at first.

    Args:
        roots: ``(2,)``, the sum of the square roots of the visits to each kind's cases.
        members: ``(2,)``, how many cases are of each kind.
    """
    own = roots**2 / np.maximum(members, 1) / members.sum()
    return (1 + (own + TRANSFER * own[::-1]) / HALF) ** -POWER


def training(job: dict) -> dict:
    """Return what a sampling did in one simulated training."""
    n, world = job["cases"], WORLDS[job["world"]]
    rng = np.random.default_rng([job["seed"], n])
    rare = np.arange(n) < round(world["rare"] * n)
    kind, members = rare.astype(int), np.array([n - rare.sum(), rare.sum()])
    floor = np.clip(0.15 + world["spread"] * rng.standard_normal(n), 0.0, None)
    steps = VISITS * n // BATCH
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], Settings(**SAMPLINGS[job["sampling"]]), rng=rng)
    roots, visits, waiting = np.zeros(2), np.zeros(n), deque()
    ess, seen = [], np.zeros(n)
    for step in range(steps):
        waiting.append(sampler.draw_cases(BATCH, rng))
        if len(waiting) <= LAG:
            continue
        drawn = waiting.popleft()
        ids = drawn.ids
        losses = floor[ids] + (TOP - floor[ids]) * curve(roots, members)[kind[ids]]
        sampler.update(ids, losses + world["noise"] * rng.standard_normal(len(ids)), version=drawn.version)
        for case in ids:
            roots[kind[case]] += np.sqrt(visits[case] + 1) - np.sqrt(visits[case])
            visits[case] += 1
        if step == steps // 10:
            seen = visits.copy()
        if step > steps // 10 and step % 50 == 0:
            ess.append(sampler.effective_sample_size() / n)
    final = floor + (TOP - floor) * curve(roots, members)[kind]
    seen = visits - seen
    share, hard = seen / seen.mean(), floor > np.quantile(floor, 0.9)
    return {
        "ess": float(np.mean(ess)),
        "over_time": float(1 / np.mean(share**2)),
        "rare_drawn": float(share[rare].mean()) if rare.any() else None,
        "floors_drawn": float(share[hard & ~rare].mean()),
        "rare_loss": float(final[rare].mean()) if rare.any() else None,
        "common_loss": float(final[~rare].mean()),
        "mean_loss": float(final.mean()),
    }


def run(args: Namespace) -> dict:
    """Run the trainings that have no result yet; return all results that there are."""
    run_all(
        training,
        [
            {"name": f"{n}-{world}-{name}-{seed}", "cases": n, "world": world, "sampling": name, "seed": seed}
            for n in (args.cases[:1] if args.quick else args.cases)
            for world in WORLDS
            for name in args.samplings
            for seed in range(1 if args.quick else args.seeds)
        ],
        args.work,
        processes=args.processes,
    )
    return {"worlds": [json.loads(file.read_text()) for file in sorted(args.work.glob("*.json"))]}


def section(runs: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section."""
    runs_of: dict[tuple, list[dict]] = {}
    for one in runs:
        runs_of.setdefault((one["world"], one["cases"], one["sampling"]), []).append(one)
    rows = []
    for world in WORLDS:
        for n in sorted({n for _, n, _ in runs_of}):
            for name in dict.fromkeys([*SAMPLINGS, *(name for _, _, name in runs_of)]):
                if of := runs_of.get((world, n, name)):
                    values = [[one[figure] for one in of] for figure in FIGURES]
                    cells = ["" if None in value else f"{np.mean(value):.3g}" for value in values]
                    rows.append((world, f"{n:,}", name, len(of), *cells))
    told = (
        "Simulated trainings with 160 visits a case. Lags: 8 % of the cases are of a rare kind that lags; floors: "
        "some cases are hard by nature; both: both at once. ESS, as a share of the cases: of the probabilities in "
        "force, and of what was drawn in all; drawn: how many times as often as under uniform sampling, the rare kind "
        "and the tenth with the highest floors; losses at the end. What is not among the script's samplings is a "
        "prototype."
    )
    header = ("world", "cases", "sampling", "seeds", "ESS in force", "ESS drawn", "rare drawn", "floors drawn")
    return [], [told, "", *table((*header, "rare loss", "common loss", "mean loss"), rows)]


FIGURES = ("ess", "over_time", "rare_drawn", "floors_drawn", "rare_loss", "common_loss", "mean_loss")
SECTIONS = (Section("worlds", "Worlds: rare, or hard by nature", "worlds.py", section, figure=False),)

if __name__ == "__main__":
    parser = arguments(__doc__, "worlds", seeds=2)
    parser.add_argument("--cases", type=int, nargs="+", default=[25, 120, 1000])
    parser.add_argument("--samplings", nargs="+", choices=list(SAMPLINGS), default=list(SAMPLINGS))
    finish(parser.parse_args(), SECTIONS, run)
