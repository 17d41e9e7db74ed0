"""The report's figures, in colours that colour-blind people tell apart (Okabe and Ito's)."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hws_nnunet.evaluation.analysis import worst_cases
from hws_nnunet.evaluation.comparison import common_cases
from hws_nnunet.evaluation.results import Metric, ResultSet

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
_MOST_GROUPS = 12
_MOST_MARKS = 12
_DPI = 100


def shown(name: str, most: int = 30) -> str:
    """Return a name as a figure shows it: short, and without mathematics between dollar signs."""
    name = name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-most // 2 :]
    return name.replace("$", r"\$")


def plot_distributions(sets: Sequence[ResultSet], groups: Mapping[str, Sequence[str]], metric: Metric) -> bytes:
    """Draw each case's average over labels, by subgroup, a box and a point a case; return a PNG file.

    Of more than twelve subgroups the ones with the worst mean in the first set are drawn.
    """
    means = {group: _mean(sets[0], cases, metric) for group, cases in groups.items()}
    sign = 1 if metric.higher_is_better else -1
    worst = sorted(groups, key=lambda group: (math.isnan(means[group]), sign * means[group]))[:_MOST_GROUPS]
    parts = {"all cases": None, **{group: groups[group] for group in groups if group in worst}}

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rng = np.random.default_rng(0)
        width = 0.8 / len(sets)
        for s, one in enumerate(sets):
            colour = COLOURS[s % len(COLOURS)]
            values = one.values(metric.key)[:, -1]
            for g, cases in enumerate(parts.values()):
                known = set(one.cases) if cases is None else set(cases)
                chosen = values[[case in known for case in one.cases]]
                chosen = chosen[np.isfinite(chosen)]
                if not chosen.size:
                    continue
                place = g + (s - (len(sets) - 1) / 2) * width
                axes.boxplot(
                    chosen,
                    positions=[place],
                    widths=width * 0.75,
                    showfliers=False,
                    whis=(5, 95),
                    manage_ticks=False,
                    boxprops={"color": colour},
                    whiskerprops={"color": colour},
                    capprops={"color": colour},
                    medianprops={"color": colour, "linewidth": 2.5},
                )
                jitter = rng.uniform(-0.25, 0.25, chosen.size) * width
                axes.scatter(
                    place + jitter,
                    chosen,
                    s=14,
                    color=colour,
                    alpha=0.5,
                    linewidths=0,
                    marker=MARKERS[s % len(MARKERS)],
                )
        counts = [len(sets[0].cases) if cases is None else len(cases) for cases in parts.values()]
        names = [f"{shown(group, 20)}\n({count})" for group, count in zip(parts, counts, strict=True)]
        crowded = len(names) > 6
        axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
        axes.set_xlim(-0.6, len(names) - 0.4)
        drawn = f"the {_MOST_GROUPS} worst of {len(groups)} subgroups" if len(groups) > _MOST_GROUPS else "subgroup"
        axes.set_xlabel(f"{drawn} (cases)")
        axes.set_ylabel(f"{metric.axis}, average of a case's labels")
        axes.set_title("Each point a case; boxes: quartiles, whiskers: 5th to 95th percentile")
        axes.legend(handles=_set_handles(sets), loc="best")
        axes.grid(axis="y", alpha=0.3)

    return _drawn(draw, max(7.0, min(16.0, 2 + 0.7 * len(parts) * len(sets))), 5.5)


def plot_sorted(baseline: ResultSet, other: ResultSet, metric: Metric) -> bytes:
    """Draw the sorted values of two sets over the cases of both, worst first; return a PNG file."""
    both = common_cases(baseline, other)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for s, one in enumerate((baseline, other)):
            values = one.values(metric.key)[one.chosen(both), -1]
            values = np.sort(values[np.isfinite(values)])
            if not metric.higher_is_better:
                values = values[::-1]
            share = 100 * (np.arange(values.size) + 0.5) / max(values.size, 1)
            marker = MARKERS[s] if values.size <= 60 else None
            axes.plot(
                share, values, color=COLOURS[s], linestyle=("-", "--")[s], linewidth=2, marker=marker, markersize=4
            )
        axes.axvspan(0, 10, color="#999999", alpha=0.2, linewidth=0)
        axes.set(
            xlim=(0, 100),
            xlabel=f"share of the {len(both)} cases, each set sorted by itself, worst first (%)",
            ylabel=f"{metric.axis}, average of a case's labels",
            title=f"{shown(other.name)} against {shown(baseline.name)}",
        )
        handles = [
            Line2D([], [], color=COLOURS[s], linestyle=("-", "--")[s], linewidth=2, label=" " + shown(one.name))
            for s, one in enumerate((baseline, other))
        ]
        axes.legend(handles=[*handles, Patch(color="#999999", alpha=0.2, label="worst tenth")], loc="best")
        axes.grid(alpha=0.3)

    return _drawn(draw, 8.0, 5.0)


def plot_worst(one: ResultSet, group_of: Mapping[str, str], metric: Metric) -> bytes:
    """Draw the ten worst cases of a set: the average as a bar in its subgroup's colour, labels as marks; return PNG."""
    rows = worst_cases(one, metric)
    values = getattr(one, metric.key)
    groups = sorted({group_of.get(row["case"], "") for row in rows})
    single = groups in ([], [""])

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(rows))
        members = [groups.index(group_of.get(row["case"], "")) for row in rows]
        for place, row, g in zip(places, rows, members, strict=True):
            axes.barh(place, row["value"], height=0.7, **_bar(g))
        handles = [
            Patch(**_bar(g), label=" " + (shown(group) if group else "average")) for g, group in enumerate(groups)
        ]
        many = len(one.labels) > _MOST_MARKS
        for j, label in enumerate(one.labels):
            points = [values[one.cases.index(row["case"]), j] for row in rows]
            style = {"color": "#222222", "s": 12} if many else {"color": _mark(j), "s": 34, "edgecolors": "white"}
            marker = "." if many else MARKERS[j % len(MARKERS)]
            axes.scatter(points, places, marker=marker, linewidths=0.5, zorder=3, clip_on=False, **style)
            if not many:
                handles.append(Line2D([], [], linestyle="", marker=marker, color=_mark(j), label=" " + shown(label)))
        if many:
            handles.append(Line2D([], [], linestyle="", marker=".", color="#222222", label=" one label"))
        axes.set_yticks(places, [shown(row["case"]) for row in rows])
        axes.invert_yaxis()
        if not metric.unit:
            axes.set_xlim(0, 1)
        axes.set(xlabel=f"{metric.axis}; bar: average of the labels", ylabel="case, worst first")
        axes.set_title(f"Worst {len(rows)} of {len(one.cases)} cases: {shown(one.name)}")
        title = None if single else "bars: subgroup"
        figure.legend(handles=handles, loc="outside right upper", title=title)
        axes.grid(axis="x", alpha=0.3)

    return _drawn(draw, 10.0, 1.8 + 0.42 * max(len(rows), 4))


def _bar(g: int) -> dict[str, object]:
    """There are more subgroups than colours: the second round is hatched."""
    hatch = ("", "///", "...")[g // len(COLOURS) % 3]
    return {"facecolor": COLOURS[g % len(COLOURS)], "alpha": 0.4, "hatch": hatch}


def _mark(j: int) -> str:
    return COLOURS[::-1][(j + j // len(MARKERS)) % len(COLOURS)]


def _mean(one: ResultSet, cases: Sequence[str], metric: Metric) -> float:
    known = set(one.cases)
    values = one.values(metric.key)[one.chosen([case for case in cases if case in known]), -1]
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


def _set_handles(sets: Sequence[ResultSet]) -> list[Line2D]:
    """A name that begins with an underscore would be left out of a legend, hence the space."""
    return [
        Line2D(
            [],
            [],
            color=COLOURS[s % len(COLOURS)],
            marker=MARKERS[s % len(MARKERS)],
            linewidth=2,
            label=" " + shown(one.name),
        )
        for s, one in enumerate(sets)
    ]


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> bytes:
    """Draw in matplotlib's own style, whatever the host made of it, and return a PNG file."""
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcParams.update({"font.size": 11, "axes.titlesize": 12})
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=_DPI, format="png")
        return buffer.getvalue()
