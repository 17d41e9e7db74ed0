"""Draws of cases and structures from a table, in any process: what workers do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.distribution import exponents
from hws_nnunet.core.table import HardnessTable

_ATTEMPTS = 32  # rejections before the draw is made from the eligible cases listed one by one
_PATIENCE = 3.0  # mean lags until a draw of the first sweep counts as lost: twice what a full pipeline takes


class DrawnCases(NamedTuple):
    """What :meth:`Draws.draw_cases` drew: ``(size,)`` ids, and the table's version."""

    ids: np.ndarray
    version: int


class Draws:
    """Draws cases and structures by what a table holds; what is pickled is the table and the settings.

    Args:
        table: shared with the process that updates it.
        settings: the sampler's.
    """

    def __init__(self, table: HardnessTable, settings: Settings):
        self.table, self.settings = table, settings

    def draw_cases(self, size: int, rng: np.random.Generator) -> DrawnCases:
        """Draw ``size`` cases.

        Until every case has been seen, cases come in the first sweep's order; then by probability. In one batch no case
        comes twice (unless ``with_replacement``, or there are too few).

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
        return DrawnCases(np.array(ids), version)

    def _draw_batch(self, size: int, rng: np.random.Generator) -> tuple[list[int], int, int | None]:
        table = self.table
        version = table.version
        if not table.weighted:
            swept, position = self._sweep(size, rng)
            return swept, version, position
        find, random, total = table.tree.find, rng.random, table.tree.total
        with_replacement = self.settings.with_replacement
        ids: list[int] = []
        taken: set[int] = set()
        for _ in range(size):
            for _ in range(_ATTEMPTS):
                case = find(random() * total)
                if with_replacement or case not in taken:
                    break
            else:
                case = self._draw_listed(ids, rng)
            ids.append(case)
            taken.add(case)
        return ids, version, None

    def _draw_listed(self, taken: list[int], rng: np.random.Generator) -> int:
        """Draw from the cases that are not taken, all of them looked at; from all where there are no others."""
        weights = self.table.tree.weights.copy()
        free = np.ones(len(weights), dtype=bool)
        free[taken] = False
        mass = np.where(free, weights, 0.0) if free.any() else weights
        if not mass.any():  # only cases whose probability is 0 are left
            mass = free.astype(np.float64)
        return int(rng.choice(len(weights), p=mass / mass.sum()))

    def _sweep(self, size: int, rng: np.random.Generator) -> tuple[list[int], int]:
        """Draw the next cases of the first sweep; unseen ones whose draw was lost after it, and then any.

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
        while len(ids) < size:
            free = np.ones(n, dtype=bool)
            free[ids] = False
            lost = free & (visits == 0) & (table.version - table.stamp > _PATIENCE * (table.lag + 1.0))
            choice = np.flatnonzero(lost if lost.any() else free if free.any() else ~free)
            ids.append(int(rng.choice(choice)))
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
