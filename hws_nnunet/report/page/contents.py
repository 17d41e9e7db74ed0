"""What a report says, as sections of text, tables and figures; ``render.py`` makes Markdown and HTML of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hws_nnunet.messages import number as counted
from hws_nnunet.report.page import plots
from hws_nnunet.report.page.answers import Answer, answers, disagreeing, piece_name, pieces
from hws_nnunet.report.page.rules import rules
from hws_nnunet.report.read.results import AVERAGE, METRICS, Metric, ResultSet
from hws_nnunet.report.stats.analysis import ALL_CASES, Analysis, difference_table, where, worst_cases
from hws_nnunet.report.stats.comparison import Paired

_MOST_CHANGED = 10
_ORDINAL = {"p5": "5th", "p10": "10th", "p25": "25th", "p75": "75th", "p90": "90th", "p95": "95th"}
_TITLES = {"sd": "SD", "iqr": "IQR", "cvar_10": "CVaR 10 %", "left_out": "left out"}
_TITLES |= {key: f"{ordinal} perc." for key, ordinal in _ORDINAL.items()}
_TITLES |= {"wilcoxon_p": "Wilcoxon p", "wilcoxon_p_holm": "Wilcoxon, Holm"}
_TITLES |= {"permutation_p": "permutation p", "permutation_p_holm": "permutation, Holm"}


@dataclass(frozen=True)
class Table:
    """Rows of text; the first ``names`` columns are text, the others numbers. ``folded`` tables open on a click.

    A table ``on_page`` is too long for the Markdown.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    title: str = ""
    folded: bool = False
    on_page: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure for Plotly, what it shows, and where its numbers are to be read."""

    plot: plots.Plot
    caption: str
    numbers: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in the order of the fields."""

    title: str
    answers: tuple[Answer, ...] = ()
    text: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


def number(value: object, *, digits: int = 3) -> str:
    """Return a number as a table shows it; a dash for what is not known."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def p_value(value: float) -> str:
    """Return a p value as a table shows it."""
    return "< 0.001" if value < 0.001 else number(value)


def signed(value: float, metric: Metric) -> str:
    """Return a difference as a table shows it."""
    return number(value) if math.isnan(value) else f"{value:+.{metric.digits}f}"


def _table(
    frame: pd.DataFrame, keys: Sequence[str] | Mapping[str, str], names: int, title: str, digits: int = 3, **more: bool
) -> Table:
    """Lay a frame out: ``keys`` of the columns, perhaps with headings; ``folded`` and ``on_page`` may be given."""
    headings = keys.values() if isinstance(keys, Mapping) else [_TITLES.get(key, key) for key in keys]
    columns = [[number(value, digits=digits) for value in frame[key]] for key in keys]
    return Table(tuple(headings), tuple(zip(*columns, strict=True)), names, title, **more)


def sections(analysis: Analysis, *, tolerance: float) -> list[Section]:
    """Return the report's sections, figures drawn, what it answers first.

    Args:
        analysis: all that is to be said.
        tolerance: of the normalised surface Dice where it was computed, in millimetres.
    """
    metrics = [m for m in METRICS if any(m in one.metrics for one in analysis.sets)]
    parts = [_answers(analysis)]
    parts += [_comparison(analysis, place) for place in range(1, len(analysis.sets))]
    parts += [*(_metric(analysis, metric) for metric in metrics), _worst(analysis), _cases(analysis)]
    return [*parts, _sources(analysis), Section("How the figures are made", text=rules(analysis, tolerance=tolerance))]


def _answers(analysis: Analysis) -> Section:
    dice = METRICS[0]
    picture = _distributions(analysis, dice)
    if len(analysis.sets) > 1:
        what = "structure and subgroup" if analysis.groups else "structure"
        picture = Picture(
            plots.changes(analysis, dice),
            f"Who gains and who loses: difference of mean Dice by {what}, largest loss first, "
            "with 95 % intervals; left of 0 is worse",
            "the first table of each comparison",
        )
    text = (f"Result sets has {counted(len(analysis.notes), 'note')} on the input.",) if analysis.notes else ()
    return Section("Answers", answers=tuple(answers(analysis)), pictures=(picture,), text=text)


def _sources(analysis: Analysis) -> Section:
    rows = [
        (one.name, one.source, one.surface_tool or "–", str(len(one.cases)), str(len(one.labels)))
        for one in analysis.sets
    ]
    table = Table(("set", "source", "HD95 and surface Dice by", "cases", "labels"), tuple(rows), 3)
    return Section("Result sets", text=tuple(f"Note: {note}." for note in analysis.notes), tables=(table,))


def _distributions(analysis: Analysis, metric: Metric) -> Picture:
    caption = (
        f"{metric.title} of each case, by subgroup: a point a case, moved sideways to be seen; boxes: quartiles and "
        "median, whiskers: 5th to 95th percentile, all interpolated, so that they need not end at a case"
    )
    return Picture(plots.distributions(analysis, metric), caption, f"the tables of {metric.title}, and Cases")


def _cases(analysis: Analysis) -> Section:
    values = where(analysis.values, missed=1)
    missed = values[values.label != AVERAGE].groupby(["set", "case"])["label"].agg(", ".join)
    wide = analysis.wide("dice").reset_index().merge(missed.rename("missed"), how="left", on=["set", "case"])
    wide = wide.sort_values(["case", "set"]).replace({"subgroup": {ALL_CASES: "–"}})
    columns = ("case", "set", "subgroup", "missed", AVERAGE, *analysis.sets[0].labels)
    table = _table(wide, columns, 4, "Dice of every case and structure", on_page=True, folded=True)
    text = "A click on a point of a figure, or on a case's name, shows the case here."
    return Section("Cases", text=(text,), tables=(table,))


def _metric(analysis: Analysis, metric: Metric) -> Section:
    tail = ("p25", "p10", "p5", "min") if metric.higher_is_better else ("p75", "p90", "p95", "max")
    flags = ("failed", "missed", "invented") if metric.key == "dice" else ()
    keys = ("cases", "mean", "sd", "median", "iqr", *tail, "cvar_10", *flags, "left_out")
    rows = where(analysis.statistics, metric=metric.key).replace({"subgroup": {ALL_CASES: "all cases"}})
    average, labels = rows[rows.label == AVERAGE], rows[rows.label != AVERAGE]
    better, title, digits = ("Higher" if metric.higher_is_better else "Lower"), metric.title, metric.digits
    text = [f"{better} is better. CVaR: the mean of the worst 10 % of the cases."]
    tables = [_table(average, ("set", "subgroup", *keys), 2, f"{title}, average of a case's labels", digits=digits)]
    if len(analysis.gaps):
        gaps = where(analysis.gaps, metric=metric.key)
        for row in where(gaps, label=AVERAGE, statistic="mean").to_dict("records"):
            text.append(
                f"{row['set']}: worst subgroup {row['worst']} (mean {number(row['worst_value'], digits=digits)}, "
                f"{row['worst_cases']} cases), {number(row['gap'], digits=digits)} from the best, {row['best']} "
                f"({number(row['best_value'], digits=digits)}, {row['best_cases']} cases)."
            )
        columns = {key: key for key in ("set", "label")} | {"statistic": "figure", "worst": "worst subgroup"}
        columns |= {"best": "best subgroup", "worst_cases": "cases", "worst_value": "worst", "best_cases": "cases "}
        columns |= {"best_value": "best", "gap": "gap"}
        gaps = gaps.replace({"statistic": _TITLES})
        tables.append(_table(gaps, columns, 5, f"{title}: gaps between subgroups", digits=digits, folded=True))
    about = ("label", "set", "subgroup", *keys)
    tables.append(_table(labels, about, 3, f"{title} of each label", digits=digits, folded=len(analysis.groups) > 0))
    if metric.key == "dice":
        text += foreground_means(analysis.sets)
    shown = metric.key == "dice" and len(analysis.sets) == 1  # among the answers
    pictures = () if shown else (_distributions(analysis, metric),)
    return Section(metric.axis, text=tuple(text), tables=tuple(tables), pictures=pictures)


def foreground_means(sets: Sequence[ResultSet]) -> list[str]:
    """Return what nnU-Net's own mean of Dice is beside the report's, and why they differ."""
    ours = [float(np.nanmean(one.values("dice")[:, -1])) if np.isfinite(one.dice).any() else math.nan for one in sets]
    theirs = [one.foreground_mean for one in sets]
    told = ", ".join(f"{one.name} {number(a)} and {number(b)}" for one, a, b in zip(sets, ours, theirs, strict=True))
    text = (
        f"Mean over cases of the average of a case's labels, and nnU-Net's foreground_mean: {told}. The latter is the "
        "mean over labels of their means over cases: a label that few cases have counts there as much as one that all "
        "have, and here only in those cases."
    )
    if np.argsort(ours, kind="stable").tolist() != np.argsort(theirs, kind="stable").tolist():
        text += " The two put the sets into different orders."
    return [text]


def _worst(analysis: Analysis) -> Section:
    metric = METRICS[0]
    columns = {"case": "case", "subgroup": "subgroup", "label": "worst label", "missed": "missed"}
    columns |= {"value": "average Dice", "label_value": "Dice of the worst label"}
    tables, pictures = [], []
    for one in analysis.sets:
        frame = pd.DataFrame(worst_cases(one, metric), columns=list(columns))
        frame["subgroup"] = [analysis.group_of.get(case, "–") for case in frame["case"]]
        tables.append(_table(frame, columns, 4, one.name))
        caption = f"Worst cases of {one.name}: bars: averages, their pattern the subgroup; marks: structures"
        pictures.append(Picture(plots.worst(analysis, one, metric), caption, f"the table {one.name} below, and Cases"))
    return Section("Worst cases", pictures=tuple(pictures), tables=tuple(tables))


def _comparison(analysis: Analysis, place: int) -> Section:
    baseline, other = analysis.sets[0], analysis.sets[place]
    tables, split = [], []
    for metric in METRICS:
        if (other.name, metric.key) in analysis.comparisons:
            paired = analysis.comparisons[other.name, metric.key]
            fine = pieces(analysis, other.name, metric.key) if analysis.groups else []
            tables += [_fine_table(analysis, fine, other.name, metric)] if fine else []
            tables += _paired_tables(paired, metric)
            split += [f"{metric.title} of {piece_name(row)}" for row in disagreeing([*paired, *fine])]
    changed = where(difference_table(analysis), set=other.name)
    columns = {"case": "case", "subgroup": "subgroup", "baseline_dice": baseline.name, "dice": other.name}
    columns |= {"change": "difference"}
    changed = changed.assign(change=[signed(value, METRICS[0]) for value in changed.difference])
    changed = changed.replace({"subgroup": {ALL_CASES: "–"}})
    for title, rows in (
        ("Cases that got worse most", changed[changed.difference < 0]),
        ("Cases that got better most", changed[changed.difference > 0][::-1]),
    ):
        if len(rows):
            tables.append(_table(rows.head(_MOST_CHANGED), columns, 2, title))
    better, worse = (changed.difference > 0).sum(), (changed.difference < 0).sum()
    text = [
        f"Differences are {other.name} less {baseline.name}, case by case, over the cases of both; in brackets 95 % "
        f"bootstrap intervals. Average Dice is higher in {better}, lower in {worse} and the same in "
        f"{len(changed) - better - worse} of {len(changed)} cases.",
        "The two tests ask different things: Wilcoxon's whether cases tend to be better or worse, by the ranks of "
        "their differences, the permutation test whether their mean differs, so that many small gains beside a few "
        "large losses can pass the one and not the other. "
        + (f"Here they disagree, at 0.05 after Holm's correction, on {', '.join(split)}." if split else ""),
    ]
    caption = (
        f"Sorted cases of {other.name} and {baseline.name}: each set by itself, worst first; grey: the worst tenth"
    )
    picture = Picture(plots.sorted_cases(analysis, other, METRICS[0]), caption, "the table of Dice, and Cases")
    return Section(f"{other.name} against {baseline.name}", text=tuple(text), pictures=(picture,), tables=tuple(tables))


def _fine_table(analysis: Analysis, fine: Sequence[Paired], name: str, metric: Metric) -> Table:
    frame = _paired(fine).rename(columns={"mean": "difference"})
    both = {"baseline": analysis.sets[0].name, "other": name}
    for key, each in both.items():
        failed = where(analysis.values, set=each, failed=1)
        frame[f"mean, {each}"] = [getattr(one.statistics["mean"], key) for one in fine]
        frame[f"failed, {each}"] = [where(failed, label=one.label)["case"].isin(one.cases).sum() for one in fine]
    figures_of = ("mean", "failed") if metric.key == "dice" else ("mean",)
    keys = ["label", "subgroup", "difference", *(f"{what}, {each}" for what in figures_of for each in both.values())]
    keys += ["cases", "better", "worse", "wilcoxon_p_holm", "permutation_p_holm"]
    title = f"Differences in mean {metric.axis} by label and subgroup, largest loss first"
    return _table(frame, keys, 2, title, digits=metric.digits)


def _paired_tables(paired: Sequence[Paired], metric: Metric) -> list[Table]:
    """Return the differences with their intervals, and the tests; together they would not fit a page's width."""
    frame, about = _paired(paired), ("label", "subgroup", "cases")
    tests = (*about, "left_out", "better", "worse", *paired[0].tests())
    return [
        _table(frame, (*about, *paired[0].statistics), 2, f"Differences in {metric.axis}"),
        _table(frame, tests, 2, f"Tests of differences in {metric.axis}", folded=True),
    ]


def _paired(rows: Sequence[Paired]) -> pd.DataFrame:
    """Return comparisons, a row each, of what a table shows."""
    frame = pd.DataFrame(
        one.counts()
        | {name: _interval(one, name) for name in one.statistics}
        | {key: p_value(p) for key, p in one.tests().items()}
        for one in rows
    )
    return frame.replace({"subgroup": {ALL_CASES: "all cases"}})


def _interval(one: Paired, name: str) -> str:
    statistic, metric = one.statistics[name], one.metric
    ends = f" [{signed(statistic.low, metric)}, {signed(statistic.high, metric)}]"
    return signed(statistic.difference, metric) + ("" if math.isnan(statistic.low) else ends)
