"""The report's part on the digits: accuracy of classes against steps."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import STATIC, UNIFORM, paired_interval
from report_parts import COLOURS, bar_line, save

SHOWN = dict(zip((UNIFORM, "ours", "ours without stall_limit", "paper", STATIC), COLOURS, strict=False))


def digits(found: dict, figure: Path) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section."""
    runs = {(run["rate"], run["arm"], run["spoiled"]): run for run in found["runs"]}
    every, lines, bars = found["every"], [], []
    rates = sorted({rate for rate, _, _ in runs})
    shown, axes = plt.subplots(1, len(rates), figsize=(5 * len(rates), 4), sharey=True, squeeze=False)
    for rate, axis in zip(rates, axes[0], strict=True):
        uniform = {key: np.array(runs[rate, UNIFORM, False][key]) for key in ("mean", "worst")}
        steps = every * np.arange(1, uniform["worst"].shape[1] + 1)
        half = int(np.argmax(uniform["worst"].mean(0) >= uniform["worst"][:, -1].mean() / 2))
        learnt = uniform["worst"][:, -1].mean() >= 0.1
        lines += [
            f"### Learning rate {rate:g}, {len(uniform['worst'])} seeds",
            "",
            f"Uniform sampling reaches half of its final worst class at step {steps[half]} of {steps[-1]}. "
            + ("" if learnt else "(It has hardly begun to learn the class: look at the end instead.) ")
            + "Accuracy in points; differences from uniform sampling on the same labels, with 95 % bootstrap "
            "intervals.",
            "",
            f"| sampling | worst class, step {steps[half]} | difference | worst class, end | difference | mean, end | "
            "difference | ESS, end |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for (_, arm, spoiled), run in ((key, run) for key, run in runs.items() if key[0] == rate):
            worst, mean = np.array(run["worst"]), np.array(run["mean"])
            base = {key: np.array(runs[rate, UNIFORM, spoiled][key]) for key in ("mean", "worst")}
            cells = [f"{arm}{', 5 % of labels spoiled' if spoiled else ''}"]
            pairs = [
                (worst[:, half], base["worst"][:, half]),
                (worst[:, -1], base["worst"][:, -1]),
                (mean[:, -1], base["mean"][:, -1]),
            ]
            for ours, other in pairs:
                cells += [f"{100 * ours.mean():.1f}", "" if arm == UNIFORM else _points(ours, other)]
            ess = [value for value in run["ess"] if value is not None]
            lines.append("| " + " | ".join([*cells, f"{np.mean(ess):.2f}" if ess else ""]) + " |")
            if not spoiled and arm in SHOWN:
                axis.plot(steps, 100 * worst.mean(0), label=arm, color=SHOWN[arm], lw=2.5 if arm == "ours" else 1.5)
            if arm == "ours" and not spoiled:
                difference = paired_interval(worst[:, half], base["worst"][:, half])
                bars.append(bar_line(f"digits, learning rate {rate:g}, worst class", difference, 0.15))
            if arm == "ours" and spoiled:
                difference = paired_interval(mean[:, -1], base["mean"][:, -1])
                bars.append(bar_line("digits, 5 % of labels spoiled, mean at the end", difference, -0.01))
        lines.append("")
        axis.set_title(f"learning rate {rate:g}")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy of the worst class, %, mean of seeds")
    axes[0][-1].legend(fontsize=8, loc="center right")
    save(shown, figure)
    return bars, lines


def _points(ours: np.ndarray, other: np.ndarray) -> str:
    difference, low, high = paired_interval(ours, other)
    return f"{100 * difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
