"""What do groups that people know add? Simulated trainings with hardness pooled over groups, and without.

    python scripts/benchmarks/groups.py [--quick] [--seeds N]

One case in twenty belongs to a rare group. Epochs, batches, lag and the scatter of single visits are those of
``scale.py``. Three kinds of data:

- between: cases of the rare group are harder by 0.10, and alike otherwise;
- both: so they are, and cases of one group differ with a standard deviation of 0.05;
- within: groups mean nothing, all cases differ with a standard deviation of 0.10.

Told are the tilt (mean true hardness of what is drawn, in standard deviations over the mean of all cases) and how many
times as often as uniformly the rare group is drawn, both over the first ten epochs after the warm-up pass and over the
rest; and the pooling in force at the end.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import run_all
from page import COLOURS, Lines, Section, arguments, finish, save, table
from simulated import BATCH, EPOCHS, NOISE, weighted_epochs

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
    settings = Settings(ess=0.5, group_pooling=ARMS[job["arm"]])
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], settings, groups=groups, rng=rng)

    def losses(ids: np.ndarray, _: float) -> np.ndarray:
        return hardness[ids] + NOISE * rng.standard_normal(BATCH)

    epochs = list(weighted_epochs(sampler, losses, rng, job["epochs"]))
    tilt, times = [p.dot(truth) for p in epochs], [p[rare].sum() / rare.mean() for p in epochs]
    means = {"tilt_early": tilt[:EARLY], "times_early": times[:EARLY], "tilt": tilt[EARLY:], "times": times[EARLY:]}
    pooling = sampler.groups.pooling if sampler.groups else None
    return {**{name: float(np.mean(values)) for name, values in means.items()}, "pooling": pooling}


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


def run(args: Namespace) -> dict:
    """Run the trainings."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = jobs(1 if args.quick else args.seeds, quick=args.quick)
        return {"groups": run_all(training, wanted, Path(folder), processes=args.processes)}


def section(runs: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section."""
    runs_of: dict[tuple, list[dict]] = {}
    for run in runs:
        runs_of.setdefault((run["kind"], run["cases"], run["arm"]), []).append(run)
    rows = []
    for (kind, cases, arm), of in runs_of.items():
        cells = [f"{np.mean([r[name] for r in of]):.2f}" for name in ("tilt_early", "tilt", "times_early", "times")]
        pooling = "" if of[0]["pooling"] is None else f"{np.mean([r['pooling'] for r in of]):.2f}"
        rows.append((kind, f"{cases:,}", arm, *cells, pooling))
    kinds, arms, sizes = (list(dict.fromkeys(key[i] for key in runs_of)) for i in (0, 2, 1))
    shown, axes = plt.subplots(1, len(kinds), figsize=(4 * len(kinds), 3.4), sharey=True, squeeze=False)
    for kind, axis in zip(kinds, axes[0], strict=True):
        for arm, colour, line in zip(arms, COLOURS, ("-", "-", "--"), strict=False):
            tilts = [np.mean([run["tilt_early"] for run in runs_of[kind, size, arm]]) for size in sizes]
            axis.semilogx(sizes, tilts, marker="o", color=colour, linestyle=line, label=arm)
        axis.set(title=kind, xlabel="cases")
    axes[0, 0].set_ylabel("tilt, first ten weighted epochs")
    axes[0, 0].legend(fontsize=8)
    save(shown, figure)
    told = (
        "Simulated trainings as under Scale; one case in twenty is of a rare group. Between: its cases are harder by "
        "0.10, all else is alike; both: cases of one group differ, too (standard deviation 0.05); within: groups mean "
        "nothing, cases differ (0.10). Tilt: mean true hardness of what is drawn, in standard deviations; times: how "
        "many times as often as uniformly the rare group is drawn; each over the first ten epochs after the "
        f"warm-up pass, then over the rest. Means of {max(map(len, runs_of.values()))} trainings."
    )
    header = ("kind", "cases", "hardness is", "tilt, first", "tilt, then", "times, first", "times, then")
    return [], [told, "", *table((*header, "pooling at the end"), rows)]


SECTIONS = (Section("groups", "Groups: what they add to hardness", "groups.py", section),)

if __name__ == "__main__":
    finish(arguments(__doc__, "groups", seeds=3).parse_args(), SECTIONS, run)
