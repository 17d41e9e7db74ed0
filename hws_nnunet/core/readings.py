"""What a sampler tells of itself: what draws go by now, and how far it is to be trusted."""

from __future__ import annotations

import numpy as np

from hws_nnunet.core.distribution import effective_sample_size
from hws_nnunet.core.safeguards import StallLimit
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.core.tracker import Tracker
from hws_nnunet.core.updates import Held, Updates


class Readings:
    """The part of a sampler that is only read; the sampler has the attributes."""

    table: HardnessTable
    prior: np.ndarray
    _tracker: Tracker
    _updates: Updates

    def probabilities(self) -> np.ndarray:
        """Return each case's probability in a single draw, ``(n,)``.

        In batches without replacement likely cases have a smaller share of the draws:
        :func:`~hws_nnunet.core.shares.batch_shares` tells the shares, as a batch sampler's
        :meth:`~hws_nnunet.loop.batch_sampler.HardnessWeightedBatchSampler.shares` does.
        """
        weights = self.table.read(lambda: self.table.weight.copy())
        return weights / weights.sum()

    def ranked_offsets(self) -> np.ndarray:
        """Return what draws go by, ``(n,)``, finite: see :class:`~hws_nnunet.core.tracker.Tracker`."""
        return self._tracker.ranked_offsets()

    def effective_sample_size(self) -> float:
        """Return ``1 / sum(p ** 2 / prior)`` of :meth:`probabilities`, in cases, at most n."""
        return effective_sample_size(self.probabilities(), prior=self.prior)

    @property
    def smallest_effective_sample_size(self) -> float:
        """The bound of the effective sample size that is in force, in cases: between ``ess * n`` and n."""
        return self._updates.weights.smallest_effective_sample_size

    @property
    def reliability(self) -> float:
        """The share of the differences between tracked values that the next losses bear out, 0 to 1."""
        return self._tracker.reliability.value

    @property
    def held(self) -> tuple[Held, ...]:
        """What each safeguard holds: drawn as under uniform sampling, for the reason that it tells."""
        return self._updates.held

    @property
    def stalled(self) -> tuple[int, ...]:
        """The cases that the stall limit holds (:mod:`hws_nnunet.core.safeguards.stall_limit`)."""
        return next((held.cases for held in self.held if held.title == StallLimit.title), ())
