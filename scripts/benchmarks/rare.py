"""Hard is not rare: one default on five kinds of real images, with and without a rare group, in plain PyTorch.

    python scripts/benchmarks/rare.py [--brains ATLASES] [--hearts VENDORS] [--hippocampus DATA] [--seeds N ...]
        [--arms ARM ...] [--kinds KIND ...] [--steps N] [--work FOLDER] [--show]

Where the data are from stands in ``rare_data.py``; what has no path is not run. Networks are trained from scratch, for
2,000 steps by default. One file a run in ``--work``, with all visits and losses, so that a sweep goes on;
what counts is written into the page's results. A run takes one to three minutes on one core.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import rare_data
from experiments import ARMS, UNIFORM, WEIGHTS, run_all
from page import COLOURS, Lines, Section, arguments, finish, points, save, table, verdict
from plain import Example, Plan, train

from hws_nnunet import Settings
from hws_nnunet.commands.case_weights import weights_by_dice, weights_by_unlikeness
from hws_nnunet.datasets.appearance import appearance
from hws_nnunet.loop.batch_sampler import HardnessWeightedBatchSampler
from hws_nnunet.report.stats.statistics import cvar

HIPPOCAMPUS = Plan(patch=(16, 24, 16), classes=3, channels=(8, 16, 32), batch=2)


@dataclass(frozen=True)
class Kind:
    """A kind of data: whose path it needs, its network, its splits, and what was to be reached, in points."""

    data: str
    plan: Plan
    split: Callable[[Path, int], rare_data.Split]
    bars: dict[str, float]


KINDS = {
    "brains": Kind(
        "brains",
        Plan(patch=(24, 32, 24), classes=9, channels=(8, 16, 32, 64), batch=2),
        rare_data.brains,
        {"10th percentile": 5, "worst tenth": 7, "rare": 2, "mean": 1, "common": -0.5},
    ),
    "hearts": Kind(
        "hearts",
        Plan(patch=(48, 48), classes=4, channels=(8, 16, 32, 64), batch=12, slices=True),
        rare_data.hearts,
        {"mean": 0, "rare": 1, "10th percentile": 1, "common": -0.3},
    ),
    "scanner": Kind(
        "hippocampus",
        HIPPOCAMPUS,
        partial(rare_data.hippocampus, condition="scanner"),
        {"rare": 3.5, "common": -0.3, "mean": 1.5},
    ),
    "plain": Kind(
        "hippocampus",
        HIPPOCAMPUS,
        partial(rare_data.hippocampus, condition="plain"),
        {"mean": -0.1, "worst tenth": 0.8},
    ),
    "labels": Kind("hippocampus", HIPPOCAMPUS, partial(rare_data.hippocampus, condition="labels"), {"mean": -0.3}),
}
TITLES = {
    "brains": "fetal brains, 2 of 25 with spina bifida",
    "hearts": "hearts, 4 of 60 patients of a rare vendor",
    "scanner": "hippocampus, 7 of 140 of a rare scanner",
    "plain": "hippocampus as it is",
    "labels": "hippocampus, 10 of 140 labels wrong",
}
DEFAULT, STEPS, GROWS = "ours, ess 0.8", 2000, "brains"
WEIGHT = 4.0
"""Of each rare training case, where people tell which these are and draw by weights alone."""
BY_HELD_OUT, BY_HELD_OUT_OURS = "weights by held-out Dice", "ours, weights by held-out Dice"
"""Arms that train half as long on either half of the cases first, and weigh each case by its Dice where it was held
out, as ``hws-nnunet weights --validation`` does: alone, and with hardness on top. They take twice the steps."""
UNLIKE, UNLIKE_OURS = "weights by unlikeness", "ours, weights by unlikeness"
UNLIKE_SOFT_OURS = "ours, weights by unlikeness (ess 0.8)"
"""Arms that weigh each case by how unlike the others its image is: alone, with hardness on top, and the latter by
weights that are less uneven."""
FIGURES = ("mean", "10th percentile", "worst tenth", "rare", "common")


def training(job: dict) -> dict:
    """Train one network: a job's kind of data, arm and seed."""
    kind, arm, steps, seed = KINDS[job["kind"]], job["arm"], job["steps"], job["seed"]
    cases, held_out = kind.split(Path(job["data"]), seed)
    told = None
    if arm in (BY_HELD_OUT, BY_HELD_OUT_OURS):
        told = held_out_dice(cases, kind, steps=steps // 2, seed=seed)
    batches = batches_of(arm, cases, kind.plan.batch, steps=steps, seed=seed, dice=told)
    return {
        "training": [[case.name, case.group] for case in cases],
        **({} if told is None else {"dice_of_training": told}),
        "groups": {case.name: case.group for case in held_out},
        **train(cases, held_out, kind.plan, batches, steps=steps, seed=seed),
    }


def held_out_dice(cases: list[Example], kind: Kind, *, steps: int, seed: int) -> dict[str, float]:
    """Return the Dice of each case by a network trained uniformly on the half without it and its subject's others."""
    subjects = [case.name.rsplit("-", 1)[0] if kind.plan.slices else case.name for case in cases]  # two phases a heart
    order = np.random.default_rng([seed, 2]).permutation(sorted(set(subjects)))
    dice = {}
    for half in (order[::2], order[1::2]):
        out = [subject in set(half) for subject in subjects]
        training = [case for case, held in zip(cases, out, strict=True) if not held]
        others = [case for case, held in zip(cases, out, strict=True) if held]
        batches = batches_of(UNIFORM, training, kind.plan.batch, steps=steps, seed=seed)
        dice |= train(training, others, kind.plan, batches, steps=steps, seed=seed)["dice"]
    return {case.name: dice[case.name] for case in cases}


def batches_of(
    arm: str, cases: list[Example], batch: int, *, steps: int, seed: int, dice: dict[str, float] | None = None
) -> HardnessWeightedBatchSampler:
    """Return what draws an arm's batches; with ``beta: 0`` hardness counts for nothing, and is tracked all the same."""
    settings = (
        Settings(beta=0.0)
        if arm in (UNIFORM, WEIGHTS, BY_HELD_OUT, UNLIKE)
        else Settings(**ARMS.get(arm, ARMS[DEFAULT]))
    )
    weights = [WEIGHT if case.group == "rare" else 1.0 for case in cases] if arm == WEIGHTS else None
    if dice is not None:
        by_case = weights_by_dice(dice, beta=10.0, ess=0.5, cap=4.0)  # the command's defaults
        weights = [by_case[case.name] for case in cases]
    if arm in (UNLIKE, UNLIKE_OURS, UNLIKE_SOFT_OURS):
        appearances = {case.name: appearance(case.image[None]) for case in cases}
        by_case, _ = weights_by_unlikeness(appearances, ess=0.8 if arm == UNLIKE_SOFT_OURS else 0.5, cap=4.0)
        weights = [by_case[case.name] for case in cases]
    return HardnessWeightedBatchSampler(
        len(cases), batch, settings=settings, weights=weights, steps_per_epoch=steps, seed=seed
    )


def figures(run: dict) -> dict[str, float]:
    """Return a run's figures, in points of Dice; those of groups where there are any."""
    rare = np.array([group == "rare" for group in run["groups"].values()])
    dice = 100 * np.array([run["dice"][name] for name in run["groups"]])
    means = {"mean": dice.mean(), "10th percentile": np.percentile(dice, 10), "worst tenth": cvar(dice)}
    if rare.any() and not rare.all():
        means |= {"rare": dice[rare].mean(), "common": dice[~rare].mean()}
    drawn = np.bincount(np.ravel(run["visits"]), minlength=len(run["training"]))
    of_rare = np.array([group == "rare" for _, group in run["training"]])
    means["drawn"] = drawn[of_rare].mean() / drawn.mean() if of_rare.any() else np.nan
    means["ess"] = 1 / np.mean((drawn / drawn.mean()) ** 2)
    return {name: round(float(value), 3) for name, value in means.items()}


def run(args: Namespace) -> dict:
    """Run what there is a path for; return the figures of all runs that there are."""
    jobs = [
        {"name": f"{steps}-{arm}-{seed}", "kind": kind, "arm": arm, "seed": seed, "steps": steps, "data": str(path)}
        for kind in args.kinds
        if (path := getattr(args, KINDS[kind].data)) is not None
        for steps in args.steps
        for seed in args.seeds
        for arm in args.arms
    ]
    for kind in KINDS:
        run_all(training, [job for job in jobs if job["kind"] == kind], args.work / kind, processes=args.processes)
    runs = [json.loads(file.read_text()) for kind in KINDS for file in sorted((args.work / kind).glob("*.json"))]
    names = ("kind", "arm", "seed", "steps")
    return {"rare": [{**{name: outcome[name] for name in names}, **figures(outcome)} for outcome in runs]}


def section(runs: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return what was to be reached, and the table."""
    bars, rows = [], []
    for kind, title in TITLES.items():
        for steps in sorted({run["steps"] for run in runs if run["kind"] == kind}):
            of = {(run["arm"], run["seed"]): run for run in runs if run["kind"] == kind and run["steps"] == steps}
            uniform = {seed: run for (arm, seed), run in of.items() if arm == UNIFORM}
            rows.append((title, f"{steps:,}", UNIFORM, len(uniform), *(_mean(uniform.values(), f) for f in FIGURES)))
            for arm in dict.fromkeys(arm for arm, _ in of if arm != UNIFORM):
                pairs = [(of[arm, seed], uniform[seed]) for seed in uniform if (arm, seed) in of]
                differences = {f: [a[f] - b[f] for a, b in pairs] for f in FIGURES if all(f in a for a, _ in pairs)}
                cells = [_difference(differences[f]) if f in differences else "" for f in FIGURES]
                drawn = np.mean([a["drawn"] for a, _ in pairs])
                told = (f"{drawn:.1f}" if drawn == drawn else "", f"{np.mean([a['ess'] for a, _ in pairs]):.2f}")
                rows.append(("", "", arm, len(pairs), *cells, *told))
                if arm == DEFAULT and steps == STEPS:
                    for name, bar in KINDS[kind].bars.items():
                        value = np.mean(differences[name])
                        told = f"{points(value)} points (bar: {bar:+g}), {len(pairs)} seeds: {verdict(value >= bar)}"
                        bars.append(f"- {title}, {steps:,} steps, {name}: {told}")
    told = (
        "Dice of held-out cases in points; under uniform sampling, the differences to it in the same seeds: mean and "
        "standard error. Drawn: how often the rare training cases, against their share. ESS: of all draws."
    )
    header = ("data", "steps", "sampling", "seeds", *FIGURES, "rare drawn", "ESS")
    _plot(runs, figure)
    return bars, [told, "", *table(header, rows)]


def _plot(runs: list[dict], path: Path) -> None:
    """Draw the default's differences to uniform sampling: a point a seed, their mean and its standard error."""
    of = {(run["kind"], run["steps"], run["arm"], run["seed"]): run for run in runs}
    pairs: dict[tuple[str, int], list[tuple[dict, dict]]] = {}
    for (kind, steps, arm, seed), run_ in of.items():
        if arm == DEFAULT and (uniform := of.get((kind, steps, UNIFORM, seed))):
            pairs.setdefault((kind, steps), []).append((run_, uniform))
    panels = [kind for kind in TITLES if (kind, STEPS) in pairs]
    lengths = sorted(steps for kind, steps in pairs if kind == GROWS)
    panels[2:2] = ["growth"] if len(lengths) > 1 else []
    shape = (-(-len(panels) // 3), min(3, len(panels)))
    figure, axes = plt.subplots(*shape, figsize=(4.6 * shape[1], 3.6 * shape[0]), squeeze=False, sharey="row")
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.axhline(0, color="grey", lw=0.8)
        if panel == "growth":
            for name, colour in zip(("10th percentile", "rare", "common"), COLOURS, strict=False):
                values = [[a[name] - b[name] for a, b in pairs[GROWS, steps]] for steps in lengths]
                axis.plot(lengths, [np.mean(of_seeds) for of_seeds in values], "o-", color=colour, ms=4, label=name)
                for steps, of_seeds in zip(lengths, values, strict=True):
                    axis.plot([steps] * len(of_seeds), of_seeds, ".", color=colour, alpha=0.45)
            axis.set_xscale("log", base=2)
            axis.set_xticks(lengths, [f"{n:,}\n({len(pairs[GROWS, n])} seeds)" for n in lengths])
            axis.legend(frameon=False, fontsize=8)
            axis.set_title("fetal brains, by steps of the training", fontsize=10)
            axis.margins(x=0.15)
            continue
        names = [name for name in FIGURES if name in pairs[panel, STEPS][0][0]]
        for x, name in enumerate(names):
            values = np.array([a[name] - b[name] for a, b in pairs[panel, STEPS]])
            axis.plot(x + np.linspace(-0.15, 0.15, len(values)), values, "o", color=COLOURS[0], alpha=0.45, ms=5)
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
            axis.errorbar(x, values.mean(), error, fmt="_", color="black", ms=18, mew=2, capsize=4)
            at = (x, max(values.max(), values.mean() + error))
            axis.annotate(points(values.mean()), at, (0, 6), textcoords="offset points", ha="center", fontsize=9)
        axis.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_title(f"{TITLES[panel]} ({len(values)} seeds)", fontsize=10)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for row in axes:
        row[0].set_ylabel("points of Dice over uniform sampling")
        low, high = row[0].get_ylim()
        row[0].set_ylim(low, high + 0.1 * (high - low))  # for the figures above the points
    save(figure, path)


def _mean(runs: object, figure: str) -> str:
    values = [run[figure] for run in runs if figure in run]
    return f"{np.mean(values):.1f}" if values else ""


def _difference(values: list[float]) -> str:
    error = f" ({np.std(values, ddof=1) / len(values) ** 0.5:.1f})" if len(values) > 1 else ""
    return f"{points(np.mean(values))}{error}"


SECTIONS = (Section("rare", "Hard is not rare: five kinds of data", "rare.py", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "rare")
    for name in ("brains", "hearts", "hippocampus"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--arms", nargs="+", default=[UNIFORM, DEFAULT])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--steps", type=int, nargs="+", default=[STEPS])
    finish(parser.parse_args(), SECTIONS, run)
