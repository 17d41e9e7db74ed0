"""Cells: blocks of patch positions that partition the valid positions of a case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A block narrower than this share of the patch holds positions that all see nearly the same voxels.
_NARROWEST_BLOCK = 0.25


class CellGrid:
    """The cells of one case: equal blocks of the range of patch centres along each axis.

    A position is given by the patch's first voxel along each axis (its start; it may be negative where the host pads).
    Centres outside the range that uniform draws reach, as patches forced onto a voxel near the border have, belong
    to the nearest block. An axis along which the patch covers the image is not divided, nor is one into blocks
    narrower than a quarter of the patch.

    Args:
        shape: the image's, in voxels, ``d`` numbers (2D slices of a volume: 3 numbers, patch size 1 along the first).
        patch_size: in voxels, ``d`` numbers.
        first: smallest start that the host draws, ``d`` numbers; default 0.
        last: largest start that the host draws; default ``shape - patch_size``, at least ``first``.
        max_cells: upper bound of the number of cells, at least 1.

    Raises:
        ValueError: for lengths that differ, or a range that is empty.
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch_size: Sequence[int],
        first: Sequence[int] | None = None,
        last: Sequence[int] | None = None,
        *,
        max_cells: int = 8,
    ):
        shape_, patch = np.asarray(shape, dtype=np.int64), np.asarray(patch_size, dtype=np.int64)
        self.first = np.zeros_like(shape_) if first is None else np.asarray(first, dtype=np.int64)
        self.last = np.maximum(shape_ - patch, self.first) if last is None else np.asarray(last, dtype=np.int64)
        if not shape_.shape == patch.shape == self.first.shape == self.last.shape:
            raise ValueError(f"shape {shape}, patch size {patch_size}, first {first} and last {last} differ in length")
        if (self.last < self.first).any():
            raise ValueError(f"no valid start: first {self.first.tolist()}, last {self.last.tolist()}")
        if max_cells < 1:
            raise ValueError(f"max_cells has to be at least 1, given: {max_cells}")
        self.patch_size = patch
        self.starts = self.last - self.first + 1
        self.blocks = self._divide(shape_, patch, max_cells)
        self.cells = int(self.blocks.prod())
        # block j of k covers the starts whose offset o has o * k // starts == j
        self._edges = [
            -(-np.arange(k + 1) * n // k) for n, k in zip(self.starts.tolist(), self.blocks.tolist(), strict=True)
        ]
        shares = np.ones(1)
        for edges, n in zip(self._edges, self.starts.tolist(), strict=True):
            shares = np.multiply.outer(shares, np.diff(edges) / n).ravel()
        self.shares = shares

    def _divide(self, shape: np.ndarray, patch: np.ndarray, max_cells: int) -> np.ndarray:
        blocks = np.ones_like(shape)
        while True:
            width = self.starts / (blocks + 1)
            open_axes = (shape > patch) & (width >= 1) & (width >= _NARROWEST_BLOCK * patch)
            open_axes &= (blocks + 1) * (blocks.prod() // blocks) <= max_cells
            if not open_axes.any():
                return blocks
            blocks[np.argmax(np.where(open_axes, self.starts / (blocks * patch), -1.0))] += 1

    def cell_of(self, starts: np.ndarray) -> np.ndarray:
        """Return the cell of each position: ``(..., d)`` starts in, ``(...)`` integers in ``[0, cells)`` out."""
        offsets = np.clip(np.asarray(starts) - self.first, 0, self.starts - 1)
        return np.ravel_multi_index(tuple(np.moveaxis(offsets * self.blocks // self.starts, -1, 0)), tuple(self.blocks))

    def start_range(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and the last start of a cell, both ``(d,)`` and inclusive."""
        if not 0 <= cell < self.cells:
            raise ValueError(f"cell {cell} of {self.cells}")
        block = np.unravel_index(cell, tuple(self.blocks))
        low = np.array([edges[b] for edges, b in zip(self._edges, block, strict=True)])
        high = np.array([edges[b + 1] - 1 for edges, b in zip(self._edges, block, strict=True)])
        return self.first + low, self.first + high

    def draw_start(self, cell: int, rng: np.random.Generator) -> np.ndarray:
        """Return a start drawn uniformly from a cell's, ``(d,)``."""
        low, high = self.start_range(cell)
        return rng.integers(low, high, endpoint=True)

    def check_valid(self) -> tuple[bool, str]:
        """Return whether the cells partition the positions, and if not, why."""
        if abs(self.shares.sum() - 1.0) > 1e-9 or (self.shares <= 0).any():
            return False, f"prior shares {self.shares} are no distribution"
        counted = 0
        for cell in range(self.cells):
            low, high = self.start_range(cell)
            counted += int((high - low + 1).prod())
            if (self.cell_of(low) != cell) or (self.cell_of(high) != cell):
                return False, f"cell {cell} does not contain its own corners"
        if counted != int(self.starts.prod()):
            return False, f"cells hold {counted} of {int(self.starts.prod())} positions"
        return True, ""
