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
from hws_nnunet.datasets.geometry import Geometry, geometry, trainable
from hws_nnunet.datasets.images import ImageFileError, open_image, read_voxels, scaling
from hws_nnunet.messages import some_of
from hws_nnunet.processes import on_all_cores

_CLOSE, _NEVER = 2e-5, 1e-2  # a label's distance to a whole number: by rounding, and by no file's rounding


@dataclass(frozen=True)
class Checked:
    """What the check of a case found; ``values`` are those of its label file, none where it could not be read."""

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: frozenset[int] = frozenset()


def label_values(image: nib.Nifti1Image) -> np.ndarray:
    """Return the label image's voxels as integers; single precision may keep them a little beside whole numbers.

    Raises:
        ValueError: they are none, or cannot be read.
    """
    voxels = read_voxels(image)
    if voxels.dtype.kind == "f":
        rounded = np.round(voxels)
        # A file of integers that holds scaled values keeps them to half a step.
        slope, _ = scaling(image)
        close = min(max(_CLOSE, 0.51 * abs(slope) if slope != 1 else 0.0), _NEVER)
        if not (far := ~(np.abs(rounded - voxels) <= close)).any():
            return rounded.astype(np.int64)
        raise ValueError(f"labels have to be whole numbers, found {float(voxels[far].flat[0])!r}")
    return voxels.astype(np.int64)


def check_case(case: Case, *, mask: Path | None = None) -> Checked:
    """Return the problems of a case's files: unreadable, not on the first image's grid, not finite, no labels.

    Args:
        case: its files exist.
        mask: of the brain; labels outside of it are told as a warning.
    """
    paths = [*case.images, *([] if mask is None else [mask]), case.label]
    opened: dict[Path, nib.Nifti1Image] = {}
    problems: list[str] = []
    for path in paths:
        try:
            opened[path] = open_image(path)
        except (OSError, ValueError) as error:
            problems.append(f"{case.name}: {error}")
    if problems:
        return Checked(tuple(problems))
    problems += _grids(case, opened)
    warnings, voxels = [], None
    for path in paths:
        try:
            if path == case.label:
                voxels = label_values(opened[path])
            elif path == mask:
                outside = ~(read_voxels(opened[path]) > 0)
            elif not _finite(opened[path]):
                problems.append(f"{case.name}: {path.name} holds values that are not finite")
        except ImageFileError as error:
            problems.append(f"{case.name}: {error}")
        except ValueError as error:
            problems.append(f"{case.name}: {path.name}: {error}")
    if mask is not None and voxels is not None and not problems:
        count = int((voxels[outside] > 0).sum())
        warnings += [f"{case.name}: {count} labelled voxels lie outside {mask.name}"] if count else []
    values = frozenset() if voxels is None else frozenset(np.unique(voxels).tolist())
    return Checked(tuple(problems), tuple(warnings), values)


def _grids(case: Case, opened: dict[Path, nib.Nifti1Image]) -> list[str]:
    """Return which files do not lie on the first one's grid."""
    grids: dict[Path, Geometry] = {}
    problems = []
    for path, image in opened.items():
        try:
            if image.ndim != 3:
                raise ValueError(f"{path.name} has shape {image.shape}, expected three dimensions")
            grids[path] = geometry(image)
        except ValueError as error:
            problems.append(f"{case.name}: {error}")
    if (first := case.images[0]) in grids:
        problems += [
            f"{case.name}: {first.name} and {path.name} are not on one grid: {difference}"
            for path, other in grids.items()
            if path != first and (difference := trainable(grids[first], other))
        ]
    return problems


def _finite(image: nib.Nifti1Image) -> bool:
    voxels = read_voxels(image)
    return voxels.dtype.kind != "f" or bool(np.isfinite(voxels).all())


def check_cases(cases: Sequence[Case], *, masks: Sequence[Path] | None = None, progress: bool = False) -> list[Checked]:
    """Return what :func:`check_case` finds, for each case; ``progress`` shows a bar on standard error."""
    return on_all_cores(_check, cases, masks or [None] * len(cases), desc="checking", progress=progress)


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


def empty_folders(source: Path) -> list[str]:
    """Return a warning where folders below ``source`` are empty, as after an archive was unpacked in part."""
    found = sorted(path.name for path in source.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return [f"{source}: {len(found)} empty folder(s), was all unpacked? {some_of(found)}"] if found else []


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
