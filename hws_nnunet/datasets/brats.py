"""Reader for brain tumours as the BraTS challenges publish them, 2018 to 2021 and from 2023 on.

Layouts, at any depth: ``CASE/CASE_{t1,t1ce,t2,flair,seg}.nii`` or ``.nii.gz``, in folders ``HGG`` and ``LGG`` or with a
table ``name_mapping.csv``; later ``CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz``, CASE being ``BraTS-KIND-SUBJECT-SCAN``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.datasets.brats_labels import BY_KIND, OLD, choose_scheme, old_values
from hws_nnunet.datasets.cases import Case, Collection, DatasetError
from hws_nnunet.datasets.checks import (
    all_files,
    check_cases,
    counted_values,
    empty_folders,
    existing_folder,
    repeated_names,
)
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.messages import some_of

CHANNELS = ("T1", "T1ce", "T2", "FLAIR")
_OLD_KINDS = ("t1", "t1ce", "t2", "flair", "seg")
_NEW_KINDS = ("t1n", "t1c", "t2w", "t2f", "seg")
_OLD_FILE = re.compile(rf"(?P<case>.+)_(?P<kind>{'|'.join(_OLD_KINDS)})\.nii(\.gz)?")
_NEW_FILE = re.compile(rf"(?P<case>.+)-(?P<kind>{'|'.join(_NEW_KINDS)})\.nii(\.gz)?")
_STRAY_SEGMENTATION = re.compile(r".+_Segm\.nii(\.gz)?")  # case 355 of 2020
_NEW_CASE = re.compile(r"(?P<subject>BraTS-(?P<kind>[A-Z]+)-\d+)-\d+")
_OLD_CASE = re.compile(r"BraTS1[789]_(?P<subject>(?P<site>[^_]+)_.+)_\d+", re.IGNORECASE)
_NIFTI = (".nii", ".nii.gz")
LAYOUTS = f"CASE_{{{','.join(_OLD_KINDS)}}}.nii or .nii.gz, or CASE-{{{','.join(_NEW_KINDS)}}}.nii.gz"

Files = dict[str, list[Path]]


def read_brats(sources: Sequence[Path], *, scheme: str | None = None, progress: bool = False) -> Collection:
    """Read and check folders of BraTS cases as one collection; a case's name is that of its files.

    Args:
        sources: the folders, each with cases at any depth.
        scheme: what label values mean, a key of ``brats_labels.SCHEMES``; None: go by the values.
        progress: show a bar on standard error.

    Returns:
        The collection: channels T1, T1ce, T2 and FLAIR, labels and regions of the scheme. Subgroups are the grade where
        the data say it, by folder or table, else the kind of tumour of 2023 and later, else ``all``; the site follows
        where names say it. Segmentations without a tumour are told as warnings.

    Raises:
        DatasetError: with every problem found: no case, a missing or repeated file, a name used twice, an unreadable
            file, images that are not on one grid or not finite, label values that fit no scheme, or more than one.
    """
    shown = ", ".join(str(source) for source in sources)
    problems: list[str] = []
    warnings: list[str] = []
    cases: list[Case] = []
    kinds: dict[str, str] = {}
    for source in map(Path, sources):
        try:
            files = all_files(existing_folder(source))
        except DatasetError as error:
            problems += [f"{source}: {problem}" for problem in error.problems]
            continue
        tables = [path for path in files if re.fullmatch(r"name_mapping.*\.csv", path.name)]
        table, faults = _name_mapping(tables)
        problems += faults
        warnings += empty_folders(source)
        found = _group(files)
        if not found:
            problems.append(f"{source}: expected {LAYOUTS}; found none")
        named = {name for _, name, _ in found}
        if tables and not faults and (lost := sorted(named - table.keys())):
            headings = ", ".join(next(iter(table.values()), {})) or "none"
            warnings.append(
                f"{tables[0]} names {len(named) - len(lost)} of {len(named)} cases, not {some_of(lost)}; its headings: "
                f"{headings}"
            )
        for (folder, name, wanted), by_kind in found.items():
            warnings += _add_stray(files, folder, name, by_kind)
            if faults := _incomplete(name, folder, by_kind, wanted):
                problems += faults
                continue
            if (kind := _kind(name, wanted)) not in BY_KIND:
                known = "|".join(key for key in BY_KIND if key != OLD)
                problems.append(f"{name}: expected a case named BraTS-{{{known}}}-NUMBER-SCAN, in {folder}")
                continue
            kinds[name] = kind
            subject, subgroup = _identity(name, kind, folder, source, table.get(name, {}))
            images = tuple(by_kind[channel][0] for channel in wanted[:-1])
            cases.append(Case(name, images, by_kind["seg"][0], subgroup, False, subject))
    problems += repeated_names(cases)
    checked = check_cases(cases, progress=progress)
    problems += [problem for result in checked for problem in result.problems]
    values = {case.name: result.values for case, result in zip(cases, checked, strict=True) if result.values}
    chosen = None
    if values:
        chosen, faults = choose_scheme(values, kinds, scheme)
        problems += faults
    if problems or chosen is None:
        raise DatasetError(shown, problems)
    if empty := sorted(name for name, held in values.items() if held == {0}):
        warnings.append(f"{len(empty)} segmentation(s) without a tumour: {some_of(empty)}")
    if scheme is None and (odd := old_values(values, chosen)):
        warnings.append(odd)
    return Collection(
        Path(sources[0]),
        tuple(
            Case(c.name, c.images, c.label, c.subgroup, False, c.subject, chosen.label_map)
            for c in sorted(cases, key=lambda case: case.name)
        ),
        CHANNELS,
        chosen.labels,
        f"Brain tumours, BraTS {chosen.title}",
        tuple(warnings),
        (
            f"{shown}: BraTS {chosen.title}; label values: {counted_values(checked)}",
            *(f"  {line}" for line in chosen.describe()),
        ),
        chosen.regions,
        chosen.region_order,
    )


def _group(files: Sequence[Path]) -> dict[tuple[Path, str, tuple[str, ...]], Files]:
    """Return the files of each case by kind; a case is a folder, a name and the kinds of file of its layout."""
    found: dict[tuple[Path, str, tuple[str, ...]], Files] = {}
    layouts = ((_OLD_FILE, _OLD_KINDS), (_NEW_FILE, _NEW_KINDS))
    for path in files:
        # Kaggle unpacks a file into a folder of its name, under another name.
        within = any(pattern.fullmatch(path.parent.name) for pattern, _ in layouts) and path.name.endswith(_NIFTI)
        place = path.parent if within else path
        for pattern, wanted in layouts:
            if match := pattern.fullmatch(place.name):
                found.setdefault((place.parent, match["case"], wanted), {}).setdefault(match["kind"], []).append(path)
    return found


def _add_stray(files: Sequence[Path], folder: Path, name: str, by_kind: Files) -> list[str]:
    """Take a segmentation of another name for a case that has none, if its folder has just one; return a warning."""
    if "seg" in by_kind:
        return []
    stray = [path for path in files if path.parent == folder and _STRAY_SEGMENTATION.fullmatch(path.name)]
    if len(stray) != 1:
        return []
    by_kind["seg"] = stray
    return [f"{name}: its segmentation is taken from {stray[0].name}"]


def _incomplete(name: str, folder: Path, by_kind: Files, wanted: Sequence[str]) -> list[str]:
    problems = [f"{name}: {' and '.join(p.name for p in f)} in {folder}" for f in by_kind.values() if len(f) > 1]
    if missing := [kind for kind in wanted if kind not in by_kind]:
        hint = " (validation data have none: give the training data's folder)" if missing == ["seg"] else ""
        problems.append(f"{name}: missing {', '.join(missing)} in {folder}{hint}")
    return problems


def _kind(name: str, wanted: Sequence[str]) -> str:
    if wanted == _OLD_KINDS:
        return OLD
    match = _NEW_CASE.fullmatch(name)
    return match["kind"] if match else ""


def _identity(name: str, kind: str, folder: Path, source: Path, row: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the subject that a case shows, and its subgroup."""
    if kind != OLD and (match := _NEW_CASE.fullmatch(name)):
        return match["subject"], {"subgroup": kind}
    # Names up to 2019 tell site and patient; the table of 2020 leads back to them.
    older = [match for text in (name, *reversed(row.values())) if (match := _OLD_CASE.fullmatch(text))]
    parts = (source.resolve().name, *folder.relative_to(source).parts)
    grade = next((part for part in reversed(parts) if part in ("HGG", "LGG")), "") or row.get("grade", "")
    site = older[0]["site"] if older else ""
    return older[0]["subject"] if older else name, {"subgroup": grade or "all", "grade": grade, "site": site}


def _name_mapping(tables: Sequence[Path]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return for each case name in the tables its row, with the grade under ``grade``; and the tables' problems."""
    rows: dict[str, dict[str, str]] = {}
    problems = []
    for table in tables:
        try:
            with open(table, newline="", encoding="utf-8-sig") as file:
                heading = file.readline()
                file.seek(0)
                read = list(csv.DictReader(file, delimiter=max(",;\t", key=heading.count)))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            problems.append(f"{table} cannot be read: {error}")
            continue
        for row in read:
            named = {key.strip().lower(): (value or "").strip() for key, value in row.items() if key and key.strip()}
            named = {key: "" if is_missing(value) else value for key, value in named.items()}
            if (grade := named.get("grade", "").upper()) in ("HGG", "LGG"):
                named["grade"] = grade
            rows |= {value: named for key, value in named.items() if value and key != "grade"}
    return rows, problems
