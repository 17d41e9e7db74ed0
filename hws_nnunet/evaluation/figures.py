"""The report's figures for Plotly, in colours that colour-blind people tell apart (Okabe and Ito's, and Tol's).

A trace's ``meta`` is its set and its subgroup, by which people hide it, empty where it belongs to none; a point's
``customdata`` is its case. Texts are what Plotly shows: markup of theirs is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from hws_nnunet.evaluation.analysis import ALL_CASES, Analysis, where, worst_cases
from hws_nnunet.evaluation.answers import piece_name, pieces
from hws_nnunet.evaluation.comparison import Paired, common_cases
from hws_nnunet.evaluation.results import AVERAGE, Metric, ResultSet

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
COLOURS += ("#882255", "#999933", "#6655CC", "#44AA99", "#AA4499", "#C4A000")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star", "pentagon", "hexagram")
_GREYS, _SHAPES = ("#c9ced6", "#8d96a3"), ("", "/", "x", "-", ".", "+")
_MOST_GROUPS = 12
_MOST_PIECES = 24
Figure = dict[str, object]


def shown(name: str, most: int = 30) -> str:
    """Return a name as a figure shows it: short, and no markup."""
    return escape(name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-most // 2 :], quote=False)


def _figure(traces: list[dict], height: int, x: str, y: str = "", **layout: object) -> Figure:
    axes = {key: {"title": {"text": text}, "automargin": True} for key, text in (("xaxis", x), ("yaxis", y))}
    for key in axes:
        axes[key] |= layout.pop(key, {})
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    margin = {"l": 10, "r": 15, "t": 40, "b": 10}
    more = {"legend": legend, "margin": margin, "hovermode": "closest", **layout}
    return {"data": traces, "layout": {"height": height, **axes, **more}}


def _colour(analysis: Analysis, name: str) -> tuple[str, str]:
    place = [one.name for one in analysis.sets].index(name)
    return COLOURS[place % len(COLOURS)], SYMBOLS[place % len(SYMBOLS)]


def changes(analysis: Analysis, metric: Metric) -> Figure:
    """Draw the difference of means by structure and subgroup with its interval, largest loss on top, a colour a set."""
    found = {one.name: pieces(analysis, one.name, metric.key) for one in analysis.sets[1:]}
    order: dict[tuple[str, str], float] = {}
    for row in (row for rows in found.values() for row in rows):
        key = row.subgroup, row.label
        order[key] = min(order.get(key, np.inf), row.gain)
    keys = sorted(order, key=order.get)
    if len(keys) > _MOST_PIECES:
        keys = keys[: _MOST_PIECES // 2] + keys[-_MOST_PIECES // 2 :]
    traces = []
    for place, (name, rows) in enumerate(found.items()):
        colour, symbol = _colour(analysis, name)
        for group in (ALL_CASES, *analysis.groups):
            chosen = [row for row in rows if row.subgroup == group and (group, row.label) in keys]
            if chosen:
                shift = 0.24 * (place - (len(found) - 1) / 2)
                y = [keys.index((group, row.label)) + shift for row in chosen]
                traces.append(_intervals(name, group, chosen, y, color=colour, symbol=symbol))
    _one_legend_entry(traces)
    names = [shown(label if group == ALL_CASES else f"{label}, {group}", 40) for group, label in keys]
    ticks = {"tickvals": list(range(len(keys))), "ticktext": names, "range": [len(keys) - 0.5, -0.5], "zeroline": False}
    title = f"{'points of Dice' if metric.key == 'dice' else metric.axis} more than {shown(analysis.sets[0].name, 15)}"
    zero = {"zeroline": True, "zerolinewidth": 2}
    return _figure(traces, 110 + len(keys) * max(18, 9 * len(found)), title, xaxis=zero, yaxis=ticks)


def _intervals(name: str, group: str, rows: Sequence[Paired], y: list[float], **marker: str) -> dict:
    found = [row.figures["mean"] for row in rows]
    scale = 100 if rows[0].metric.key == "dice" else 1
    texts = [
        f"<b>{shown(piece_name(row), 60)}</b><br>{shown(name)}: {scale * one.difference:+.1f} "
        f"[{scale * one.low:+.1f}, {scale * one.high:+.1f}]<br>mean {one.baseline:.3f} → {one.other:.3f}, "
        f"{len(row.cases)} cases<br>Holm p: permutation {row.permutation_holm:.3g}, Wilcoxon {row.wilcoxon_holm:.3g}"
        for row, one in zip(rows, found, strict=True)
    ]
    ends = {
        "array": [scale * (one.high - one.difference) for one in found],
        "arrayminus": [scale * (one.difference - one.low) for one in found],
    }
    points = {"x": [scale * one.difference for one in found], "y": y, "hovertext": texts, "hoverinfo": "text"}
    looks = {
        "mode": "markers",
        "marker": {"size": 9, **marker},
        "error_x": {"symmetric": False, "thickness": 2, **ends},
    }
    return {"type": "scatter", "name": shown(name), "legendgroup": name, "meta": [name, group], **points, **looks}


def distributions(analysis: Analysis, metric: Metric) -> Figure:
    """Draw each case's average over labels by subgroup, a point a case, boxes as in the tables.

    Of more than twelve subgroups those with the worst mean in the first set are drawn.
    """
    values = where(analysis.values, metric=metric.key, label=AVERAGE).dropna(subset="value")
    texts = _hover_texts(analysis, metric)
    boxes = where(analysis.statistics, metric=metric.key, label=AVERAGE)
    ranks = where(boxes, set=analysis.sets[0].name).sort_values("mean", ascending=metric.higher_is_better)
    worst = set(ranks[ranks.subgroup != ALL_CASES].head(_MOST_GROUPS).subgroup)
    keys = {"q1": "p25", "median": "median", "q3": "p75", "lowerfence": "p5", "upperfence": "p95", "mean": "mean"}
    traces = []
    for group in (ALL_CASES, *(group for group in analysis.groups if group in worst)):
        cases = analysis.groups.get(group, analysis.sets[0].cases)
        place = f"{shown(group, 24) or 'all cases'} ({len(cases)})"
        for one in analysis.sets:
            box = where(boxes, set=one.name, subgroup=group).query("cases > 0")
            if box.empty:
                continue
            colour, symbol = _colour(analysis, one.name)
            trace = {"type": "box", "name": shown(one.name), "legendgroup": one.name, "offsetgroup": one.name}
            trace |= {"meta": [one.name, group], "fillcolor": "rgba(0,0,0,0)", "hoveron": "points"}
            found = {name: box[key].tolist() for name, key in keys.items()}
            traces.append({**trace, **found, "x": [place], "line": {"color": colour}})
            part = where(values, set=one.name) if group == ALL_CASES else where(values, set=one.name, subgroup=group)
            points = {"y": part.value.tolist(), "x": [place] * len(part), "customdata": part.case.tolist()}
            points |= {"text": [texts[one.name, case] for case in part.case], "hoverinfo": "text"}
            points |= {"boxpoints": "all", "jitter": 0.6, "pointpos": 0, "line": {"color": "rgba(0,0,0,0)"}}
            marker = {"color": colour, "symbol": symbol, "size": 5, "opacity": 0.6}
            traces.append({**trace, **points, "marker": marker})
    _one_legend_entry(traces)
    return _figure(traces, 520, "", f"{metric.axis}, average of a case's labels", boxmode="group")


def _hover_texts(analysis: Analysis, metric: Metric) -> dict[tuple[str, str], str]:
    """Return what a point tells, by set and case: both names, the average, and its structures."""
    texts = {}
    for (name, case), part in where(analysis.values, metric=metric.key).groupby(["set", "case"]):
        found = dict(zip(part.label, part.value, strict=True))
        text = f"<b>{shown(case, 60)}</b><br>{shown(name)}: {found.pop(AVERAGE):.{metric.digits}f}"
        more = [f"{shown(label)} {value:.{metric.digits}f}" for label, value in found.items()]
        texts[name, case] = "<br>".join([text, *more[: len(COLOURS)]])
    return texts


def sorted_cases(analysis: Analysis, other: ResultSet, metric: Metric) -> Figure:
    """Draw the values of two sets over the cases of both, each sorted by itself, worst first."""
    baseline = analysis.sets[0]
    both = common_cases(baseline, other)
    texts = _hover_texts(analysis, metric)
    traces = []
    for one, dash in ((baseline, "solid"), (other, "dash")):
        part = where(analysis.values, set=one.name, metric=metric.key, label=AVERAGE).dropna(subset="value")
        part = part[part.case.isin(both)].sort_values("value", ascending=metric.higher_is_better)
        share = 100 * (np.arange(len(part)) + 0.5) / max(len(part), 1)
        points = {"x": share.round(3).tolist(), "y": part.value.tolist(), "customdata": part.case.tolist()}
        points |= {"text": [texts[one.name, case] for case in part.case], "hoverinfo": "text"}
        looks = {"marker": {"size": 4}, "line": {"color": _colour(analysis, one.name)[0], "dash": dash}}
        trace = {"type": "scatter", "mode": "lines+markers", "name": shown(one.name), "meta": [one.name, ""]}
        traces.append({**trace, **points, **looks})
    tenth = {"type": "rect", "yref": "paper", "x0": 0, "x1": 10, "y0": 0, "y1": 1, "opacity": 0.2, "line": {"width": 0}}
    x = f"share of the {len(both)} cases (%)"
    return _figure(traces, 420, x, metric.axis, shapes=[{**tenth, "fillcolor": "#999999"}], xaxis={"range": [0, 100]})


def worst(analysis: Analysis, one: ResultSet, metric: Metric) -> Figure:
    """Draw the ten worst cases of a set: the average as a grey bar, patterned by subgroup, a mark a structure."""
    rows = worst_cases(one, metric)
    places = list(range(len(rows)))
    groups = list(dict.fromkeys(analysis.group_of.get(row["case"], "") for row in rows))
    traces = []
    for g, group in enumerate(groups):
        chosen = [place for place in places if analysis.group_of.get(rows[place]["case"], "") == group]
        looks = {"color": _GREYS[g % 2], "pattern": {"shape": _SHAPES[g % len(_SHAPES)]}}
        texts = [f"<b>{shown(rows[p]['case'], 60)}</b><br>average {rows[p]['value']:.{metric.digits}f}" for p in chosen]
        bars = {"x": [rows[p]["value"] for p in chosen], "y": chosen, "customdata": [rows[p]["case"] for p in chosen]}
        trace = {"type": "bar", "orientation": "h", "name": shown(group) or "average", "meta": [one.name, group]}
        traces.append({**trace, **bars, "marker": looks, "text": texts, "textposition": "none", "hoverinfo": "text"})
    values = getattr(one, metric.key)[one.chosen([row["case"] for row in rows])]
    many = len(one.labels) > len(COLOURS)
    for j, label in enumerate(one.labels):
        looks = {"size": 9, "color": "#808080" if many else COLOURS[j], "symbol": SYMBOLS[j % len(SYMBOLS)]}
        known = [place for place in places if np.isfinite(values[place, j])]
        texts = [
            f"<b>{shown(rows[p]['case'], 60)}</b><br>{shown(label)}: {values[p, j]:.{metric.digits}f}" for p in known
        ]
        points = {"x": [float(values[p, j]) for p in known], "y": known, "customdata": [rows[p]["case"] for p in known]}
        trace = {
            "type": "scatter",
            "mode": "markers",
            "name": shown(label),
            "meta": [one.name, ""],
            "cliponaxis": False,
        }
        traces.append({**trace, **points, "marker": looks, "text": texts, "hoverinfo": "text", "showlegend": not many})
    names = [shown(row["case"]) for row in rows]
    axis = {"tickvals": places, "ticktext": names, "range": [len(rows) - 0.5, -0.5], "zeroline": False}
    return _figure(traces, 190 + 30 * len(rows), metric.axis, yaxis=axis, xaxis={"rangemode": "tozero"})


def _one_legend_entry(traces: list[dict]) -> None:
    """Show the first trace of each group in the legend."""
    seen: set[object] = set()
    for trace in traces:
        trace["showlegend"] = trace["legendgroup"] not in seen
        seen.add(trace["legendgroup"])
