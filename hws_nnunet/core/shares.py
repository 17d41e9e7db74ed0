"""How often cases really come, in batches in which no case comes twice."""

from __future__ import annotations

import numpy as np

_ROUNDING = 1e-9


def batch_shares(probabilities: np.ndarray, size: int) -> np.ndarray:
    """Return each case's share of all draws, ``(n,)``, in batches of ``size`` that are drawn without replacement.

    A likely case comes at most once in a batch, so its share lies below its probability in a single draw, the more the
    larger batches are. Where ``size`` exceeds the cases that can come, all of these come, then others, each as often;
    where it exceeds n, all cases come, and the rest of the batch by probability.

    Computed draw by draw, in O(size n), with the mean of the probability that is left for what chance leaves: exact for
    one draw, and to 0.04 of all draws for a handful of cases, in which it is coarsest.

    Args:
        probabilities: ``(n,)``, in a single draw, at least one above 0.
        size: of a batch, at least 1.
    """
    p, n = probabilities / probabilities.sum(), len(probabilities)
    possible = np.count_nonzero(p)
    if size >= possible:
        others = (min(size, n) - possible) / max(n - possible, 1)
        return (np.where(p > 0, 1.0, others) + max(size - n, 0) * p) / size
    waiting = np.ones(n)  # the probability that a case has not come yet
    for _ in range(size):
        left = waiting * p
        drawn, rest = left / (left.sum() - left + p + (p == 0)), 1.0  # of what is left where this case is
        while rest > _ROUNDING:  # a case comes once: what it has too much is the others'
            step = np.minimum(drawn * (rest / drawn.sum()), waiting)
            waiting, rest = waiting - step, rest - step.sum()
            drawn[waiting == 0] = 0.0
    return (1.0 - waiting) / size
