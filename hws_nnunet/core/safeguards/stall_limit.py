"""Cases that stay hard however often they are drawn: wrong labels, and images that show nothing.

What is rare gets easier when it is drawn, and some of its patches are easy; a wrong label is hard all over, and stays
so. A case is *stalled* while three things hold:

- it is far harder than the others: its hardness exceeds the median of all tracked ones by five robust standard
  deviations (1.4826 times the median absolute deviation);
- so did seven in eight of its single losses in the last window of visits, where windows end at 16, 32, 64, ... visits;
- its mean loss changed from one window to the next by less than 5 % of its distance from the others' median. Learning
  curves are close to power laws of the number of examples seen, so that what still learns falls by about the same share
  whenever its visits double, early and late in a training. One that rises does not count: rare cases do while the
  network learns the common ones first, and then drawing them helps most.

Verdicts are given when a window ends, by the training process alone.
"""

from __future__ import annotations

import math

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.safeguards.safeguard import Safeguard
from hws_nnunet.core.table import HardnessTable

_FIRST_WINDOW = 16  # visits; a power of two
_CHANGE = 0.05  # of the distance from the others, from one window to the next
_FAR = 5.0  # robust standard deviations above the median
_NEAR = 8  # one loss in so many, at most, is not far beyond the others
_NORMAL = 1.4826  # standard deviations of a normal distribution in a median absolute deviation


class StallLimit(Safeguard):
    """Holds the stalled cases, at most half of all."""

    title = "Stalled"
    reason = (
        "far harder than the others, and no easier for being drawn; drawn as under uniform sampling now. Are the "
        "labels right? hws-nnunet gallery shows them"
    )

    def __init__(self, table: HardnessTable, settings: Settings):
        super().__init__(table, settings)
        self._median, self._bound = 0.0, math.inf  # of the known ones, from the level; beyond the bound is far harder
        self._words = tuple(table.words[name] for name in ("answers", "window", "near", "before", "stuck", "offset"))

    def hold(self, offset: np.ndarray) -> np.ndarray:
        """Return which cases are stalled, ``(n,)``; none where it is off, though it learns, for a resume with it on."""
        tracked = offset[~np.isnan(self.table.offset)]
        if len(tracked):  # the others took one value in the place of a loss: many of them would let the spread vanish
            self._median = float(np.median(tracked))
            self._bound = self._median + _FAR * _NORMAL * float(np.median(np.abs(tracked - self._median)))
        return (self.table.stuck > 0) & (offset > self._bound) & self.settings.stall_limit

    def learn_one(self, case: int, loss: float, level: float) -> bool:
        """Take in one loss; return whether the case is now stalled, or no longer."""
        answers, window, near, before, stuck, offset = self._words
        count, total = answers[case], window[case] + loss
        if loss - level <= self._bound:
            near[case] += 1
        turned = False
        if count & (count - 1) or count < _FIRST_WINDOW:
            window[case] = total
        else:
            visits = count if count == _FIRST_WINDOW else count // 2
            mean = total / visits
            # False in the first window: there is none before it.
            stays = abs(mean - before[case]) < _CHANGE * (mean - level - self._median) and near[case] * _NEAR <= visits
            turned = stays != bool(stuck[case])
            window[case], near[case], before[case], stuck[case] = 0.0, 0, mean, int(stays)
        if case in self.held:
            return turned or offset[case] <= self._bound
        return turned and offset[case] > self._bound

    def learn(self, cases: np.ndarray, losses: np.ndarray, levels: np.ndarray) -> bool:
        """Take in the losses of a batch, each case once: :meth:`learn_one` of all of them."""
        table = self.table
        count, total = table.answers[cases], table.window[cases] + losses
        table.window[cases] = total
        table.near[cases] += losses - levels <= self._bound
        ends = ((count & (count - 1)) == 0) & (count >= _FIRST_WINDOW)
        turned = bool(ends.any()) and self._judge(cases[ends], count[ends], total[ends], levels[ends])
        if self.held and not turned:
            held = [case for case in cases.tolist() if case in self.held]
            turned = bool((table.offset[held] <= self._bound).any())
        return turned

    def _judge(self, cases: np.ndarray, count: np.ndarray, total: np.ndarray, levels: np.ndarray) -> bool:
        """Judge cases whose window ends; return whether any of them is now stalled, or no longer."""
        table, visits = self.table, np.where(count == _FIRST_WINDOW, count, count // 2)
        mean, offset = total / visits, table.offset[cases]
        stays = np.abs(mean - table.before[cases]) < _CHANGE * (mean - levels - self._median)
        stays &= table.near[cases] * _NEAR <= visits
        turned = stays != table.stuck[cases].astype(bool)
        table.window[cases], table.near[cases], table.before[cases], table.stuck[cases] = 0.0, 0, mean, stays
        return bool((turned & ((offset > self._bound) | np.isin(cases, list(self.held)))).any())
