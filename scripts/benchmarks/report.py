"""Write docs/benchmarks.md and its figures from the experiments' JSON files.

    python scripts/benchmarks/report.py [--results docs/benchmarks]

The folder holds ``digits.json`` and ``phantom.json`` as the experiments wrote them; what is not there is said to be.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import STATIC, UNIFORM, paired_interval

from hws_nnunet.files import whole_file

ROOT = Path(__file__).resolve().parents[2]
COLOURS = plt.get_cmap("tab10").colors
SHOWN = dict(zip((UNIFORM, "ours", "ours, ess 0.1", "paper", STATIC), COLOURS, strict=False))


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
                difference, low, _ = paired_interval(worst[:, half], base["worst"][:, half])
                bars.append(_bar(f"digits, learning rate {rate:g}, worst class", difference, low, 0.15))
            if arm == "ours" and spoiled:
                difference, *_ = paired_interval(mean[:, -1], base["mean"][:, -1])
                bars.append(
                    f"- digits, 5 % of labels spoiled, mean at the end: {100 * difference:+.1f} points (bar: not more "
                    f"than 1 below): {'reached' if difference >= -0.01 else 'NOT reached'}"
                )
        lines.append("")
        axis.set_title(f"learning rate {rate:g}")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy of the worst class, %, mean of seeds")
    axes[0][-1].legend(fontsize=8, loc="center right")
    _save(shown, figure)
    return bars, lines


def percentile_10(dice: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the 10th percentile."""
    return np.percentile(dice, 10, axis=axis)


def cvar_10(dice: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the worst tenth, of one value or more."""
    worst = np.arange(max(1, round(dice.shape[axis] / 10)))
    return np.take(np.sort(dice, axis=axis), worst, axis=axis).mean(axis=axis)


STATISTICS = {"mean": np.mean, "10th percentile": percentile_10, "CVaR 10 %": cvar_10, "worst case": np.min}


def segmentation(found: dict, name: str, figure: Path, bar: float, level: float) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section, of an experiment with Dice of cases in groups."""
    rare = np.array(found["rare"])
    arms = {
        arm: {row["seed"]: np.array(row["dice"]) for row in rows}
        for arm, rows in found["arms"].items()
        if arm != "base"
    }
    groups = {"rare group": rare, "common group": ~rare}
    titles = [*STATISTICS, *groups]
    lines = [
        f"Dice in points of {len(rare)} held-out cases, {rare.sum()} of them rare, after {found['steps'][1]} steps "
        f"from a checkpoint of {found['steps'][0]} uniform ones. In brackets: difference from uniform sampling in the "
        f"same seeds, with {level:.0%} bootstrap intervals over seeds and cases, which are too narrow where seeds are "
        "few. CVaR is the mean of "
        f"the worst {max(1, round(len(rare) / 10))}.",
        "",
    ]
    lines += ["| sampling | seeds | " + " | ".join(titles) + " | rare cases' share of draws | ESS | beta |"]
    lines.append("|---" * (len(titles) + 5) + "|")
    bars = []
    for arm, rows in arms.items():
        seeds = sorted(set(rows) & set(arms[UNIFORM]))
        ours, other = (np.stack([dice[seed] for seed in seeds]) for dice in (rows, arms[UNIFORM]))
        cells = [arm, str(len(seeds))]
        for title in titles:
            statistic = STATISTICS.get(title, np.mean)
            chosen = groups.get(title, np.ones(len(rare), bool))
            value = np.mean([statistic(dice) for dice in ours[:, chosen]])
            text = f"{100 * value:.1f}"
            if arm != UNIFORM:
                difference, low, high = paired_interval(ours[:, chosen], other[:, chosen], statistic, level=level)
                # Of a smallest value the bootstrap knows one side only.
                ends = "" if title == "worst case" else f"; {100 * low:+.1f} to {100 * high:+.1f}"
                text += f" ({100 * difference:+.1f}{ends})"
                if arm == "ours" and title in ("10th percentile", "rare group"):
                    bars.append(_bar(f"{name}, {title}", difference, low, bar))
                if arm == "ours" and title == "mean":
                    bars.append(_bar(f"{name}, mean", difference, low, 0.0))
            cells.append(text)
        told = [row for row in found["arms"][arm] if "ess" in row]
        for key, form in (("rare_share", "{:.0%}"), ("ess", "{:.2f}"), ("beta", "{:.1f}")):
            cells.append(form.format(np.mean([row[key] for row in told])) if told else "")
        lines.append("| " + " | ".join(cells) + " |")
    shown, axes = plt.subplots(1, 3, figsize=(15, 0.5 * len(arms) + 1.5), sharey=True)
    for axis, title in zip(axes, ("mean", "10th percentile", "rare group"), strict=True):
        statistic, chosen = STATISTICS.get(title, np.mean), groups.get(title, np.ones(len(rare), bool))
        for place, rows in enumerate(arms.values()):
            values = [100 * statistic(dice[chosen]) for dice in rows.values()]
            colours = [COLOURS[seed % 10] for seed in rows]
            axis.scatter(values, [place] * len(values), c=colours, s=25)
            axis.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color="black")
        axis.set_yticks(range(len(arms)), list(arms))
        axis.set_title(f"{title}: Dice, %; one colour a seed")
        axis.grid(alpha=0.3, axis="x")
    axes[0].invert_yaxis()
    _save(shown, figure)
    return bars, [*lines, ""]


def _points(ours: np.ndarray, other: np.ndarray) -> str:
    difference, low, high = paired_interval(ours, other)
    return f"{100 * difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _bar(name: str, difference: float, low: float, bar: float) -> str:
    reached = difference >= bar and (low > 0 or bar == 0)
    return (
        f"- {name}: {100 * difference:+.1f} points, interval from {100 * low:+.1f} (bar: {100 * bar:+.0f}): "
        f"{'reached' if reached else 'NOT reached'}"
    )


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=90, format="png")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "benchmarks")
    args = parser.parse_args()
    bars, sections = [], []
    bar = {"name": "phantom", "bar": 0.08, "level": 0.95}
    parts = {
        "digits": ("Digits: a plain PyTorch loop", digits, {}),
        "phantom": ("Phantom: nnU-Net v2 on made-up brains", segmentation, bar),
    }
    for part, (title, make, options) in parts.items():
        sections += [f"## {title}", ""]
        file = args.results / f"{part}.json"
        if not file.exists():
            sections += [f"Not measured yet: `python scripts/benchmarks/{part}.py`.", ""]
            bars.append(f"- {part}: not measured yet")
            continue
        figure = args.results / f"{part}.png"
        found = json.loads(file.read_text())
        new, lines = make(found, figure=figure, **options)
        bars += new
        intro = [f"`python scripts/benchmarks/{part}.py`", ""]
        sections += [*intro, *lines, f"![{title}]({args.results.name}/{figure.name})", ""]
    head = [
        "# Benchmarks",
        "",
        "Written by `scripts/benchmarks/report.py` from `docs/benchmarks/*.json`, not by hand.",
        "",
        "## What was to be reached, and what was",
        "",
        *bars,
        "",
    ]
    with whole_file(args.results.parent / "benchmarks.md") as partial:
        partial.write_text("\n".join([*head, *sections]).rstrip() + "\n", encoding="utf-8")
    print("\n".join(bars))


if __name__ == "__main__":
    main()
