"""The report's part on the batch sampler in a DataLoader."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report_parts import save

_BAR = 0.98


def loader(rows: list[dict], figure: Path) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section."""
    lines = [
        "100,000 samples of about a millisecond each, batches of 64; median over rounds, and the ratio to the plain "
        "sampler round by round, with its quartiles.",
        "",
        "| workers | sampler | samples a second | of the plain one |",
        "|---|---|---|---|",
    ]
    bars = []
    for row in rows:
        low, middle, high = row["of_plain"]
        told = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        lines.append(f"| {row['workers']} | {row['sampler']} | {row['samples_a_second']:,} | {told} |")
        if row["sampler"] == "ours":
            reached = "reached" if middle >= _BAR else "NOT reached"
            bars.append(
                f"- loader, {row['workers']} workers: {middle:.3f} of the plain sampler's samples a second "
                f"(bar: {_BAR}): {reached}"
            )
    shown, axis = plt.subplots(figsize=(6, 3))
    middles = np.array([row["of_plain"] for row in rows])
    spread = np.abs(middles[:, [0, 2]] - middles[:, [1]]).T
    axis.errorbar(range(len(rows)), middles[:, 1], yerr=spread, fmt="o", capsize=4)
    axis.axhline(_BAR, color="grey", linestyle="--")
    axis.set_xticks(range(len(rows)), [f"{row['sampler']}\n{row['workers']} workers" for row in rows])
    axis.set_ylabel("of the plain sampler's rate")
    save(shown, figure)
    return bars, [*lines, ""]
