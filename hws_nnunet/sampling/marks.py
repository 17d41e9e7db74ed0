"""Draw marks: which cases wait for their loss, without a lock between the processes.

K draws are unanswered at any time, because workers prefetch. A case of probability p may have at most
``ceil(p K + sqrt(p K))`` of them: its share and one standard deviation of free draws, so that one that has just
become hard does not fill the queue before its new loss is back. (Its share alone, rounded up, keeps back cases that
are drawn often: ``docs/method.md``.) Workers count draws, the training process counts answers; both write whole
words. Two workers that mark one case at the same instant lose a count, which costs a duplicate draw at most. Answers
never overtake draws, and marks that no answer came for (the host throws its first batch away) expire.
"""

from __future__ import annotations

import math

import numpy as np

from hws_nnunet.sampling.table import HardnessTable


class DrawMarks:
    """The marks of a table's cases."""

    def __init__(self, table: HardnessTable):
        self._table = table
        self._drawn = table.words["drawn"]
        self._answered = table.words["answered"]
        self._stamp = table.words["stamp"]

    def unanswered(self, case: int, version: int, patience: float) -> int:
        """Return how many draws of a case are out; 0 if the last is more than ``patience`` updates ago."""
        out = self._drawn[case] - self._answered[case]
        return out if out > 0 and version - self._stamp[case] <= patience else 0

    def waiting(self, version: int, patience: float) -> np.ndarray:
        """Return :meth:`unanswered` of all cases, ``(n,)``."""
        table = self._table
        out = np.maximum(table.drawn - table.answered, 0)
        return np.where(version - table.stamp <= patience, out, 0)

    @staticmethod
    def limits(p: np.ndarray, in_flight: float) -> np.ndarray:
        """Return how many unanswered draws cases of probabilities p may have when ``in_flight`` draws are out."""
        share = p * in_flight
        return np.maximum(1, np.ceil(share + np.sqrt(share)))

    def has_its_share(self, case: int, p: float, in_flight: float, version: int, patience: float) -> bool:
        """Return whether a case of probability p has as many unanswered draws as :meth:`limits` allows."""
        out = self._drawn[case] - self._answered[case]
        if out <= 0 or version - self._stamp[case] > patience:
            return False
        share = p * in_flight
        return out >= math.ceil(share + math.sqrt(share))

    def mark(self, case: int, version: int, patience: float) -> None:
        """Note a draw (workers)."""
        self._drawn[case] = self._answered[case] + self.unanswered(case, version, patience) + 1
        self._stamp[case] = version

    def answer(self, case: int) -> None:
        """Note an answer (training process)."""
        if self._answered[case] < self._drawn[case]:
            self._answered[case] += 1
