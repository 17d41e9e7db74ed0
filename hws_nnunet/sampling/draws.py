"""Draws of cases and cells from a table, in any process: what workers do, and the half of the sampler that they use."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.sampling.cells import CellGrid
from hws_nnunet.sampling.distribution import exponents
from hws_nnunet.sampling.marks import DrawMarks
from hws_nnunet.sampling.table import HardnessTable

_ATTEMPTS = 32  # rejections before the draw is made from the eligible cases listed one by one
_PATIENCE = 3.0  # mean lags until a mark that was not answered expires: twice what a full pipeline takes


class DrawnCases(NamedTuple):
    """What :meth:`HardnessWeightedSampler.draw_cases` drew: ids, their probabilities, and the table's version."""

    ids: np.ndarray
    probabilities: np.ndarray
    version: int


class DrawnCell(NamedTuple):
    """What :meth:`HardnessWeightedSampler.draw_cell` drew: a cell of the case's grid, and its probability."""

    cell: int
    probability: float


class Draws:
    """Draws cases and cells with a table's weights; what is pickled is the table and the settings.

    Args:
        table: shared with the process that updates it.
        settings: the sampler's.
    """

    def __init__(self, table: HardnessTable, settings: Settings):
        self.table, self.settings = table, settings
        self._prepare()

    def _prepare(self) -> None:
        """Set up what each process holds for itself."""
        self._marks = DrawMarks(self.table)
        # Copies, because attributes of the settings model are slower to reach.
        self._in_flight_limit, self._with_replacement = self.settings.in_flight_limit, self.settings.with_replacement
        self._visits = self.table.words["visits"]

    def __getstate__(self) -> dict:
        return {"settings": self.settings, "table": self.table}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __len__(self) -> int:
        return len(self.table)

    def draw_cases(self, size: int, rng: np.random.Generator) -> DrawnCases:
        """Draw ``size`` cases and mark them as under way.

        Until every case has been seen, cases come in the first sweep's order; then by probability. In one batch
        no case comes twice (unless ``with_replacement``, or there are too few), and none that has its share of
        unanswered draws already (``in_flight_limit``); where that leaves nobody, the limit is dropped first.

        Args:
            size: at least 1.
            rng: of the calling process; two workers must not share a generator's state.

        Returns:
            ids ``(size,)``; each one's probability in a single draw ``(size,)``; the table's version.
        """
        if size < 1:
            raise ValueError(f"size has to be at least 1, given: {size}")
        ids, probabilities, version, patience = self.table.read(lambda: self._draw_batch(size, rng))
        mark = self._marks.mark
        for case in ids:
            mark(case, version, patience)
        return DrawnCases(np.array(ids), np.array(probabilities), version)

    def _draw_batch(self, size: int, rng: np.random.Generator) -> tuple[list[int], list[float], int, float]:
        table = self.table
        version, lag, n = table.version, table.lag, len(table)
        patience = _PATIENCE * (lag + 1.0)
        if not table.weighted:
            return self._sweep(size, rng, patience), [1.0 / n] * size, version, patience
        find, random, has_its_share = table.tree.find, rng.random, self._marks.has_its_share
        in_flight_limit, with_replacement = self._in_flight_limit, self._with_replacement
        in_flight = (lag + 1.0) * size  # draws that are out at any time
        total = table.tree.total
        ids: list[int] = []
        probabilities: list[float] = []
        for _ in range(size):
            for _ in range(_ATTEMPTS):
                case, weight = find(random() * total)
                if case in ids and not with_replacement:
                    continue
                p = weight / total
                if not (in_flight_limit and has_its_share(case, p, in_flight, version, patience)):
                    break
            else:
                case, p = self._draw_listed(ids, rng, in_flight, patience)
            ids.append(case)
            probabilities.append(p)
        return ids, probabilities, version, patience

    def _draw_listed(
        self, taken: list[int], rng: np.random.Generator, in_flight: float, patience: float
    ) -> tuple[int, float]:
        """Draw from the eligible cases, all of them looked at; from more of them where there are none."""
        table = self.table
        p = table.tree.weights / table.tree.weights.sum()
        fresh = np.ones(len(table), dtype=bool)
        if not self.settings.with_replacement:
            fresh[taken] = False
        eligible = fresh.copy()
        if self.settings.in_flight_limit:
            eligible &= self._marks.waiting(table.version, patience) < self._marks.limits(p, in_flight)
        allowed = eligible if eligible.any() else fresh if fresh.any() else ~fresh
        mass = np.where(allowed, p, 0.0)
        if not mass.any():  # only cases whose probability is 0 are left
            mass = allowed.astype(np.float64)
        case = int(rng.choice(len(table), p=mass / mass.sum()))
        return case, float(p[case])

    def _sweep(self, size: int, rng: np.random.Generator, patience: float) -> list[int]:
        """Draw the next cases of the first sweep; unseen ones whose draw was lost after it, and then any."""
        table, n = self.table, len(self.table)
        order, version = table.words["order"], table.version
        ids: list[int] = []
        position = table.position
        while len(ids) < size and position < n:
            case = order[position]
            position += 1
            if self._visits[case] == 0 and self._marks.unanswered(case, version, patience) == 0:
                ids.append(case)
        if position > table.position:
            table.position = position
        while len(ids) < size:
            free = np.ones(n, dtype=bool)
            free[ids] = False
            lost = free & (table.visits == 0) & (self._marks.waiting(version, patience) == 0)
            choice = np.flatnonzero(lost if lost.any() else free if free.any() else ~free)
            ids.append(int(rng.choice(choice)))
        return ids

    def draw_cell(
        self, case: int, grid: CellGrid, rng: np.random.Generator, *, shares: np.ndarray | None = None
    ) -> DrawnCell:
        """Draw a cell of a case with probability ``shares * exp(patch_beta * loss) / sum``.

        Args:
            case: its id.
            grid: the case's cells, at most as many as the table tracks.
            rng: of the calling process.
            shares: ``(grid.cells,)`` prior shares, for instance of a class's voxels; default the grid's own.

        Raises:
            ValueError: for a grid that has more cells than the table, or shares that sum to 0.
        """
        p = self.cell_probabilities(case, grid, shares=shares)
        cell = min(int(np.searchsorted(np.cumsum(p), rng.random(), side="right")), grid.cells - 1)
        while p[cell] == 0.0:  # rounding at the upper end
            cell -= 1
        return DrawnCell(cell, float(p[cell]))

    def cell_probabilities(self, case: int, grid: CellGrid, *, shares: np.ndarray | None = None) -> np.ndarray:
        """Return the probability of each cell of a case, ``(grid.cells,)``; arguments as in :meth:`draw_cell`."""
        table = self.table
        if grid.cells > table.cells:
            raise ValueError(f"the grid has {grid.cells} cells, the table tracks {table.cells}")
        shares = grid.shares if shares is None else np.asarray(shares, dtype=np.float64)
        if shares.shape != (grid.cells,) or not shares.sum() > 0:
            raise ValueError(f"expected {grid.cells} shares with a positive sum, given: {shares}")
        hardness = table.cell_hardness[case, : grid.cells]
        case_hardness = table.hardness[case, table.column]
        hardness = np.where(np.isnan(hardness), 0.0 if np.isnan(case_hardness) else case_hardness, hardness)
        # The maximum over possible cells alone, so that an impossible one cannot underflow the others.
        possible = shares > 0
        p = np.zeros(grid.cells)
        p[possible] = shares[possible] * np.exp(exponents(hardness[possible], self.settings.patch_beta))
        return p / p.sum()
