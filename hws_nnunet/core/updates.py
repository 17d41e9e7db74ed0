"""One training step's losses on their way into the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.safeguards import SAFEGUARDS
from hws_nnunet.core.smoothing import LARGEST_LOSS, Smoothing
from hws_nnunet.core.table import HardnessTable
from hws_nnunet.core.tracker import LARGEST_BATCH, Tracker
from hws_nnunet.core.weights import Weights

_LAG_RATE = 0.05  # of the running mean
_FEW = 24  # losses: up to here one by one is faster than all at once


class Held(NamedTuple):
    """What a safeguard holds: its title and reason, for the log, and the cases' ids."""

    title: str
    cases: tuple[int, ...]
    reason: str


class Updates:
    """Hands losses to tracker, safeguards and weights, in the training process.

    Args:
        table: is written.
        settings: the sampler's.
        prior: ``(n,)``, of mean 1; None for 1 everywhere.
        tracker: of the table.

    Attributes:
        weights: of the table.
    """

    def __init__(self, table: HardnessTable, settings: Settings, prior: np.ndarray | None, tracker: Tracker):
        self._table, self._tracker = table, tracker
        self._safeguards = [safeguard(table, settings) for safeguard in SAFEGUARDS]
        self._learning = [safeguard for safeguard in self._safeguards if safeguard.learns]
        self._structures = Smoothing(table, "structure_hardness", settings.smoothing)
        self._other_loss = Smoothing(table, "other_loss", settings.smoothing)
        self.weights = Weights(table, settings, prior, tracker, self._safeguards)

    @property
    def held(self) -> tuple[Held, ...]:
        """What each safeguard holds now, those without cases left out."""
        return tuple(
            Held(safeguard.title, tuple(sorted(safeguard.held)), safeguard.reason)
            for safeguard in self._safeguards
            if safeguard.held
        )

    def take_in(
        self,
        cases: Sequence[int] | np.ndarray,
        losses: Sequence[float] | np.ndarray,
        other_losses: Sequence[float] | np.ndarray | None,
        structures: np.ndarray | None,
        version: int | None,
    ) -> None:
        """Take in a step's losses; the steps are told by :meth:`HardnessWeightedSampler.update
        <hws_nnunet.core.sampler.HardnessWeightedSampler.update>`.
        """
        table, tracker = self._table, self._tracker
        ids, values = checked(table, cases, losses, other_losses, structures)
        with table.writing():
            unseen = table.unseen
            turned = self._one_by_one(ids, values) if isinstance(ids, list) else self._all_at_once(ids, values)
            if other_losses is not None:
                self._other_loss.take_in(ids, np.asarray(other_losses, dtype=np.float64))
            if structures is not None and table.structures:
                self._structures.take_in(ids, np.asarray(structures, dtype=np.float64))
            if version is not None:
                table.lag += _LAG_RATE * (table.version - version - table.lag)
            table.version += 1
            tracker.store()
            seen_now = unseen > 0 and table.unseen == 0
            if seen_now or (table.weighted and (turned or self.weights.are_outdated())):
                self.weights.compute()

    def _one_by_one(self, ids: list[int], values: list[float]) -> bool:
        """Track, learn, weigh; return whether a safeguard asks for all weights anew."""
        table, tracker, visits, turned = self._table, self._tracker, self._table.words["visits"], False
        reweigh, learning = self.weights.reweigh if table.weighted else None, self._learning
        for case, loss in zip(ids, values, strict=True):
            if visits[case] == 0:
                table.unseen -= 1
            visits[case] += 1
            if -LARGEST_LOSS <= loss <= LARGEST_LOSS:
                level = tracker.level
                tracker.add(case, loss)
                for safeguard in learning:
                    turned |= safeguard.learn_one(case, loss, level)
                if reweigh is not None:
                    reweigh(case)
        return turned

    def _all_at_once(self, ids: np.ndarray, values: np.ndarray) -> bool:
        """Do the same with as many cases at a time as differ from each other."""
        table, tracker, turned = self._table, self._tracker, False
        for part in _parts(ids, tracker.to_find):
            cases, losses = ids[part], values[part]
            if tracker.to_find or len(cases) <= _FEW:
                turned |= self._one_by_one(cases.tolist(), losses.tolist())
                continue
            count = table.visits[cases] + 1
            table.visits[cases] = count
            if table.unseen:
                table.unseen -= int((count == 1).sum())
            finite = np.abs(losses) <= LARGEST_LOSS
            if not finite.all():
                cases, losses = cases[finite], losses[finite]
            if len(cases):
                offset, levels = tracker.add_all(cases, losses)
                for safeguard in self._learning:
                    turned |= safeguard.learn(cases, losses, levels)
                if table.weighted:
                    self.weights.reweigh_all(cases, offset)
        return turned


def _parts(ids: np.ndarray, first: int) -> Iterator[slice]:
    """Yield slices that follow each other: ``first`` ids, then parts in which no id comes twice."""
    if first:
        yield slice(0, first)
    for begin in range(first, len(ids), LARGEST_BATCH):
        part = ids[begin : begin + LARGEST_BATCH]
        ordered = np.sort(part)
        if (ordered[1:] == ordered[:-1]).any():
            start, seen = begin, set[int]()
            for place, case in enumerate(part.tolist(), begin):
                if case in seen:
                    yield slice(start, place)
                    start = place
                    seen.clear()
                seen.add(case)
            yield slice(start, begin + len(part))
        else:
            yield slice(begin, begin + len(part))


def checked(
    table: HardnessTable,
    cases: Sequence[int] | np.ndarray,
    losses: Sequence[float] | np.ndarray,
    other_losses: Sequence[float] | np.ndarray | None,
    structures: np.ndarray | None,
) -> tuple[Any, Any]:
    """Return a step's ids and losses: lists where there are few, of which single numbers are cheaper, or else arrays.

    Raises:
        ValueError: for shapes that do not belong together, or ids that are not those of cases.
    """
    few, n = len(cases) <= _FEW, len(table.names)
    ids: Any
    values: Any
    ids, values = (_list(cases), _list(losses)) if few else (_array(cases), _array(losses))
    nested = isinstance(values[0], list) if few and len(values) else np.ndim(values) > 1
    if len(values) != len(ids) or nested:
        raise ValueError(f"{len(ids)} cases and losses of shape {np.shape(values)} given; expected one each")
    if other_losses is not None and np.shape(other_losses) != (len(ids),):
        raise ValueError(f"other losses have shape {np.shape(other_losses)}, expected {(len(ids),)}")
    if structures is not None and np.shape(structures) != (len(ids), len(table.structures)):
        raise ValueError(
            f"losses of structures have shape {np.shape(structures)}, expected {(len(ids), len(table.structures))}"
        )
    smallest, largest = (min(ids, default=0), max(ids, default=0)) if few else (ids.min(), ids.max())
    if not 0 <= smallest <= largest < n or not (few or ids.dtype.kind in "iu"):
        raise ValueError(f"cases {ids} given; there are {n} cases")
    return ids, values if few else values.astype(np.float64)


def _list(values: Sequence | np.ndarray) -> list:
    tolist = getattr(values, "tolist", None)  # arrays' and tensors', several times cheaper than asking for their types
    return list(values) if tolist is None else tolist()


def _array(values: Sequence | np.ndarray) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
