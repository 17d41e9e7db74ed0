"""The report's part on draws and answers in nnU-Net's pipeline."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from nnunet_feedback import EVERY
from report_parts import save


def feedback(rows: list[dict], figure: Path) -> tuple[list[str], list[str]]:
    """Return no lines on bars, and the section."""
    arms: dict[str, list[dict]] = {}
    for row in rows:
        arms.setdefault(row["arm"], []).append(row)
    lines = [
        f"{rows[0]['cases']} cases, batches of 2, two workers; of several seeds the mean, of longest and largest the "
        "largest. Total variation is the distance between the shares of realised draws and the mean of what was "
        "intended at each of them; in brackets what free draws of that number would have by their scatter alone.",
        "",
        "| sampling | seeds | lag in steps: median | largest | total variation | most batches on end with one case | "
        "steps until all cases were seen | smallest ESS | ESS, end |",
        "|---" * 9 + "|",
    ]
    shown, axis = plt.subplots(figsize=(9, 4))
    for arm, found in arms.items():
        mean = {
            key: np.mean([row[key] for row in found if key in row])
            for key in ("total_variation", "total_variation_of_free_draws")
        }
        seen = [row["steps_until_all_seen"] for row in found]
        ess = [row["ess"] for row in found if row["ess"]]
        lines.append(
            f"| {arm} | {len(found)} | {np.mean([row['lag'][0] for row in found]):.0f} | "
            f"{max(row['lag'][1] for row in found)} | {mean['total_variation']:.3f} "
            f"({mean['total_variation_of_free_draws']:.3f}) | {max(row['longest_run'] for row in found)} | "
            f"{'not all' if None in seen else round(float(np.mean(seen)))} | "
            f"{min(min(values) for values in ess):.2f} | {np.mean([values[-1] for values in ess]):.2f} |"
        )
        curve = ess[0]
        last = EVERY * len(curve)
        axis.plot(np.arange(1, len(curve) + 1) * EVERY, curve, label=arm, lw=2.5 if arm == "ours" else 1.2)
    axis.set_xlabel(f"weighted step (of {last})")
    axis.set_ylabel("effective sample size, share of the cases")
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, ncol=3, loc="upper center")
    save(shown, figure)
    return [], [*lines, ""]
