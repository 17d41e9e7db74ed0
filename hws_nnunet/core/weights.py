"""From tracked losses to draw weights: all of them anew now and then, and one case's at once in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.distribution import exponents, solve_beta, tilt, tilt_limit
from hws_nnunet.core.reliability import smallest_share
from hws_nnunet.core.safeguards import Safeguard
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.core.tracker import Tracker

SHORTFALL = 0.02
"""Of the effective sample size, and what its bound may move by: beyond it all weights are computed anew."""

DRIFT = 0.05
"""Of the effective sample size upwards, and of the total weight, likewise."""

_LARGEST_EXPONENT = 600.0
_LOOKED_AT = 16  # updates: how often the bound that reliability allows is compared with the one in force


class Frozen(NamedTuple):
    """What all weights have in common until they are computed anew.

    A weight is ``prior * (scale * exp(min(beta * (offset - hardest), top) - log_sum) + floor)``.
    """

    beta: float
    hardest: float
    top: float
    log_sum: float
    scale: float
    floor: float


class Weights:
    """The draw weights of a table, in the training process.

    Args:
        table: gets weights and beta in force.
        settings: the sampler's.
        prior: ``(n,)``, of mean 1; None for 1 everywhere.
        tracker: what draws go by.
        safeguards: which cases do not.

    Attributes:
        smallest_effective_sample_size: the bound in force, in cases.
    """

    def __init__(
        self,
        table: HardnessTable,
        settings: Settings,
        prior: np.ndarray | None,
        tracker: Tracker,
        safeguards: Sequence[Safeguard],
    ):
        self._table, self._settings, self._tracker, self._safeguards = table, settings, tracker, safeguards
        self._prior = prior
        self._prior_of = None if prior is None else prior.tolist()  # single numbers are cheaper to reach there
        self._offset, self._weight = table.words["offset"], table.words["weight"]
        self._frozen = Frozen(0.0, 0.0, math.inf, 0.0, 1.0, 0.0)
        self._held: frozenset[int] = frozenset()
        self._outdated = False
        self.squares = self._computed = self.smallest_effective_sample_size = float(len(table))

    def compute(self) -> None:
        """Compute all weights, and beta in force.

        1. Means that were moved loss by loss are computed anew; groups' means are frozen.
        2. Each safeguard says which cases it holds; these get the weight of their prior.
        3. Beta is solved for the effective sample size, over the other cases.
        4. All weights are written.
        """
        table, settings, tracker, n = self._table, self._settings, self._tracker, len(self._table)
        tracker.recount()
        if tracker.groups is not None:
            tracker.groups.freeze()
        free = ~self._hold()
        share = smallest_share(settings.ess, tracker.reliability.value)
        self.smallest_effective_sample_size = share * n
        weights = np.full(n, 1.0 / n)
        g, cap = settings.uniform_fraction, settings.cap
        if free.any():
            offset, prior = tracker.ranked_offsets()[free], None
            m = len(offset)
            if self._prior is not None:
                prior = self._prior[free]
                prior *= m / prior.sum()
            beta = solve_beta(offset, settings.beta, share * m, prior=prior, uniform_fraction=g, cap=cap)
            exponent = exponents(offset, beta)
            top, log_sum = tilt(exponent, tilt_limit(m, uniform_fraction=g, cap=cap), prior=prior)
            frozen = Frozen(beta, float(offset.max()), top, log_sum, (1.0 - g) * m / n, g / n)
            weights[free] = frozen.scale * np.exp(np.minimum(exponent, top) - log_sum) + frozen.floor
        else:
            frozen = Frozen(0.0, 0.0, math.inf, 0.0, 0.0, 1.0 / n)
        self._frozen, self._outdated = frozen, False
        relative = weights
        if self._prior is not None:
            weights = weights * self._prior
        table.weigh(weights)
        table.beta_in_force, table.weighted = frozen.beta, True
        self.squares = float(np.dot(weights, relative))
        self._computed = table.total**2 / self.squares

    def _hold(self) -> np.ndarray:
        """Ask all safeguards; return which cases are held, ``(n,)``."""
        held = np.zeros(len(self._table), dtype=bool)
        offset = self._tracker.ranked(self._table.offset)
        for safeguard in self._safeguards:
            by_this = safeguard.hold(offset)
            safeguard.held = frozenset(np.flatnonzero(by_this).tolist())
            held |= by_this
        self._held = frozenset(np.flatnonzero(held).tolist())
        return held

    def reweigh(self, case: int) -> None:
        """Compute one case's weight with what is frozen; it has a finite tracked loss."""
        offset = self._offset[case]
        if case in self._held:  # it keeps its weight
            return
        beta, hardest, top, log_sum, scale, floor = self._frozen
        if self._tracker.groups is not None:
            offset = self._tracker.groups.pooled(case, offset)
        exponent = min(beta * (offset - hardest), top) - log_sum
        if exponent > _LARGEST_EXPONENT:
            self._outdated = True  # far beyond the frozen scale
            return
        prior = 1.0 if self._prior_of is None else self._prior_of[case]
        weight = prior * (scale * math.exp(exponent) + floor)
        old = self._weight[case]
        self._weight[case] = weight
        self.squares += (weight * weight - old * old) / prior
        table = self._table
        table.total += weight - old
        if weight > table.largest:
            table.largest = weight

    def reweigh_all(self, cases: np.ndarray, offset: np.ndarray) -> None:
        """Compute the weights of many cases, ``(B,)``, each once, by their tracked losses, as :meth:`reweigh` does."""
        table = self._table
        if self._held:
            free = np.array([case not in self._held for case in cases.tolist()])
            if not free.any():
                return
            cases, offset = cases[free], offset[free]
        beta, hardest, top, log_sum, scale, floor = self._frozen
        if self._tracker.groups is not None:
            offset = self._tracker.groups.pooled_all(cases, offset)
        exponent = np.minimum(beta * (offset - hardest), top) - log_sum
        if top - log_sum > _LARGEST_EXPONENT and exponent.max() > _LARGEST_EXPONENT:
            self._outdated = True
            return
        relative = scale * np.exp(exponent) + floor
        old = table.weight[cases]
        if self._prior is None:
            weights, old_relative = relative, old
        else:
            prior = self._prior[cases]
            weights, old_relative = prior * relative, old / prior
        table.weight[cases] = weights
        self.squares += float(weights @ relative - old @ old_relative)
        table.total += float(weights.sum() - old.sum())
        table.largest = max(table.largest, float(weights.max()))

    def are_outdated(self) -> bool:
        """Return whether the weights have moved so far that all have to be computed anew."""
        table, n = self._table, len(self._table.names)
        total = table.total
        ess = total * total / self.squares if self.squares > 0 else 0.0
        if self._outdated or not abs(total - 1.0) <= DRIFT:
            return True
        if not (1 - SHORTFALL) * self._computed <= ess <= (1 + DRIFT) * self._computed:
            return True
        if table.version % _LOOKED_AT:
            return False
        groups = self._tracker.groups
        if groups is not None and groups.have_moved(self._frozen.beta):
            return True
        bound = n * smallest_share(self._settings.ess, self._tracker.reliability.value)
        return abs(bound - self.smallest_effective_sample_size) > SHORTFALL * n
