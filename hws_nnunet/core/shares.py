"""How often cases really come, in batches in which no case comes twice."""

from __future__ import annotations

import numpy as np


def batch_shares(probabilities: np.ndarray, size: int) -> np.ndarray:
    """Return each case's share of all draws, ``(n,)``, in batches of ``size`` that are drawn without replacement.

    A likely case comes at most once in a batch, so its share lies below its probability in a single draw, the more the
    larger batches are. Where ``size`` exceeds n, all cases come, and the rest of the batch by probability.

    Computed draw by draw, in O(size n), with the mean of the probability that is left for what chance leaves: exact for
    one draw, and to 0.01 of all draws for a handful of cases, in which it is coarsest.

    Args:
        probabilities: ``(n,)``, in a single draw, at least one above 0.
        size: of a batch, at least 1.
    """
    p = probabilities / probabilities.sum()
    possible = np.count_nonzero(p)
    if size >= possible:
        return ((p > 0) + (size - possible) * p) / size
    waiting = np.ones(len(p))  # the probability that a case has not come yet
    for _ in range(size):
        left = waiting * p
        drawn = left / (left.sum() - left + p + (p == 0))  # of what is left where this case is
        waiting = np.maximum(waiting - drawn / drawn.sum(), 0.0)
    return (1.0 - waiting) / (1.0 - waiting).sum()
