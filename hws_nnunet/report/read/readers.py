"""Readers of results: nnU-Net's ``summary.json`` (v1 and v2) and tables of case, label, Dice and HD95."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hws_nnunet.report.extra import needed
from hws_nnunet.report.read.labels import label_name
from hws_nnunet.report.read.results import ResultError, ResultSet, first_ten
from hws_nnunet.report.read.tables import MEASURES, open_table

if TYPE_CHECKING:
    import pandas as pd

SUMMARY = "summary.json"
VALIDATIONS = ("validation", "validation_raw")  # where a fold's folder has one: v2, v1
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")
_SUMMARY_KEYS = {
    "Dice": "dice",
    "n_ref": "reference_size",
    "n_pred": "predicted_size",
    "Hausdorff Distance 95": "hd95",
    "Total Positives Reference": "reference_size",
    "Total Positives Test": "predicted_size",
}


def case_name(path: str) -> str:
    """Return a case's name: that of its file, without folder and ending."""
    name = str(path).replace("\\", "/").rsplit("/", 1)[-1]
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] if ending else name


def read_results(
    name: str,
    path: Path,
    *,
    label_names: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> ResultSet:
    """Read a result set from a file.

    Args:
        name: what to call it.
        path: a ``summary.json`` of nnU-Net v1 or v2, the folder of it or of its fold, or a table, see
            :func:`~hws_nnunet.report.read.tables.open_table`, of which the rows of ``name`` are read where it has sets.
        label_names: names of labels by their keys in the file, such as ``"1"`` or ``"(1, 2)"``.
        columns: what a table's columns are, by their headings.

    Raises:
        FileNotFoundError: there is no such file, or no ``summary.json`` in the folder.
        ResultError: with every problem found: another format, a value out of range, a case or label twice, a case
            without one of the labels.
    """
    path = Path(path)
    if path.is_dir():
        files = [path / folder / SUMMARY for folder in ("", *VALIDATIONS)]
        if not (found := [file for file in files if file.is_file()]):
            raise FileNotFoundError(
                f"no {SUMMARY} in {path}: expected nnU-Net's, or --references FOLDER to compute results from label maps"
            )
        path = found[0]
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a {SUMMARY}, a table (.csv) or a folder")
    if path.suffix.lower() == ".json":
        frame, tool = _read_summary(path)
        return _gather(name, path, frame, label_names or {}, tool)
    if path.suffix.lower() != ".csv":
        raise ResultError(path, [f"expected a name that ends in .json or .csv, found {path.name!r}"])
    table = open_table(path, columns=columns)
    return _gather(name, path, table.rows_of(name), label_names or {}, "as given in the table", table.notes)


def _read_summary(path: Path) -> tuple[pd.DataFrame, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(path, [f"is no JSON: {error}"]) from None
    if not isinstance(content, dict) or not content.keys() & {"metric_per_case", "results"}:
        keys = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        expected = "'metric_per_case' (nnU-Net v2) or 'results' (nnU-Net v1)"
        raise ResultError(path, [f"expected {expected} at its top, found: {keys[:200]}"])
    try:
        if "metric_per_case" in content:
            tool, cases = "", [(case["prediction_file"], case["metrics"]) for case in content["metric_per_case"]]
        else:
            tool, cases = "MedPy, by nnU-Net v1", [(case.pop("test"), case) for case in content["results"]["all"]]
        rows = [
            {"case": case_name(file), "label": label, "Dice": values["Dice"], **values}
            for file, labels in cases
            for label, values in labels.items()
            if label != "reference"  # a file, beside v1's labels
        ]
        frame = needed("pandas").DataFrame(rows).rename(columns=_SUMMARY_KEYS)
        frame = frame.reindex(columns=["case", "label", *MEASURES.values(), "subgroup"])
        return frame.astype(dict.fromkeys(MEASURES.values(), float)), tool
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(path, [f"is not as nnU-Net writes it: {type(error).__name__}: {error}"]) from None


def _gather(
    name: str, path: Path, frame: pd.DataFrame, label_names: Mapping[str, str], tool: str, notes: Sequence[str] = ()
) -> ResultSet:
    """Sort rows into arrays; the background is no structure and is left out."""
    frame = frame[~frame["label"].isin(("0", "background"))]
    counts = needed("pandas").crosstab(frame["case"], frame["label"])
    cases, keys = list(counts.index), sorted(counts, key=_natural)
    counts = counts[keys].to_numpy()
    missing = "is missing; a structure that is empty in both reference and prediction has a Dice of NaN"
    problems = first_ten(
        f"case {cases[i]!r}, label {keys[j]!r}: "
        + (f"is there {counts[i, j]} times, expected once" if counts[i, j] else missing)
        for i, j in np.argwhere(counts != 1)
    )
    if problems:
        raise ResultError(path, [*problems, *notes])
    group_of = frame[["case", "subgroup"]].dropna().drop_duplicates().set_index("case")["subgroup"]
    if twice := group_of.index[group_of.index.duplicated()].tolist():
        raise ResultError(path, first_ten(f"case {case!r} is in two subgroups, expected one" for case in twice))
    arrays = {key: frame.pivot(index="case", columns="label", values=key)[keys].to_numpy() for key in MEASURES.values()}
    lacking = {key: None for key in ("hd95", "nsd") if not np.isfinite(arrays[key]).any()}
    return ResultSet(
        name,
        str(path),
        tuple(cases),
        tuple(label_name(key, label_names) for key in keys),
        **(arrays | lacking),
        surface_tool="" if len(lacking) == 2 else tool,
        group_of=group_of.to_dict(),
        notes=notes,
    )


def _natural(label: str) -> tuple:
    """Sort labels as numbers where they are some."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)
