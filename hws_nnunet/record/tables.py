"""What tables share: the order of their rows, six digits, whole files, columns for a terminal."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from hws_nnunet.files import atomic_write


def hardest_first(hardness: np.ndarray) -> np.ndarray:
    """Return the cases' numbers, ``(n,)``, hardest first; those of unknown hardness (NaN) last, ties as they stand."""
    return np.argsort(-np.nan_to_num(hardness, nan=-np.inf), kind="stable")


def number(value: float | bool) -> int | str:
    """Return a value as a table has it: six digits are enough for people, and what is unknown (NaN) is left empty."""
    return int(value) if isinstance(value, int) else f"{value:.6g}" if value == value else ""


def numbers(values: np.ndarray) -> list[int | str]:
    """Return :func:`number` of each value, ``(n,)``."""
    return [number(value) for value in values.tolist()]  # NumPy's own numbers take several times as long


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all; a row has an entry for each name of the header."""
    with atomic_write(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def aligned(rows: Sequence[Sequence[str]], *, words: Collection[int] = (0,)) -> list[str]:
    """Return rows of as many cells as lines for a terminal, columns two spaces apart.

    Args:
        rows: at least one; the heads among them.
        words: places of the columns that stand on the left; numbers stand on the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
