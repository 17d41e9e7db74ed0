"""Checks of a case's files: one grid, finite images, whole numbers as labels."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.datasets.cases import Case, DatasetError, Reading
from hws_nnunet.datasets.geometry import Geometry, geometry, trainable
from hws_nnunet.datasets.images import ImageFileError, open_image, read_voxels, scaling
from hws_nnunet.messages import number, some_of
from hws_nnunet.processes import on_all_cores

_CLOSE, _NEVER = 2e-5, 1e-2  # a label's distance to a whole number: by rounding, and by no file's rounding


@dataclass(frozen=True)
class Checked:
    """What the check of a case found.

    ``volumes`` counts the voxels of each value of the label file, none where it could not be read; ``outline`` is a
    digest of which voxels are labelled. ``unreadable``: a file could not be read. ``moved``: the label file takes the
    image's grid.
    """

    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    volumes: dict[int, int] = field(default_factory=dict)
    outline: str = ""
    unreadable: bool = False
    moved: bool = False

    @property
    def values(self) -> frozenset[int]:
        """Return the values of the label file."""
        return frozenset(self.volumes)


@dataclass(frozen=True)
class Checks:
    """The cases that are left to use, what was found in each, and what is to be told of all."""

    cases: tuple[Case, ...]
    results: tuple[Checked, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def label_values(image: nib.Nifti1Image) -> np.ndarray:
    """Return the label image's voxels as integers; single precision may keep them a little beside whole numbers.

    Raises:
        ValueError: they are none, or cannot be read.
    """
    voxels = read_voxels(image)
    if voxels.dtype.kind not in "biuf":
        raise ValueError(f"labels have to be whole numbers, found voxels of type {voxels.dtype}")
    if voxels.dtype.kind == "f":
        rounded = np.round(voxels)
        # A file of integers that holds scaled values keeps them to half a step.
        slope, _ = scaling(image)
        close = min(max(_CLOSE, 0.51 * abs(slope) if slope != 1 else 0.0), _NEVER)
        if not (far := ~(np.abs(rounded - voxels) <= close)).any():
            return rounded.astype(np.int64)
        raise ValueError(f"labels have to be whole numbers, found {float(voxels[far].flat[0])!r}")
    return voxels.astype(np.int64)


def check_case(case: Case, *, mask: Path | None = None, image_grid: bool = False) -> Checked:
    """Return the problems of a case's files: unreadable, not on the first image's grid, not finite, no labels.

    Args:
        case: its files exist.
        mask: of the brain; labels outside of it are told as a warning.
        image_grid: a label file or mask of the image's shape may lie elsewhere; labels on voxels of value 0 are told.
    """
    first, labels = case.images[0], [path for path in (mask, case.label) if path is not None]
    opened: dict[Path, nib.Nifti1Image] = {}
    problems: list[str] = []
    for path in (*case.images, *labels):
        try:
            opened[path] = open_image(path)
        except (OSError, ValueError) as error:
            problems.append(f"{case.name}: {error}")
    if problems:
        return Checked(tuple(problems), unreadable=True)
    faults, elsewhere = _grids(case, opened, labels, image_grid=image_grid)
    problems += faults
    moved = case.label in elsewhere
    voxels: dict[Path, np.ndarray] = {}
    unreadable = False
    for path, image in opened.items():
        try:
            voxels[path] = label_values(image) if path == case.label else read_voxels(image)
        except ImageFileError as error:
            problems.append(f"{case.name}: {error}")
            unreadable = True
        except ValueError as error:
            problems.append(f"{case.name}: {path.name}: {error}")
        else:
            if path in labels:
                continue
            if voxels[path].dtype.kind == "f" and not np.isfinite(voxels[path]).all():
                problems.append(f"{case.name}: {path.name} holds values that are not finite")
            if path != first:  # four channels at once would be too much memory
                del voxels[path]
    if case.label is None or case.label not in voxels:
        return Checked(tuple(problems), unreadable=unreadable)
    foreground, warnings = voxels[case.label] > 0, []
    if not problems:
        places = {mask.name: voxels[mask] > 0} if mask is not None else {}
        if moved:
            places[f"what {first.name} shows (other than 0)"] = voxels[first] != 0
        for name, inside in places.items():
            if count := int((foreground & ~inside).sum()):
                warnings.append(f"{case.name}: {count} labelled voxels lie outside {name}")
    values, counts = np.unique(voxels[case.label], return_counts=True)
    volumes = dict(zip(values.tolist(), counts.tolist(), strict=True))
    outline = blake2b(np.packbits(foreground).tobytes(), digest_size=16).hexdigest() if foreground.any() else ""
    return Checked(tuple(problems), tuple(warnings), volumes, outline, unreadable, moved)


def _grids(
    case: Case, opened: dict[Path, nib.Nifti1Image], labels: Sequence[Path], *, image_grid: bool
) -> tuple[list[str], list[Path]]:
    """Return which files do not lie on the first one's grid, and which of ``labels`` may lie elsewhere."""
    grids: dict[Path, Geometry] = {}
    problems: list[str] = []
    elsewhere: list[Path] = []
    for path, image in opened.items():
        try:
            if image.ndim != 3:
                raise ValueError(f"{path.name} has shape {image.shape}, expected three dimensions")
            grids[path] = geometry(image)
        except ValueError as error:
            problems.append(f"{case.name}: {error}")
    first = case.images[0]
    for path, other in grids.items() if first in grids else ():
        if path == first or not (difference := trainable(grids[first], other)):
            continue
        movable = path in labels and other.shape == grids[first].shape
        if movable and image_grid:
            elsewhere.append(path)
            continue
        hint = "; the shapes are equal: if a viewer shows the labels in place, --image-grid takes the image's grid"
        problems.append(
            f"{case.name}: {first.name} and {path.name} are not on one grid: {difference}{hint if movable else ''}"
        )
    return problems, elsewhere


def check_cases(
    cases: Sequence[Case], how: Reading, *, incomplete: Sequence[str] = (), masks: Sequence[Path] | None = None
) -> Checks:
    """Check all cases.

    Args:
        cases: their files exist.
        how: which cases may be left out, and what may lie on another grid.
        incomplete: a line for each case that lacks a file and so is not among ``cases``.
        masks: of the brains, one a case.
    """
    grids = [how.image_grid] * len(cases)
    results = on_all_cores(_check, cases, masks or [None] * len(cases), grids, desc="checking", progress=how.progress)
    unreadable = [problem for result in results if result.unreadable for problem in result.problems]
    useless, rest = [*incomplete, *unreadable], [result for result in results if not result.unreadable]
    problems = [problem for result in rest for problem in result.problems]
    warnings = [warning for result in rest for warning in result.warnings]
    if not how.skip_incomplete or not rest:
        problems = useless + problems
        if useless and not how.skip_incomplete:
            count = len(incomplete) + len(results) - len(rest)
            problems[len(useless) - 1] += f" (--skip-incomplete leaves out {number(count, 'such case')})"
    else:
        warnings = [f"left out: {line}" for line in useless] + warnings
    kept = [(case, result) for case, result in zip(cases, results, strict=True) if not result.unreadable]
    if moved := [case.name for case, result in kept if result.moved]:
        warnings.append(f"{number(len(moved), 'label file')} of another grid got the image's: {some_of(moved)}")
    return Checks(tuple(case for case, _ in kept), tuple(rest), tuple(problems), tuple(warnings))


def _check(case: Case, mask: Path | None, image_grid: bool) -> Checked:
    return check_case(case, mask=mask, image_grid=image_grid)


def label_shares(checked: Iterable[Checked]) -> dict[int, float]:
    """Return each label value's share of all labelled volume, 0 to 1, the background left out."""
    volumes: Counter[int] = Counter()
    for result in checked:
        volumes.update({value: count for value, count in result.volumes.items() if value})
    return {value: count / volumes.total() for value, count in sorted(volumes.items())}


def label_lines(checks: Checks, how: Reading) -> list[str]:
    """Return the lines on label values for a collection's summary."""
    return [] if how.images_only else [f"  {counted_values(checks.results)}"]


def counted_values(checked: Sequence[Checked]) -> str:
    """Return in how many cases each label value was found, and its share of the volume, as a line for people."""
    counts, shares = Counter(value for result in checked for value in result.values), label_shares(checked)
    told = {value: "below 1%" if share < 0.005 else f"{share:.0%}" for value, share in shares.items()}
    parts = [f"{value} in {n}" + (f" ({told[value]})" if value else "") for value, n in sorted(counts.items())]
    return f"label values by case (and share of the labelled volume): {', '.join(parts)}"


def repeated_names(cases: Sequence[Case]) -> list[str]:
    """Return a problem for each name that several cases have, with their places."""
    places: dict[str, list[str]] = {}
    for case in cases:
        places.setdefault(case.name, []).append(str(case.images[0].parent))
    return [f"{name}: found {len(p)} times: {', '.join(p)}" for name, p in places.items() if len(p) > 1]


def existing_folder(source: Path) -> Path:
    """Return ``source`` as a path; raise ``DatasetError`` unless it is a folder."""
    source = Path(source)
    if not source.is_dir():
        actual = "a file" if source.exists() else "nothing"
        raise DatasetError(source, [f"expected a folder of cases, found {actual}"])
    return source


def empty_folders(source: Path) -> list[str]:
    """Return a warning where folders below ``source`` are empty, as after an archive was unpacked in part."""
    folders = sorted(path.name for path in source.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return (
        [f"{source}: {number(len(folders), 'empty folder')}, was all unpacked? {some_of(folders)}"] if folders else []
    )


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
