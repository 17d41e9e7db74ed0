"""Draw the first picture of Home and README: Dice of uniform and hardness weighted sampling, seed by seed.

    python scripts/home_picture.py

From the results that ``benchmarks/rare.py`` keeps: real fetal brains, 2 of 25 training cases with spina bifida.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

DOCS = Path(__file__).resolve().parents[1] / "docs"
ARMS = {"uniform": ("uniform sampling (nnU-Net's)", "#7f7f7f"), "ours, ess 0.8": ("hardness weighted", "#1f5fbf")}
FIGURES = {
    "common": "normal brains",
    "mean": "all brains",
    "rare": "spina bifida",
    "10th percentile": "10th percentile",
    "worst tenth": "worst tenth",
}


def main() -> None:
    runs = json.loads((DOCS / "benchmarks" / "rare.json").read_text(encoding="utf-8"))
    dice = {(run["arm"], run["seed"]): run for run in runs if run["kind"] == "brains" and run["steps"] == 2000}
    seeds = sorted(seed for arm, seed in dice if arm == "uniform")
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    for place, name in enumerate(FIGURES):
        pairs = np.array([[dice[arm, seed][name] for arm in ARMS] for seed in seeds])
        axis.plot([place - 0.18, place + 0.18], pairs.T, color="#c8c8c8", linewidth=1, zorder=1)
        for side, (told, colour) in enumerate(ARMS.values()):
            x = place + (side - 0.5) * 0.36
            axis.scatter([x] * len(seeds), pairs[:, side], s=16, color=colour, alpha=0.45, zorder=2)
            axis.hlines(
                pairs[:, side].mean(), x - 0.13, x + 0.13, color=colour, linewidth=3, label=None if place else told
            )
        gain = (pairs[:, 1] - pairs[:, 0]).mean()
        axis.annotate(
            f"{round(gain, 1) + 0:+.1f}" if round(gain, 1) else "0.0",
            (place, pairs.max()),
            (0, 6),
            textcoords="offset points",
            ha="center",
        )
    axis.set_xticks(range(len(FIGURES)), FIGURES.values())
    axis.set_ylabel("Dice of held-out brains, points")
    axis.set_ylim(None, axis.get_ylim()[1] + 5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower left")
    figure.savefig(DOCS / "images" / "home.png", dpi=130)


if __name__ == "__main__":
    main()
