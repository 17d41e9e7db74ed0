"""Readers of results: nnU-Net's ``summary.json`` (v1 and v2) and tables of case, label, Dice and HD95."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hws_nnunet.evaluation.labels import label_name
from hws_nnunet.evaluation.results import ResultError, ResultSet

SUMMARY = "summary.json"
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")
_COLUMNS = {"dice": "dice", "hd95": "hd95", "nsd": "nsd", "n_ref": "reference_size", "n_pred": "predicted_size"}
_V2_KEYS = {"Dice": "dice", "n_ref": "reference_size", "n_pred": "predicted_size"}
_V1_KEYS = {
    "Dice": "dice",
    "Hausdorff Distance 95": "hd95",
    "Total Positives Reference": "reference_size",
    "Total Positives Test": "predicted_size",
}
Entry = tuple[str, str, Mapping[str, float]]


def case_name(path: str) -> str:
    """Return a case's name: that of its file, without folder and ending."""
    name = str(path).replace("\\", "/").rsplit("/", 1)[-1]
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] if ending else name


def read_results(name: str, path: Path, *, label_names: Mapping[str, str] | None = None) -> ResultSet:
    """Read a result set from a file.

    Args:
        name: what to call it.
        path: a ``summary.json`` of nnU-Net v1 or v2, a folder that holds one, or a table: CSV with the columns
            ``case``, ``label`` and ``Dice`` (0 to 1), and perhaps ``HD95`` (mm), ``NSD`` (0 to 1), ``n_ref`` and
            ``n_pred`` (voxels). Where it has a column ``set``, the rows of ``name`` are read. An empty field is for
            structures that are empty in both reference and prediction.
        label_names: names of labels by their keys in the file, such as ``"1"`` or ``"(1, 2)"``.

    Raises:
        FileNotFoundError: there is no such file, or no ``summary.json`` in the folder.
        ResultError: with every problem found: another format, a value out of range, a case or label twice, a case
            without one of the labels.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / SUMMARY).is_file():
            raise FileNotFoundError(
                f"no {SUMMARY} in {path}: expected nnU-Net's, or --references FOLDER to compute results from label maps"
            )
        path = path / SUMMARY
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a {SUMMARY}, a table (.csv) or a folder")
    if path.suffix.lower() == ".json":
        entries, tool = _read_summary(path)
    elif path.suffix.lower() == ".csv":
        entries, tool = _read_table(path, name), "as given in the table"
    else:
        raise ResultError(path, [f"expected a name that ends in .json or .csv, found {path.name!r}"])
    return _gather(name, path, entries, tool, label_names or {})


def _read_summary(path: Path) -> tuple[list[Entry], str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(path, [f"is no JSON: {error}"]) from None
    try:
        if isinstance(content, dict) and "metric_per_case" in content:
            return list(_v2_entries(content)), ""
        if isinstance(content, dict) and "results" in content:
            return list(_v1_entries(content)), "MedPy, by nnU-Net v1"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(path, [f"is not as nnU-Net writes it: {type(error).__name__}: {error}"]) from None
    keys = ", ".join(content) if isinstance(content, dict) else type(content).__name__
    raise ResultError(
        path, [f"expected 'metric_per_case' (nnU-Net v2) or 'results' (nnU-Net v1) at its top, found: {keys[:200]}"]
    )


def _v2_entries(content: dict) -> Iterable[Entry]:
    for case in content["metric_per_case"]:
        for key, values in case["metrics"].items():
            yield case_name(case["prediction_file"]), key, _numbers(values, _V2_KEYS)


def _v1_entries(content: dict) -> Iterable[Entry]:
    for case in content["results"]["all"]:
        for key, values in case.items():
            if key not in ("reference", "test"):
                yield case_name(case["test"]), key, _numbers(values, _V1_KEYS)


def _numbers(values: Mapping, keys: Mapping[str, str]) -> dict[str, float]:
    if "Dice" not in values:
        raise KeyError("Dice")
    found = {ours: values[theirs] for theirs, ours in keys.items() if theirs in values}
    return {key: float("nan") if value is None else float(value) for key, value in found.items()}


def _read_table(path: Path, name: str) -> list[Entry]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        header = {column.strip().lower(): column for column in rows.fieldnames or []}
        if missing := [column for column in ("case", "label", "dice") if column not in header]:
            found = ", ".join(rows.fieldnames or []) or "nothing"
            raise ResultError(path, [f"expected a column {', '.join(missing)} in the first line, found: {found}"])
        entries, problems, sets = [], [], set()
        for row in rows:
            if "set" in header:
                sets.add(row[header["set"]])
                if row[header["set"]] != name:
                    continue
            case, label = row[header["case"]] or "", row[header["label"]] or ""
            if not case.strip() or not label.strip():
                problems.append(f"line {rows.line_num}: expected a case and a label, found {case!r} and {label!r}")
            values = {}
            for column, key in _COLUMNS.items():
                if column in header:
                    try:
                        text = (row[header[column]] or "").strip()
                        values[key] = float(text) if text else float("nan")
                    except ValueError:
                        problems.append(f"line {rows.line_num}: expected a number as {header[column]}, found {text!r}")
            entries.append((case.strip(), label.strip(), values))
    if problems:
        raise ResultError(path, problems)
    if sets and name not in sets:
        raise ResultError(path, [f"has no row of the set {name!r}; its sets: {', '.join(sorted(map(repr, sets)))}"])
    return entries


def _gather(name: str, path: Path, entries: Iterable[Entry], tool: str, label_names: Mapping[str, str]) -> ResultSet:
    """Sort entries into arrays; the background is no structure and is left out."""
    entries = [(case, label, values) for case, label, values in entries if label not in ("0", "background")]
    cases = sorted({case for case, _, _ in entries})
    keys = sorted({label for _, label, _ in entries}, key=_natural)
    case_at, key_at = ({name: i for i, name in enumerate(names)} for names in (cases, keys))
    arrays = {key: np.full((len(cases), len(keys)), np.nan) for key in _COLUMNS.values()}
    seen = np.zeros((len(cases), len(keys)), dtype=np.int64)
    given: set[str] = set()
    for case, label, values in entries:
        place = case_at[case], key_at[label]
        seen[place] += 1
        given.update(values)
        for key, value in values.items():
            arrays[key][place] = value
    problems = [
        f"case {cases[i]!r}, label {keys[j]!r}: "
        + (
            f"is there {seen[i, j]} times, expected once"
            if seen[i, j]
            else "is missing; a structure that is empty in both reference and prediction has a Dice of NaN"
        )
        for i, j in np.argwhere(seen != 1)
    ]
    if problems:
        raise ResultError(path, problems[:20] + ([f"... and {len(problems) - 20} more"] if len(problems) > 20 else []))
    named = [label_name(key, label_names) for key in keys]
    surfaces = {
        key: arrays[key] if key in given and np.isfinite(arrays[key]).any() else None for key in ("hd95", "nsd")
    }
    return ResultSet(
        name,
        str(path),
        tuple(cases),
        tuple(named),
        arrays["dice"],
        arrays["reference_size"],
        arrays["predicted_size"],
        **surfaces,
        surface_tool=tool if any(v is not None for v in surfaces.values()) else "",
    )


def _natural(label: str) -> tuple:
    """Sort labels as numbers where they are some."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)
