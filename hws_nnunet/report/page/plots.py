"""The report's plots for Plotly, in colours that colour-blind people tell apart (Okabe and Ito's, and Tol's).

A trace's ``meta`` is its set and its subgroup, by which people hide it, empty where it belongs to none; a point's
``customdata`` is its case. Texts are what Plotly shows: markup of theirs is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from hws_nnunet.report.page.answers import piece_name, pieces
from hws_nnunet.report.read.results import AVERAGE, Metric, ResultSet
from hws_nnunet.report.stats.analysis import ALL_CASES, Analysis, where, worst_cases
from hws_nnunet.report.stats.comparison import Paired, common_cases

COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#882255", "#999933", "#6655CC", "#44AA99", "#AA4499", "#C4A000"),
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon", "hexagram")
_GREYS, _SHAPES = ("#c9ced6", "#8d96a3"), ("", "/", "x", "-", ".", "+")
_MOST_GROUPS = 12
_MOST_PIECES = 24
Plot = dict[str, object]


def shown(name: str, *, most: int = 30) -> str:
    """Return a name as a figure shows it: short, and no markup."""
    return escape(name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-most // 2 :], quote=False)


def _plot(traces: list[dict], height: int, x: Mapping[str, object], y: Mapping[str, object], **layout: object) -> Plot:
    axes = {"xaxis": {"automargin": True, **x}, "yaxis": {"automargin": True, **y}}
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    margin = {"l": 10, "r": 15, "t": 40, "b": 10}
    more = {"legend": legend, "margin": margin, "hovermode": "closest", **layout}
    return {"data": traces, "layout": {"height": height, **axes, **more}}


def _rows_axis(names: list[str]) -> dict[str, object]:
    """Return a vertical axis with a name at 0, 1, ... from the top."""
    ticks = {"tickvals": list(range(len(names))), "ticktext": names}
    return {**ticks, "range": [len(names) - 0.5, -0.5], "zeroline": False}


def _values_axis(metric: Metric, title: str, values: pd.Series | pd.DataFrame) -> dict[str, object]:
    """Return an axis of a measure: from 0 on, or of a share the part of 0 to 1 that has values, at least a tenth."""
    axis: dict[str, object] = {"title": {"text": title}}
    if metric.unit:
        return {**axis, "rangemode": "tozero"}
    low, high = np.nanmin(values.to_numpy(), initial=1.0), np.nanmax(values.to_numpy(), initial=0.0)
    margin = max(0.05 * (high - low), 0.05 - (high - low) / 2)
    return {**axis, "range": [max(low - margin, -0.02), min(high + margin, 1.02)]}


def _trace(kind: str, name: str, one: str, group: str, **more: object) -> dict[str, object]:
    """Return a trace that is called ``name``, of a set and a subgroup."""
    return {"type": kind, "name": shown(name), "meta": [one, group], "hoverinfo": "text", **more}


def _told(case: str, what: str, value: float, metric: Metric) -> str:
    return f"<b>{shown(case, most=60)}</b><br>{shown(what)}: {value:.{metric.digits}f}"


def _colour(analysis: Analysis, name: str) -> tuple[str, str]:
    place = [one.name for one in analysis.sets].index(name)
    return COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)]


def changes(analysis: Analysis, metric: Metric) -> Plot:
    """Draw the difference of means by structure and subgroup with its interval, largest loss on top, a colour a set."""
    rows_of_set = {one.name: pieces(analysis, one.name, metric.key) for one in analysis.sets[1:]}
    by_gain = sorted((row for rows in rows_of_set.values() for row in rows), key=lambda row: row.gain)
    keys = list(dict.fromkeys((row.subgroup, row.label) for row in by_gain))
    if len(keys) > _MOST_PIECES:
        keys = keys[: _MOST_PIECES // 2] + keys[-_MOST_PIECES // 2 :]
    traces = []
    for place, (name, rows) in enumerate(rows_of_set.items()):
        shift = 0.24 * (place - (len(rows_of_set) - 1) / 2)
        for group in (ALL_CASES, *analysis.groups):
            if chosen := [row for row in rows if row.subgroup == group and (group, row.label) in keys]:
                y = [keys.index((group, row.label)) + shift for row in chosen]
                traces.append(_intervals(analysis, name, group, chosen, y))
    names = [shown(label if group == ALL_CASES else f"{label}, {group}", most=40) for group, label in keys]
    unit = "points of Dice" if metric.key == "dice" else metric.axis
    title = f"{unit} more than {shown(analysis.sets[0].name, most=15)}"
    x = {"title": {"text": title}, "zeroline": True, "zerolinewidth": 2}
    return _plot(traces, 110 + len(keys) * max(18, 9 * len(rows_of_set)), x, _rows_axis(names))


def _intervals(analysis: Analysis, name: str, group: str, rows: Sequence[Paired], y: list[float]) -> dict[str, object]:
    means = [row.statistics["mean"] for row in rows]
    scale = 100 if rows[0].metric.key == "dice" else 1
    texts = [
        f"<b>{shown(piece_name(row), most=60)}</b><br>{shown(name)}: {scale * one.difference:+.1f} "
        f"[{scale * one.low:+.1f}, {scale * one.high:+.1f}]<br>mean {one.baseline:.3f} → {one.other:.3f}, "
        f"{len(row.cases)} cases<br>Holm p: permutation {row.permutation_holm:.3g}, Wilcoxon {row.wilcoxon_holm:.3g}"
        for row, one in zip(rows, means, strict=True)
    ]
    ends = {
        "array": [scale * (one.high - one.difference) for one in means],
        "arrayminus": [scale * (one.difference - one.low) for one in means],
    }
    colour, symbol = _colour(analysis, name)
    looks = {"mode": "markers", "marker": {"size": 9, "color": colour, "symbol": symbol}, "legendgroup": name}
    error = {"symmetric": False, "thickness": 2, **ends}
    x = [scale * one.difference for one in means]
    return _trace("scatter", name, name, group, x=x, y=y, hovertext=texts, error_x=error, **looks)


def distributions(analysis: Analysis, metric: Metric) -> Plot:
    """Draw each case's average over labels by subgroup, a point a case, boxes as in the tables.

    Of more than twelve subgroups those with the worst mean in the first set are drawn.
    """
    averages = _averages(analysis, metric)
    boxes = where(analysis.statistics, metric=metric.key, label=AVERAGE)
    ranks = where(boxes, set=analysis.sets[0].name).sort_values("mean", ascending=metric.higher_is_better)
    worst = set(ranks[ranks.subgroup != ALL_CASES].head(_MOST_GROUPS).subgroup)
    keys = {"q1": "p25", "median": "median", "q3": "p75", "lowerfence": "p5", "upperfence": "p95", "mean": "mean"}
    clear = "rgba(0,0,0,0)"
    traces = []
    apart = [group for group in analysis.groups if group in worst and len(analysis.groups) > 1]
    for group in (ALL_CASES, *apart):
        cases = analysis.groups.get(group, analysis.sets[0].cases)
        place = f"{shown(group, most=24) or 'all cases'} ({len(cases)})"
        for one in analysis.sets:
            part = where(averages, set=one.name)
            part = part if group == ALL_CASES else where(part, subgroup=group)
            if part.empty:
                continue
            box = where(boxes, set=one.name, subgroup=group)
            figures = {name: box[key].tolist() for name, key in keys.items()}
            colour, symbol = _colour(analysis, one.name)
            both = {"legendgroup": one.name, "offsetgroup": one.name, "fillcolor": clear, "hoveron": "points"}
            drawn = {"x": [place], "line": {"color": colour}, **figures}
            traces.append(_trace("box", one.name, one.name, group, **drawn, **both))
            drawn = {"x": [place] * len(part), "line": {"color": clear}, **_points(part)}
            drawn |= {"marker": {"color": colour, "symbol": symbol, "size": 5, "opacity": 0.6}}
            drawn |= {"boxpoints": "all", "jitter": 0.6, "pointpos": 0}
            traces.append(_trace("box", one.name, one.name, group, **drawn, **both))
    y = _values_axis(metric, f"{metric.axis}, average of a case's labels", averages["value"])
    return _plot(traces, 520, {}, y, boxmode="group")


def _averages(analysis: Analysis, metric: Metric) -> pd.DataFrame:
    """Return the average of each set and case as ``value``, with the ``text`` of its point: that and its structures."""
    wide = analysis.wide(metric.key)
    labels = [shown(label) for label in analysis.sets[0].labels]
    texts = []
    for (name, case, _), *values, average in wide.itertuples():
        more = [f"{label} {value:.{metric.digits}f}" for label, value in zip(labels, values, strict=True)]
        texts.append("<br>".join([_told(case, name, average, metric), *more[: len(COLOURS)]]))
    return wide[[AVERAGE]].set_axis(["value"], axis=1).assign(text=texts).dropna().reset_index()


def _points(part: pd.DataFrame) -> dict[str, list]:
    columns = {"y": "value", "customdata": "case", "hovertext": "text"}
    return {key: part[column].tolist() for key, column in columns.items()}


def sorted_cases(analysis: Analysis, other: ResultSet, metric: Metric) -> Plot:
    """Draw the values of two sets over the cases of both, each sorted by itself, worst first."""
    baseline = analysis.sets[0]
    both = common_cases(baseline, other)
    averages = _averages(analysis, metric).sort_values("value", ascending=metric.higher_is_better)
    averages = averages[averages["case"].isin(both)]
    traces = []
    for one, dash in ((baseline, "solid"), (other, "dash")):
        part = where(averages, set=one.name)
        share = 100 * (np.arange(len(part)) + 0.5) / max(len(part), 1)
        looks = {"marker": {"size": 4}, "line": {"color": _colour(analysis, one.name)[0], "dash": dash}}
        points = {"mode": "lines+markers", "x": share.round(3).tolist(), **_points(part)}
        traces.append(_trace("scatter", one.name, one.name, "", **points, **looks))
    tenth = {"type": "rect", "yref": "paper", "x0": 0, "x1": 10, "y0": 0, "y1": 1, "opacity": 0.2, "line": {"width": 0}}
    x = {"title": {"text": f"share of the {len(both)} cases (%)"}, "range": [0, 100]}
    y = _values_axis(metric, metric.axis, averages["value"])
    return _plot(traces, 420, x, y, shapes=[{**tenth, "fillcolor": "#999999"}])


def worst(analysis: Analysis, one: ResultSet, metric: Metric) -> Plot:
    """Draw the ten worst cases of a set: the average as a grey bar, patterned by subgroup, a mark a structure."""
    values = one.frame(metric.key).loc[[row["case"] for row in worst_cases(one, metric)]]
    groups = [analysis.group_of.get(case, ALL_CASES) for case in values.index]
    traces = []

    def add(kind: str, group: str, name: str, of_cases: pd.Series, what: str, **looks: object) -> None:
        """Add bars or marks of some of the cases."""
        places, cases = values.index.get_indexer(of_cases.index).tolist(), list(of_cases.index)
        texts = [_told(case, what, value, metric) for case, value in of_cases.items()]
        points = {"x": of_cases.tolist(), "y": places, "customdata": cases, "hovertext": texts}
        traces.append(_trace(kind, name, one.name, group, **points, **looks))

    for g, (group, part) in enumerate(values.groupby(np.array(groups), sort=False)):
        bars = {"color": _GREYS[g % 2], "pattern": {"shape": _SHAPES[g % len(_SHAPES)]}}
        add("bar", group, group or "average", part[AVERAGE], "average", orientation="h", marker=bars)
    many = len(one.labels) > len(COLOURS)
    for j, label in enumerate(one.labels):
        marks = {"size": 9, "color": "#808080" if many else COLOURS[j], "symbol": SYMBOLS[j % len(SYMBOLS)]}
        more = {"mode": "markers", "cliponaxis": False, "showlegend": not many}
        add("scatter", "", label, values[label].dropna(), label, marker=marks, **more)
    x = {**_values_axis(metric, metric.axis, values), **({} if metric.unit else {"range": [0, 1.02]})}
    return _plot(traces, 190 + 30 * len(values), x, _rows_axis([shown(case) for case in values.index]))
