"""What a report says, as sections of text, tables and figures; ``render.py`` makes Markdown and HTML of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hws_nnunet.evaluation.analysis import Analysis, Row, difference_table, where, worst_cases
from hws_nnunet.evaluation.comparison import Paired
from hws_nnunet.evaluation.plots import plot_distributions, plot_sorted, plot_worst
from hws_nnunet.evaluation.results import AVERAGE, METRICS, Metric
from hws_nnunet.evaluation.rules import rules

_MOST_CHANGED = 10
_ORDINAL = {"p5": "5th", "p10": "10th", "p25": "25th", "p75": "75th", "p90": "90th", "p95": "95th"}
_TITLES = {"sd": "SD", "iqr": "IQR", "cvar_10": "CVaR 10 %", "left_out": "left out"}
_TITLES |= {key: f"{ordinal} perc." for key, ordinal in _ORDINAL.items()}


@dataclass(frozen=True)
class Table:
    """Rows of text; the first ``names`` columns are text, the others numbers. ``folded`` tables open on a click."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A PNG file, what it is called, and what it shows."""

    file: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in the order of the fields."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


def number(value: object, digits: int = 3) -> str:
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
    rows: Sequence[Row], keys: Sequence[str] | Mapping[str, str], names: int, title: str, **more: object
) -> Table:
    """Lay rows out: ``keys`` of the columns, perhaps with headings; ``digits`` and ``folded`` may be given."""
    digits = more.pop("digits", 3)
    headings = keys.values() if isinstance(keys, Mapping) else (_TITLES.get(key, key) for key in keys)
    cells = [
        tuple("all cases" if (key, row[key]) == ("subgroup", "") else number(row[key], digits) for key in keys)
        for row in rows
    ]
    return Table(tuple(headings), tuple(cells), names, title, **more)


def sections(analysis: Analysis, *, tolerance: float) -> list[Section]:
    """Return the report's sections, figures drawn.

    Args:
        analysis: all that is to be said.
        tolerance: of the normalised surface Dice where it was computed, in millimetres.
    """
    metrics = [m for m in METRICS if any(m in one.metrics for one in analysis.sets)]
    found = [_sources(analysis), *(_metric(analysis, metric) for metric in metrics), _worst(analysis)]
    found += [_comparison(analysis, place) for place in range(1, len(analysis.sets))]
    return [*found, Section("How the figures are made", rules(analysis, tolerance=tolerance))]


def _sources(analysis: Analysis) -> Section:
    rows = [
        (one.name, one.source, one.surface_tool or "–", str(len(one.cases)), str(len(one.labels)))
        for one in analysis.sets
    ]
    table = Table(("set", "source", "HD95 and surface Dice by", "cases", "labels"), tuple(rows), 3)
    return Section("Result sets", tuple(f"Note: {note}." for note in analysis.notes), (table,))


def _metric(analysis: Analysis, metric: Metric) -> Section:
    tail = ("p25", "p10", "p5", "min") if metric.higher_is_better else ("p75", "p90", "p95", "max")
    figures = ("cases", "mean", "sd", "median", "iqr", *tail, "cvar_10")
    figures += (("failed", "missed", "invented") if metric.key == "dice" else ()) + ("left_out",)
    rows = where(analysis.statistics, metric=metric.key)
    average, labels = (rows[flags].to_dict("records") for flags in (rows.label == AVERAGE, rows.label != AVERAGE))
    text = [
        f"{'Higher' if metric.higher_is_better else 'Lower'} is better. CVaR: the mean of the worst 10 % of the cases."
    ]
    title, digits = metric.title, metric.digits
    tables = [_table(average, ("set", "subgroup", *figures), 2, f"{title}, average of a case's labels", digits=digits)]
    if len(analysis.gaps):
        gaps = where(analysis.gaps, metric=metric.key)
        for row in where(gaps, label=AVERAGE, statistic="mean").to_dict("records"):
            text.append(
                f"{row['set']}: worst subgroup {row['worst']} (mean {number(row['worst_value'], digits)}, "
                f"{row['worst_cases']} cases), {number(row['gap'], digits)} from the best, {row['best']} "
                f"({number(row['best_value'], digits)}, {row['best_cases']} cases)."
            )
        gaps = gaps.assign(statistic=gaps.statistic.replace(_TITLES)).to_dict("records")
        tables.append(
            _table(
                gaps, list(gaps[0]) if gaps else [], 5, f"{title}: gaps between subgroups", digits=digits, folded=True
            )
        )
    about = ("label", "set", "subgroup", *figures)
    tables.append(_table(labels, about, 3, f"{title} of each label", digits=digits, folded=len(analysis.groups) > 0))
    png = plot_distributions([one for one in analysis.sets if metric in one.metrics], analysis.groups, metric)
    picture = Picture(f"{metric.key}_cases.png", png, f"{title} of each case, by subgroup")
    return Section(metric.axis, tuple(text), tuple(tables), (picture,))


def _worst(analysis: Analysis) -> Section:
    metric, group_of = METRICS[0], analysis.group_of
    columns = {"case": "case", "subgroup": "subgroup", "label": "worst label", "missed": "missed"}
    columns |= {"value": "average Dice", "label_value": "Dice of the worst label"}
    tables, pictures = [], []
    for place, one in enumerate(analysis.sets, start=1):
        rows = [row | {"subgroup": group_of.get(row["case"], "–")} for row in worst_cases(one, metric)]
        tables.append(_table(rows, columns, 4, one.name))
        pictures.append(Picture(f"worst_{place}.png", plot_worst(one, group_of, metric), f"Worst cases of {one.name}"))
    return Section("Worst cases", (), tuple(tables), tuple(pictures))


def _comparison(analysis: Analysis, place: int) -> Section:
    baseline, other = analysis.sets[0], analysis.sets[place]
    compared = {
        m: analysis.comparisons[other.name, m.key] for m in METRICS if (other.name, m.key) in analysis.comparisons
    }
    tables = [table for metric, paired in compared.items() for table in _paired_tables(paired, metric)]
    changed = where(difference_table(analysis), set=other.name)
    columns = {"case": "case", "subgroup": "subgroup", "baseline_dice": baseline.name, "dice": other.name}
    columns |= {"change": "difference"}
    changed["change"] = [signed(value, METRICS[0]) for value in changed.difference]
    for title, rows in (
        ("Cases that got worse most", changed[changed.difference < 0]),
        ("Cases that got better most", changed[changed.difference > 0][::-1]),
    ):
        if len(rows):
            tables.append(_table(rows.head(_MOST_CHANGED).to_dict("records"), columns, 2, title))
    png = plot_sorted(baseline, other, METRICS[0])
    picture = Picture(f"sorted_{place + 1}.png", png, f"Sorted cases of {other.name} and {baseline.name}")
    better, worse = (changed.difference > 0).sum(), (changed.difference < 0).sum()
    text = (
        f"Differences are {other.name} less {baseline.name}, case by case, over the cases of both; in brackets 95 % "
        f"bootstrap intervals. Average Dice is higher in {better}, lower in {worse} and the same in "
        f"{len(changed) - better - worse} of {len(changed)} cases.",
    )
    return Section(f"{other.name} against {baseline.name}", text, tuple(tables), (picture,))


def _paired_tables(paired: Sequence[Paired], metric: Metric) -> list[Table]:
    """Return the differences with their intervals, and the tests; together they would not fit a page's width."""
    rows = []
    for one in paired:
        row: Row = {"label": one.label, "subgroup": one.subgroup, "cases": len(one.cases), "left_out": one.left_out}
        for name, found in one.figures.items():
            ends = f" [{signed(found.low, metric)}, {signed(found.high, metric)}]"
            row[name] = signed(found.difference, metric) + ("" if math.isnan(found.low) else ends)
        row |= {"better": one.better, "worse": one.worse, "Wilcoxon p": p_value(one.wilcoxon)}
        row |= {"Holm": p_value(one.wilcoxon_holm), "permutation p": p_value(one.permutation)}
        rows.append(row | {"Holm ": p_value(one.permutation_holm)})
    about, tests = ("label", "subgroup", "cases"), ("left_out", *list(rows[0])[-6:])
    return [
        _table(rows, (*about, *paired[0].figures), 2, f"Differences in {metric.axis}"),
        _table(rows, (*about, *tests), 2, f"Tests of differences in {metric.axis}"),
    ]
