"""What a reader hands to a writer: cases, their files, labels and subgroups, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np


class DatasetError(ValueError):
    """A data set that cannot be used; its message lists every problem found, one a line."""

    def __init__(self, source: Path, problems: list[str]):
        self.problems = list(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem(s), nothing was written:\n{lines}")


@dataclass(frozen=True)
class Case:
    """One case: its image files in channel order, its label file, and what subgroup it belongs to.

    ``subgroup`` holds the columns that ``subgroups.csv`` gets beside the case's name; ``test`` cases are held out.
    """

    name: str
    images: tuple[Path, ...]
    label: Path
    subgroup: dict[str, str] = field(default_factory=dict)
    test: bool = False


@dataclass(frozen=True)
class Collection:
    """All cases of a source, with the names of channels and labels that they share.

    ``labels`` maps a label's name to its integer value; ``background`` is 0.
    ``warnings`` tells of oddities that do not prevent training.
    """

    source: Path
    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    labels: dict[str, int]
    description: str = ""
    warnings: tuple[str, ...] = ()


def same_geometry(one: nib.Nifti1Image, other: nib.Nifti1Image, *, tolerance: float = 1e-3) -> str | None:
    """Return what differs between two images' grids, or None where both lie on one grid.

    ``tolerance`` is in millimetres, for each entry of the affine.
    """
    for image in (one, other):
        if len(image.shape) != 3:
            return f"an image of shape {image.shape} is not three-dimensional"
    if one.shape != other.shape:
        return f"shapes {one.shape} and {other.shape} differ"
    difference = float(np.abs(one.affine - other.affine).max())
    if not difference <= tolerance:  # NaN is no grid either
        return f"affines differ by up to {difference:.4g} mm (allowed: {tolerance:g})"
    return None


def label_values(image: nib.Nifti1Image) -> np.ndarray:
    """Return the label image's voxels as integers; raise ``ValueError`` where they are none."""
    voxels = np.asanyarray(image.dataobj)
    if voxels.dtype.kind == "f":
        rounded = np.round(voxels)
        if not np.array_equal(rounded, voxels):
            example = voxels[rounded != voxels].flat[0]
            raise ValueError(f"labels have to be whole numbers, found {example!r}")
        voxels = rounded
    return voxels.astype(np.int64)
