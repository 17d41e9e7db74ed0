"""From losses to tracked losses: each case's offset from the level of all, and how real the differences are."""

from __future__ import annotations

from typing import Any

import numpy as np

from hws_nnunet.core.groups import Groups
from hws_nnunet.core.reliability import Reliability
from hws_nnunet.core.table import HardnessTable

LARGEST_BATCH = 1024
"""Of those that :meth:`Tracker.add_all` takes in at once."""

_RATE = 0.01  # of the level that all losses have in common, a loss
_FINDING = round(1 / _RATE)  # losses that find the level first
_DECAY = (1.0 - _RATE) ** np.arange(LARGEST_BATCH)


class Tracker:
    """Takes in finite losses, in the training process.

    Args:
        table: gets offsets, level and numbers of losses.
        smoothing: m of ``new = m * old + (1 - m) * loss``; the gain of a case's k-th loss is at least 1 / k.
        groups: None for no groups.

    Attributes:
        level: what all losses have in common now.
        losses: how many finite ones came.
        mean: of all offsets that are known.
        reliability: of the differences between tracked values.
    """

    def __init__(self, table: HardnessTable, smoothing: float, groups: Groups | None):
        self.groups = groups
        self.reliability = Reliability()
        self._table, self._smoothing = table, smoothing
        self._answers, self._offset = table.words["answers"], table.words["offset"]
        self.load(self.reliability, None)

    def load(self, reliability: Reliability, within: Reliability | None) -> None:
        """Go on from what the table holds, and from :func:`loaded_reliabilities`; this object alone changes both."""
        self.level, self.losses, self.reliability = self._table.level, self._table.losses, reliability
        if self.groups is not None and within is not None:
            self.groups.within = within
        self.recount()

    def store(self) -> None:
        """Write level and losses into the table."""
        self._table.level, self._table.losses = self.level, self.losses

    def recount(self) -> None:
        """Compute the mean of all cases, and of groups, anew: before rounding adds up."""
        offsets = self._table.offset[~np.isnan(self._table.offset)]
        if self.groups is not None:
            self.groups.count(self._table.offset)
        self._known, self.mean = offsets.size, float(offsets.mean()) if offsets.size else 0.0

    @property
    def to_find(self) -> int:
        """How many losses are still to come one by one, because they find the level first."""
        return max(0, _FINDING - 1 - self.losses)

    def add(self, case: int, loss: float) -> None:
        """Take in a finite loss of a case."""
        self._answers[case] = answers = self._answers[case] + 1
        old, value = self._offset[case], loss - self.level
        has_old = old == old
        innovation = value - old if has_old else value
        new = old + max(1.0 - self._smoothing, 1.0 / answers) * innovation if has_old else value
        if has_old:  # the mean moves while all losses do: no difference between cases
            tracked = old if self.groups is None else self.groups.learn(case, old, value)
            self.reliability.add(tracked - self.mean, value)
        self.losses = count = self.losses + 1
        move = innovation * _RATE if count >= _FINDING else innovation / count
        self.level += move
        new -= move
        if count < _FINDING:  # the level is being found, not moving: what is tracked keeps its value
            self._table.offset -= move
            self._offset[case] = new
            self.recount()
        else:
            self._offset[case] = new
            self._known += not has_old
            self.mean += (new - (old if has_old else self.mean)) / self._known
            if self.groups is not None:
                self.groups.add(case, old, new)

    def add_all(self, cases: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take in many finite losses, as :meth:`add` does one after the other; not while the level is being found.

        Args:
            cases: ``(B,)`` ids, each once, at most :data:`LARGEST_BATCH`.
            losses: ``(B,)``.

        Returns:
            the cases' offsets now, and the level when each loss came, each ``(B,)``.
        """
        table, decay = self._table, _DECAY[: len(cases)]
        old = table.offset[cases]
        has_old = old == old
        all_known = bool(has_old.all())
        before = old if all_known else np.where(has_old, old, 0.0)
        # The level is a running mean: after k losses, sum_j rate (1 - rate)^(k - j) (loss_j - before_j - level).
        moved = np.cumsum((losses - before - self.level) / decay) * decay
        moved *= _RATE
        levels = np.full(len(cases), self.level)
        levels[1:] += moved[:-1]
        values = losses - levels
        innovation = values - before
        answers = table.answers[cases] + 1
        table.answers[cases] = answers
        gain = np.maximum(1.0 - self._smoothing, 1.0 / answers)
        if not all_known:
            gain[~has_old] = 1.0
        new = before + (gain - _RATE) * innovation
        table.offset[cases] = new
        self.level += float(moved[-1])
        self.losses += len(cases)
        # the mean of all cases before each loss, of which there is one more with each that was not known
        steps = new - before
        count = self._known if all_known else self._known + np.cumsum(~has_old)
        sums = self.mean * self._known + np.cumsum(steps)
        means = (sums - steps) / (count if all_known else np.maximum(count - ~has_old, 1))
        tracked = old if self.groups is None else self.groups.learn_all(cases, old, new, values)
        tracked = tracked - means
        if all_known:
            self.reliability.add_all(tracked, values)
        else:
            self.reliability.add_all(tracked[has_old], values[has_old])
            self._known = int(count[-1])
        self.mean = float(sums[-1]) / self._known
        return new, levels

    def ranked_offsets(self) -> np.ndarray:
        """Return what draws go by, ``(n,)``, finite, from the common level: a case never seen ranks as the hardest.

        One that was seen without ever giving a finite value takes the mean of the others. All are equal where nothing
        is known. With groups, values are pooled as when weights were last computed.
        """
        offset = self._table.offset
        return self.ranked(offset if self.groups is None else self.groups.pooled_all(slice(None), offset))

    def ranked(self, offset: np.ndarray) -> np.ndarray:
        """Return :meth:`ranked_offsets` of other values, ``(n,)``, NaN where nothing is known."""
        offset, unknown = offset.copy(), np.isnan(offset)
        if unknown.all():
            return np.zeros(len(offset))
        if unknown.any():
            finite = offset[~unknown]
            # Half the values at a time: their sum may not fit a float.
            offset[unknown] = np.where(self._table.visits[unknown] == 0, finite.max(), (finite / finite.size).sum())
        return offset

    def state_dict(self) -> dict[str, Any]:
        """Return what the table does not hold."""
        within = None if self.groups is None else self.groups.within.state_dict()
        return {"reliability": self.reliability.state_dict(), "within_groups": within}


def loaded_reliabilities(state: dict[str, Any]) -> tuple[Reliability, Reliability | None]:
    """Return the reliabilities of a saved state, of all differences and of those within groups, None without these.

    Raises:
        ValueError: they are damaged.
    """
    reliability, within = Reliability(), None
    reliability.load_state_dict(state.get("reliability"))  # type: ignore[arg-type]  # it refuses None
    if state.get("within_groups") is not None:
        within = Reliability()
        within.load_state_dict(state["within_groups"])
    return reliability, within
