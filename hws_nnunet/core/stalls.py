"""Cases that stay hard however often they are drawn: wrong labels, and images that show nothing.

What is rare gets easier when it is drawn, and some of its patches are easy; a wrong label is hard all over, and stays
so. A case is *stalled* while three things hold:

- it is far harder than the others: its hardness exceeds their median by five robust standard deviations (1.4826 times
  the median absolute deviation);
- so did seven in eight of its single losses in the last window of visits, where windows end at 16, 32, 64, ... visits;
- its mean loss changed from one window to the next by less than 5 % of its distance from the others' median. Learning
  curves are close to power laws of the number of examples seen, so that what still learns falls by about the same share
  whenever its visits double, early and late in a training. One that rises does not count: rare cases do while the
  network learns the common ones first, and then drawing them helps most.

Verdicts are given when a window ends, by the training process alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hws_nnunet.core.table import HardnessTable

_FIRST_WINDOW = 16  # visits; a power of two
_CHANGE = 0.05  # of the distance from the others, from one window to the next
_FAR = 5.0  # robust standard deviations above the median
_NEAR = 8  # one loss in so many, at most, is not far beyond the others
_NORMAL = 1.4826  # standard deviations of a normal distribution in a median absolute deviation


class StallWatch:
    """Tells the stalled cases of a table."""

    def __init__(self, table: HardnessTable):
        self._table = table
        self._answers = table.words["answers"]
        self._window = table.words["window"]
        self._before = table.words["before"]
        self._near = table.words["near"]
        self._stuck = table.words["stuck"]

    def add(self, case: int, loss: float, level: float, others: Others) -> bool:
        """Take in a finite loss; return whether it ended a window and turned the verdict on the case.

        Args:
            case: its id.
            loss: of the measure that draws go by.
            level: what all losses have in common now.
            others: where the cases lie, from that level.
        """
        count, total = self._answers[case] + 1, self._window[case] + loss
        self._answers[case] = count
        if loss - level <= others.bound:
            self._near[case] += 1
        if count & (count - 1) or count < _FIRST_WINDOW:
            self._window[case] = total
            return False
        visits = count if count == _FIRST_WINDOW else count // 2
        mean, before = total / visits, self._before[case]
        # False in the first window: there is none before it.
        stuck = abs(mean - before) < _CHANGE * (mean - level - others.median) and self._near[case] * _NEAR <= visits
        changed = stuck != bool(self._stuck[case])
        self._window[case], self._near[case], self._before[case], self._stuck[case] = 0.0, 0, mean, int(stuck)
        return changed

    def stalled(self, hardness: np.ndarray, bound: float) -> np.ndarray:
        """Return which cases are stalled, ``(n,)``, by their hardness and its bound; at most half ever are."""
        return (self._table.stuck > 0) & (hardness > bound)


class Others(NamedTuple):
    """Where the cases lie: their median, and the hardness above which a case is far harder than the others."""

    median: float
    bound: float

    @classmethod
    def of(cls, hardness: np.ndarray) -> Others:
        """Return it for the hardness of all cases, ``(n,)``."""
        median = float(np.median(hardness))
        return cls(median, median + _FAR * _NORMAL * float(np.median(np.abs(hardness - median))))
