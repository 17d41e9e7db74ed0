"""The sampler: learns hardness from the losses that come back, and keeps the draws' weights up to date."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing.context import BaseContext
from typing import Any, NoReturn

import numpy as np
import torch

from hws_nnunet.config import Settings
from hws_nnunet.core.distribution import effective_sample_size, exponents, solve_beta, tilt, tilt_limit
from hws_nnunet.core.draws import DrawnCases, Draws
from hws_nnunet.core.groups import Groups
from hws_nnunet.core.reliability import Reliability, smallest_share
from hws_nnunet.core.stalls import Others, StallWatch
from hws_nnunet.core.table import FORMAT, HardnessTable

_SHORTFALL = (
    0.02  # of the effective sample size, and what its bound may move by: beyond it all weights are computed anew
)
_DRIFT = 0.05  # of it upwards, and of the total weight, likewise
_LARGEST_EXPONENT = 600.0
_LARGEST_LOSS = 1e100  # in size: what is beyond counts as not finite, so that differences and squares stay so
_SMALLEST_WEIGHT = 1e-9  # of a case, over the mean: it would never be drawn, and rounding would decide
_LAG_RATE = 0.05  # of the running mean
_LEVEL_RATE = 0.01  # of the level that all losses have in common, a loss
_FINDING = round(1 / _LEVEL_RATE)  # losses that find the level first
_LOOKED_AT = 16  # updates: how often the bound that reliability allows is compared with the one in force


class HardnessWeightedSampler:
    """Draws cases with probability by hardness (softmax of beta times the tracked loss, with safeguards).

    The training process calls :meth:`update`. Draws are made by :attr:`draws`, which workers get a copy of: it shares
    the table. ``docs/method.md`` has the formulas; the settings' names and ranges are
    :class:`~hws_nnunet.config.Settings`'.

    Between two computations of all weights, a new loss changes its own case's weight at once, exactly as the closed
    form has it at the beta in force. What is normalised over all cases waits until it has moved: the effective sample
    size may be 2 % short of its bound, the uniform share and the cap hold to 5 %. :meth:`refresh` makes all exact.

    Args:
        names: the cases' names; a case's id is its index.
        settings: the default ones where None.
        structures: names of the structures whose hardness is tracked for every case.
        measure: name of the loss that is tracked.
        prior: ``(n,)``, above 0, in any unit: how often cases are drawn where hardness says nothing; equally often by
            default. Uniform share, cap and effective sample size are relative to it.
        groups: ``(n,)``, the name of each case's group, over which hardness is pooled; None for no groups.
        rng: gives the first sweep's order; the numbers' own order where None.
        context: a ``multiprocessing`` context for the shared memory.

    Attributes:
        table: what is tracked, shared with the workers.
        draws: draws from the table, in any process.
        prior: ``(n,)``, of mean 1.
        groups: None without groups.

    Raises:
        ValueError: for another number of weights or groups than cases, or weights that are not positive.
    """

    def __init__(
        self,
        names: Sequence[str],
        settings: Settings | None = None,
        *,
        structures: Sequence[str] = (),
        measure: str = "loss",
        prior: Sequence[float] | None = None,
        groups: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
        context: BaseContext | None = None,
    ):
        self.settings = Settings() if settings is None else settings
        self.table = HardnessTable(names, structures=structures, measure=measure, context=context)
        if rng is not None:
            self.table.order[:] = rng.permutation(len(self.table))
        self.draws = Draws(self.table, self.settings)
        self._stalls = StallWatch(self.table)
        for what, given in (("weights", prior), ("groups", groups)):
            if given is not None and len(given) != len(self.table):
                raise ValueError(f"{len(given)} {what} given; there are {len(self.table)} cases")
        self.prior = np.ones(len(self.table)) if prior is None else _of_mean_1(np.array(prior, dtype=np.float64))
        self._has_prior, self._prior = (
            prior is not None,
            self.prior.tolist(),
        )  # single numbers are cheaper to reach there
        self.groups = None if groups is None else Groups(groups, self.settings.group_pooling)
        self._smoothing = self.settings.smoothing  # attributes of the settings model are slower to reach
        self._reliability = Reliability()
        self._visits, self._offset = self.table.words["visits"], self.table.words["offset"]
        # A weight is prior (scale exp(min(beta (offset - hardest), top) - log_sum) + floor), frozen between refreshes.
        self._weight_of = (0.0, 0.0, math.inf, 0.0, 1.0, 0.0)
        self._squares = self._ess = self._smallest_ess = float(len(self.table))
        self._others = Others(0.0, math.inf)
        self._stalled: list[int] = []
        self._level, self._losses = self.table.level, self.table.losses  # this process alone changes them
        self._find_mean()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def weighs_cases(self) -> bool:
        """Whether cases are to be drawn by hardness or by a prior; otherwise uniformly."""
        return self.settings.weighs_cases or self._has_prior

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sampler stays in its process: hand workers its draws (sampler.draws), which share the table")

    def draw_cases(self, size: int, rng: np.random.Generator) -> DrawnCases:
        """Draw cases in this process: :meth:`Draws.draw_cases <hws_nnunet.core.draws.Draws.draw_cases>`."""
        return self.draws.draw_cases(size, rng)

    # ---------------------------------------------------------------- updates

    def update(
        self,
        cases: Sequence[int] | np.ndarray,
        losses: Sequence[float] | np.ndarray,
        *,
        structures: np.ndarray | None = None,
        version: int | None = None,
    ) -> None:
        """Take in the losses of one training step, in the samples' order.

        Args:
            cases: ``(B,)`` ids.
            losses: ``(B,)``. A value that is not finite, or beyond 1e100, counts as a visit and changes nothing else.
            structures: ``(B, number of structures)``, losses of single structures; such values change nothing.
            version: the table's version when the batch was drawn, as the draw returned it; tells how far draws and
                updates lie apart.

        Raises:
            ValueError: for shapes that do not belong together, or ids out of range; nothing is changed then.
        """
        table, visits = self.table, self._visits
        ids, values = self._checked(cases, losses, structures)
        weighted, turned = table.weighted, False
        with table.writing():
            before = unseen = table.unseen
            for case, loss in zip(ids, values, strict=True):
                if visits[case] == 0:
                    unseen -= 1
                visits[case] += 1
                if -_LARGEST_LOSS <= loss <= _LARGEST_LOSS:
                    turned |= self._take_in(case, loss)
                if weighted:
                    self._reweigh(case)
            if structures is not None and table.structures:
                self._track_structures(ids, np.asarray(structures, dtype=np.float64))
            if version is not None:
                table.lag += _LAG_RATE * (table.version - version - table.lag)
            table.version += 1
            table.unseen, table.level, table.losses = unseen, self._level, self._losses
            # Before any reader sees weights that a jump has thrown out of scale.
            if turned or self._has_drifted() or (unseen == 0 and unseen < before) if weighted else unseen == 0:
                self._compute_weights()

    def _checked(
        self, cases: Sequence[int] | np.ndarray, losses: Sequence[float] | np.ndarray, structures: np.ndarray | None
    ) -> tuple[list[int], list[float]]:
        table = self.table
        ids, values = _plain(cases), _plain(losses)
        if len(values) != len(ids) or (values and isinstance(values[0], list)):
            raise ValueError(f"{len(ids)} cases and losses of shape {np.shape(values)} given; expected one each")
        if structures is not None and np.shape(structures) != (len(ids), len(table.structures)):
            raise ValueError(
                f"losses of structures have shape {np.shape(structures)}, expected {(len(ids), len(table.structures))}"
            )
        if ids and not (min(ids) >= 0 and max(ids) < len(table.names)):
            raise ValueError(f"cases {ids} given; there are {len(table.names)} cases")
        return ids, values

    def _take_in(self, case: int, loss: float) -> bool:
        """Track a finite loss; return whether its case, far harder than the others, is now or no longer stalled."""
        level = self._level
        old, value = self._offset[case], loss - level
        known = old == old
        innovation = value - old if known else value
        new = old + max(1.0 - self._smoothing, 1.0 / self._visits[case]) * innovation if known else value
        if known:  # the mean moves while all losses do: no difference between cases
            tracked = old if self.groups is None else self.groups.learn(case, old, value)
            self._reliability.add(tracked - self._mean, value)
        turned = self._stalls.add(case, loss, level, self._others)
        self._losses = count = self._losses + 1
        move = innovation * _LEVEL_RATE if count >= _FINDING else innovation / count
        self._level = level + move
        new -= move
        if count < _FINDING:  # the level is being found, not moving: what is tracked keeps its value
            self.table.offset -= move
            self._offset[case] = new
            self._find_mean()
        else:
            self._offset[case] = new
            self._known += not known
            self._mean += (new - (old if known else self._mean)) / self._known
            if self.groups is not None:
                self.groups.add(case, old, new)
        return turned and new > self._others.bound

    def _find_mean(self) -> None:
        known = self.table.offset[~np.isnan(self.table.offset)]
        if self.groups is not None:
            self.groups.count(self.table.offset)
        self._known, self._mean = known.size, float(known.mean()) if known.size else 0.0

    def _track_structures(self, cases: list[int], values: np.ndarray) -> None:
        table = self.table
        with np.errstate(over="ignore", invalid="ignore"):  # of what is left out
            for case, new in zip(cases, values, strict=True):
                old, gain = table.structure_hardness[case], max(1.0 - self._smoothing, 1.0 / self._visits[case])
                smoothed = np.where(np.isnan(old), new, old + gain * (new - old))
                np.copyto(old, smoothed, where=np.abs(new) <= _LARGEST_LOSS)

    def _reweigh(self, case: int) -> None:
        """Compute one case's weight with the parts that are frozen until the next refresh."""
        offset = self._offset[case]
        if offset != offset:  # visited, without a value yet: it keeps the weight that the last refresh gave it
            return
        if case in self._stalled:  # its weight is the uniform one
            if offset <= self._others.bound:
                self._squares = math.nan
            return
        beta, hardest, top, log_sum, scale, floor = self._weight_of
        if self.groups is not None:
            offset = self.groups.pooled(case, offset)
        exponent = min(beta * (offset - hardest), top) - log_sum
        if exponent > _LARGEST_EXPONENT:
            self._squares = math.nan  # far beyond the frozen scale: all weights have to be computed anew
            return
        prior = self._prior[case]
        weight = prior * (scale * math.exp(exponent) + floor)
        tree = self.table.tree
        old = tree.get(case)
        self._squares += (weight * weight - old * old) / prior
        tree.set(case, weight)

    def _has_drifted(self) -> bool:
        total, n = self.table.tree.total, len(self.table.names)
        ess = total * total / self._squares if self._squares > 0 else 0.0
        if not (abs(total - 1.0) <= _DRIFT and (1 - _SHORTFALL) * self._ess <= ess <= (1 + _DRIFT) * self._ess):
            return True
        if self.table.version % _LOOKED_AT:
            return False
        if self.groups is not None and self.groups.have_moved(self._weight_of[0]):
            return True
        bound = n * smallest_share(self.settings.ess, self._reliability.value)
        return abs(bound - self._smallest_ess) > _SHORTFALL * n

    def refresh(self) -> None:
        """Compute beta in force and all weights anew."""
        with self.table.writing():
            self._compute_weights()

    def _compute_weights(self) -> None:
        table, settings, n = self.table, self.settings, len(self.table)
        free = np.ones(n, dtype=bool)
        self._find_mean()  # anew, before rounding adds up
        if self.groups is not None:
            self.groups.freeze()
        if settings.stall_limit:
            offset = self._ranked(table.offset)
            self._others = Others.of(offset)
            free = ~self._stalls.stalled(offset, self._others.bound)
        self._stalled = np.flatnonzero(~free).tolist()
        offset, prior = self.ranked_offsets()[free], None
        m, share = len(offset), smallest_share(settings.ess, self._reliability.value)
        if self._has_prior:
            prior = self.prior[free]
            prior *= m / prior.sum()
        self._smallest_ess = share * n
        g, cap = settings.uniform_fraction, settings.cap
        beta = solve_beta(offset, settings.beta, share * m, prior=prior, uniform_fraction=g, cap=cap)
        exponent = exponents(offset, beta)
        top, log_sum = tilt(exponent, tilt_limit(m, uniform_fraction=g, cap=cap), prior)
        scale, floor = (1.0 - g) * m / n, g / n
        self._weight_of = (beta, float(offset.max()), top, log_sum, scale, floor)
        weights = np.full(n, 1.0 / n)
        weights[free] = scale * np.exp(np.minimum(exponent, top) - log_sum) + floor
        weights *= self.prior
        table.tree.fill(weights)
        table.beta, table.weighted = beta, True
        self._squares = float(np.dot(weights, weights / self.prior))
        self._ess = table.tree.total**2 / self._squares

    def ranked_offsets(self) -> np.ndarray:
        """Return what draws go by, ``(n,)``, finite, from the common level: a case never seen ranks as the hardest.

        One that was seen without ever giving a finite value takes the mean of the others. All are equal where nothing
        is known. With groups, values are pooled as at the last refresh.
        """
        offset = self.table.offset
        return self._ranked(offset if self.groups is None else self.groups.pooled_all(offset))

    def _ranked(self, offset: np.ndarray) -> np.ndarray:
        offset, unknown = offset.copy(), np.isnan(offset)
        if unknown.all():
            return np.zeros(len(self.table))
        if unknown.any():
            known = offset[~unknown]
            # Half the values at a time: their sum may not fit a float.
            offset[unknown] = np.where(self.table.visits[unknown] == 0, known.max(), (known / known.size).sum())
        return offset

    # ---------------------------------------------------------------- evidence

    @property
    def reliability(self) -> float:
        """The share of the differences between tracked values that the next losses bear out, 0 to 1."""
        return self._reliability.value

    @property
    def smallest_ess(self) -> float:
        """The bound of the effective sample size that is in force, in cases: between ``ess * n`` and n."""
        return self._smallest_ess

    def probabilities(self) -> np.ndarray:
        """Return each case's probability in a single draw, ``(n,)``."""
        weights = self.table.read(lambda: self.table.tree.weights.copy())
        return weights / weights.sum()

    @property
    def stalled(self) -> tuple[int, ...]:
        """The cases that are far harder than the others and no easier for being drawn; none with ``stall_limit`` off.

        They are drawn as under uniform sampling. See :mod:`hws_nnunet.core.stalls`.
        """
        return tuple(self._stalled)

    def effective_sample_size(self) -> float:
        """Return ``1 / sum(p ** 2 / prior)`` of :meth:`probabilities`, in cases, at most n."""
        return effective_sample_size(self.probabilities(), prior=self.prior)

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs: plain numbers, names and tensors, in copies.

        Weights are computed anew first, here and where the state is loaded: both go on with the same ones.
        """
        if self.table.weighted:
            self.refresh()
        return {
            **self.table.state_dict(),
            "settings": self.settings.model_dump(),
            "reliability": self._reliability.state_dict(),
            "within_groups": None if self.groups is None else self.groups.within.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, case by case by name.

        A case that is gone is dropped with a warning; a new one starts unseen, and ranks as the hardest if draws were
        weighted already. Structures are matched by name, too.

        Raises:
            ValueError: for another format, another measure, or a damaged state; nothing is changed then.
        """
        reliability, within = Reliability(), Reliability()
        if isinstance(state, dict):
            # The host loads its checkpoints to the device that it trains on.
            state = {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
            if state.get("format") == FORMAT:
                reliability.load_state_dict(state.get("reliability"))  # type: ignore[arg-type]  # it refuses None
            if state.get("within_groups") is not None:
                within.load_state_dict(state["within_groups"])
        self.table.load_state_dict(state)
        self._reliability = reliability
        if self.groups is not None and state.get("within_groups") is not None:
            self.groups.within = within
        self._level, self._losses = self.table.level, self.table.losses
        self._find_mean()
        if self.table.weighted or self.table.unseen == 0:
            self.refresh()


def _of_mean_1(weights: np.ndarray) -> np.ndarray:
    given = f"given: {weights.min()} to {weights.max()}"
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"weights have to be finite and above 0, {given}")
    weights = weights / weights.max()  # before they are summed: the sum may not fit a float
    weights *= len(weights) / weights.sum()
    if weights.min() < _SMALLEST_WEIGHT:
        raise ValueError(f"the smallest weight has to be at least {_SMALLEST_WEIGHT:g} of the mean, {given}")
    return weights


def _plain(values: Sequence | np.ndarray | torch.Tensor) -> list:
    tolist = getattr(values, "tolist", None)  # arrays' and tensors', several times cheaper than asking for their types
    return list(values) if tolist is None else tolist()
