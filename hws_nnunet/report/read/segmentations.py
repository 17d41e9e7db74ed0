"""Results from label maps: Dice, HD95 and normalised surface Dice of predictions against references."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from tqdm import tqdm

from hws_nnunet.datasets.checks import label_values
from hws_nnunet.datasets.geometry import geometry, same_grid
from hws_nnunet.datasets.images import open_image
from hws_nnunet.facts.dataset import LabelTable
from hws_nnunet.facts.spellings import case_name
from hws_nnunet.messages import number, some_of
from hws_nnunet.report.read.conventions import Convention
from hws_nnunet.report.read.readers import gather
from hws_nnunet.report.read.results import SIZES, ResultError, ResultSet, short_list

_ENDINGS = (".nii.gz", ".nii")
_MOST_LABELS = 1000  # each is measured in each case


@dataclass(frozen=True)
class Pairs:
    """Predictions with their references, on one grid each. ``files`` maps a case to its prediction and reference.

    ``spacings`` has each case's voxel sizes in millimetres, by its reference; ``notes`` tell what disagrees.
    """

    name: str
    folder: Path
    files: dict[str, tuple[Path, Path]]
    without_prediction: tuple[str, ...]
    spacings: dict[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Return the cases' names, sorted."""
        return tuple(self.files)


def find_pairs(name: str, folder: Path, references: Path, *, progress: bool = False) -> Pairs:
    """Find the references of all predictions in a folder, and check that the images fit each other.

    Args:
        name: what to call the result set.
        folder: of predictions, ``CASE.nii.gz`` or ``CASE.nii``.
        references: folder of label maps of the same names; it may hold more cases.
        progress: show a bar on standard error.

    Raises:
        ResultError: with every problem found: no prediction, one without a reference, two of one case, a file that
            cannot be read, grids that differ.
    """
    for wanted in (folder, references):
        if not wanted.is_dir():
            kind = "a file" if wanted.exists() else "nothing"
            raise ResultError(wanted, [f"expected a folder of label maps, found {kind}"])
    (predicted, problems), (reference_of, others) = _label_maps(folder), _label_maps(references)
    problems += others
    if not predicted:
        problems.append(f"expected predictions that end in {' or '.join(_ENDINGS)}, found none")
    problems += [f"case {case!r}: no reference in {references}" for case in predicted if case not in reference_of]
    files = {case: (path, reference_of[case]) for case, path in predicted.items() if case in reference_of}
    spacings: dict[str, tuple[float, ...]] = {}
    oddities: list[str] = []
    for case, pair in tqdm(files.items(), desc=f"checking {name}", unit="case", disable=not progress):
        try:
            predicted_grid, reference_grid = (geometry(open_image(path)) for path in pair)
            different, odd = same_grid(reference_grid, predicted_grid)
            spacings[case] = reference_grid.sizes
            oddities += [f"case {case!r}: {text}" for text in odd]
            if different:
                problems.append(f"case {case!r}: prediction and reference are not on one grid: {different}")
        except Exception as error:  # nibabel, zlib and the file system each raise their own
            problems.append(f"case {case!r}: {error}")
    if problems:
        raise ResultError(folder, problems)
    odd_files = some_of(oddities, most=3, separator="; ")
    notes = [f"{name}: the geometry of {number(len(oddities), 'file')} disagrees: {odd_files}"] if oddities else []
    lost = tuple(case for case in reference_of if case not in predicted)
    return Pairs(name, folder, files, lost, spacings, tuple(notes))


def find_labels(sets: Sequence[Pairs], *, progress: bool = False) -> LabelTable:
    """Return all label values of some predictions and references, each called by its number; 0 is background.

    Raises:
        ResultError: there is nothing but background, or a file holds other than whole numbers, or more than a thousand.
    """
    paths = sorted({path for pairs in sets for pair in pairs.files.values() for path in pair})
    labels: set[int] = set()
    for path in tqdm(paths, desc="finding labels", unit="file", disable=not progress):
        values = np.unique(_load(path)).tolist()
        if len(values) > _MOST_LABELS:
            raise ResultError(path, [f"expected a label map, found {len(values)} values, as in an image"])
        labels.update(values)
    if not (labels := labels - {0}):
        raise ResultError(sets[0].folder, ["expected label maps, found nothing but zeros"])
    return LabelTable({str(value): (value,) for value in sorted(labels)})


def evaluate(pairs: Pairs, labels: LabelTable, *, tolerance: float = 1.0, progress: bool = False) -> ResultSet:
    """Compute Dice, HD95 and normalised surface Dice of each label in each case.

    HD95 is the larger of the two directions' 95th percentiles of the distances between border voxels; normalised
    surface Dice the share of border voxels of both that lie within ``tolerance`` of the other's. Where prediction and
    reference are both empty all are NaN; where one is, Dice and normalised surface Dice are 0, and HD95 is the
    diagonal of the image: no distance within it is larger, so that a missed structure ranks behind all others.

    Args:
        pairs: from :func:`find_pairs`.
        labels: which structures.
        tolerance: of the normalised surface Dice, in millimetres, above 0.
        progress: show a bar on standard error.

    Raises:
        ResultError: a file cannot be read, a prediction holds a value that is not a label, or no label of predictions
            is one of references.
    """
    allowed = {0, *(value for values in labels.regions.values() for value in values)}
    allowed |= set() if labels.ignored is None else {labels.ignored}
    rows: list[dict[str, object]] = []
    problems = []
    for case, files in tqdm(pairs.files.items(), desc=f"measuring {pairs.name}", unit="case", disable=not progress):
        predicted, reference = map(_load, files)
        for file, voxels in zip(files, (predicted, reference), strict=True):
            if unknown := sorted(set(np.unique(voxels).tolist()) - allowed):
                problems.append(f"{file} holds {unknown}, expected {sorted(allowed)}")
        if labels.ignored is not None:
            predicted = np.where(reference == labels.ignored, labels.ignored, predicted)
        for label, values in labels.regions.items():
            masks = np.isin(predicted, values), np.isin(reference, values)
            rows.append({"case": case, "label": label, **measure(*masks, pairs.spacings[case], tolerance=tolerance)})
    if problems:
        raise ResultError(pairs.folder, problems)
    tool = f"MONAI {importlib.metadata.version('monai')}, tolerance {tolerance:g} mm"
    notes = list(pairs.notes)
    if lost := pairs.without_prediction:
        text = f"no prediction for {number(len(lost), 'reference')}, left out: {short_list(lost)}"
        notes.append(f"{pairs.name}: {text}")
    frame, names = pd.DataFrame(rows), tuple(labels.regions)
    sizes = frame.groupby("label")[list(SIZES)].sum()
    invented = sizes.index[(sizes[SIZES[0]] == 0) & (sizes[SIZES[1]] > 0)].tolist()
    if invented and not (sizes > 0).all(axis=1).any() and (sizes[SIZES[0]] > 0).any():
        referred = sizes.index[sizes[SIZES[0]] > 0].tolist()
        raise ResultError(
            pairs.folder,
            [f"predictions hold the labels {', '.join(invented)}, references {', '.join(referred)}: expected the same"],
        )
    if invented:
        notes.append(f"{pairs.name}: no reference holds the labels {short_list(invented)}, some predictions do")
    return gather(pairs.name, pairs.folder, frame, Convention(), labels=names, surface_tool=tool, notes=notes)


def measure(
    predicted: np.ndarray, reference: np.ndarray, spacing: Sequence[float], *, tolerance: float = 1.0
) -> dict[str, float]:
    """Measure one structure; see :func:`evaluate`.

    Args:
        predicted: ``(x, y, z)``, bool.
        reference: ``(x, y, z)``, bool.
        spacing: of the voxels, millimetres an axis.
        tolerance: millimetres.

    Returns:
        ``dice``, ``hd95`` (mm), ``nsd``, ``reference_size`` and ``predicted_size`` (voxels).
    """
    sizes = {"reference_size": float(reference.sum()), "predicted_size": float(predicted.sum())}
    if not any(sizes.values()):
        return {"dice": np.nan, "hd95": np.nan, "nsd": np.nan, **sizes}
    if not all(sizes.values()):
        diagonal = float(np.linalg.norm(np.multiply(reference.shape, spacing)))
        return {"dice": 0.0, "hd95": diagonal, "nsd": 0.0, **sizes}
    dice = 2 * float((predicted & reference).sum()) / sum(sizes.values())
    import torch
    from monai import metrics

    (box,) = ndimage.find_objects((predicted | reference).astype(np.uint8))
    one, two = (torch.from_numpy(mask[box].astype(np.float32))[None, None] for mask in (predicted, reference))
    grid = {"include_background": True, "spacing": tuple(map(float, spacing))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI warns of its own calls
        hd95 = float(metrics.compute_hausdorff_distance(one, two, percentile=95, **grid))
        nsd = float(metrics.compute_surface_dice(one, two, class_thresholds=[tolerance], **grid))
    return {"dice": dice, "hd95": hd95, "nsd": nsd, **sizes}


def _load(path: Path) -> np.ndarray:
    try:
        voxels = label_values(open_image(path))
        return voxels.reshape(voxels.shape[:3])
    except Exception as error:
        raise ResultError(path, [str(error)]) from error


def _label_maps(folder: Path) -> tuple[dict[str, Path], list[str]]:
    path_of: dict[str, Path] = {}
    problems = []
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(_ENDINGS)):
        if (case := case_name(path.name)) in path_of:
            problems.append(f"case {case!r} is there twice: {path_of[case]} and {path}")
        path_of[case] = path
    return dict(sorted(path_of.items())), problems
