"""A fold's ``hardness.csv``, the record of all cases: its name and its reader, which need no library."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from hws_nnunet.record.measures import MEASURES

CASES_FILE = "hardness.csv"
A_FOLD = (
    "a fold's folder of a HardnessWeightedTrainer, for instance "
    "$nnUNet_results/DatasetXXX_Name/HardnessWeightedTrainer__nnUNetPlans__3d_fullres/fold_0"
)
"""What is expected where a record is read from, for messages."""
_KINDS = {
    "hardness": float,
    **dict.fromkeys(MEASURES, float),
    "probability": float,
    "visits": int,
    "drawn": float,
    "last_epoch_seen": int,
    "stalled": int,
}
_NEEDED = ("case", "hardness", "probability", "visits", "last_epoch_seen")  # the others came later
_ALWAYS = ("probability", "visits")
_ROUNDING = 1e-5  # of the sum of all probabilities, which the table has to six digits each


def read_cases(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a fold's ``hardness.csv``, hardest first, at least one; numbers are numbers, or empty.

    Raises:
        FileNotFoundError: the folder has none.
        ValueError: it is not such a table, or not the whole of one.
    """
    path = Path(folder) / CASES_FILE
    if not path.is_file():
        lacks = f"no {CASES_FILE}, which the first epoch writes, in {folder}"
        problem = lacks if Path(folder).is_dir() else f"{folder} is not a folder"
        raise FileNotFoundError(f"{problem}: expected {A_FOLD}")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if missing := [name for name in _NEEDED if name not in (table.fieldnames or [])]:
            raise ValueError(f"it has no column {', '.join(missing)}")
        rows = []
        for row in table:
            _check(row, table.line_num, len(table.fieldnames or ()))
            rows.append(row)
        if not rows:
            raise ValueError("it lists no case")
        if not text.endswith("\n"):
            raise ValueError("its last line has no end: it was cut off")
        total = math.fsum(float(row["probability"]) for row in rows)
        if not abs(total - 1) <= _ROUNDING:
            raise ValueError(f"its probabilities sum to {total:.4f}, expected 1: rows are missing, or not its own")
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path} is not a whole record of this package: {error}") from error
    return rows


def with_numbers(row: Mapping[str, str]) -> dict[str, str | float | None]:
    """Return a row of :func:`read_cases` with its numbers as numbers, None where a field is empty."""
    return {name: _KINDS.get(name, str)(value) if value else None for name, value in row.items()}


def _check(row: dict, line: int, columns: int) -> None:
    fields = sum(value is not None for key, value in row.items() if key is not None) + len(row.get(None, ()))
    if fields != columns:
        raise ValueError(f"line {line} has {fields} of {columns} fields, was it cut off?")
    for name, kind in _KINDS.items():
        value = row.get(name, "")
        try:
            if name in row and (value or name in _ALWAYS) and not math.isfinite(kind(value)):
                raise ValueError
        except ValueError:
            raise ValueError(f"line {line} has {name} {value!r}, expected a number") from None
