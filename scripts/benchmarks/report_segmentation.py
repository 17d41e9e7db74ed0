"""The report's part on experiments through nnU-Net: Dice of held-out cases, a rare group among them."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import SPOILED, STATIC, UNIFORM, paired_interval
from report_parts import COLOURS, bar_line, save

SHOWN_CURVES = (UNIFORM, "ours", "paper", "static oversampling")


def percentile_10(dice: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the 10th percentile."""
    return np.percentile(dice, 10, axis=axis)


def cvar_10(dice: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean of the worst tenth, of one value or more."""
    worst = np.arange(max(1, round(dice.shape[axis] / 10)))
    return np.take(np.sort(dice, axis=axis), worst, axis=axis).mean(axis=axis)


STATISTICS = {"mean": np.mean, "10th percentile": percentile_10, "CVaR 10 %": cvar_10, "worst case": np.min}
GROUPS = ("rare group", "common group")  # where some of the held-out cases are rare


class Results:
    """An experiment's figures: ``dice[arm][seed]`` is ``(evaluations, cases)``, ``steps`` those of the evaluations."""

    def __init__(self, found: dict):
        self.rare = np.array(found["rare"])
        self.rows = {arm: rows for arm, rows in found["arms"].items() if arm != "base"}
        self.dice = {arm: {row["seed"]: np.array(row["dice"]) for row in rows} for arm, rows in found["arms"].items()}
        self.steps = self.rows[UNIFORM][0]["steps"]
        base = found["arms"].get("base")
        self.base_steps = base[0]["steps"][-1] if base else 0
        # Where seeds hold out other cases, what is resampled in one is not what is resampled in another.
        self.shared_cases = len({tuple(row["cases"]) for row in self.rows[UNIFORM]}) == 1

    def groups(self) -> tuple[str, ...]:
        """Return the columns of groups, none where no held-out case is rare."""
        return GROUPS if self.rare.any() else ()

    def chosen(self, title: str) -> np.ndarray:
        """Return which cases a column is about."""
        return {"rare group": self.rare, "common group": ~self.rare}.get(title, np.ones(len(self.rare), bool))

    def compare(self, arm: str, title: str, level: float, evaluation: int = -1) -> tuple[float, tuple | None, int]:
        """Return an arm's figure, its difference from uniform sampling on the same labels, and the number of seeds."""
        statistic, chosen = STATISTICS.get(title, np.mean), self.chosen(title)
        other_arm = UNIFORM + SPOILED if arm.endswith(SPOILED) else UNIFORM
        seeds = sorted(set(self.dice[arm]) & set(self.dice[other_arm]))
        ours, other = (
            np.stack([self.dice[one][seed][evaluation][chosen] for seed in seeds]) for one in (arm, other_arm)
        )
        value = float(np.mean(statistic(ours, axis=-1)))
        if arm == other_arm:
            return value, None, len(seeds)
        return value, paired_interval(ours, other, statistic, level=level, shared=self.shared_cases), len(seeds)


def segmentation(
    found: dict, name: str, figure: Path, bar: float | None, level: float, share: str = "rare cases"
) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section.

    Args:
        found: what the experiment wrote.
        name: the set's.
        figure: file to write.
        bar: what 10th percentile and rare group are to gain, 0 to 1; None where nothing was to be reached.
        level: of the intervals, two-sided.
        share: what the training cases are whose share of the draws is told; empty: none.
    """
    results = Results(found)
    rare, end = results.rare, results.steps[-1]
    origin = (
        f"{end - results.base_steps} steps from a checkpoint of {results.base_steps} uniform ones"
        if results.base_steps
        else f"{end} steps from scratch"
    )
    uniform = list(results.dice[UNIFORM].values())
    told = "One seed alone"
    if len(uniform) > 1:
        titles = results.groups() or ("mean",)
        scatter = [
            100 * np.std([dice[-1][results.chosen(title)].mean() for dice in uniform], ddof=1) for title in titles
        ]
        told = "Standard deviation between seeds of uniform sampling: " + ", ".join(
            f"{points:.1f} points in the {title}" for title, points in zip(titles, scatter, strict=True)
        )
    of_them = f"{rare.sum()} of them rare, " if rare.any() else ""
    lines = [
        f"Dice in points of {len(rare)} held-out cases, {of_them}after {origin}. In brackets: "
        f"difference from uniform sampling in the same seeds and labels, with {level:.0%} bootstrap intervals over "
        "seeds and cases, which are too narrow where seeds are few. CVaR is the mean of the worst "
        f"{max(1, round(len(rare) / 10))}. {told}.",
        "",
    ]
    table, bars = _table(results, name, bar or 0.0, level, share)
    lines += table
    if len(results.steps) > 1:
        lines += ["", *_curve_table(results, level)]
    _figure(results, figure)
    return [] if bar is None else bars, [*lines, ""]


def _table(results: Results, name: str, bar: float, level: float, share: str) -> tuple[list[str], list[str]]:
    titles = [*STATISTICS, *results.groups()]
    sampler = {"ess": ("ESS", "{:.2f}"), "beta": ("beta", "{:.1f}")}
    if share:
        sampler = {"rare_share": (f"{share}' share of draws", "{:.0%}"), **sampler}
    heads = ["sampling", "seeds", *titles, *(title for title, _ in sampler.values())]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    bars = []
    for arm, rows in results.rows.items():
        cells = []
        for title in titles:
            value, difference, seeds = results.compare(arm, title, level)
            cells.append(_cell(value, difference, sides=title != "worst case"))
            if arm == "ours" and title in ("10th percentile", "rare group"):
                line = bar_line(f"{name}, {title}", difference, bar)
                if STATIC in results.rows:
                    told = 100 * results.compare(STATIC, title, level)[1][0]
                    line += f"; oversampling by hand, told which cases are rare: {told:+.1f}"
                bars.append(line)
            if arm == "ours" and title == "mean":
                bars.append(bar_line(f"{name}, mean", difference, 0.0))
            if arm == "ours" + SPOILED and title == "mean":
                bars.append(bar_line(f"{name}, spoiled labels, mean", difference, -0.01))
        told = [row for row in rows if "ess" in row]
        for key, (_, form) in sampler.items():
            cells.append(form.format(np.mean([row[key] for row in told])) if told else "")
        lines.append("| " + " | ".join([arm, str(seeds), *cells]) + " |")
    return lines, bars


def _curve_table(results: Results, level: float) -> list[str]:
    """Return who is ahead when: mean and rare group, or the worst tenth, at each evaluation."""
    titles = [
        (title, at) for title in ("mean", (*results.groups(), "CVaR 10 %")[0]) for at in range(len(results.steps))
    ]
    lines = ["| sampling | " + " | ".join(f"{title}, step {results.steps[at]}" for title, at in titles) + " |"]
    lines.append("|---" * (len(titles) + 1) + "|")
    for arm in results.rows:
        cells = [_cell(*results.compare(arm, title, level, at)[:2]) for title, at in titles]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: float, difference: tuple | None, *, sides: bool = True) -> str:
    if difference is None:
        return f"{100 * value:.1f}"
    middle, low, high = (100 * figure for figure in difference)
    # Of a smallest value the bootstrap knows one side only.
    return f"{100 * value:.1f} ({middle:+.1f}" + (f"; {low:+.1f} to {high:+.1f})" if sides else ")")


def _figure(results: Results, path: Path) -> None:
    """Draw each seed's figures at the end, and against steps the mean of seeds, of arms that have all of them."""
    arms, all_seeds = list(results.rows), len(results.dice[UNIFORM])
    shown = plt.figure(figsize=(15, 0.4 * len(arms) + 6))
    grid = shown.add_gridspec(2, 6, height_ratios=[0.4 * len(arms) + 1, 4])
    first = None
    for column, title in enumerate(("mean", "10th percentile", (*results.groups(), "CVaR 10 %")[0])):
        axis = first = shown.add_subplot(grid[0, 2 * column : 2 * column + 2], sharey=first)
        statistic, chosen = STATISTICS.get(title, np.mean), results.chosen(title)
        for place, arm in enumerate(arms):
            values = [100 * statistic(dice[-1][chosen]) for dice in results.dice[arm].values()]
            axis.scatter(values, [place] * len(values), c=[COLOURS[seed % 10] for seed in results.dice[arm]], s=25)
            if len(values) == all_seeds:  # means of other seeds do not compare
                axis.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color="black")
        axis.set_yticks(range(len(arms)), arms)
        axis.tick_params(labelleft=column == 0)
        axis.set_title(f"{title}: Dice, %; one colour a seed")
        axis.grid(alpha=0.3, axis="x")
    first.invert_yaxis()
    for column, title in enumerate(results.groups() or ("mean", "10th percentile")):
        axis = shown.add_subplot(grid[1, 3 * column : 3 * column + 3])
        statistic, chosen = STATISTICS.get(title, np.mean), results.chosen(title)
        for arm in (arm for arm in SHOWN_CURVES if len(results.dice.get(arm, ())) == all_seeds):
            seeds = list(results.dice[arm])
            points = np.mean([statistic(results.dice[arm][seed][:, chosen], axis=1) for seed in seeds], axis=0)
            steps = results.steps
            if results.base_steps:
                before = np.mean([statistic(results.dice["base"][seed][-1][chosen]) for seed in seeds])
                points, steps = [before, *points], [results.base_steps, *steps]
            axis.plot(steps, 100 * np.array(points), marker="o", label=arm, lw=2.5 if arm == "ours" else 1.5)
        axis.set_title(f"{title}: Dice, %, mean of seeds")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axis.legend()
    save(shown, path)
