"""Where a patch is placed: a cell of the case by hardness, then a start in it."""

from __future__ import annotations

import os

import numpy as np

from hws_nnunet.sampling.cells import CellGrid
from hws_nnunet.sampling.draws import Draws


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


def draw_position(
    sampler: Draws,
    case: int,
    grid: CellGrid,
    rng: np.random.Generator,
    *,
    starts: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> tuple[int, np.ndarray]:
    """Draw a cell of a case by its hardness, and a patch start in it as the host would.

    Args:
        sampler: knows the cells' hardness.
        case: its id.
        grid: the case's cells.
        rng: of the calling process.
        starts: ``(k, d)``, the starts that the host chooses from; None for any of the grid's.
        weights: ``(k,)``, how often the host chooses each of them, in any unit; None for equally often.

    Returns:
        The cell, and the start, ``(d,)``.
    """
    if starts is None:
        cell = sampler.draw_cell(case, grid, rng).cell
        return cell, grid.draw_start(cell, rng)
    cells = grid.cell_of(starts)
    shares = np.bincount(cells, weights=weights, minlength=grid.cells)
    cell = sampler.draw_cell(case, grid, rng, shares=shares / shares.sum()).cell
    inside = np.flatnonzero(cells == cell)
    share = None if weights is None else weights[inside] / weights[inside].sum()
    return cell, starts[rng.choice(inside, p=share)]
