"""Folds that keep all scans of a subject together, in the files that nnU-Net reads them from."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.datasets.cases import Case
from hws_nnunet.files import atomic_write

FOLDS = 5
SEED = 12345


def subject_folds(cases: Sequence[Case]) -> list[dict[str, list[str]]]:
    """Return folds in which no subject is in training and validation at once; none where nnU-Net's own do as well.

    Those are the data sets without a subject that has several scans, and those of one subject. Held-out cases are left
    out. Every subgroup is spread over the folds, of which there are five, or as many as subjects.

    Returns:
        For each fold the sorted names of the cases for ``train`` and ``val``.
    """
    scans: dict[str, list[Case]] = {}
    for case in cases:
        if not case.test:
            scans.setdefault(case.subject or case.name, []).append(case)
    if len(scans) < 2 or all(len(of_subject) == 1 for of_subject in scans.values()):
        return []
    subjects = sorted(scans)
    random.Random(SEED).shuffle(subjects)
    subjects.sort(key=lambda subject: -len(scans[subject]))  # the large ones first: what is left evens out the folds
    held: list[list[Case]] = [[] for _ in range(min(FOLDS, len(subjects)))]
    for subject in subjects:
        group = _group(scans[subject][0])
        min(held, key=lambda fold: (sum(_group(c) == group for c in fold), len(fold))).extend(scans[subject])
    names = sorted(case.name for of_subject in scans.values() for case in of_subject)
    folds = []
    for fold in held:
        validation = {case.name for case in fold}
        folds.append({"train": [n for n in names if n not in validation], "val": sorted(validation)})
    return folds


def _group(case: Case) -> str:
    return case.subgroup.get("subgroup", "")


def repeated_subjects(cases: Sequence[Case]) -> int:
    """Return how many subjects have more than one training scan."""
    return sum(count > 1 for count in Counter(case.subject or case.name for case in cases if not case.test).values())


def too_few(cases: Sequence[Case], folds: Sequence[dict]) -> str:
    """Return a note where nnU-Net's five folds will not work, or part a subject's scans; empty where they work.

    Args:
        cases: all.
        folds: what :func:`subject_folds` gave for them.
    """
    training = [case for case in cases if not case.test]
    subjects = len({case.subject or case.name for case in training})
    if subjects >= FOLDS:
        return ""
    all_cases = "train on all cases, with 'all' in the place of the fold's number"
    if folds:
        return (
            f"{subjects} subjects for training, so the splits file has folds 0 to {len(folds) - 1} only; for any other "
            "fold nnU-Net makes a random split, which may part a subject's scans"
        )
    if subjects == 1 < len(training):
        return f"all {len(training)} scans are of one subject, which no folds can hold out: {all_cases}"
    return f"{subjects} case(s) for training, but nnU-Net makes five folds, which fails below five: {all_cases}"


def encoded_folds(folds: list[dict[str, list[str]]], file_name: str) -> bytes:
    """Return the content of a file of folds: JSON, or a pickle where its name says so: nnU-Net v1 reads no other."""
    if file_name.endswith(".pkl"):
        return pickle.dumps(folds, protocol=4)
    return (json.dumps(folds, indent=2) + "\n").encode()


def check_folds_target(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Raise ``FileExistsError`` where a file with other folds is at ``path``, unless ``overwrite``."""
    if path.exists() and not overwrite and path.read_bytes() != content:
        raise FileExistsError(
            f"{path} holds other folds, which would part the scans of a subject; --overwrite replaces it"
        )


def write_folds(path: Path, content: bytes) -> None:
    """Write the file whole, its folder too where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_bytes(content)
