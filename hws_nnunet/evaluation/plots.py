"""The report's figures as PNG, in colours that colour-blind people tell apart (Okabe and Ito's, and Tol's)."""

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
from hws_nnunet.evaluation.statistics import describe

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
COLOURS += ("#882255", "#999933", "#332288", "#44AA99", "#AA4499", "#DDCC77")
MARKERS = "osD^vPX<>*ph"
_MOST_GROUPS = 12
_HATCHES = ("", "///", "...", "xxx", "---", "|||")
_DPI = 100


def shown(name: str, most: int = 30) -> str:
    """Return a name as a figure shows it: short, and without mathematics between dollar signs."""
    name = name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-most // 2 :]
    return name.replace("$", r"\$")


def plot_distributions(sets: Sequence[ResultSet], groups: Mapping[str, Sequence[str]], metric: Metric) -> bytes:
    """Draw each case's average over labels, by subgroup, a box and a point a case; return a PNG file.

    Of more than twelve subgroups the ones with the worst mean in the first set are drawn.
    """
    parts = {"all cases": sets[0].cases, **{group: groups[group] for group in worst_groups(sets[0], groups, metric)}}
    rng = np.random.default_rng(0)
    width = 0.8 / len(sets)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for s, one in enumerate(sets):
            colour = COLOURS[s % len(COLOURS)]
            line = {"color": colour}
            for g, group in enumerate(parts):
                values = averages(one, groups.get(group), metric)[1]
                if not values.size:
                    continue
                place = g + (s - (len(sets) - 1) / 2) * width
                found = describe(values)
                box = dict(zip(("med", "q1", "q3", "whislo", "whishi"), box_of(found), strict=True))
                axes.bxp(
                    [box],
                    positions=[place],
                    widths=width * 0.75,
                    showfliers=False,
                    manage_ticks=False,
                    boxprops=line,
                    whiskerprops=line,
                    capprops=line,
                    medianprops={**line, "linewidth": 2.5},
                )
                x = place + rng.uniform(-0.25, 0.25, values.size) * width
                axes.scatter(x, values, s=14, alpha=0.5, linewidths=0, marker=MARKERS[s % len(MARKERS)], **line)
        names = [f"{shown(group, 20)}\n({len(cases)})" for group, cases in parts.items()]
        crowded = len(names) > 6
        axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
        drawn = f"the {_MOST_GROUPS} worst of {len(groups)} subgroups" if len(groups) > _MOST_GROUPS else "subgroup"
        axes.set(xlabel=f"{drawn} (cases)", ylabel=f"{metric.axis}, average of a case's labels")
        axes.set_title("Each point a case; boxes: quartiles, whiskers: 5th to 95th percentile")
        axes.legend(handles=[_line(s, one.name, marker=MARKERS[s % len(MARKERS)]) for s, one in enumerate(sets)])

    return _drawn(draw, max(7.0, min(16.0, 2 + 0.7 * len(parts) * len(sets))), 5.5)


def plot_sorted(baseline: ResultSet, other: ResultSet, metric: Metric) -> bytes:
    """Draw the sorted values of two sets over the cases of both, worst first; return a PNG file."""
    both = common_cases(baseline, other)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for s, one in enumerate((baseline, other)):
            values = np.sort(averages(one, both, metric)[1])[:: 1 if metric.higher_is_better else -1]
            share = 100 * (np.arange(values.size) + 0.5) / max(values.size, 1)
            axes.plot(share, values, color=COLOURS[s], linestyle=("-", "--")[s], linewidth=2)
        axes.axvspan(0, 10, color="#999999", alpha=0.2, linewidth=0)
        axes.set(xlim=(0, 100), ylabel=f"{metric.axis}, average of a case's labels")
        axes.set_xlabel(f"share of the {len(both)} cases, each set sorted by itself, worst first (%)")
        axes.set_title(f"{shown(other.name)} against {shown(baseline.name)}")
        handles = [_line(s, one.name, linestyle=("-", "--")[s]) for s, one in enumerate((baseline, other))]
        axes.legend(handles=[*handles, Patch(color="#999999", alpha=0.2, label="worst tenth")], loc="best")

    return _drawn(draw, 8.0, 5.0)


def plot_worst(one: ResultSet, group_of: Mapping[str, str], metric: Metric) -> bytes:
    """Draw the ten worst cases of a set: the average as a grey bar, by subgroup, labels as marks; return a PNG file."""
    rows = worst_cases(one, metric)
    groups = sorted({group_of.get(row["case"], "") for row in rows})
    values = getattr(one, metric.key)[one.chosen([row["case"] for row in rows])]
    many = len(one.labels) > len(COLOURS)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(rows))
        for place, row in zip(places, rows, strict=True):
            axes.barh(place, row["value"], height=0.7, **_bar(groups.index(group_of.get(row["case"], ""))))
        handles = [Patch(**_bar(g), label=" " + (shown(group) or "average")) for g, group in enumerate(groups)]
        for j, label in enumerate(one.labels):
            mark = {"marker": "."} if many else {"marker": MARKERS[j], "color": COLOURS[j]}
            points = axes.scatter(values[:, j], places, s=34, zorder=3, clip_on=False, **{"color": "#222222", **mark})
            points.set_label(" one label" if many else " " + shown(label))
            handles += [points] if not many or j == 0 else []
        axes.set_yticks(places, [shown(row["case"]) for row in rows])
        axes.invert_yaxis()
        if not metric.unit:
            axes.set_xlim(0, 1)
        axes.set(xlabel=f"{metric.axis}; bar: average of the labels", ylabel="case, worst first")
        axes.set_title(f"Worst {len(rows)} of {len(one.cases)} cases: {shown(one.name)}")
        figure.legend(
            handles=handles, loc="outside right upper", title="bars: subgroup" if groups[-1:] > [""] else None
        )

    return _drawn(draw, 10.0, 1.8 + 0.42 * max(len(rows), 4))


def averages(one: ResultSet, cases: Sequence[str] | None, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """Return the names and averages of a set's cases, or of some of them, that have a value."""
    values = one.values(metric.key)[:, -1]
    chosen = np.isfinite(values) & (True if cases is None else np.isin(one.cases, list(cases)))
    return np.array(one.cases)[chosen], values[chosen]


def worst_groups(one: ResultSet, groups: Mapping[str, Sequence[str]], metric: Metric) -> list[str]:
    """Return the subgroups to draw, in their order: of more than twelve those with the worst mean."""
    sign = 1 if metric.higher_is_better else -1
    found = {group: averages(one, cases, metric)[1] for group, cases in groups.items()}
    worst = sorted(groups, key=lambda group: sign * found[group].mean() if found[group].size else math.inf)
    return [group for group in groups if group in worst[:_MOST_GROUPS]]


def box_of(found: Mapping[str, float]) -> list[float]:
    """Return a box by figures of ``describe``: median, quartiles, and 5th and 95th percentile for the whiskers."""
    return [found[key] for key in ("median", "p25", "p75", "p5", "p95")]


def _bar(g: int) -> dict[str, object]:
    """Subgroups are told by grey and hatch, since colours are the structures'."""
    return {"facecolor": ("#d8d8d8", "#a8a8a8")[g % 2], "edgecolor": "#666666", "hatch": _HATCHES[g % len(_HATCHES)]}


def _line(s: int, name: str, **more: object) -> Line2D:
    """A name that begins with an underscore would be left out of a legend, hence the space."""
    return Line2D([], [], color=COLOURS[s % len(COLOURS)], linewidth=2, label=" " + shown(name), **more)


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> bytes:
    """Draw in matplotlib's own style, whatever the host made of it, and return a PNG file."""
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        matplotlib.rcParams.update({"font.size": 11, "axes.titlesize": 12, "grid.alpha": 0.3, "axes.grid": True})
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=_DPI, format="png")
        return buffer.getvalue()
