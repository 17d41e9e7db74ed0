"""Folds by subject, subgroup or site, in the files that nnU-Net reads them from."""

from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.datasets.cases import Case, Collection
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.files import atomic_write
from hws_nnunet.messages import number, some_of

FOLDS = 5
SEED = 12345


def folds_of(collection: Collection) -> list[dict[str, list[str]]]:
    """Return the folds that a collection asks for; none where nnU-Net's own do as well.

    Raises:
        ValueError: both kinds are asked for, or the column to hold out by does not part the subjects.
    """
    if collection.hold_out and collection.spread:
        raise ValueError("--spread and --hold-out both say what the folds are: give one of them")
    if collection.hold_out:
        return held_out_folds(collection.cases, collection.hold_out)
    return subject_folds(collection.cases, spread=collection.spread)


def subject_folds(cases: Sequence[Case], *, spread: bool = False) -> list[dict[str, list[str]]]:
    """Return folds in which no subject is in training and validation at once; none where nnU-Net's own do as well.

    Those are the data sets without a subject that has several scans, and those of one subject. Held-out cases are left
    out. Every subgroup is spread over the folds, of which there are five, or as many as subjects.

    Args:
        cases: all.
        spread: give folds also where every subject has one scan, so that no fold misses a subgroup by chance.

    Returns:
        For each fold the sorted names of the cases for ``train`` and ``val``.
    """
    scans = _by_subject(cases)
    if len(scans) < 2 or (not spread and all(len(of_subject) == 1 for of_subject in scans.values())):
        return []
    subjects = sorted(scans)
    random.Random(SEED).shuffle(subjects)
    subjects.sort(key=lambda subject: -len(scans[subject]))  # the large ones first: what is left evens out the folds
    held: list[list[Case]] = [[] for _ in range(min(FOLDS, len(subjects)))]
    for subject in subjects:
        group = _group(scans[subject][0])
        min(held, key=lambda fold: (sum(_group(c) == group for c in fold), len(fold))).extend(scans[subject])
    return _folds(held)


def held_out_folds(cases: Sequence[Case], column: str) -> list[dict[str, list[str]]]:
    """Return one fold for each value of a column, in sorted order: its validation cases are all that have the value.

    Args:
        cases: all; held-out ones are left out.
        column: of ``subgroups.csv``, such as ``site``.

    Raises:
        ValueError: no case has the column, some lack a value, all have the same one, or a subject has several.
    """
    training = [case for case in cases if not case.test]
    columns = sorted({name for case in training for name in case.subgroup})
    if column not in columns:
        raise ValueError(f"--hold-out expects a column of subgroups.csv ({', '.join(columns)}), given: {column!r}")
    if without := [case.name for case in training if is_missing(case.subgroup.get(column, ""))]:
        raise ValueError(f"--hold-out {column}: {number(len(without), 'case')} without {column}: {some_of(without)}")
    for subject, scans in _by_subject(training).items():
        if len(values := sorted({case.subgroup[column] for case in scans})) > 1:
            raise ValueError(f"--hold-out {column}: scans of subject {subject} differ in it: {', '.join(values)}")
    held: dict[str, list[Case]] = {}
    for case in sorted(training, key=lambda case: case.subgroup[column]):
        held.setdefault(case.subgroup[column], []).append(case)
    if len(held) < 2:
        raise ValueError(f"--hold-out {column}: all cases have the same one, {next(iter(held))}")
    return _folds(list(held.values()))


def _by_subject(cases: Sequence[Case]) -> dict[str, list[Case]]:
    scans: dict[str, list[Case]] = {}
    for case in cases:
        if not case.test:
            scans.setdefault(case.subject or case.name, []).append(case)
    return scans


def _folds(held: Sequence[Sequence[Case]]) -> list[dict[str, list[str]]]:
    """Return the folds whose validation cases are given."""
    names = sorted(case.name for fold in held for case in fold)
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
    return f"{number(subjects, 'case')} for training, but nnU-Net makes five folds, which fails below five: {all_cases}"


def not_five(folds: Sequence[dict], column: str) -> str:
    """Return a note where there are more or fewer folds than nnU-Net takes there to be, one for each value of a column.

    Args:
        folds: what :func:`held_out_folds` gave.
        column: by which they hold out.
    """
    if len(folds) < FOLDS:
        return f"for a fold above {len(folds) - 1} nnU-Net makes a random split, which holds no {column} out"
    if len(folds) > FOLDS:
        numbers = " ".join(map(str, range(len(folds))))
        return f"nnU-Net predicts with and compares folds 0 to {FOLDS - 1} unless its commands are told: -f {numbers}"
    return ""


def encoded_folds(folds: list[dict[str, list[str]]], file_name: str) -> bytes:
    """Return the content of a file of folds: JSON, or a pickle where its name says so: nnU-Net v1 reads no other."""
    if file_name.endswith(".pkl"):
        return pickle.dumps(folds, protocol=4)
    return (json.dumps(folds, indent=2) + "\n").encode()


def check_folds_target(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Raise ``FileExistsError`` where a file with other folds is at ``path``, unless ``overwrite``."""
    if path.exists() and not overwrite and path.read_bytes() != content:
        raise FileExistsError(
            f"{path} holds other folds, which may part the scans of a subject; --overwrite replaces it"
        )


def write_folds(path: Path, content: bytes) -> None:
    """Write the file whole, its folder too where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        partial.write_bytes(content)
