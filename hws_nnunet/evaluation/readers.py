"""Readers of results: nnU-Net's ``summary.json`` (v1 and v2) and tables of case, label, Dice and HD95."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hws_nnunet.evaluation.extra import needed
from hws_nnunet.evaluation.labels import label_name
from hws_nnunet.evaluation.results import ResultError, ResultSet, first_ten
from hws_nnunet.evaluation.tables import MEASURES as _COLUMNS
from hws_nnunet.evaluation.tables import open_table

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
            :func:`~hws_nnunet.evaluation.tables.open_table`, of which the rows of ``name`` are read where it has sets.
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
        return _gather(name, path, frame.assign(subgroup=None), label_names or {}, surface_tool=tool, notes=())
    if path.suffix.lower() != ".csv":
        raise ResultError(path, [f"expected a name that ends in .json or .csv, found {path.name!r}"])
    table = open_table(path, columns=columns)
    more = {"surface_tool": "as given in the table", "notes": table.notes}
    return _gather(name, path, table.rows_of(name), label_names or {}, **more)


def _read_summary(path: Path) -> tuple[pd.DataFrame, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(path, [f"is no JSON: {error}"]) from None
    kinds = {"metric_per_case": (_v2_rows, ""), "results": (_v1_rows, "MedPy, by nnU-Net v1")}
    found = next((key for key in kinds if isinstance(content, dict) and key in content), None)
    if found is None:
        keys = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        expected = "'metric_per_case' (nnU-Net v2) or 'results' (nnU-Net v1)"
        raise ResultError(path, [f"expected {expected} at its top, found: {keys[:200]}"])
    rows, tool = kinds[found]
    try:
        return needed("pandas").DataFrame([_row(*row) for row in rows(content)], columns=_frame_columns()), tool
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ResultError(path, [f"is not as nnU-Net writes it: {type(error).__name__}: {error}"]) from None


def _v2_rows(content: dict) -> Iterator[tuple[str, str, Mapping]]:
    for case in content["metric_per_case"]:
        yield from ((case["prediction_file"], key, values) for key, values in case["metrics"].items())


def _v1_rows(content: dict) -> Iterator[tuple[str, str, Mapping]]:
    for case in content["results"]["all"]:
        yield from ((case["test"], key, v) for key, v in case.items() if key not in ("reference", "test"))


def _row(file: str, label: str, values: Mapping) -> dict[str, object]:
    if "Dice" not in values:
        raise KeyError("Dice")
    found = {ours: values[theirs] for theirs, ours in _SUMMARY_KEYS.items() if values.get(theirs) is not None}
    return {"case": case_name(file), "label": label, **{key: float(value) for key, value in found.items()}}


def _frame_columns() -> list[str]:
    return ["case", "label", *_COLUMNS.values()]


def _gather(name: str, path: Path, frame: pd.DataFrame, label_names: Mapping[str, str], **more: object) -> ResultSet:
    """Sort rows into arrays; the background is no structure and is left out."""
    frame = frame[~frame["label"].isin(("0", "background"))]
    cases, keys = sorted(frame["case"].unique()), sorted(frame["label"].unique(), key=_natural)
    index = needed("pandas").Index
    places = index(cases).get_indexer(frame["case"]), index(keys).get_indexer(frame["label"])
    seen = np.zeros((len(cases), len(keys)), dtype=np.int64)
    np.add.at(seen, places, 1)
    missing = "is missing; a structure that is empty in both reference and prediction has a Dice of NaN"
    problems = [
        f"case {cases[i]!r}, label {keys[j]!r}: "
        + (f"is there {seen[i, j]} times, expected once" if seen[i, j] else missing)
        for i, j in np.argwhere(seen != 1)
    ]
    if problems:
        raise ResultError(path, [*first_ten(problems), *more["notes"]])
    arrays = {key: np.full(seen.shape, np.nan) for key in _COLUMNS.values()}
    for key, values in arrays.items():
        values[places] = frame[key]
    surfaces = {key: arrays.pop(key) for key in ("hd95", "nsd")}
    surfaces = {key: values for key, values in surfaces.items() if np.isfinite(values).any()}
    labels = tuple(label_name(key, label_names) for key in keys)
    more |= surfaces if surfaces else {"surface_tool": ""}
    groups = frame[["case", "subgroup"]].dropna().drop_duplicates()
    if twice := groups["case"][groups["case"].duplicated()].tolist():
        raise ResultError(path, first_ten([f"case {case!r} is in two subgroups, expected one" for case in twice]))
    return ResultSet(
        name,
        str(path),
        tuple(cases),
        labels,
        **arrays,
        **more,
        group_of=dict(groups.itertuples(index=False, name=None)),
    )


def _natural(label: str) -> tuple:
    """Sort labels as numbers where they are some."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)
