"""Reader for fetal brain MRI in the layout ``case/{srr,mask,parcellation}.nii.gz``.

Labels and layout as published with the spina bifida atlas: L. Fidon et al., "A spatio-temporal atlas of the
developing fetal brain with spina bifida aperta", Open Research Europe 2021 (Zenodo record 5524312).
"""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
from tqdm import tqdm

from hws_nnunet.datasets.cases import Case, Collection, DatasetError, label_values, same_geometry

FILES = ("srr.nii.gz", "mask.nii.gz", "parcellation.nii.gz")
LABELS = {
    "background": 0,
    "white_matter": 1,
    "intra_axial_csf": 2,
    "cerebellum": 3,
    "extra_axial_csf": 4,
    "cortical_grey_matter": 5,
    "deep_grey_matter": 6,
    "brainstem": 7,
    "corpus_callosum": 8,
}


def read_fetal(source: Path, *, progress: bool = False) -> Collection:
    """Read and check a folder of cases, each a folder with ``srr``, ``mask`` and ``parcellation``.

    Args:
        source: folder whose sub-folders are the cases; a case's name is its folder's.
        progress: show a bar on standard error.

    Returns:
        The collection, one channel (T2w), labels as in :data:`LABELS`. Subgroups come from the folder's
        name: ``operated`` or ``notoperated``, and the gestational age after ``GA``, in weeks; ``all`` and an
        empty age where it has none.

    Raises:
        DatasetError: with every problem found: no case, a missing file, an unreadable one, images that are
            not on one grid, values that are no labels, a label image without any foreground.
    """
    source = Path(source)
    if not source.is_dir():
        raise DatasetError(
            source, ["expected a folder of cases, found " + ("a file" if source.exists() else "nothing")]
        )
    folders = sorted(p for p in source.iterdir() if p.is_dir() and any((p / name).exists() for name in FILES))
    if not folders:
        raise DatasetError(source, [f"expected sub-folders that hold {', '.join(FILES)}; found none"])
    problems: list[str] = []
    warnings: list[str] = []
    cases = []
    for folder in tqdm(folders, desc="checking", unit="case", disable=not progress):
        found, odd = _check_case(folder)
        problems += found
        warnings += odd
        cases.append(Case(folder.name, (folder / FILES[0],), folder / FILES[2], _subgroup(folder.name)))
    if problems:
        raise DatasetError(source, problems)
    return Collection(
        source, tuple(cases), ("T2w",), LABELS, "Fetal brain MRI, T2w super-resolution reconstructions", tuple(warnings)
    )


def _check_case(folder: Path) -> tuple[list[str], list[str]]:
    """Return the case's problems and oddities."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        return [f"{folder.name}: missing {', '.join(missing)}"], []
    try:
        image, mask, label = (nib.load(folder / name) for name in FILES)
        different = {name: same_geometry(image, other) for name, other in ((FILES[1], mask), (FILES[2], label))}
        problems = [
            f"{folder.name}: {FILES[0]} and {name} are not on one grid: {difference}"
            for name, difference in different.items()
            if difference
        ]
        voxels = label_values(label)
        inside = np.asanyarray(mask.dataobj) > 0
        finite = bool(np.isfinite(np.asanyarray(image.dataobj)).all())
    except Exception as error:  # nibabel, zlib and the file system each raise their own
        return [f"{folder.name}: {error}"], []
    unknown = sorted(set(np.unique(voxels).tolist()) - set(LABELS.values()))
    if unknown:
        problems.append(f"{folder.name}: {FILES[2]} holds {unknown}, expected labels 0 to {max(LABELS.values())}")
    if not (voxels > 0).any():
        problems.append(f"{folder.name}: {FILES[2]} has no foreground")
    if not finite:
        problems.append(f"{folder.name}: {FILES[0]} holds values that are not finite")
    if problems:
        return problems, []
    outside = int((voxels[~inside] > 0).sum())
    return [], [f"{folder.name}: {outside} labelled voxels lie outside {FILES[1]}"] if outside else []


def _subgroup(name: str) -> dict[str, str]:
    surgery = re.search(r"(?<![a-z])(not_?)?operated(?![a-z])", name, re.IGNORECASE)
    age = re.search(r"GA(\d+(?:\.\d+)?)", name)
    group = "all" if surgery is None else "notoperated" if surgery.group(1) else "operated"
    return {"subgroup": group, "gestational_age": age.group(1) if age else ""}
