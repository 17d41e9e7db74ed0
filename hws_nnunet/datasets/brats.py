"""Reader for brain tumours as the BraTS challenges publish them, 2018 to 2021 and from 2023 on.

Layouts, at any depth: ``CASE/CASE_{t1,t1ce,t2,flair,seg}.nii`` or ``.nii.gz``, in folders ``HGG`` and ``LGG`` or with a
table ``name_mapping.csv``; later ``CASE/CASE-{t1n,t1c,t2w,t2f,seg}.nii.gz``, CASE being ``BraTS-KIND-SUBJECT-SCAN``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hws_nnunet.datasets.brats_labels import (
    BY_KIND,
    OLD,
    SCHEMES,
    Scheme,
    choose_schemes,
    odd_volumes,
    old_values,
    scheme_of,
)
from hws_nnunet.datasets.cases import AS_FOUND, Case, Collection, DatasetError, Reading, with_unknown_groups
from hws_nnunet.datasets.checks import (
    Checks,
    all_files,
    check_cases,
    counted_values,
    empty_folders,
    existing_folder,
    label_shares,
    repeated_names,
)
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.messages import number, some_of

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


def read_brats(
    sources: Sequence[Path],
    *,
    scheme: str | None = None,
    meaning: Mapping[int, str] | None = None,
    merge: bool = False,
    how: Reading = AS_FOUND,
) -> Collection:
    """Read and check folders of BraTS cases as one collection; a case's name is that of its files.

    Args:
        sources: the folders, each with cases at any depth.
        scheme: what label values mean, a key of ``brats_labels.SCHEMES``; None: go by the values.
        meaning: the label's name for each value of all segmentations but 0, where they follow no scheme.
        merge: cases of 2018 to 2021 and of later years may be taken together. Of those that show one tumour under two
            names one subject is made.
        how: which cases are taken.

    Returns:
        The collection: channels T1, T1ce, T2 and FLAIR, labels and regions of the scheme. Subgroups are the grade where
        the data say it, by folder or table, or the kind of tumour of 2023 and later; ``all`` where they say it of no
        case, ``unknown`` where they say it of others alone; the site follows where names say it. Segmentations without
        a tumour, and odd volumes of labels, are told as warnings.

    Raises:
        DatasetError: with every problem found: no case, a missing or repeated file, a name used twice, an unreadable
            file, images that are not on one grid or not finite, label values that fit no scheme, or different labels.
        ValueError: ``meaning`` does not name all labels of a scheme.
    """
    told = scheme_of(meaning) if meaning else None
    shown = ", ".join(str(source) for source in sources)
    scan_files = _Found(how)
    for source in map(Path, sources):
        try:
            scan_files.add(existing_folder(source))
        except DatasetError as error:
            scan_files.problems += [f"{source}: {problem}" for problem in error.problems]
    checks = check_cases(scan_files.cases, how, incomplete=scan_files.incomplete)
    problems = [*scan_files.problems, *repeated_names(scan_files.cases), *checks.problems]
    kinds = {case.name: scan_files.kinds[case.name] for case in checks.cases}
    values = {case.name: result.values for case, result in zip(checks.cases, checks.results, strict=True)}
    values = {name: held for name, held in values.items() if held}
    schemes: dict[str, Scheme] = {}
    if values:
        schemes, faults = choose_schemes(values, kinds, scheme=scheme, told=told, merge=merge)
        problems += faults
    if problems or not checks.cases:
        raise DatasetError(shown, problems)
    cases = sorted(with_unknown_groups(checks.cases), key=lambda case: case.name)
    collection = Collection(
        Path(sources[0]), tuple(cases), CHANNELS, {}, warnings=(*scan_files.warnings, *checks.warnings)
    )
    if how.images_only:
        return replace(collection, summary=(f"{shown}: {number(len(cases), 'scan')}",))
    subjects, notes = _one_tumour_twice(checks) if merge else ({}, [])
    notes += _odd_labels(checks, kinds, values, schemes, by_values=scheme is None and told is None)
    titles = " and ".join(dict.fromkeys(one.title for one in schemes.values()))
    written = next(iter(schemes.values()))
    return replace(
        collection,
        cases=tuple(
            replace(case, label_map=schemes[kinds[case.name]].label_map, subject=subjects.get(case.name, case.subject))
            for case in cases
        ),
        labels=written.labels,
        description=f"Brain tumours, BraTS {titles}",
        warnings=(*collection.warnings, *notes),
        summary=(f"{shown}: BraTS {titles}", f"  {counted_values(checks.results)}", *_described(schemes)),
        regions=written.regions,
        region_order=written.region_order,
    )


def _described(schemes: Mapping[str, Scheme]) -> list[str]:
    """Return how each label is written, by scheme where there are several."""
    different = {one.title: one.describe() for one in schemes.values()}
    if len(different) == 1:
        return [f"  {line}" for lines in different.values() for line in lines]
    return [f"  {title}: {', '.join(lines)}" for title, lines in different.items()]


def _odd_labels(
    checks: Checks,
    kinds: Mapping[str, str],
    values: Mapping[str, frozenset[int]],
    schemes: Mapping[str, Scheme],
    *,
    by_values: bool,
) -> list[str]:
    """Return warnings of segmentations without a tumour, of old values among new ones, and of odd volumes."""
    warnings = []
    if empty := sorted(name for name, held in values.items() if held == {0}):
        warnings.append(f"{number(len(empty), 'segmentation')} without a tumour: {some_of(empty)}")
    later = {name: held for name, held in values.items() if kinds[name] != OLD}
    with_cavity = any(one.title == SCHEMES["2024"].title for one in schemes.values())
    if by_values and with_cavity and (odd := old_values(later)):
        warnings.append(odd)
    for kind, scheme in schemes.items():
        # In low-grade tumours a large core that does not enhance is common.
        results = [
            result
            for case, result in zip(checks.cases, checks.results, strict=True)
            if kinds[case.name] == kind and case.subgroup["subgroup"] != "LGG"
        ]
        if odd := odd_volumes(kind, scheme, label_shares(results)):
            alone = ", which holds for all cases: prepare these alone" if len(schemes) > 1 else ""
            warnings.append(odd + alone)
    return warnings


def _one_tumour_twice(checks: Checks) -> tuple[dict[str, str], list[str]]:
    """Return one subject for the cases of one outline: the gliomas of 2023 are those of 2021 under other names."""
    by_outline: dict[str, list[Case]] = {}
    for case, result in zip(checks.cases, checks.results, strict=True):
        by_outline.setdefault(result.outline or case.name, []).append(case)
    twice = [cases for cases in by_outline.values() if len(cases) > 1]
    pairs = [" = ".join(case.name for case in cases) for cases in twice]
    notes = [f"{number(len(twice), 'tumour')} with several names, kept in one fold: {some_of(pairs)}"] if twice else []
    return {case.name: cases[0].subject for cases in twice for case in cases}, notes


class _Found:
    """The cases of all sources as they are found, with what is to be told of them."""

    def __init__(self, how: Reading):
        self.how = how
        self.cases: list[Case] = []
        self.kinds: dict[str, str] = {}
        self.problems: list[str] = []
        self.incomplete: list[str] = []
        self.warnings: list[str] = []

    def add(self, source: Path) -> None:
        """Find the cases of one source."""
        files = all_files(source)
        tables = [path for path in files if re.fullmatch(r"name_mapping.*\.csv", path.name)]
        table, faults = _name_mapping(tables)
        self.problems += faults
        self.warnings += empty_folders(source)
        groups = _group(files)
        if not groups:
            self.problems.append(f"{source}: expected {LAYOUTS}; found none")
        named = {name for _, name, wanted in groups if wanted == _OLD_KINDS}  # names of later years tell all
        if tables and not faults and (lost := sorted(named - table.keys())):
            headings = ", ".join(next(iter(table.values()), {})) or "none"
            self.warnings.append(
                f"{tables[0]} names {len(named) - len(lost)} of {len(named)} cases, not {some_of(lost)}; its headings: "
                f"{headings}"
            )
        for (folder, name, wanted), by_kind in groups.items():
            self.warnings += _add_stray(files, folder, name, by_kind)
            self._add_case(source, folder, name, wanted, by_kind, table.get(name, {}))

    def _add_case(
        self, source: Path, folder: Path, name: str, wanted: Sequence[str], by_kind: Files, row: dict[str, str]
    ) -> None:
        wanted_here = wanted[:-1] if self.how.images_only else wanted
        if twice := [f"{name}: {' and '.join(p.name for p in f)} in {folder}" for f in by_kind.values() if len(f) > 1]:
            self.problems += twice
            return
        if missing := [kind for kind in wanted_here if kind not in by_kind]:
            hint = " (scans for a prediction have none: --images prepares them)" if missing == ["seg"] else ""
            self.incomplete.append(f"{name}: missing {', '.join(missing)} in {folder}{hint}")
            return
        kind = _kind(name, wanted)
        if kind not in BY_KIND and not self.how.images_only:
            kinds = "|".join(key for key in BY_KIND if key != OLD)
            self.problems.append(f"{name}: expected a case named BraTS-{{{kinds}}}-NUMBER-SCAN, in {folder}")
            return
        self.kinds[name] = kind
        subject, subgroup = _identity(name, kind, folder, source, row)
        images = tuple(by_kind[channel][0] for channel in wanted[:-1])
        label = None if self.how.images_only else by_kind["seg"][0]
        self.cases.append(Case(name, images, label, subgroup, False, subject))


def _group(files: Sequence[Path]) -> dict[tuple[Path, str, tuple[str, ...]], Files]:
    """Return the files of each case by kind; a case is a folder, a name and the kinds of file of its layout."""
    files_of_scan: dict[tuple[Path, str, tuple[str, ...]], Files] = {}
    layouts = ((_OLD_FILE, _OLD_KINDS), (_NEW_FILE, _NEW_KINDS))
    for path in files:
        # Kaggle unpacks a file into a folder of its name, under another name.
        within = any(pattern.fullmatch(path.parent.name) for pattern, _ in layouts) and path.name.endswith(_NIFTI)
        place = path.parent if within else path
        for pattern, wanted in layouts:
            if match := pattern.fullmatch(place.name):
                files_of_scan.setdefault((place.parent, match["case"], wanted), {}).setdefault(
                    match["kind"], []
                ).append(path)
    return files_of_scan


def _add_stray(files: Sequence[Path], folder: Path, name: str, by_kind: Files) -> list[str]:
    """Take a segmentation of another name for a case that has none, if its folder has just one; return a warning."""
    if "seg" in by_kind:
        return []
    stray = [path for path in files if path.parent == folder and _STRAY_SEGMENTATION.fullmatch(path.name)]
    if len(stray) != 1:
        return []
    by_kind["seg"] = stray
    return [f"{name}: its segmentation is taken from {stray[0].name}"]


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
                lines = file.readlines()
            if any("\0" in line for line in lines):  # which csv refuses before Python 3.11 alone
                raise csv.Error("line contains NUL")
            delimiter = max(",;\t", key="".join(lines[:1]).count)
            read = list(csv.DictReader(lines, delimiter=delimiter))
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
