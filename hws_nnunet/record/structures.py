"""The table of structures: how hard each class or region of the reference is in each case.

A structure's hardness is its smoothed soft Dice loss, from 0 (found) to 1 (nothing of it found); NaN, an empty field of
the table, where no patch of the case has shown the structure yet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hws_nnunet.record.tables import hardest_first, numbers, write_table

STRUCTURES_FILE = "hardness_structures.csv"
_HEADER = ("case", "hardness", "hardest_structure")


class Hardest(NamedTuple):
    """A case's hardest structure: its name and hardness; an empty name and NaN where none is known."""

    structure: str = ""
    hardness: float = float("nan")


def hardest_structure(structures: Sequence[str], values: np.ndarray) -> Hardest:
    """Return a case's hardest structure, of several equal ones the first.

    Args:
        structures: K names.
        values: ``(K,)``, of one case, NaN where unknown.
    """
    if not np.isfinite(values).any():
        return Hardest()
    k = int(np.nanargmax(values))
    return Hardest(structures[k], float(values[k]))


def write_structures(
    folder: Path, names: Sequence[str], hardness: np.ndarray, structures: Sequence[str], values: np.ndarray
) -> None:
    """Write a fold's ``hardness_structures.csv``, whole or not at all; nothing where there are no structures.

    Its rows are in the order of ``hardness.csv``, hardest case first.

    Args:
        folder: the fold's.
        names: of n cases.
        hardness: ``(n,)``, of the cases, NaN where unknown.
        structures: K names.
        values: ``(n, K)``, the structures' hardness in each case, NaN where unknown.
    """
    if not structures:
        return
    order = hardest_first(hardness)
    values = values[order]
    finite = np.isfinite(values)
    hardest = np.where(finite, values, -np.inf).argmax(1)
    columns = [
        [names[i] for i in order],
        numbers(hardness[order]),
        [structures[k] if any_known else "" for k, any_known in zip(hardest, finite.any(1).tolist(), strict=True)],
        *map(numbers, values.T),
    ]
    write_table(Path(folder) / STRUCTURES_FILE, (*_HEADER, *structures), zip(*columns, strict=True))


def read_hardest_structures(folder: Path) -> dict[str, Hardest]:
    """Return each case's hardest structure by a fold's ``hardness_structures.csv``.

    Cases of which nothing is known are left out; there are none where the fold has no such file (an older training, or
    one without structures).

    Raises:
        ValueError: the file is not such a table.
    """
    path = Path(folder) / STRUCTURES_FILE
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            text = file.read()
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table: {error}") from error
    if tuple(header[: len(_HEADER)]) != _HEADER:
        raise ValueError(f"{path} starts with {', '.join(header) or 'nothing'}; expected {', '.join(_HEADER)}, ...")
    if not text.endswith("\n"):
        raise ValueError(f"{path}: its last line has no end, it was cut off")
    structures, hardest = header[len(_HEADER) :], {}
    for row in rows:
        if len(row) != len(header):
            told = f"{len(row)} of {len(header)} fields, was it cut off?"
            raise ValueError(f"{path} cannot be read at {','.join(row)!r}: {told}")
        try:  # by place: a structure may be called "case"
            case, _, structure, *values = row
            if structure:
                hardest[case] = Hardest(structure, float(values[structures.index(structure)]))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path} cannot be read at {','.join(row)!r}: {error}") from error
    return hardest
