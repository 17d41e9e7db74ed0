"""The report's part on several processes."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report_parts import save


def gather(rows: list[dict], figure: Path) -> tuple[list[str], list[str]]:
    """Return no lines on bars, and the section."""
    lines = [
        f"Real processes over gloo on one machine of {rows[0]['cores']} cores, one sample each and nine structures; "
        "microseconds, median (and the slowest tenth), of the first process. A step of the experiments' small network "
        "takes some 250,000 on such a core.",
        "",
        "| processes | bytes that each hands to each other | gather | update of the table |",
        "|---|---|---|---|",
    ]
    for row in rows:
        told = [f"{row[name][0]:.0f} ({row[name][1]:.0f})" for name in ("gather", "update")]
        lines.append(f"| {row['ranks']} | {row['bytes']} | {' | '.join(told)} |")
    shown, axis = plt.subplots(figsize=(5, 3))
    for place, name in enumerate(("gather", "update")):
        at = np.arange(len(rows)) + 0.35 * place
        axis.bar(at, [row[name][0] for row in rows], 0.35, label=name)
    axis.set_xticks(np.arange(len(rows)) + 0.175, [f"{row['ranks']} processes" for row in rows])
    axis.set_ylabel("microseconds, median")
    axis.legend()
    save(shown, figure)
    return [], [*lines, ""]
