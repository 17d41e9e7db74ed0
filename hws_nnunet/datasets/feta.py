"""Reader for fetal brain MRI as the FeTA challenges publish it (2021, 2022, 2024).

Layout: ``sub-XXX/anat/sub-XXX_rec-METHOD_{T2w,dseg}.nii.gz`` and ``participants.tsv``, at any depth. Labels as in K.
Payette et al., "An automatic multi-tissue human fetal brain segmentation benchmark using the Fetal Tissue Annotation
Dataset", Scientific Data 2021: the order is not that of the layout in ``fetal.py``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.datasets.cases import AS_FOUND, Case, Collection, DatasetError, Reading
from hws_nnunet.datasets.checks import (
    all_files,
    check_cases,
    empty_folders,
    existing_folder,
    label_lines,
    repeated_names,
)
from hws_nnunet.datasets.fetal import fetal_problems
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.messages import some_of

LABELS = {
    "background": 0,
    "external_csf": 1,
    "grey_matter": 2,
    "white_matter": 3,
    "ventricles": 4,
    "cerebellum": 5,
    "deep_grey_matter": 6,
    "brainstem": 7,
}
LAYOUT = "sub-XXX/anat/sub-XXX_rec-METHOD_{T2w,dseg}.nii.gz"
TABLE = "participants.tsv"
_FILE = re.compile(r"(?P<scan>(?P<subject>sub-[^_]+)(?:_[^_]+)*?)_(?P<kind>T2w|dseg)\.nii(?:\.gz)?")


def is_feta(source: Path) -> bool:
    """Return whether a folder holds a file or a subject of this layout, at any depth."""
    return any(_FILE.fullmatch(path.name) for path in all_files(source))


def read_feta(source: Path, *, how: Reading = AS_FOUND) -> Collection:
    """Read and check a FeTA data set; a case's name is its scan's, as in ``sub-001_rec-mial``.

    Args:
        source: folder that holds the subjects, at any depth.
        how: which cases are taken.

    Returns:
        The collection, one channel (T2w), labels as in :data:`LABELS`. The subgroup is the pathology of
        ``participants.tsv`` in small letters, ``unknown`` without one; the other columns follow it, and the method of
        reconstruction.

    Raises:
        DatasetError: with every problem found: no case, a missing or repeated file, an unreadable one, images that are
            not on one grid, values that are not labels, a label image without any foreground, a table that contradicts
            itself.
    """
    source = existing_folder(source)
    files = all_files(source)
    scans: dict[tuple[Path, str], dict[str, list[Path]]] = {}
    for path in files:
        if match := _FILE.fullmatch(path.name):
            kinds = scans.setdefault((path.parent, match["scan"]), {"T2w": [], "dseg": []})
            kinds[match["kind"]].append(path)
    if not scans:
        raise DatasetError(source, [f"expected {LAYOUT}; found none"])
    problems, warnings = [], empty_folders(source)
    tables = [path for path in files if path.name == TABLE]
    people, faults, notes = _participants(tables)
    problems += faults
    warnings += notes
    cases, incomplete = [], []
    for (folder, scan), kinds in scans.items():
        if how.images_only:
            del kinds["dseg"]
        if missing := [f"{scan}_{kind}.nii.gz" for kind, kind_files in kinds.items() if not kind_files]:
            hint = " (scans for a prediction have none: --images prepares them)" if "dseg" in missing[0] else ""
            incomplete.append(f"{scan}: missing {' and '.join(missing)} in {folder}{hint}")
        elif twice := [f"{scan}: {' and '.join(p.name for p in f)} in {folder}" for f in kinds.values() if len(f) > 1]:
            problems += twice
        else:
            subject = scan.split("_")[0]
            label = None if how.images_only else kinds["dseg"][0]
            cases.append(
                Case(scan, (kinds["T2w"][0],), label, _subgroup(scan, people.get(subject, {})), False, subject)
            )
    problems += repeated_names(cases)
    subjects = {scan.split("_")[0] for _, scan in scans}
    if not tables:
        warnings.append(f"no {TABLE} in {source}, which names each subject's pathology: all are of subgroup 'unknown'")
    elif unlisted := sorted(subjects - set(people)):
        warnings.append(f"not in {TABLE}, so of subgroup 'unknown': {some_of(unlisted)}")
    if absent := sorted(set(people) - subjects):
        warnings.append(f"in {TABLE}, but without a scan: {some_of(absent)}")
    checks = check_cases(cases, how, incomplete=incomplete)
    problems += [*checks.problems, *fetal_problems(checks, LABELS)]
    if problems:
        raise DatasetError(source, problems)
    return Collection(
        source,
        tuple(sorted(checks.cases, key=lambda case: case.name)),
        ("T2w",),
        LABELS,
        "Fetal brain MRI, T2w super-resolution reconstructions",
        (*([] if how.images_only else warnings), *checks.warnings),
        (f"{source}: FeTA, {LAYOUT}", *label_lines(checks, how)),
    )


def _participants(tables: Sequence[Path]) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """Return each subject's columns, the tables' problems, and their oddities."""
    people: dict[str, dict[str, str]] = {}
    problems, warnings = [], []
    for table in tables:
        try:
            with open(table, newline="", encoding="utf-8-sig") as file:
                read = csv.DictReader(file, delimiter="\t")
                rows, columns = list(read), [name for name in read.fieldnames or [] if name.strip()]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.append(f"{table} cannot be read: {error}")
            continue
        there = f"; its columns, parted by tabs: {', '.join(columns) or 'none'}"
        if "participant_id" not in map(_column, columns):
            problems.append(f"{table}: expected a column participant_id{there}")
            continue
        if "pathology" not in map(_column, columns):
            warnings.append(f"{table} has no column pathology, so all are of subgroup 'unknown'{there}")
        for row in rows:
            # A last column without a name holds a list of what overflows, or nothing.
            fields = {_column(key): (value or "").strip() for key, value in row.items() if key and key.strip()}
            named = {key: "" if is_missing(value) else value for key, value in fields.items()}
            subject = named.pop("participant_id", "")
            if not subject:
                problems += [f"{table}: a row without participant_id: {named}"] if any(named.values()) else []
                continue
            subject = subject if subject.startswith("sub-") else f"sub-{subject}"
            if people.setdefault(subject, named) != named:
                problems.append(f"{table}: {subject} is described twice: {people[subject]} and {named}")
    return people, problems, warnings


def _column(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip()).strip("_").lower()


def _subgroup(scan: str, person: dict[str, str]) -> dict[str, str]:
    method = re.search(r"_rec-([^_]+)", scan)
    pathology = person.get("pathology", "").lower()
    pathology = "unknown" if is_missing(pathology) else pathology
    rest = {key: value for key, value in person.items() if key not in ("pathology", "subgroup", "case", "subject")}
    return {"subgroup": pathology, **rest, "reconstruction": method[1] if method else ""}
