"""The report's part on ``groups.py``: what do groups that people know add?"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report_parts import COLOURS, save

_COLUMNS = ("tilt_early", "tilt", "times_early", "times")


def groups(runs: list[dict], figure: Path) -> tuple[list[str], list[str]]:
    """Return no lines on bars, and the section."""
    found: dict[tuple, list[dict]] = {}
    for run in runs:
        found.setdefault((run["kind"], run["cases"], run["arm"]), []).append(run)
    seeds = max(map(len, found.values()))
    lines = [
        "Simulated trainings as under Scale; one case in twenty is of a rare group. Between: its cases are harder by "
        "0.10, all else is alike; both: cases of one group differ, too (standard deviation 0.05); within: groups mean "
        "nothing, cases differ (0.10). Tilt: mean true hardness of what is drawn, in standard deviations; times: how "
        "many times as often as uniformly the rare group is drawn; each over the first ten epochs after the first "
        f"sweep, then over the rest. Means of {seeds} trainings.",
        "",
        "| kind | cases | hardness is | tilt, first | tilt, then | times, first | times, then | pooling at the end |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, cases, arm), of in found.items():
        cells = [f"{np.mean([run[name] for run in of]):.2f}" for name in _COLUMNS]
        pooling = "" if of[0]["pooling"] is None else f"{np.mean([run['pooling'] for run in of]):.2f}"
        lines.append(f"| {kind} | {cases:,} | {arm} | " + " | ".join(cells) + f" | {pooling} |")
    kinds, arms, sizes = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 2, 1))
    shown, axes = plt.subplots(1, len(kinds), figsize=(4 * len(kinds), 3.4), sharey=True, squeeze=False)
    for kind, axis in zip(kinds, axes[0], strict=True):
        for arm, colour, line in zip(arms, COLOURS, ("-", "-", "--"), strict=False):
            tilts = [np.mean([run["tilt_early"] for run in found[kind, size, arm]]) for size in sizes]
            axis.semilogx(sizes, tilts, marker="o", color=colour, linestyle=line, label=arm)
        axis.set(title=kind, xlabel="cases")
    axes[0, 0].set_ylabel("tilt, first ten weighted epochs")
    axes[0, 0].legend(fontsize=8)
    save(shown, figure)
    return [], [*lines, ""]
