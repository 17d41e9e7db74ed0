"""Through which voxel of a case the three slices go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

ERROR = "the wrong voxel that lies deepest among wrong voxels"
CELL = "the labelled voxel nearest to the middle of the case's hardest cell"
STRUCTURES = "the voxel whose slices show the most structures (of several such slices, the most labelled voxels)"
MIDDLE = "the middle of the image, since the reference has no label"

RULE = (
    f"Where there is a prediction, the slices go through {ERROR}. Else, where the checkpoint tells it and the case has "
    f"several cells, through {CELL}. Else through {STRUCTURES}; where the reference has no label, through the middle "
    "of the image."
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
    hardest: Sequence[float] | None = None,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    ignore: int | None = None,
) -> Place:
    """Return where the slices go, by :data:`RULE`.

    Args:
        reference: label values, ``(x, y, z)``, 0 is background.
        wrong: where the prediction is wrong; None without one.
        hardest: the middle of the hardest cell, in voxels; None where unknown.
        spacing: millimetres.
        ignore: the label that does not count.
    """
    if wrong is not None and wrong.any():
        return Place(_deepest(wrong, spacing), ERROR)
    labelled = reference > 0 if ignore is None else (reference > 0) & (reference != ignore)
    if not labelled.any():
        return Place(tuple(size // 2 for size in reference.shape), MIDDLE)
    if hardest is not None:
        voxels = np.argwhere(labelled)
        distances = (((voxels - np.asarray(hardest)) * np.asarray(spacing)) ** 2).sum(axis=1)
        return Place(tuple(int(v) for v in voxels[distances.argmin()]), CELL)
    return Place(_most_structures(np.where(labelled, reference, 0)), STRUCTURES)


def _deepest(mask: np.ndarray, spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return the voxel of a mask that is farthest from its outside; what lies beyond the image is outside."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    widths = [(1, 1) if size > 1 else (0, 0) for size in mask.shape]  # an image of one slice is all border there
    depth = ndimage.distance_transform_edt(np.pad(mask[box], widths), sampling=spacing)
    deepest = np.unravel_index(depth.argmax(), depth.shape)
    return tuple(int(d + b.start - w[0]) for d, b, w in zip(deepest, box, widths, strict=True))


def _most_structures(labels: np.ndarray) -> tuple[int, int, int]:
    counts = [np.zeros((2, size), dtype=np.int64) for size in labels.shape]  # structures, labelled voxels
    for value in np.unique(labels[labels > 0]):
        one = labels == value
        for axis, count in enumerate(counts):
            voxels = one.sum(axis=tuple({0, 1, 2} - {axis}))
            count += np.stack([voxels > 0, voxels])
    return tuple(_best(structures, voxels) for structures, voxels in counts)


def _best(structures: np.ndarray, voxels: np.ndarray) -> int:
    """Return the slice of most structures, of these of most voxels, of these the one in the middle."""
    best = np.flatnonzero(structures == structures.max())
    best = best[voxels[best] == voxels[best].max()]
    return int(best[len(best) // 2])
