"""What a report says, as sections of text, tables and figures; ``render.py`` makes Markdown and HTML of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hws_nnunet.evaluation.analysis import ALL_CASES, Analysis, Row, difference_rows, worst_cases
from hws_nnunet.evaluation.comparison import Paired
from hws_nnunet.evaluation.plots import plot_distributions, plot_sorted, plot_worst
from hws_nnunet.evaluation.results import AVERAGE, METRICS, Metric
from hws_nnunet.evaluation.rules import rules

_MOST_CHANGED = 10
_ORDINAL = {5: "5th", 10: "10th", 25: "25th", 75: "75th", 90: "90th", 95: "95th"}


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
    return "–" if math.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def sections(analysis: Analysis, *, tolerance: float) -> list[Section]:
    """Return the report's sections, figures drawn.

    Args:
        analysis: all that is to be said.
        tolerance: of the normalised surface Dice where it was computed, in millimetres.
    """
    metrics = [m for m in METRICS if any(m in one.metrics for one in analysis.sets)]
    found = [_sources(analysis), *(_metric(analysis, metric) for metric in metrics), _worst(analysis)]
    found += [_comparison(analysis, other.name) for other in analysis.sets[1:]]
    return [*found, Section("How the figures are made", rules(analysis, tolerance=tolerance))]


def _sources(analysis: Analysis) -> Section:
    rows = [
        (one.name, one.source, one.surface_tool or "–", str(len(one.cases)), str(len(one.labels)))
        for one in analysis.sets
    ]
    notes = tuple(f"Note: {note}." for note in analysis.notes)
    table = Table(("set", "source", "HD95 and surface Dice by", "cases", "labels"), tuple(rows), 3)
    return Section("Result sets", notes, (table,))


def _metric(analysis: Analysis, metric: Metric) -> Section:
    tables = [_table(analysis, metric, AVERAGE, f"{metric.title}, average of a case's labels")]
    for label in analysis.sets[0].labels:
        tables.append(_table(analysis, metric, label, f"{metric.title}, {label}", folded=len(analysis.groups) > 0))
    pictures = []
    sets = [one for one in analysis.sets if metric in one.metrics]
    png = plot_distributions(sets, analysis.groups, metric)
    pictures.append(Picture(f"{metric.key}_cases.png", png, f"{metric.title} of each case, by subgroup"))
    text = [
        f"{'Higher' if metric.higher_is_better else 'Lower'} is better. CVaR: the mean of the worst 10 % of the cases."
    ]
    for one in sets:
        for row in (analysis.gap(set=one.name, metric=metric.key, label=AVERAGE, statistic="mean"),):
            if row is not None:
                text.append(
                    f"{one.name}: worst subgroup {row['worst']} (mean {number(row['worst_value'], metric.digits)}, "
                    f"{row['worst_cases']} cases), {number(row['gap'], metric.digits)} from the best, {row['best']} "
                    f"({number(row['best_value'], metric.digits)}, {row['best_cases']} cases)."
                )
    tables = [tables[0], *([_gap_table(analysis, metric)] if analysis.gaps else []), *tables[1:]]
    return Section(metric.axis, tuple(text), tuple(tables), tuple(pictures))


def _table(analysis: Analysis, metric: Metric, label: str, title: str, *, folded: bool = False) -> Table:
    tail = ("p25", "p10", "p5", "min") if metric.higher_is_better else ("p75", "p90", "p95", "max")
    keys = ("mean", "sd", "median", "iqr", *tail, "cvar_10")
    names = [_tail_name(key) for key in keys]
    counted = ("failed", "missed", "invented") if metric.key == "dice" else ()
    columns = ("set", "subgroup", "cases", *names, *counted, "left out")
    rows = [
        (
            str(row["set"]),
            "all cases" if row["subgroup"] == ALL_CASES else str(row["subgroup"]),
            str(row["cases"]),
            *(number(row[key], metric.digits) for key in keys),
            *(number(row[key]) for key in counted),
            str(row["left_out"]),
        )
        for row in analysis.find(metric=metric.key, label=label)
    ]
    return Table(columns, tuple(rows), 2, title, folded)


def _tail_name(key: str) -> str:
    if key.startswith("p"):
        return f"{_ORDINAL[int(key[1:])]} perc."
    return {"sd": "SD", "iqr": "IQR", "cvar_10": "CVaR 10 %"}.get(key, key)


def _gap_table(analysis: Analysis, metric: Metric) -> Table:
    rows = [
        (
            str(row["set"]),
            str(row["label"]),
            _tail_name(str(row["statistic"])),
            f"{row['worst']} ({row['worst_cases']})",
            f"{row['best']} ({row['best_cases']})",
            number(row["worst_value"], metric.digits),
            number(row["best_value"], metric.digits),
            number(row["gap"], metric.digits),
        )
        for row in analysis.gaps
        if row["metric"] == metric.key
    ]
    columns = ("set", "label", "figure", "worst subgroup (cases)", "best subgroup (cases)", "worst", "best", "gap")
    return Table(columns, tuple(rows), 5, f"{metric.title}: gaps between subgroups", folded=True)


def _worst(analysis: Analysis) -> Section:
    metric = METRICS[0]
    tables, pictures = [], []
    group_of = {case: group for group, cases in analysis.groups.items() for case in cases}
    for place, one in enumerate(analysis.sets):
        rows = [
            (
                str(row["case"]),
                group_of.get(str(row["case"]), "–"),
                str(row["label"]),
                ", ".join(row["missed"]) or "–",
                number(row["value"]),
                number(row["label_value"]),
            )
            for row in worst_cases(one, metric)
        ]
        columns = ("case", "subgroup", "worst label", "missed", "average Dice", "Dice of the worst label")
        tables.append(Table(columns, tuple(rows), 4, one.name))
        pictures.append(
            Picture(f"worst_{place + 1}.png", plot_worst(one, group_of, metric), f"Worst cases of {one.name}")
        )
    return Section("Worst cases", (), tuple(tables), tuple(pictures))


def _comparison(analysis: Analysis, name: str) -> Section:
    baseline = analysis.sets[0]
    (other,) = (one for one in analysis.sets if one.name == name)
    tables, pictures = [], []
    for metric in METRICS:
        if (paired := analysis.comparisons.get((name, metric.key))) is not None:
            tables += _paired_tables(paired, metric)
    tables += _changed_tables([row for row in difference_rows(analysis) if row["set"] == name], baseline.name, name)
    place = analysis.sets.index(other) + 1
    png = plot_sorted(baseline, other, METRICS[0])
    pictures.append(Picture(f"sorted_{place}.png", png, f"Sorted cases of {other.name} and {baseline.name}"))
    whole = analysis.comparisons[name, "dice"][len(baseline.labels)]
    same = len(whole.cases) - whole.better - whole.worse
    text = (
        f"Differences are {name} less {baseline.name}, case by case, over the cases of both; in brackets 95 % "
        f"bootstrap intervals. Average Dice is higher in {whole.better}, lower in {whole.worse} and the same in "
        f"{same} of {len(whole.cases)} cases.",
    )
    return Section(f"{name} against {baseline.name}", text, tuple(tables), tuple(pictures))


def _paired_tables(paired: Sequence[Paired], metric: Metric) -> list[Table]:
    """Return the differences with their intervals, and the tests; together they would not fit a page's width."""
    figures = tuple(paired[0].figures)
    differences, tests = [], []
    for one in paired:
        about = (one.label, one.subgroup or "all cases", str(len(one.cases)))
        cells = []
        for found in one.figures.values():
            interval = (
                "" if math.isnan(found.low) else f" [{_signed(found.low, metric)}, {_signed(found.high, metric)}]"
            )
            cells.append(_signed(found.difference, metric) + interval)
        differences.append((*about, *cells))
        p = (one.wilcoxon, one.wilcoxon_holm, one.permutation, one.permutation_holm)
        counts = map(str, (one.left_out, one.better, one.worse))
        tests.append((*about, *counts, *(p_value(value) for value in p)))
    about = ("label", "subgroup", "cases")
    return [
        Table((*about, *map(_tail_name, figures)), tuple(differences), 2, f"Differences in {metric.axis}"),
        Table(
            (*about, "left out", "better", "worse", "Wilcoxon p", "Holm", "permutation p", "Holm "),
            tuple(tests),
            2,
            f"Tests of differences in {metric.axis}",
        ),
    ]


def _signed(value: float, metric: Metric) -> str:
    return "–" if math.isnan(value) else f"{value:+.{metric.digits}f}"


def _changed_tables(rows: Sequence[Row], baseline: str, name: str) -> list[Table]:
    columns = ("case", "subgroup", baseline, name, "difference")
    worse = [row for row in rows if row["difference"] < 0][:_MOST_CHANGED]
    better = [row for row in reversed(rows) if row["difference"] > 0][:_MOST_CHANGED]
    return [
        Table(
            columns,
            tuple(
                (
                    str(row["case"]),
                    str(row["subgroup"]) or "–",
                    number(row["baseline_dice"]),
                    number(row["dice"]),
                    _signed(float(row["difference"]), METRICS[0]),
                )
                for row in chosen
            ),
            2,
            title,
        )
        for title, chosen in (("Cases that got worse most", worse), ("Cases that got better most", better))
        if chosen
    ]
