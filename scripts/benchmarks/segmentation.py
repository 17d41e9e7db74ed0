"""The section of an experiment through nnU-Net: Dice of held-out cases, a rare group among them."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import SPOILED, STATIC, UNIFORM, paired_interval
from page import COLOURS, Lines, bar_line, points, save, table

SHOWN_CURVES = (UNIFORM, "ours", "paper", "static oversampling")


def worst_tenth(dice: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return CVaR along an axis, as the report has it; a machine that only trains need not have what that needs."""
    from hws_nnunet.report.stats.statistics import cvar

    return cvar(dice, axis=axis)


STATISTICS = {
    "mean": np.mean,
    "10th percentile": lambda dice, axis=-1: np.percentile(dice, 10, axis=axis),
    "CVaR 10 %": worst_tenth,
    "worst case": np.min,
}
GROUPS = ("rare group", "common group")  # where some of the held-out cases are rare


class Results:
    """An experiment's figures: ``dice[arm][seed]`` is ``(evaluations, cases)``, ``steps`` those of the evaluations."""

    def __init__(self, measured: dict):
        self.rare = np.array(measured["rare"])
        self.rows = {arm: rows for arm, rows in measured["arms"].items() if arm != "base"}
        self.dice = {
            arm: {row["seed"]: np.array(row["dice"]) for row in rows} for arm, rows in measured["arms"].items()
        }
        self.steps = self.rows[UNIFORM][0]["steps"]
        base = measured["arms"].get("base")
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
    measured: dict, figure: Path, *, name: str, bar: float | None, level: float, share: str = "rare cases"
) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section.

    Args:
        measured: what the experiment wrote.
        figure: file to write.
        name: the set's.
        bar: what 10th percentile and rare group are to gain, 0 to 1; None where nothing was to be reached.
        level: of the intervals, two-sided.
        share: what the training cases are whose share of the draws is told; empty: none.
    """
    results = Results(measured)
    rare, end, before = results.rare, results.steps[-1], results.base_steps
    origin = f"a checkpoint of {before} uniform ones" if before else "scratch"
    uniform = list(results.dice[UNIFORM].values())
    told = "One seed alone"
    if len(uniform) > 1:
        titles = results.groups() or ("mean",)
        means = [[dice[-1][results.chosen(title)].mean() for dice in uniform] for title in titles]
        told = "Standard deviation between seeds of uniform sampling: " + ", ".join(
            f"{100 * np.std(of, ddof=1):.1f} points in the {title}" for title, of in zip(titles, means, strict=True)
        )
    of_them = f"{rare.sum()} of them rare, " if rare.any() else ""
    worst = max(1.0, len(rare) / 10)
    share_of_one = "" if worst == round(worst) else " (the last one counts by its share)"
    lines = [
        f"Dice in points of {len(rare)} held-out cases, {of_them}after {end - before} steps from {origin}. In "
        f"brackets: difference from uniform sampling in the same seeds and labels, with {level:.0%} bootstrap "
        "intervals over seeds and cases, which are too narrow where seeds are few. CVaR is the mean of the worst "
        f"{worst:g}{share_of_one}. {told}.",
        "",
        *_table(results, level, share),
    ]
    if len(results.steps) > 1:
        lines += ["", *_curve_table(results, level)]
    _figure(results, figure)
    return [] if bar is None else _bars(results, name, bar, level), lines


def _bars(results: Results, name: str, bar: float, level: float) -> Lines:
    arms = {"ours": {"mean": 0.0, "10th percentile": bar, "rare group": bar}, "ours" + SPOILED: {"mean": -0.01}}
    bars = []
    for arm, wanted in arms.items():
        for title, least in wanted.items() if arm in results.rows else ():
            what = f"{name}, spoiled labels, {title}" if arm.endswith(SPOILED) else f"{name}, {title}"
            bars.append(bar_line(what, results.compare(arm, title, level)[1], least))
            if least == bar and STATIC in results.rows:
                told = 100 * results.compare(STATIC, title, level)[1][0]
                bars[-1] += f"; oversampling by hand, told which cases are rare: {points(told)}"
    return bars


def _table(results: Results, level: float, share: str) -> Lines:
    titles = [*STATISTICS, *results.groups()]
    sampler = {"ess": ("ESS", "{:.2f}"), "beta": ("beta", "{:.1f}")}
    if share:
        sampler = {"rare_share": (f"{share}' share of draws", "{:.0%}"), **sampler}
    lines = []
    for arm, rows in results.rows.items():
        compared = {title: results.compare(arm, title, level) for title in titles}
        cells = [_cell(*intervals[:2], sides=title != "worst case") for title, intervals in compared.items()]
        told = [row for row in rows if "ess" in row]
        cells += [form.format(np.mean([r[key] for r in told])) if told else "" for key, (_, form) in sampler.items()]
        lines.append((arm, compared["mean"][2], *cells))
    return table(("sampling", "seeds", *titles, *(title for title, _ in sampler.values())), lines)


def _curve_table(results: Results, level: float) -> Lines:
    """Return who is ahead when: mean and rare group, or the worst tenth, at each evaluation."""
    titles = ("mean", (*results.groups(), "CVaR 10 %")[0])
    at = [(title, number) for title in titles for number in range(len(results.steps))]
    return table(
        ("sampling", *(f"{title}, step {results.steps[number]}" for title, number in at)),
        [(arm, *(_cell(*results.compare(arm, title, level, n)[:2]) for title, n in at)) for arm in results.rows],
    )


def _cell(value: float, difference: tuple | None, *, sides: bool = True) -> str:
    if difference is None:
        return f"{100 * value:.1f}"
    middle, low, high = (100 * figure for figure in difference)
    # Of a smallest value the bootstrap knows one side only.
    return f"{100 * value:.1f} ({points(middle)}" + (f"; {points(low)} to {points(high)})" if sides else ")")


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
