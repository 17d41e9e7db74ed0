"""The figure of structures: which class or region is hard in which case, for 10 cases and for 1,000."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hws_nnunet.files import atomic_write
from hws_nnunet.messages import number
from hws_nnunet.record.figures import INK, short
from hws_nnunet.record.tables import hardest_first

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

STRUCTURES_FIGURE = "hardness_structures.png"

_MOST_CASES = 40
_MOST_WIDE = 12  # more structures than this get narrow columns without numbers
_COLOURS = "viridis"  # can be read by the colour-blind, too, and has no grey, which is for what is unknown
_UNKNOWN, _HATCH = "#e4e4e4", "#b0b0b0"
_ROW, _WIDE, _NARROW = 0.24, 0.75, 0.42  # inches


def plot_structures(
    names: Sequence[str], hardness: np.ndarray, structures: Sequence[str], values: np.ndarray, path: Path
) -> None:
    """Draw a map of structures' hardness by cases; write a PNG file, whole or not at all.

    Its rows are the mean over all cases, and the hardest cases, hardest first. Where there are no structures, nothing
    is written.

    Args:
        names: of n cases.
        hardness: ``(n,)``, of the cases, NaN where unknown.
        structures: K names.
        values: ``(n, K)``, the structures' hardness in each case, NaN where unknown.
        path: the file to write, whatever its ending.
    """
    if not structures:
        return
    # nnU-Net changes matplotlib's global style for its own figure.
    with matplotlib.style.context("default", after_reset=True), atomic_write(path) as partial:
        _plot(names, np.asarray(hardness), structures, np.asarray(values, dtype=np.float64)).savefig(
            partial, dpi=90, format="png"
        )


def _plot(names: Sequence[str], hardness: np.ndarray, structures: Sequence[str], values: np.ndarray) -> Figure:
    shown = hardest_first(hardness)[:_MOST_CASES]
    finite = np.isfinite(values)
    counts = finite.sum(axis=0)
    means = np.where(counts, np.where(finite, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    numbers = len(structures) <= _MOST_WIDE
    wide, high = max(len(structures) * (_WIDE if numbers else _NARROW), 2.0), max(len(shown), 6) * _ROW
    figure = Figure(figsize=(wide + 5.2, high + 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    mean, cases = figure.subplots(2, 1, sharex=True, height_ratios=(1, len(shown)))
    norm = _norm(values[shown], means)
    _draw(mean, means[None], norm, numbers=numbers)
    image = _draw(cases, values[shown], norm, numbers=numbers)
    mean.set_yticks([0], ["mean of all cases"], weight="bold")
    mean.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
    mean.set_xticks(range(len(structures)), [short(name, 24) for name in structures], parse_math=False)
    for label in mean.get_xticklabels():
        label.set(rotation=45, ha="left", rotation_mode="anchor")
    cases.tick_params(bottom=False, labelbottom=False)
    labels = [short(names[i], 40) + (f"  {hardness[i]:.3f}" if np.isfinite(hardness[i]) else "") for i in shown]
    cases.set_yticks(range(len(shown)), labels, fontsize=8, parse_math=False)
    bar = figure.colorbar(image, ax=[mean, cases])
    bar.set_label("smoothed soft Dice loss\nhigh: hard, 0: perfect")
    if not finite[shown].all() or not counts.all():
        unknown = Patch(facecolor=_UNKNOWN, edgecolor=_HATCH, hatch="////", label="no patch has shown it yet")
        figure.legend(handles=[unknown], loc="outside lower center", frameon=False, fontsize=9)
    which = f"the hardest {len(shown)} of {len(names)} cases" if len(shown) < len(names) else number(len(names), "case")
    figure.suptitle(f"Hardness of structures, {which}\n(beside a name: the case's own)", fontsize=12, color=INK)
    return figure


def _norm(*values: np.ndarray) -> Normalize:
    """Return the colours' range: all that is known, to the next tenth."""
    finite = np.concatenate([part.ravel() for part in values])
    finite = finite[np.isfinite(finite)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    low = np.floor(low * 10) / 10
    return Normalize(low, max(np.ceil(high * 10) / 10, low + 0.1))


def _draw(axes: Axes, values: np.ndarray, norm: Normalize, *, numbers: bool) -> AxesImage:
    axes.set_facecolor(_UNKNOWN)
    axes.patch.set(hatch="////", edgecolor=_HATCH, linewidth=0)
    image = axes.imshow(np.ma.masked_invalid(values), cmap=_COLOURS, norm=norm, aspect="auto", interpolation="nearest")
    axes.set_xticks(np.arange(values.shape[1] - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    if numbers:
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            colour = "black" if norm(value) > 0.55 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    return image
