"""Checks of a case's files: one grid, finite images, whole numbers as labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.datasets.cases import Case, DatasetError
from hws_nnunet.processes import on_all_cores


@dataclass(frozen=True)
class Checked:
    """What the check of a case found; ``values`` are those of its label file, none where it could not be read."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: frozenset[int] = frozenset()


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
            example = float(voxels[rounded != voxels].flat[0])
            raise ValueError(f"labels have to be whole numbers, found {example!r}")
        voxels = rounded
    return voxels.astype(np.int64)


def check_case(case: Case, *, mask: Path | None = None) -> Checked:
    """Return the problems of a case's files: unreadable, not on the first image's grid, not finite, no labels.

    Args:
        case: its files exist.
        mask: of the brain; labels outside of it are told as a warning.
    """
    first = case.images[0].name
    try:
        images = [nib.load(path) for path in case.images]
        label, inside = nib.load(case.label), None if mask is None else nib.load(mask)
        others = {path.name: image for path, image in zip(case.images[1:], images[1:], strict=True)}
        others |= {} if mask is None else {mask.name: inside}
        others[case.label.name] = label
        problems = [
            f"{case.name}: {first} and {name} are not on one grid: {difference}"
            for name, other in others.items()
            if (difference := same_geometry(images[0], other))
        ]
        voxels = label_values(label)
        for path, image in zip(case.images, images, strict=True):
            if not _finite(image):
                problems.append(f"{case.name}: {path.name} holds values that are not finite")
        warnings = []
        if mask is not None and not problems:
            outside = int((voxels[~(np.asanyarray(inside.dataobj) > 0)] > 0).sum())
            warnings += [f"{case.name}: {outside} labelled voxels lie outside {mask.name}"] if outside else []
    except Exception as error:  # nibabel, zlib and the file system each raise their own
        return Checked((f"{case.name}: {error}",))
    return Checked(tuple(problems), tuple(warnings), frozenset(np.unique(voxels).tolist()))


def _finite(image: nib.Nifti1Image) -> bool:
    voxels = np.asanyarray(image.dataobj)
    return voxels.dtype.kind != "f" or bool(np.isfinite(voxels).all())


def check_cases(cases: Sequence[Case], *, masks: Sequence[Path] | None = None, progress: bool = False) -> list[Checked]:
    """Return what :func:`check_case` finds, for each case; ``progress`` shows a bar on standard error."""
    masks = [None] * len(cases) if masks is None else masks
    return on_all_cores(_check, cases, masks, desc="checking", progress=progress)


def _check(case: Case, mask: Path | None) -> Checked:
    return check_case(case, mask=mask)


def counted_values(checked: Iterable[Checked]) -> str:
    """Return in how many cases each label value was found, as a line for people."""
    counts = Counter(value for found in checked for value in found.values)
    return ", ".join(f"{value} in {count}" for value, count in sorted(counts.items())) + " case(s)"


def repeated_names(cases: Sequence[Case]) -> list[str]:
    """Return a problem for each name that several cases have, with their places."""
    places: dict[str, list[str]] = {}
    for case in cases:
        places.setdefault(case.name, []).append(str(case.label.parent))
    return [f"{name}: found {len(p)} times: {', '.join(p)}" for name, p in places.items() if len(p) > 1]


def existing_folder(source: Path) -> Path:
    """Return ``source`` as a path; raise ``DatasetError`` unless it is a folder."""
    source = Path(source)
    if not source.is_dir():
        found = "a file" if source.exists() else "nothing"
        raise DatasetError(source, [f"expected a folder of cases, found {found}"])
    return source


def few(names: Sequence[str]) -> str:
    """Return the first names of many, as a text."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def empty_folders(source: Path) -> list[str]:
    """Return a warning where folders below ``source`` are empty, as after an archive was unpacked in part."""
    found = sorted(path.name for path in source.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return [f"{source}: {len(found)} empty folder(s), was all unpacked? {few(found)}"] if found else []


def all_files(source: Path) -> list[Path]:
    """Return all files below a folder but hidden ones, sorted; links to folders are followed, each folder once."""
    seen, files = set(), []
    for folder, folders, names in os.walk(source, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        files += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(files)
