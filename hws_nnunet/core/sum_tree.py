"""A binary tree of partial sums over weights that lie in memory of somebody else's.

Draws and single changes take O(log n) plain Python steps: at the sizes of interest an index into a memoryview is
several times cheaper than a call into numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class SumTree:
    """Sums of ``n`` non-negative weights.

    Args:
        memory: float64 buffer of :meth:`words` entries, zero where new. Node ``k`` has the children ``2k`` and
            ``2k + 1``; the root is node 1 and holds the total; leaf ``i`` is node ``size + i``.
        n: number of weights.
    """

    def __init__(self, memory: memoryview[Any], n: int):
        self.n = n
        self.size = _leaves(n)
        self._nodes = memory
        self._array = np.frombuffer(memory, dtype=np.float64)

    @staticmethod
    def words(n: int) -> int:
        """Return how many float64 words a tree of ``n`` weights needs."""
        return 2 * _leaves(n)

    @property
    def total(self) -> float:
        """Sum of all weights."""
        return self._nodes[1]

    @property
    def weights(self) -> np.ndarray:
        """The ``(n,)`` weights, a view."""
        return self._array[self.size : self.size + self.n]

    def get(self, index: int) -> float:
        """Return one weight."""
        return self._nodes[self.size + index]

    def set(self, index: int, weight: float) -> None:
        """Change one weight and the sums above it."""
        nodes = self._nodes
        node = self.size + index
        nodes[node] = weight
        while node > 1:
            weight += nodes[node ^ 1]  # the sibling
            node >>= 1
            nodes[node] = weight

    def fill(self, weights: np.ndarray) -> None:
        """Replace all weights, ``(n,)``."""
        array, width = self._array, self.size
        array[width : width + self.n] = weights
        while width > 1:
            children = array[width : 2 * width]
            width >>= 1
            np.add(children[0::2], children[1::2], out=array[width : 2 * width])

    def find(self, mass: float) -> int:
        """Return where the running sum of weights first exceeds ``mass``, 0 to the total."""
        nodes, size = self._nodes, self.size
        node = 1
        while node < size:
            node += node
            left = nodes[node]
            # Rounding can leave a mass beyond the last weight: never step into an empty subtree.
            if mass >= left and nodes[node + 1] > 0.0:
                mass -= left
                node += 1
        return min(node - size, self.n - 1)


def _leaves(n: int) -> int:
    return max(2, 1 << (n - 1).bit_length())
