"""The figure of a training's hardness: readable at a glance, for 10 cases and for 1,000."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hws_nnunet.messages import number
from hws_nnunet.record.history import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hws_nnunet.core.groups import Groups

_MOST_LINES = 40  # more cases than this are shown as bands
_MOST_BARS = 15
_NAMED = 5
_COLOURS = ("#c1272d", "#e07a1f", "#b59410", "#8a2f8f", "#5b3fa0")
_RELIABILITY = "#1b8a9e"
_CROWD, INK = "#7a8ca3", "#1f2a3a"


def plot_record(
    record: Record,
    probabilities: np.ndarray,
    visits: np.ndarray,
    path: Path,
    *,
    groups: Groups | None = None,
    beside: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Draw hardness over epochs, the hardest cases, ESS and beta, visits, and groups; write a PNG file.

    Args:
        record: at least one epoch.
        probabilities: ``(n,)``, of a single draw; a batch that draws no case twice comes out less uneven.
        visits: ``(n,)``.
        path: the file to write, whatever its ending.
        groups: of the cases, None where there are none.
        beside: the cases' losses by other measures, ``(n,)`` each, by name; written beside the hardest cases.
    """
    # nnU-Net changes matplotlib's global style for its own figure.
    with matplotlib.style.context("default", after_reset=True):
        _plot(record, probabilities, visits, path, groups, beside or {})


def _plot(
    record: Record,
    probabilities: np.ndarray,
    visits: np.ndarray,
    path: Path,
    groups: Groups | None,
    beside: Mapping[str, np.ndarray],
) -> None:
    columns = 2 if groups is None else 3
    figure = Figure(figsize=(7.5 * columns, 10), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, columns)
    (over_epochs, now), (spread, seen) = axes[:, :2]
    hardness = np.array(record.hardness, dtype=np.float64)
    last = hardness[-1]
    tracked = np.flatnonzero(np.isfinite(last))
    hardest = tracked[np.argsort(-last[tracked], kind="stable")]
    _plot_hardness(over_epochs, record, hardness, hardest[:_NAMED])
    _plot_hardest(now, record, last, hardest[:_MOST_BARS], probabilities, beside)
    _plot_spread(spread, record)
    _plot_visits(seen, record, last, tracked, visits, hardest[:_NAMED])
    if groups is not None:
        _plot_groups(axes[0, 2], axes[1, 2], record, hardness, probabilities, groups)
    figure.suptitle(
        f"Hardness of {len(record.names)} training cases after epoch {record.epochs[-1]}", fontsize=15, color=INK
    )
    figure.savefig(path, dpi=90, format="png")


def _plot_hardness(axes: Axes, record: Record, hardness: np.ndarray, hardest: np.ndarray) -> None:
    epochs = record.epochs
    marker = "o" if len(epochs) == 1 else None
    if hardness.shape[1] <= _MOST_LINES:
        axes.plot(epochs, hardness, color=_CROWD, alpha=0.5, linewidth=1, marker=marker)
    else:
        seen = hardness[:, np.isfinite(hardness).any(axis=0)]
        levels = np.array(
            [np.nanpercentile(row, (5, 25, 50, 75, 95)) if np.isfinite(row).any() else [np.nan] * 5 for row in seen]
        ).T
        axes.fill_between(epochs, levels[0], levels[4], color=_CROWD, alpha=0.25, label="5 to 95 % of the cases")
        axes.fill_between(epochs, levels[1], levels[3], color=_CROWD, alpha=0.45, label="25 to 75 %")
        axes.plot(epochs, levels[2], color=INK, label="median", marker=marker)
    for case, colour in zip(hardest, _COLOURS, strict=False):
        axes.plot(epochs, hardness[:, case], color=colour, linewidth=2, marker=marker, label=_label(record.names[case]))
    axes.set(title="Hardness over epochs, the hardest now in colour", xlabel="epoch", ylabel="hardness (smoothed loss)")
    _whole_epochs(axes)
    if axes.get_legend_handles_labels()[0]:
        _legend_below(axes)


def _plot_hardest(
    axes: Axes,
    record: Record,
    last: np.ndarray,
    hardest: np.ndarray,
    probabilities: np.ndarray,
    beside: Mapping[str, np.ndarray],
) -> None:
    places = np.arange(len(hardest))
    colours = [_COLOURS[i] if i < _NAMED else _CROWD for i in places]
    axes.barh(places, last[hardest], color=colours)
    axes.set_yticks(places, [short(record.names[case], 28) for case in hardest], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.38 if beside else 0.14)
    for place, case in zip(places, hardest, strict=True):
        told = [f"{probabilities[case] * len(record.names):.1f}x"]
        told += [f"{name} {losses[case]:.2f}" for name, losses in beside.items() if np.isfinite(losses[case])]
        end = max(last[case], 0), place
        axes.annotate(", ".join(told), end, (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set(
        title="Who is hard now; 2.0x: twice the uniform chance in a single draw",
        xlabel="hardness (smoothed loss)",
    )


def _plot_spread(axes: Axes, record: Record) -> None:
    n = len(record.names)
    marker = "o" if len(record.epochs) == 1 else None
    lines = []
    for label, values, style in (
        ("effective sample size", [summary.effective_sample_size / n for summary in record.summaries], {"color": INK}),
        (
            "bound in force on it",
            [summary.smallest_effective_sample_size / n for summary in record.summaries],
            {"color": INK, "linestyle": "--", "linewidth": 1},
        ),
        ("reliability", [summary.reliability for summary in record.summaries], {"color": _RELIABILITY}),
    ):
        if np.isfinite(values).any():  # older records know neither bound nor reliability
            lines += axes.plot(record.epochs, values, label=label, marker=marker, **style)
    axes.set(ylim=(0, 1.05), xlabel="epoch", ylabel="share of the cases; reliability")
    other = axes.twinx()
    beta = [summary.beta_in_force if summary.weighted else math.nan for summary in record.summaries]
    lines += other.plot(record.epochs, beta, color=_COLOURS[0], label="beta in force (right axis)", marker=marker)
    other.set_ylabel("beta in force", color=_COLOURS[0])
    other.set_ylim(0, 1.1 * max((value for value in beta if value > 0), default=1.0))
    _legend_below(axes, handles=lines)
    axes.set_title("How uneven the draws are, and how far losses can be relied on")
    _whole_epochs(axes)


def _plot_visits(
    axes: Axes, record: Record, last: np.ndarray, tracked: np.ndarray, visits: np.ndarray, hardest: np.ndarray
) -> None:
    size = 36 if len(record.names) <= _MOST_LINES else 10
    axes.scatter(last[tracked], visits[tracked], s=size, color=_CROWD, alpha=0.6, linewidths=0)
    for case, colour in zip(hardest, _COLOURS, strict=False):
        axes.scatter(last[case], visits[case], s=size * 1.5, color=colour)
    axes.axhline(visits.mean(), color=INK, linewidth=1, linestyle=":")
    axes.annotate(
        "mean", (0.99, visits.mean()), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
    )
    unseen = int((visits == 0).sum())
    title = "Visits so far" + (f"; {number(unseen, 'case')} not seen yet" if unseen else "")
    axes.set(title=title, xlabel="hardness", ylabel="visits", ylim=(0, max(1.1 * visits.max(), 1)))


def _plot_groups(
    over_epochs: Axes, shares: Axes, record: Record, hardness: np.ndarray, probabilities: np.ndarray, groups: Groups
) -> None:
    """Draw the groups' mean hardness over epochs, and how much more often than uniformly each is drawn now."""
    marker = "o" if len(record.epochs) == 1 else None
    masks = [groups.index == i for i in range(len(groups.names))]
    tracked = [np.isfinite(hardness[:, of]).any(axis=1) for of in masks]
    means = np.full((len(masks), len(hardness)), np.nan)
    for mean, of, there in zip(means, masks, tracked, strict=True):
        mean[there] = np.nanmean(hardness[there][:, of], axis=1)
    hardest = np.argsort(-np.nan_to_num(means[:, -1], nan=-np.inf), kind="stable")[:_MOST_BARS]
    colours = [_COLOURS[place] if place < _NAMED else _CROWD for place in range(len(hardest))]
    for place, (i, colour) in enumerate(zip(hardest, colours, strict=True)):
        label = _label(groups.names[i]) if place < _NAMED else None
        over_epochs.plot(record.epochs, means[i], color=colour, marker=marker, label=label)
    over_epochs.set(title="Mean hardness of each group", xlabel="epoch", ylabel="hardness (smoothed loss)")
    _legend_below(over_epochs)
    _whole_epochs(over_epochs)
    times = [probabilities[masks[i]].sum() * len(record.names) / masks[i].sum() for i in hardest]
    shares.barh(range(len(hardest)), times, color=colours)
    names = [f"{short(groups.names[i], 24)} ({masks[i].sum()})" for i in hardest]
    shares.set_yticks(range(len(hardest)), names, fontsize=8, parse_math=False)
    shares.invert_yaxis()
    shares.axvline(1, color=INK, linewidth=1, linestyle=":")
    shares.set(title="How often a group is drawn now (cases)", xlabel="times as often as under uniform sampling")


def _legend_below(axes: Axes, **options: list) -> None:
    """Draw a legend where no line runs."""
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False, **options)


def _whole_epochs(axes: Axes) -> None:
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # MaxNLocator's


def _label(name: str) -> str:
    """Return a name as a legend shows it: matplotlib leaves out what begins with ``_``, and reads formulas in ``$``."""
    return (" " if name.startswith("_") else "") + short(name, 28).replace("$", r"\$")


def short(name: str, most: int) -> str:
    """Return a name, its middle left out where it is longer than ``most`` characters."""
    return name if len(name) <= most else name[: most // 2 - 1] + "…" + name[-(most // 2) :]
