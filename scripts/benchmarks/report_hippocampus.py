"""The report's part on the hippocampus: Dice of held-out cases, and where the changed training cases rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from experiments import STATIC, WEIGHTS
from report_parts import bar_line
from report_segmentation import Results, segmentation

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


def hippocampus(found: dict, figure: Path, condition: str) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section of one condition.

    Args:
        found: what the experiment wrote.
        figure: file to write.
        condition: ``plain``, ``scanner`` or ``labels``.
    """
    _, lines = segmentation(found, f"hippocampus, {condition}", figure, None, 0.95, share=SHARE[condition])
    bars = _bars(Results(found), condition)
    found_among = hardest_tenth(found)
    if not found_among:
        return bars, lines
    table = _table(found, found_among)
    for arm in ("ours", WITH_CE) if condition == "labels" else ():
        if arm in found_among:
            share = np.mean([len(hardest) / len(ranks) for hardest, ranks in found_among[arm]])
            told = f"- hippocampus, wrong labels, share in the hardest tenth, {arm}: {share:.2f} (bar: {FOUND:.2f})"
            bars.append(f"{told}: {'reached' if share >= FOUND else 'NOT reached'}")
    return bars, [*lines, *table, ""]


def _bars(results: Results, condition: str) -> list[str]:
    bars = []
    for title, bar in BARS[condition].items() if "ours" in results.rows else ():
        _, difference, seeds = results.compare("ours", title, 0.95)
        line = bar_line(f"hippocampus, {condition}, {title}, {seeds} seed{'s' * (seeds > 1)}", difference, bar)
        for arm, words in OTHERS.items():
            if arm in results.rows and (title == "rare group" or arm == SOFTER):
                line += f"; {words}: {100 * results.compare(arm, title, 0.95)[1][0]:+.1f}"
        bars.append(line)
    return bars


def hardest_tenth(found: dict) -> dict[str, list[tuple[list[str], dict[str, int]]]]:
    """Return of each arm and seed the changed training cases in the hardest tenth, and the ranks of all of them."""
    arms = {}
    for arm, rows in found["arms"].items():
        ranked = [(row["ranks"], row["trained"] // 10) for row in rows if row.get("ranks")]
        if ranked:
            arms[arm] = [([case for case, rank in ranks.items() if rank <= tenth], ranks) for ranks, tenth in ranked]
    return arms


def _table(found: dict, found_among: dict) -> list[str]:
    row = next(row for rows in found["arms"].values() for row in rows if row.get("ranks"))
    kinds = sorted({_kind(case) for case in row["ranks"]})
    tenth, changed = row["trained"] // 10, len(row["ranks"])
    lines = [
        f"Ranks of the {changed} changed training cases of {row['trained']} by hardness at the end, 1 is the hardest; "
        f"by chance {changed * tenth / row['trained']:.1f} of them are among the hardest {tenth}.",
        "",
        f"| sampling | seeds | among the hardest {tenth}, by seed | mean | "
        + " | ".join(f"median rank, {kind}" for kind in kinds)
        + " |",
        "|---" * (4 + len(kinds)) + "|",
    ]
    for arm, seeds in found_among.items():
        counts = [len(hardest) for hardest, _ in seeds]
        medians = [
            f"{np.median([rank for _, ranks in seeds for case, rank in ranks.items() if _kind(case) == kind]):g}"
            for kind in kinds
        ]
        cells = [arm, str(len(seeds)), ", ".join(map(str, counts)), f"{np.mean(counts):.1f} of {changed}", *medians]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _kind(case: str) -> str:
    return case.rsplit("_", 1)[-1]
