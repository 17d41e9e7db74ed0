"""The report's part on growth: what hardness gains with more training cases, and in longer trainings."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import UNIFORM
from report_parts import COLOURS, save
from report_segmentation import Results

TITLES = ("rare group", "common group", "mean")
CASES = "training cases"
STEPS = "steps"


def variants(results: Path, name: str) -> dict[str, dict[int, dict]]:
    """Return what was found by number of training cases, and of steps, from ``NAME-NUMBER-cases.json`` and so on.

    Args:
        results: the folder.
        name: of the usual experiment, which belongs to both.
    """
    usual = json.loads((results / f"{name}.json").read_text())
    row = usual["arms"]["ours"][0]
    found = {CASES: {row["trained"]: usual}, STEPS: {row["steps"][-1]: usual}}
    for kind, ending in ((CASES, "cases"), (STEPS, "steps")):
        for file in results.glob(f"{name}-*-{ending}.json"):
            found[kind][int(file.stem.split("-")[-2])] = json.loads(file.read_text())
    return {kind: dict(sorted(of.items())) for kind, of in found.items() if len(of) > 1}


def growth(results: Path, name: str, figure: Path) -> list[str]:
    """Return the section's lines and draw its figure; no lines where only the usual experiment was run."""
    found = variants(results, name)
    if not found:
        return []
    lines = [
        "Dice in points, uniform sampling's and ours, and the difference, in the seeds that were run in all of a kind; "
        "two thirds of the steps are uniform in both.",
        "",
        f"| what | seeds | {' | '.join(f'{title}: uniform, ours, difference' for title in TITLES)} |",
        "|---" * (2 + len(TITLES)) + "|",
    ]
    shown, axes = plt.subplots(2, len(found), figsize=(6 * len(found), 8), squeeze=False, sharey="row", sharex="col")
    for column, (kind, of) in enumerate(found.items()):
        results = [Results(result) for result in of.values()]
        seeds = sorted(set.intersection(*(set(each.dice[arm]) for each in results for arm in (UNIFORM, "ours"))))
        points = {title: [_means(each, title, seeds) for each in results] for title in TITLES}
        for place, number in enumerate(of):
            cells = []
            for title in TITLES:
                uniform, ours = points[title][place]
                cells.append(f"{uniform.mean():.1f}, {ours.mean():.1f}, {(ours - uniform).mean():+.1f}")
            lines.append(f"| {number:,} {kind} | {len(uniform)} | {' | '.join(cells)} |")
        _draw(axes[:, column], list(of), points, kind)
    axes[0, 0].set_ylabel("Dice, %")
    axes[1, 0].set_ylabel("ours less uniform, points")
    axes[0, -1].legend()
    axes[1, -1].legend()
    save(shown, figure)
    return [*lines, ""]


def _means(results: Results, title: str, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform sampling's and our mean of a group at the end in points, each ``(seeds,)``."""
    chosen = results.chosen(title)
    return tuple(100 * np.array([results.dice[arm][s][-1][chosen].mean() for s in seeds]) for arm in (UNIFORM, "ours"))


def _draw(axes: np.ndarray, numbers: list[int], points: dict, kind: str) -> None:
    above, below = axes
    for colour, title in zip(COLOURS, TITLES[:2], strict=False):
        for at, style, arm in ((0, "o--", UNIFORM), (1, "o-", "ours")):
            means = [pair[at].mean() for pair in points[title]]
            above.plot(numbers, means, style, color=colour, label=f"{title}, {arm}")
    for colour, title in zip(COLOURS, TITLES, strict=False):
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
