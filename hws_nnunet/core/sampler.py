"""The sampler: draws cases by their hardness, which it learns from the losses that come back."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.context import BaseContext
from typing import Any, NoReturn

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.draws import DrawnCases, Draws
from hws_nnunet.core.groups import Groups
from hws_nnunet.core.readings import Readings
from hws_nnunet.core.saved import load_table, save_table, saved_table
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.core.tracker import Tracker, loaded_reliabilities
from hws_nnunet.core.updates import Updates

_SMALLEST_WEIGHT = 1e-9  # of a case, over the mean: it would never be drawn, and rounding would decide


class HardnessWeightedSampler(Readings):
    """Draws cases with probability by hardness (softmax of beta times the tracked loss, with safeguards).

    The training process calls :meth:`update`. Draws are made by :attr:`draws`, which workers get a copy of: it shares
    the table. ``docs/method.md`` has the formulas; the settings' names and ranges are in
    :class:`~hws_nnunet.config.Settings`.

    Between two computations of all weights, a new loss changes its own case's weight at once, exactly as the closed
    form has it at the beta in force. What is normalised over all cases waits until it has moved: the effective sample
    size may be 2 % short of its bound, the uniform share and the cap hold to 5 %. :meth:`refresh` makes all exact.

    Args:
        names: the cases' names; a case's id is its index. A range's numbers take no memory.
        settings: the default ones where None.
        structures: names of the structures whose hardness is tracked for every case.
        measure: name of the loss that is tracked.
        prior: ``(n,)``, above 0, in any unit: how often cases are drawn where hardness says nothing; equally often by
            default. Uniform share, cap and effective sample size are relative to it.
        groups: ``(n,)``, the name of each case's group, over which hardness is pooled; None for no groups.
        rng: gives the warm-up pass's order; the numbers' own order where None.
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
        names: Sequence[str] | range,
        settings: Settings | None = None,
        *,
        structures: Sequence[str] = (),
        measure: str = "loss",
        prior: Sequence[float] | None = None,
        groups: Sequence[str] | None = None,
        rng: np.random.Generator | None = None,
        context: BaseContext | None = None,
    ):
        self.settings = settings = Settings() if settings is None else settings
        self.table = table = HardnessTable(names, structures=structures, measure=measure, context=context)
        if rng is not None:
            table.order[:] = rng.permutation(len(table))
        for what, values in (("weights", prior), ("groups", groups)):
            if values is not None and len(values) != len(table):
                raise ValueError(f"{len(values)} {what} given; there are {len(table)} cases")
        self.draws = Draws(table, settings, has_prior=prior is not None)
        # Without one, ones that take no memory.
        self.prior = np.broadcast_to(1.0, len(table)) if prior is None else of_mean_1(prior)
        self.groups = None if groups is None else Groups(groups, settings.group_pooling)
        self._tracker = Tracker(table, settings.smoothing, self.groups)
        self._updates = Updates(table, settings, None if prior is None else self.prior, self._tracker)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def weighs_cases(self) -> bool:
        """Whether cases are to be drawn by hardness or by a prior; otherwise uniformly."""
        return self.draws.weighs_cases

    def __reduce__(self) -> NoReturn:
        raise TypeError("a sampler stays in its process: hand workers its draws (sampler.draws), which share the table")

    def draw_cases(self, size: int, rng: np.random.Generator) -> DrawnCases:
        """Draw cases in this process: :meth:`Draws.draw_cases <hws_nnunet.core.draws.Draws.draw_cases>`."""
        return self.draws.draw_cases(size, rng)

    def update(
        self,
        cases: Sequence[int] | np.ndarray,
        losses: Sequence[float] | np.ndarray,
        *,
        other_losses: Sequence[float] | np.ndarray | None = None,
        structures: np.ndarray | None = None,
        version: int | None = None,
    ) -> None:
        """Take in the losses of one training step, in the samples' order.

        1. Visits are counted, finite losses tracked.
        2. Safeguards learn from them.
        3. These cases' weights are computed, with what is frozen.
        4. Other losses and those of structures are smoothed; lag and version go on.
        5. All weights are computed anew where a safeguard asks for it, they have moved too far, or the last case has
           now been seen: before any reader sees weights that a jump has thrown out of scale.

        Args:
            cases: ``(B,)`` ids.
            losses: ``(B,)``. A value that is not finite, or beyond 1e100, counts as a visit and changes nothing else.
            other_losses: ``(B,)``, by another measure, for the record: draws do not go by them.
            structures: ``(B, number of structures)``, losses of single structures, for the record and for the
                structures that patches are centred on.
            version: the table's version when the batch was drawn, as the draw returned it; tells how far draws and
                updates lie apart.

        Raises:
            ValueError: for shapes that do not belong together, or ids out of range; nothing is changed then.
        """
        self._updates.take_in(cases, losses, other_losses, structures, version)

    def refresh(self) -> None:
        """Compute beta in force and all weights anew."""
        with self.table.writing():
            self._updates.weights.compute()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs: plain numbers, names, and arrays that are copies.

        Weights are computed anew first, here and where the state is loaded: both go on with the same ones.
        Several ranks therefore all ask at the same step, so that their tables stay equal, even if one alone writes it.
        """
        if self.table.weighted:
            self.refresh()
        return {**save_table(self.table), "settings": self.settings.model_dump(), **self._tracker.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`, case by case by name; arrays may have become tensors, on any device.

        A case that is gone is dropped with a warning; a new one starts unseen, and ranks as the hardest if draws were
        weighted already. Structures are matched by name, too.

        Raises:
            ValueError: for a format that is not known, another measure, or a damaged state; nothing is changed then.
        """
        saved = saved_table(self.table, state)
        reliabilities = loaded_reliabilities(state)
        load_table(self.table, saved)
        self._tracker.load(*reliabilities)
        if self.table.weighted or self.table.unseen == 0:
            self.refresh()


def of_mean_1(prior: Sequence[float]) -> np.ndarray:
    """Return weights, ``(n,)``, over their mean.

    Raises:
        ValueError: they are not finite and above 0, or one is too far below the mean.
    """
    weights = np.array(prior, dtype=np.float64)
    extent = f"given: {weights.min()} to {weights.max()}"
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"weights have to be finite and above 0, {extent}")
    weights = weights / weights.max()  # before they are summed: the sum may not fit a float
    weights *= len(weights) / weights.sum()
    if weights.min() < _SMALLEST_WEIGHT:
        raise ValueError(f"the smallest weight has to be at least {_SMALLEST_WEIGHT:g} of the mean, {extent}")
    return weights
