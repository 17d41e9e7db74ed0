"""The picture of one case: three slices, bare, with the reference's contours, and with the prediction's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from hws_nnunet.gallery.images import box_of
from hws_nnunet.messages import first_of
from hws_nnunet.record.figures import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hws_nnunet.gallery.images import Pictured

PLANES = ("sagittal", "coronal", "axial")
_COLOURS = (
    "#ffd400",
    "#00c8ff",
    "#5cff5c",
    "#ff8c1a",
    "#b070ff",
    "#ff8fc8",
    "#ffffff",
    "#6a8cff",
    "#d8ff3d",
    "#f0c8a0",
)
_WRONG, _CROSS = "#ff0040", "#ffd400"
_MOST_NAMED = 18
_LETTERS = 24  # in a line of the legend
_DPI = 100
_LEVEL = 0.75  # of contours: above one half they lie in their own structure, so that neighbours' do not hide them
_WIDTH, _HEIGHT = 12.0, 4.2  # inches: of all panels of a row, and the most of one row
_LEFT, _TOP, _GAP, _LEGEND, _BOTTOM = 0.45, 0.95, 0.28, 2.5, 0.3  # inches


@dataclass(frozen=True)
class Style:
    """What all pictures of a gallery share.

    Attributes:
        names: of label values; others are called by their number.
        window: image values shown black and white; None takes each case's own.
    """

    names: dict[int, str]
    window: tuple[float, float] | None = None

    def name(self, value: int) -> str:
        """Return a label's name, in lines that fit."""
        lines = wrap(self.names.get(value, f"label {value}"), _LETTERS)
        return "\n".join([*(short(line, _LETTERS) for line in lines[:3]), *(["…"] if lines[3:] else [])])

    def colour(self, value: int) -> str:
        """Return a label's colour, the same in all pictures."""
        values = sorted(self.names)
        return _COLOURS[(values.index(value) if value in values else value - 1) % len(_COLOURS)]


def draw_case(
    case: Pictured,
    voxel: Sequence[int],
    file: Path,
    *,
    style: Style,
    title: str,
    subtitle: str,
    wrong: np.ndarray | None = None,
) -> None:
    """Draw the slices through a voxel and write a PNG file.

    Panels have one scale, in millimetres. The patient's left is on the right and the front on the left; letters tell.

    Args:
        case: its voxels.
        voxel: of the turned axes.
        file: to write.
        style: names, colours, window.
        title: the case.
        subtitle: what is known of it.
        wrong: where the prediction is wrong.
    """
    # nnU-Net changes matplotlib's global style for its own figure.
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page has the name in full
        _draw(case, tuple(voxel), file, style, title, subtitle, wrong)


def _draw(
    case: Pictured,
    voxel: tuple[int, ...],
    file: Path,
    style: Style,
    title: str,
    subtitle: str,
    wrong: np.ndarray | None,
) -> None:
    planes = shown_planes(case.image.shape)
    maps = {"reference": case.reference} | ({} if case.prediction is None else {"prediction": case.prediction})
    rows = ["image", *maps]
    view = _view(case, voxel)
    lengths = (view[:, 1] - view[:, 0]) * case.spacing
    sizes = np.array([[lengths[axis] for axis in _across(plane)] for plane in planes])
    scale = min(_WIDTH / sizes[:, 0].sum(), _HEIGHT / sizes[:, 1].max())
    sizes = np.maximum(sizes * scale, 0.3)
    width = max(_LEFT + (sizes[:, 0] + _GAP).sum() + _LEGEND, 9.0)
    row_height = sizes[:, 1].max() + _GAP
    height = _TOP + len(rows) * row_height + _BOTTOM
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    limits = style.window or _window(case.image, case.reference)
    for row, kind in enumerate(rows):
        left = _LEFT
        bottom = height - _TOP - (row + 1) * row_height + _GAP / 2
        for number, plane in enumerate(planes):
            wide, high = sizes[number]
            place = (left / width, (bottom + (row_height - _GAP - high) / 2) / height, wide / width, high / height)
            axes = figure.add_axes(place)
            _draw_image(axes, case, voxel, plane, limits, first_row=row == 0)
            if kind == "image":
                _draw_cross(axes, voxel, plane)
            if kind == "prediction" and wrong is not None:
                tint = np.ma.masked_equal(_slice(wrong, voxel, plane).astype(np.uint8), 0)
                axes.imshow(tint, cmap=ListedColormap([_WRONG]), alpha=0.4, origin="lower", aspect="auto")
            if kind in maps:
                _draw_contours(axes, _slice(maps[kind], voxel, plane), style)
            _frame(axes, view, plane, turned=case.grid.orientation is not None)
            left += wide + _GAP
        figure.text(0.12 / width, (bottom + (row_height - _GAP) / 2) / height, kind, rotation=90, va="center")
    _draw_legend(figure, left / width, (height - _TOP) / height, case, voxel, planes, style, wrong)
    most = int(7 * (width - _LEFT)), int(11 * (width - _LEFT))  # letters that fit, by the size of each text
    first, *rest = wrap(subtitle, most[1], break_on_hyphens=False) or [""]
    for text, below, font in (
        (short(title, most[0]), 0.16, {"fontsize": 14, "weight": "bold"}),
        (f"{first}\n{short(' '.join(rest), most[1])}".strip(), 0.45, {"fontsize": 10}),
    ):
        figure.text(_LEFT / width, 1 - below / height, text, va="top", parse_math=False, **font)
    figure.savefig(file, dpi=_DPI, format="png")


def shown_planes(shape: Sequence[int]) -> list[int]:
    """Return the axes across which slices are shown: three of a volume, one of an image of a single slice."""
    planes = [axis for axis in range(3) if all(shape[other] > 1 for other in _across(axis))]
    return planes or [2]


def _across(plane: int) -> tuple[int, int]:
    """Return the axes that run to the right and up in a plane."""
    right, up = (axis for axis in range(3) if axis != plane)
    return right, up


def _view(case: Pictured, voxel: Sequence[int]) -> np.ndarray:
    """Return what is shown along each axis, ``(3, 2)``: all that is not 0, or labelled, with a margin."""
    shape = np.array(case.image.shape)
    box = box_of((case.image != 0) | (case.reference != 0) | (0 if case.prediction is None else case.prediction != 0))
    margin = np.maximum((box[:, 1] - box[:, 0]) // 20, 2)
    low, high = np.minimum(box[:, 0] - margin, voxel), np.maximum(box[:, 1] + margin, np.asarray(voxel) + 1)
    return np.stack([np.maximum(low, 0), np.minimum(high, shape)], axis=1)


def _frame(axes: Axes, view: np.ndarray, plane: int, *, turned: bool) -> None:
    """Show the part of a slice that is in view; the patient's right and front are on the left."""
    right, up = _across(plane)
    sides = view[right] - 0.5
    axes.set(xlim=sides[::-1] if turned and right in (0, 1) else sides, ylim=view[up] - 0.5)


def _slice(voxels: np.ndarray, voxel: Sequence[int], plane: int) -> np.ndarray:
    return np.take(voxels, voxel[plane], axis=plane).T


def _window(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Return the values to show black and white, from a sample of the voxels that are not the empty surroundings."""
    voxels = image[(image != 0) | (reference > 0)]
    if not voxels.size:
        return 0.0, 1.0
    low, high = np.percentile(voxels[:: max(1, voxels.size // 1_000_000)], (0.5, 99.5))
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _draw_image(
    axes: Axes, case: Pictured, voxel: Sequence[int], plane: int, limits: tuple[float, float], *, first_row: bool
) -> None:
    axes.imshow(
        _slice(case.image, voxel, plane),
        cmap="gray",
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        aspect="auto",  # the panel's own sides have the right proportion
        interpolation="nearest",
    )
    axes.set_axis_off()
    oriented = case.grid.orientation is not None
    if oriented:
        right, up = _across(plane)
        halo = [withStroke(linewidth=2, foreground="black")]
        for (x, y), letter in zip(
            [(0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98)],
            (*"RLAPIS"[2 * right :][:2], *"RLPAIS"[2 * up :][:2]),
            strict=True,
        ):
            ha = "left" if x < 0.1 else "right" if x > 0.9 else "center"
            va = "bottom" if y < 0.1 else "top" if y > 0.9 else "center"
            axes.text(
                x, y, letter, ha=ha, va=va, path_effects=halo, color="white", fontsize=9, transform=axes.transAxes
            )
    if first_row and case.image.shape[plane] > 1:
        name = PLANES[plane] if oriented else f"across axis {'xyz'[plane]}"
        last = case.image.shape[plane] - 1
        said = f"{name}, slice {case.grid.file_slice(voxel, plane)} of the file's 0 to {last}"
        axes.annotate(  # placing a title takes matplotlib longer than all else of a panel
            said, (0.5, 1), (0, 4), "axes fraction", textcoords="offset points", ha="center", va="bottom", fontsize=9
        )


def _draw_cross(axes: Axes, voxel: Sequence[int], plane: int) -> None:
    right, up = _across(plane)
    axes.axvline(voxel[right], color=_CROSS, linewidth=0.7, alpha=0.6, linestyle=(0, (4, 3)))
    axes.axhline(voxel[up], color=_CROSS, linewidth=0.7, alpha=0.6, linestyle=(0, (4, 3)))


def _draw_contours(axes: Axes, labels: np.ndarray, style: Style) -> None:
    rows, columns = (np.arange(-1, size + 1) for size in labels.shape)
    values, counts = np.unique(labels[labels != 0], return_counts=True)
    large_first = values[np.argsort(-counts, kind="stable")]  # small structures are not hidden then
    # Padded, so that contours close at the image's border.
    maps = {int(value): np.pad(labels == value, 1).astype(float) for value in large_first}
    for inside in maps.values():  # without a dark line below, bright colours are lost in bright tissue
        axes.contour(columns, rows, inside, levels=[_LEVEL], colors="black", linewidths=2.8, alpha=0.5)
    for value, inside in maps.items():
        axes.contour(columns, rows, inside, levels=[_LEVEL], colors=[style.colour(value)], linewidths=1.3)


def _draw_legend(
    figure: Figure,
    left: float,
    top: float,
    case: Pictured,
    voxel: Sequence[int],
    planes: Sequence[int],
    style: Style,
    wrong: np.ndarray | None,
) -> None:
    maps = [labels for labels in (case.reference, case.prediction) if labels is not None]
    shown = sorted(
        {int(v) for labels in maps for plane in planes for v in np.unique(_slice(labels, voxel, plane))} - {0}
    )
    texts: list[str] = first_of([style.name(value) for value in shown], most=_MOST_NAMED)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=style.colour(value), linewidth=3) for value in shown[:_MOST_NAMED]
    ]
    handles += [Line2D([], [], linewidth=0)] * (len(texts) - len(handles))
    if wrong is not None:
        handles.append(Patch(color=_WRONG, alpha=0.4))
        texts.append("differs from reference")
    if not handles:
        return
    # Names of labels are put in afterwards: they may hold what matplotlib would take for a formula or a sign to hide.
    legend = figure.legend(
        handles,
        [str(i) for i in range(len(handles))],
        loc="upper left",
        bbox_to_anchor=(left, top),
        borderaxespad=0,
        facecolor="#555555",
        labelcolor="white",
        framealpha=1,
    )
    for entry, text in zip(legend.get_texts(), texts, strict=True):
        entry.set_parse_math(False)
        entry.set_text(text)
    for size in (9, 8, 7, 6, 5):
        for entry in legend.get_texts():
            entry.set_fontsize(size)
        box = legend.get_window_extent()
        if box.x1 <= figure.bbox.x1 and box.y0 >= 0:
            return
