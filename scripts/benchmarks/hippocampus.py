"""Hardness weighted sampling through nnU-Net v2 on ordinary real data: hippocampus in 200 MRI scans.

    python scripts/benchmarks/hippocampus.py --condition plain|scanner|labels --data DATA [--quick] [--show]
        [--seeds N] [--arms ARM ...] [--scratch] [--training CASES] [--longer TIMES]

DATA holds ``images/CASE.nii.gz`` and ``labels/CASE.nii.gz`` of 200 cases (Medical Segmentation Decathlon, Task04). Each
seed trains on 140 cases and holds out 60, a split of its own that all conditions share. ``plain``: the data as they
are. ``scanner``: 7 of the training cases and 30 of the held-out ones, the rare group, come from another scanner: thick
slices, motion or ghosting, a bias field, other contrast; their labels stay. ``labels``: 10 of the training cases have
wrong labels: shifted, both structures exchanged, or one removed; those held out are right.

All arms of a seed go on from one checkpoint, which stock nnU-Net trained uniformly, for the same number of steps of the
same schedule; with ``--scratch`` they start from nothing. Held-out cases are predicted half-way and at the end. The
name of the results tells how many cases, with ``--training``, or steps, with ``--longer``, where there are more or
fewer. On one core the uniform training of a seed takes about five minutes, each arm then three, or seven from scratch.
Changing images needs TorchIO.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import GROUPS_OURS, STATIC, TOPK, TOPK_OURS, UNIFORM, WEIGHTS, WEIGHTS_OURS, settings_of
from hippocampus_data import CASES, CONFIGURATION, DATASET, FEWER, MAX_SEEDS, NAME, QUICK_CASES, Changed, prepare
from nnunet_runs import Experiment
from page import COLOURS, Lines, Section, bar_line, points, read_one, save, table, verdict
from segmentation import Results, segmentation

from hws_nnunet import Settings
from hws_nnunet.commands.case_weights import weights_by_group
from hws_nnunet.facts.versions import V2
from hws_nnunet.record.tables import write_table

CONDITIONS = {
    "plain": (UNIFORM, "ours", "paper", TOPK, TOPK_OURS),
    "scanner": (UNIFORM, "ours", GROUPS_OURS, WEIGHTS, WEIGHTS_OURS, STATIC, TOPK, TOPK_OURS, "paper"),
    "labels": (UNIFORM, "ours", "ours, dice_ce", "paper", TOPK, TOPK_OURS),
}
"""The arms of each condition."""

BARS = {
    "plain": {"mean": -0.002, "10th percentile": 0.005, "CVaR 10 %": 0.005},
    "scanner": {"rare group": 0.06, "10th percentile": 0.06, "mean": 0.0, "common group": -0.005},
    "labels": {"mean": -0.002},
}
"""What was to be reached against uniform sampling, Dice from 0 to 1."""

SHARE = {"plain": "", "scanner": "rare cases", "labels": "wrong cases"}
SOFTER, WITH_CE = "ours, ess 0.8", "ours, dice_ce"
OTHERS = {SOFTER: "with `ess: 0.8`"} | {arm: f"{arm}, told which cases are rare" for arm in (STATIC, WEIGHTS)}
"""What else is told with the bars."""

FOUND = 0.8  # of the wrong cases are to be in the hardest tenth
GROWS = "hippocampus-scanner"
"""The condition that was run with fewer cases and with other lengths, too."""

GROWN = ("rare group", "common group", "mean")


def settings(arm: str, job: dict) -> Settings | None:
    """Return an arm's settings in a run, None where it does not draw by hardness.

    What people know of the cases is in files of the run's ``work`` folder: the scanner of each, and weights that bring
    both scanners' shares of a fold's draws as near as the bounds of ``hws-nnunet weights`` allow.
    """
    settings_of_arm, work = settings_of(arm), Path(job["work"])
    if arm not in (GROUPS_OURS, WEIGHTS, WEIGHTS_OURS):
        return settings_of_arm
    folds = json.loads((work / "preprocessed" / V2.name_of(DATASET, NAME) / "splits_final.json").read_text())
    scanners = {name: "scanner" if name in Changed() else "others" for name in folds[job["fold"]]["train"]}
    rows = scanners if arm == GROUPS_OURS else weights_by_group(scanners, ess=0.5, cap=4.0)
    field, column = ("groups", "subgroup") if arm == GROUPS_OURS else ("case_weights", "weight")
    file = work / f"{field}-{job['fold']}.csv"
    write_table(file, ("case", column), rows.items())
    return settings_of_arm.model_copy(update={field: str(file)})


def experiment(condition: str, *, cases: int = CASES, training: int | None = None) -> Experiment:
    """Return the experiment of a condition, on so many of the data's cases, or training cases (one of ``FEWER``)."""
    fewer = {}
    if training is not None:
        fewer = {"first_fold": (2 + FEWER.index(training)) * MAX_SEEDS, "variant": f"-{training}-cases"}
    return Experiment(
        name=f"hippocampus-{condition}",
        dataset=DATASET,
        configuration=CONFIGURATION,
        rare=Changed(),
        max_seeds=MAX_SEEDS,
        base_epochs=32,
        epochs=48,
        steps=50,
        prepare=partial(prepare, condition=condition, cases=cases),
        oversampled=condition == "scanner" and training is None,
        settings=settings,
        **fewer,
    )


def section(measured: dict, figure: Path, *, condition: str) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section of one condition."""
    name = f"hippocampus, {condition}"
    _, lines = segmentation(measured, figure, name=name, bar=None, level=0.95, share=SHARE[condition])
    results, bars = Results(measured), []
    for title, bar in BARS[condition].items() if "ours" in results.rows else ():
        _, difference, seeds = results.compare("ours", title, 0.95)
        line = bar_line(f"{name}, {title}, {seeds} seed{'s' * (seeds > 1)}", difference, bar)
        for arm, words in OTHERS.items():
            if arm in results.rows and (title == "rare group" or arm == SOFTER):
                line += f"; {words}: {points(100 * results.compare(arm, title, 0.95)[1][0])}"
        bars.append(line)
    found_among = hardest_tenth(measured)
    for arm in ("ours", WITH_CE) if condition == "labels" else ():
        if arm in found_among:
            share = np.mean([len(hardest) / len(ranks) for hardest, ranks in found_among[arm]])
            told = f"- hippocampus, wrong labels, share in the hardest tenth, {arm}: {share:.2f} (bar: {FOUND:.2f})"
            bars.append(f"{told}: {verdict(share >= FOUND)}")
    return bars, [*lines, "", *_ranks_table(measured, found_among)] if found_among else lines


def hardest_tenth(measured: dict) -> dict[str, list[tuple[list[str], dict[str, int]]]]:
    """Return of each arm and seed the changed training cases in the hardest tenth, and the ranks of all of them."""
    arms = {}
    for arm, rows in measured["arms"].items():
        ranked = [(row["ranks"], row["trained"] // 10) for row in rows if row.get("ranks")]
        if ranked:
            arms[arm] = [([case for case, rank in ranks.items() if rank <= tenth], ranks) for ranks, tenth in ranked]
    return arms


def _ranks_table(measured: dict, found_among: dict) -> Lines:
    row = next(row for rows in measured["arms"].values() for row in rows if row.get("ranks"))
    kinds = sorted({_kind(case) for case in row["ranks"]})
    tenth, changed = row["trained"] // 10, len(row["ranks"])
    lines = []
    for arm, seeds in found_among.items():
        counts = [len(hardest) for hardest, _ in seeds]
        ranks = [[rank for _, of in seeds for case, rank in of.items() if _kind(case) == kind] for kind in kinds]
        mean = f"{np.mean(counts):.1f} of {changed}"
        lines.append((arm, len(seeds), ", ".join(map(str, counts)), mean, *(f"{np.median(of):g}" for of in ranks)))
    medians = [f"median rank, {kind}" for kind in kinds]
    return [
        f"Ranks of the {changed} changed training cases of {row['trained']} by hardness at the end, 1 is the hardest; "
        f"by chance {changed * tenth / row['trained']:.1f} of them are among the hardest {tenth}.",
        "",
        *table(("sampling", "seeds", f"among the hardest {tenth}, by seed", "mean", *medians), lines),
    ]


def _kind(case: str) -> str:
    return case.rsplit("_", 1)[-1]


def variants(results: Path, name: str) -> dict[str, dict[int, dict]]:
    """Return what was found by number of training cases, and of steps, from ``NAME-NUMBER-cases.json`` and so on.

    Args:
        results: the folder.
        name: of the usual experiment, which belongs to both.
    """
    usual = read_one(results, name)
    if not usual or "ours" not in usual["arms"]:
        return {}
    row = usual["arms"]["ours"][0]
    by_number = {"training cases": {row["trained"]: usual}, "steps": {row["steps"][-1]: usual}}
    for kind, of in by_number.items():
        for file in results.glob(f"{name}-*-{kind.split()[-1]}.json"):
            of[int(file.stem.split("-")[-2])] = read_one(results, file.stem)
    return {kind: dict(sorted(of.items())) for kind, of in by_number.items() if len(of) > 1}


def growth(by_kind: dict[str, dict[int, dict]], figure: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section on fewer cases and other lengths."""
    rows = []
    shown, axes = plt.subplots(
        2, len(by_kind), figsize=(6 * len(by_kind), 8), squeeze=False, sharey="row", sharex="col"
    )
    for column, (kind, of) in enumerate(by_kind.items()):
        results = [Results(result) for result in of.values()]
        seeds = sorted(set.intersection(*(set(each.dice[arm]) for each in results for arm in (UNIFORM, "ours"))))
        means = {title: [_means(each, title, seeds) for each in results] for title in GROWN}
        for place, number in enumerate(of):
            pairs = [means[title][place] for title in GROWN]
            cells = [f"{one.mean():.1f}, {ours.mean():.1f}, {points((ours - one).mean())}" for one, ours in pairs]
            rows.append((f"{number:,} {kind}", len(seeds), *cells))
        _draw(axes[:, column], list(of), means, kind)
    axes[0, 0].set_ylabel("Dice, %")
    axes[1, 0].set_ylabel("ours less uniform, points")
    axes[0, -1].legend()
    axes[1, -1].legend()
    save(shown, figure)
    told = (
        "Dice in points, uniform sampling's and ours, and the difference, in the seeds that were run in all of a kind; "
        "two thirds of the steps are uniform in both."
    )
    titles = (f"{title}: uniform, ours, difference" for title in GROWN)
    return [], [told, "", *table(("what", "seeds", *titles), rows)]


def _means(results: Results, title: str, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform sampling's and our mean of a group at the end in points, each ``(seeds,)``."""
    chosen = results.chosen(title)
    return tuple(100 * np.array([results.dice[arm][s][-1][chosen].mean() for s in seeds]) for arm in (UNIFORM, "ours"))


def _draw(axes: np.ndarray, numbers: list[int], points: dict, kind: str) -> None:
    above, below = axes
    for colour, title in zip(COLOURS, GROWN[:2], strict=False):
        for at, style, arm in ((0, "o--", UNIFORM), (1, "o-", "ours")):
            means = [pair[at].mean() for pair in points[title]]
            above.plot(numbers, means, style, color=colour, label=f"{title}, {arm}")
    for colour, title in zip(COLOURS, GROWN, strict=False):
        below.plot(numbers, [(ours - uniform).mean() for uniform, ours in points[title]], color=colour, label=title)
        for number, (uniform, ours) in zip(numbers, points[title], strict=True):
            below.scatter([number] * len(ours), ours - uniform, color=colour, s=15)
    below.axhline(0, color="black", lw=0.8)
    below.set_xlabel(f"{kind}; a dot a seed")
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xticks(numbers, [f"{number:,}" for number in numbers])
        axis.minorticks_off()
        axis.grid(alpha=0.3)


def _section(condition: str, title: str) -> Section:
    command = f"hippocampus.py --condition {condition} --data DATA"
    return Section(f"hippocampus-{condition}", title, command, partial(section, condition=condition))


SECTIONS = (
    _section("plain", "Hippocampus: ordinary data, nnU-Net v2"),
    Section(
        "hippocampus-plain-scratch",
        "Hippocampus from scratch",
        "hippocampus.py --condition plain --data DATA --scratch --seeds 1 --arms uniform ours",
        partial(segmentation, name="hippocampus from scratch", bar=None, level=0.95, share=""),
    ),
    _section("scanner", "Hippocampus, a rare scanner"),
    Section(
        "growth",
        "How the gain grows: training cases, steps",
        "hippocampus.py --condition scanner --data DATA` with `--training CASES` or `--longer TIMES",
        growth,
        lambda results, _: variants(results, GROWS),
    ),
    _section("labels", "Hippocampus, wrong labels"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--condition", required=True, choices=list(CONDITIONS))
    parser.add_argument("--training", type=int, choices=FEWER)
    args, rest = parser.parse_known_args()
    if args.training and args.condition != "scanner":
        parser.error("--training: fewer training cases are for the condition scanner")
    made = experiment(args.condition, cases=QUICK_CASES if "--quick" in rest else CASES, training=args.training)
    made.main(__doc__, CONDITIONS[args.condition], SECTIONS, rest)


if __name__ == "__main__":
    main()
