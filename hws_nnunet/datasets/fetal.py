"""Reader for fetal brain MRI in the layout ``case/{srr,mask,parcellation}.nii.gz``.

Labels and layout as published with the spina bifida atlas: L. Fidon et al., "A spatio-temporal atlas of the
developing fetal brain with spina bifida aperta", Open Research Europe 2021 (Zenodo record 5524312).
"""

from __future__ import annotations

import re
from pathlib import Path

from hws_nnunet.datasets.cases import AS_FOUND, Case, Collection, DatasetError, Reading
from hws_nnunet.datasets.checks import Checks, check_cases, existing_folder, label_lines

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


def case_folders(source: Path) -> list[Path]:
    """Return the sub-folders that hold a file of this layout, sorted."""
    return sorted(p for p in Path(source).iterdir() if p.is_dir() and any((p / name).exists() for name in FILES))


def read_fetal(source: Path, *, how: Reading = AS_FOUND) -> Collection:
    """Read and check a folder of cases, each a folder with ``srr``, ``mask`` and ``parcellation``.

    Args:
        source: folder whose sub-folders are the cases; a case's name is its folder's.
        how: which cases are taken.

    Returns:
        The collection, one channel (T2w), labels as in :data:`LABELS`. Subgroups come from the folder's
        name: ``operated`` or ``notoperated``, and the gestational age after ``GA``, in weeks; ``all`` and an
        empty age where it has none.

    Raises:
        DatasetError: with every problem found: no case, a missing file, an unreadable one, images that are
            not on one grid, values that are not labels, a label image without any foreground.
    """
    source = existing_folder(source)
    folders = case_folders(source)
    if not folders:
        raise DatasetError(source, [f"expected sub-folders that hold {', '.join(FILES)}; found none"])
    wanted = FILES[:1] if how.images_only else FILES
    missing = {folder: [name for name in wanted if not (folder / name).is_file()] for folder in folders}
    incomplete = [f"{folder.name}: missing {', '.join(names)}" for folder, names in missing.items() if names]
    folders = [folder for folder in folders if not missing[folder]]
    cases = [
        Case(f.name, (f / FILES[0],), None if how.images_only else f / FILES[2], _subgroup(f.name)) for f in folders
    ]
    masks = None if how.images_only else [folder / FILES[1] for folder in folders]
    checks = check_cases(cases, how, incomplete=incomplete, masks=masks)
    if problems := [*checks.problems, *fetal_problems(checks, LABELS)]:
        raise DatasetError(source, problems)
    return Collection(
        source,
        checks.cases,
        ("T2w",),
        LABELS,
        "Fetal brain MRI, T2w super-resolution reconstructions",
        checks.warnings,
        (f"{source}: {', '.join(wanted)}", *label_lines(checks, how)),
    )


def fetal_problems(checks: Checks, labels: dict[str, int]) -> list[str]:
    """Return the cases whose label files hold values that are not labels, or no foreground."""
    problems: list[str] = []
    for case, result in zip(checks.cases, checks.results, strict=True):
        if case.label is None or not result.values:
            continue
        if unknown := sorted(result.values - set(labels.values())):
            problems.append(
                f"{case.name}: {case.label.name} holds {unknown}, expected labels 0 to {max(labels.values())}"
            )
        if not any(value > 0 for value in result.values):
            problems.append(f"{case.name}: {case.label.name} has no foreground")
    return problems


def _subgroup(name: str) -> dict[str, str]:
    surgery = re.search(r"(?<![a-z])(not_?)?operated(?![a-z])", name, re.IGNORECASE)
    age = re.search(r"GA(\d+(?:\.\d+)?)", name)
    group = "all" if surgery is None else "notoperated" if surgery.group(1) else "operated"
    return {"subgroup": group, "gestational_age": age.group(1) if age else ""}
