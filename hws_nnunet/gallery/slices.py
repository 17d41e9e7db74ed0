"""Through which voxel of a case the three slices go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

ERROR = "the wrong voxel that lies deepest among wrong voxels"
HARDEST = "the voxel of the case's hardest structure whose slices show most of it"
STRUCTURES = "the voxel whose slices show the most structures (of several such slices, the most labelled voxels)"
MIDDLE = "the middle of the image, since the reference has no label"

RULE = (
    f"Where a prediction is wrong, the slices go through {ERROR}. Else, where the training's record tells it, through "
    f"{HARDEST}. Else through {STRUCTURES}; where the reference has no label, through the middle of the image."
)
"""The whole rule, in words."""


@dataclass(frozen=True)
class Place:
    """A voxel, and the rule that chose it."""

    voxel: tuple[int, int, int]
    rule: str


def wrong_voxels(reference: np.ndarray, prediction: np.ndarray, *, ignore: int | None = None) -> np.ndarray:
    """Return where a prediction differs from the reference, leaving out voxels with the ``ignore`` label."""
    wrong = reference != prediction
    return wrong if ignore is None else wrong & (reference != ignore)


def choose_place(
    reference: np.ndarray,
    *,
    wrong: np.ndarray | None = None,
    hardest: np.ndarray | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    ignore: int | None = None,
) -> Place:
    """Return where the slices go, by :data:`RULE`.

    Args:
        reference: label values, ``(x, y, z)``, 0 is background.
        wrong: where the prediction is wrong; None without one.
        hardest: where the reference has the case's hardest structure; None, or nowhere, where it is not known.
        spacing: millimetres.
        ignore: the label that does not count.
    """
    if wrong is not None and wrong.any():
        return Place(_deepest(wrong, spacing), ERROR)
    if hardest is not None and hardest.any():
        return Place(_most_of(hardest), HARDEST)
    labelled = reference > 0 if ignore is None else (reference > 0) & (reference != ignore)
    if not labelled.any():
        return Place(tuple(size // 2 for size in reference.shape), MIDDLE)
    return Place(_most_structures(np.where(labelled, reference, 0)), STRUCTURES)


def _deepest(mask: np.ndarray, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return the voxel of a mask that is farthest from its outside; what lies beyond the image is outside."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    widths = [(1, 1) if size > 1 else (0, 0) for size in mask.shape]  # an image of one slice is all border there
    depth = ndimage.distance_transform_edt(np.pad(mask[box], widths), sampling=spacing)
    deepest = np.unravel_index(depth.argmax(), depth.shape)
    x, y, z = (int(d + b.start - w[0]) for d, b, w in zip(deepest, box, widths, strict=True))
    return x, y, z


def _most_structures(labels: np.ndarray) -> tuple[int, int, int]:
    """Return, along each axis, the slice of most structures, of these of most labelled voxels."""
    areas = [_areas(labels == value) for value in np.unique(labels[labels > 0])]
    along = [np.array(axis) for axis in zip(*areas, strict=True)]  # (structures, slices) of each axis
    x, y, z = (_best((area > 0).sum(axis=0), area.sum(axis=0)) for area in along)
    return x, y, z


def _most_of(mask: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel of a mask whose slices have most of it: the largest product of their shares of the largest.

    The slice of most voxels along each axis would do for what is compact. Of a shell, like the fluid around a brain,
    all three are near its border, and meet outside of it.
    """
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    x, y, z = (area / area.max() for area in _areas(mask[box]))
    score = mask[box] * (x[:, None, None] * y[:, None] * z).astype(np.float32)
    best = np.flatnonzero(score == score.max())
    voxel = np.unravel_index(best[len(best) // 2], score.shape)  # of several, the one in the middle
    i, j, k = (int(v + b.start) for v, b in zip(voxel, box, strict=True))
    return i, j, k


def _areas(mask: np.ndarray) -> list[np.ndarray]:
    """Return how many voxels of a mask each slice has, of the slices across each axis."""
    return [mask.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]


def _best(first: np.ndarray, second: np.ndarray) -> int:
    """Return the slice of the largest first value, of these of the largest second, of these the one in the middle."""
    best = np.flatnonzero(first == first.max())
    best = best[second[best] == second[best].max()]
    return int(best[len(best) // 2])
