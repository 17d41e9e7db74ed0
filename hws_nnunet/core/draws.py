"""Draws of cases and structures from a table, in any process: what workers do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.distribution import exponents
from hws_nnunet.core.table import HardnessTable

_FEW = 24  # attempts: up to here one by one is faster than all at once
_SPARE = 16  # attempts more than the average takes
_ATTEMPTS = 64  # rejections of a single draw before all cases are looked at
_ROUNDS = 8  # of many draws at a time, before all cases are looked at
_DENSE = 8  # cases for each one that is drawn: with fewer, all are looked at
_PATIENCE = 3.0  # mean lags until a draw of the warm-up pass counts as lost: twice what a full pipeline takes


class DrawnCases(NamedTuple):
    """What :meth:`Draws.draw_cases` drew: ``(size,)`` ids, and the table's version."""

    ids: np.ndarray
    version: int


class Draws:
    """Draws cases and structures by what a table holds; what is pickled is the table and the settings.

    Args:
        table: shared with the process that updates it.
        settings: the sampler's.
        has_prior: whether cases have a prior.

    Attributes:
        weighs_cases: whether cases are to be drawn by hardness or by a prior; otherwise the host draws them.
    """

    def __init__(self, table: HardnessTable, settings: Settings, *, has_prior: bool = False):
        self.table, self.settings = table, settings
        self.weighs_cases = weighs_cases(settings, has_prior=has_prior)

    def draw_cases(self, size: int, rng: np.random.Generator) -> DrawnCases:
        """Draw ``size`` cases.

        Until every case has been seen, cases come in the warm-up pass's order; then by probability. In one batch no
        case comes twice (unless ``with_replacement``, or there are too few).

        Args:
            size: at least 1.
            rng: of the calling process; two workers must not share a generator's state.
        """
        if size < 1:
            raise ValueError(f"size has to be at least 1, given: {size}")
        table = self.table
        ids, version, position = table.read(lambda: self._draw_batch(size, rng))
        if position is not None:
            table.position = max(table.position, position)
            table.stamp[ids] = version
        return DrawnCases(np.asarray(ids), version)

    def _draw_batch(self, size: int, rng: np.random.Generator) -> tuple[Sequence[int] | np.ndarray, int, int | None]:
        table = self.table
        version, replacement = table.version, self.settings.with_replacement
        if not table.weighted:
            swept, position = self._sweep(size, rng)
            return swept, version, position
        if not replacement and size * _DENSE > len(table):
            return draw_looking_at_all(table.weight, size, rng, replacement=False), version, None
        attempts = size * len(table) * table.largest / table.total  # on average
        draw = draw_few if attempts <= _FEW else draw_many
        ids: Sequence[int] | np.ndarray = draw(table, size, rng, replacement=replacement)
        if left := size - len(ids):
            # Those that have come stay: to draw anew would favour batches that are quick to draw.
            begun = np.asarray(ids, dtype=np.int64)
            others = np.arange(len(table)) if replacement else np.delete(np.arange(len(table)), begun)
            rest = draw_looking_at_all(table.weight[others], left, rng, replacement=replacement)
            ids = np.concatenate((begun, others[rest]))
        return ids, version, None

    def _sweep(self, size: int, rng: np.random.Generator) -> tuple[list[int], int]:
        """Draw the next cases of the warm-up pass; unseen ones whose draw was lost after it, and then any.

        Returns:
            ids, and the sweep's position after them.
        """
        table, n = self.table, len(self.table)
        order, visits, position = table.order, table.visits, table.position
        ids: list[int] = []
        while len(ids) < size and position < n:
            if visits[case := int(order[position])] == 0:
                ids.append(case)
            position += 1
        if len(ids) < size:
            free = np.ones(n, dtype=bool)
            free[ids] = False
            lost = free & (visits == 0) & (table.version - table.stamp > _PATIENCE * (table.lag + 1.0))
            for some in (np.flatnonzero(lost), np.flatnonzero(free & ~lost)):
                ids += rng.choice(some, min(size - len(ids), len(some)), replace=False).tolist()
            ids += rng.integers(n, size=size - len(ids)).tolist()  # a batch of more samples than there are cases
        return ids, position

    def check_structures(self, keys: Sequence[object]) -> None:
        """Raise a ``ValueError`` unless ``keys``, by which a host calls the structures, are as many as the table's."""
        if len(keys) != len(self.table.structures):
            raise ValueError(f"{len(keys)} keys of structures given, the table tracks {len(self.table.structures)}")

    def draw_structure(self, case: int, structures: Sequence[int], rng: np.random.Generator) -> int:
        """Draw one of a case's structures, k, with probability ``exp(structure_beta * hardness of k) / sum``.

        Args:
            case: its id.
            structures: indices of those to choose from, at least one.
            rng: of the calling process.
        """
        p = self.structure_probabilities(case, structures)
        return structures[int(rng.choice(len(p), p=p))]

    def structure_probabilities(self, case: int, structures: Sequence[int]) -> np.ndarray:
        """Return the probability of each structure, ``(len(structures),)``; arguments as in :meth:`draw_structure`.

        One whose hardness is not known takes the mean of the others.
        """
        hardness = self.table.structure_hardness[case, structures]
        unknown = np.isnan(hardness)
        if unknown.any():
            hardness[unknown] = 0.0 if unknown.all() else hardness[~unknown].mean()
        p = np.exp(exponents(hardness, self.settings.structure_beta))
        return p / p.sum()


def weighs_cases(settings: Settings, *, has_prior: bool) -> bool:
    """Return whether cases are to be drawn by hardness or by a prior; otherwise the host draws them."""
    return settings.beta > 0 or has_prior


# A case that all are equally likely to be is kept with the probability weight / largest: what is kept has a probability
# in proportion to its weight, whatever the others'. The cap bounds the largest weight, and so the number of attempts.


def draw_few(table: HardnessTable, size: int, rng: np.random.Generator, *, replacement: bool) -> list[int]:
    """Draw a few cases by weight, one by one; fewer where the next one would take too many attempts."""
    random, weight, n, largest = rng.random, table.words["weight"], len(table.names), table.largest
    ids: list[int] = []
    for _ in range(size):
        for _ in range(_ATTEMPTS):
            place = random() * n  # its whole part is the case, the rest decides
            case = int(place)
            if (place - case) * largest < weight[case] and (replacement or case not in ids):
                break
        else:
            break
        ids.append(case)
    return ids


def draw_many(table: HardnessTable, size: int, rng: np.random.Generator, *, replacement: bool) -> np.ndarray:
    """Draw many cases by weight at a time; fewer, or none, where that would take too many attempts."""
    n, largest = len(table.names), table.largest
    attempts = n * largest / table.total  # for each case, on average
    ids = np.empty(0, dtype=np.int64)
    if not attempts <= _ATTEMPTS:
        return ids
    for _ in range(_ROUNDS):  # few cases may have all the weight, and then others hardly ever come
        if len(ids) >= size:
            break
        place = rng.random(int(1.1 * attempts * (size - len(ids))) + _SPARE) * n
        cases = place.astype(np.int64)
        ids = np.concatenate((ids, cases[(place - cases) * largest < table.weight[cases]]))
        if not replacement:
            ids = _first_of_each(ids)
    return ids[:size]


def _first_of_each(ids: np.ndarray) -> np.ndarray:
    """Return ids, each where it comes first, in their order."""
    places = len(ids).bit_length()
    ordered = np.sort((ids << places) + np.arange(len(ids)))
    again = ordered[1:][(ordered[1:] >> places) == (ordered[:-1] >> places)]
    if not len(again):
        return ids
    keep = np.ones(len(ids), dtype=bool)
    keep[again & ((1 << places) - 1)] = False
    return ids[keep]


def draw_looking_at_all(weights: np.ndarray, size: int, rng: np.random.Generator, *, replacement: bool) -> np.ndarray:
    """Draw by ``(n,)`` weights, all of which are looked at; cases of weight 0 only where there are no others.

    Without replacement, those that come are the first of n exponential clocks that run at the speed of the weights;
    where ``size`` exceeds n, all cases come, and then some by weight again.
    """
    n = len(weights)
    if not weights.any():
        weights = np.ones(n)
    first = 0 if replacement else min(size, n)
    clocks = rng.standard_exponential(n)
    if weights.all():
        clocks /= weights
    else:
        never = weights == 0
        with np.errstate(divide="ignore"):
            clocks /= weights
        clocks[never] = (0.5 + 0.5 * rng.random(int(never.sum()))) * np.finfo(np.float64).max
    ids = np.argsort(clocks)[:first]
    if first == size:
        return ids
    sums = np.cumsum(weights)
    again = np.searchsorted(sums, rng.random(size - first) * sums[-1], side="right")
    return np.concatenate((ids, np.minimum(again, n - 1)))


class ProcessGenerator:
    """A random generator for each process that uses this object, seeded from numpy's global one on first use.

    Hosts seed the global generator anew in each of their workers; a generator made before they are forked would give
    all of them the same draws.
    """

    def __init__(self) -> None:
        self._made: tuple[int, np.random.Generator] | None = None

    def __call__(self) -> np.random.Generator:
        """Return this process's generator."""
        if self._made is None or self._made[0] != os.getpid():
            seed = np.random.randint(0, 2**32, size=4, dtype=np.uint32)  # noqa: NPY002 - the host's own generator
            self._made = (os.getpid(), np.random.default_rng(seed.tolist()))
        return self._made[1]
