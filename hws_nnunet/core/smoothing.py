"""What is tracked beside the loss, for the record: each value smoothed on its own, with no common level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hws_nnunet.core.table import HardnessTable

LARGEST_LOSS = 1e100
"""In size: what is beyond counts as not finite, so that differences and squares stay so."""


class Smoothing:
    """Smooths values into a column of a table: ``new = m * old + (1 - m) * value``, as tracked losses are.

    Values are few, and one by one they are several times cheaper than as arrays.

    Args:
        table: is written.
        column: its name; of cases, or of their structures.
        smoothing: m; the k-th visit's gain is at least 1 / k.
    """

    def __init__(self, table: HardnessTable, column: str, smoothing: float):
        self._column, self._visits, self._least_gain = table.words[column], table.words["visits"], 1.0 - smoothing
        self._width = len(self._column) // len(table)

    def take_in(self, cases: Sequence[int] | np.ndarray, values: np.ndarray) -> None:
        """Take in a step's values; one that is not finite, or beyond 1e100, changes nothing.

        Args:
            cases: ``(B,)`` ids, whose visits have been counted; one that comes twice is taken in twice.
            values: ``(B,)`` or ``(B, K)``, as the column is.
        """
        column, visits, least, width = self._column, self._visits, self._least_gain, self._width
        for case, row in zip(cases, values.reshape(len(values), width).tolist(), strict=True):
            gain, place = max(least, 1.0 / visits[case]), case * width
            for value in row:
                if -LARGEST_LOSS <= value <= LARGEST_LOSS:
                    old = column[place]
                    column[place] = old + gain * (value - old) if old == old else value
                place += 1
