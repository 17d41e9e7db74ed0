"""The distribution over cases, as pure functions of their hardness.

Fidon et al., "Distributionally Robust Deep Learning using Hardness Weighted Sampling" (arXiv 2001.02658): the
softmax of beta times the loss is the worst case distribution under a penalty by its Kullback-Leibler divergence from
the uniform one. The cap bounds that worst case's density, as in the conditional value at risk, and a uniform share is
mixed in; ``docs/method.md`` gives the reasons.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_SMALLEST_SHARE = 1e-12  # of the upper bound: a smaller beta counts as 0
_WIDEST_GAP = -1e300  # times the largest beta it is still finite
_LOWEST_EXPONENT = -1e9  # its exponential is an exact 0, and differences near it are still good to 1e-7


def effective_sample_size(p: np.ndarray) -> float:
    """Return ``1 / sum(p ** 2)``, between 1 and the number of cases, for ``(n,)`` probabilities."""
    p = np.asarray(p, dtype=np.float64)
    return float(1.0 / p.dot(p))


def exponents(hardness: np.ndarray, beta: float) -> np.ndarray:
    """Return ``beta * (hardness - max)``, ``(n,)``: 0 at the hardest case, finite for finite input."""
    return np.maximum(_gaps(hardness) * beta, _LOWEST_EXPONENT)


def _gaps(hardness: np.ndarray) -> np.ndarray:
    hardness = np.asarray(hardness, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.maximum(hardness - hardness.max(), _WIDEST_GAP)


class Tilt(NamedTuple):
    """The softmax with a cap: ``exp(min(exponent, top) - log_sum)`` is each case's probability."""

    top: float
    log_sum: float


def tilt(exponent: np.ndarray, limit: float) -> Tilt:
    """Return the two numbers that make a softmax of ``exponent`` in which no probability exceeds ``limit``.

    Probabilities above the limit are cut to it, and what was cut off goes to the others in proportion, until nothing
    exceeds it. In logarithms, so that the others' order survives where their plain weights are all 0.

    Args:
        exponent: ``(n,)``, largest 0, as :func:`exponents` returns them.
        limit: at least ``1 / n``.
    """
    weights = np.exp(exponent)
    total = float(weights.sum())
    if limit * total >= 1.0:
        return Tilt(math.inf, math.log(total))
    height = _height(weights, limit)
    if height is not None:
        return Tilt(math.log(height), math.log(height / limit))
    n = exponent.shape[0]
    candidates = min(n, math.floor(1 / limit) + 1)  # more than 1 / limit cases cannot reach the limit
    split = np.partition(exponent, n - candidates)
    ordered = np.sort(split[n - candidates :])
    rest = split[: n - candidates]
    below = [] if rest.size == 0 else [rest.max() + math.log(np.exp(rest - rest.max()).sum())]
    # sums[k]: log of the sum of all weights but the k largest
    sums = np.logaddexp.accumulate(np.concatenate((below, ordered)))[len(below) :][::-1]
    room = 1.0 - np.arange(candidates) * limit
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sums = sums - np.log(np.maximum(room, 0.0))
        fits = (room > 0) & (ordered[::-1] - log_sums <= math.log(limit) + 1e-12)
    if not fits.any():  # limit is 1 / n: all are equal
        return Tilt(float(ordered[0]), float(ordered[0]) + math.log(n))
    found = float(log_sums[np.argmax(fits)])
    return Tilt(found + math.log(limit), found)


def _height(weights: np.ndarray, limit: float) -> float | None:
    """Return the height at which to clip weights, so that the largest makes up ``limit`` of their sum.

    The set of clipped weights only grows, so that a few rounds find it. None where plain weights do not suffice: nearly
    all have to be clipped, or what is left is too small for a float.
    """
    height, clipped = limit * float(weights.sum()), 0
    while True:
        above = weights > height
        count = int(np.count_nonzero(above))
        if count == clipped:
            return height
        room = 1.0 - count * limit
        height = limit * float(weights[~above].sum()) / room if room > 1e-9 else 0.0
        if height < 1e-140:
            return None
        clipped = count


def tilt_limit(n: int, uniform_fraction: float, cap: float | None) -> float:
    """Return the limit of the tilted share's probabilities that holds the mixture's to ``cap / n``."""
    if cap is None or uniform_fraction >= 1:
        return 1.0
    return max(1.0, (cap - uniform_fraction) / (1.0 - uniform_fraction)) / n


def case_distribution(
    hardness: np.ndarray, beta: float, *, uniform_fraction: float = 0.0, cap: float | None = None
) -> np.ndarray:
    """Return the probability of each case, ``(n,)``: ``(1 - g) tilted + g / n``.

    Args:
        hardness: ``(n,)``, finite.
        beta: at least 0; 0 is the uniform distribution, and towards infinity it is the worst case alone (without a cap)
            or the ``n / cap`` worst cases in equal shares.
        uniform_fraction: share g of uniform draws, 0 to 1, so that no case is ever lost.
        cap: no case is drawn more than ``cap`` times as often as under uniform sampling; None for no cap.
    """
    exponent = exponents(hardness, beta)
    n = exponent.shape[0]
    top, log_sum = tilt(exponent, tilt_limit(n, uniform_fraction, cap))
    p = np.exp(np.minimum(exponent, top) - log_sum)
    return (1.0 - uniform_fraction) * p + uniform_fraction / n


def solve_beta(
    hardness: np.ndarray,
    beta: float,
    smallest_ess: float,
    *,
    uniform_fraction: float = 0.0,
    cap: float | None = None,
    start: float | None = None,
    tolerance: float = 1e-3,
) -> float:
    """Return the largest beta in ``[0, beta]`` whose effective sample size is at least ``smallest_ess``.

    The effective sample size falls as beta grows, so that bisection finds it; the result always meets the bound.

    Args:
        hardness: ``(n,)``, finite.
        beta: the upper bound.
        smallest_ess: in cases, 0 to n; 0 asks for nothing.
        uniform_fraction: as in :func:`case_distribution`.
        cap: as in :func:`case_distribution`.
        start: a guess that narrows the search, for instance the last solution.
        tolerance: relative width at which the search ends.
    """

    n = len(hardness)
    gap = _gaps(hardness)
    limit = tilt_limit(n, uniform_fraction, cap)

    def excess(candidate: float) -> float:
        """Logarithm of how many times the effective sample size is the smallest one allowed."""
        squares = _tilted_squares(np.maximum(gap * candidate, _LOWEST_EXPONENT), limit)
        g = uniform_fraction
        return -math.log(((1.0 - g) ** 2 * squares + (2.0 - g) * g / n) * smallest_ess) + 1e-9

    if smallest_ess <= 0:
        return beta
    low, high = beta * _SMALLEST_SHARE, beta
    if start is not None and low < start < high:
        low, high = _bracket(excess, start, low, high)
    if high == beta and excess(beta) >= 0:
        return beta
    if low == beta * _SMALLEST_SHARE and excess(low) < 0:
        return 0.0
    return _largest_root(excess, low, high, tolerance)


def _tilted_squares(exponent: np.ndarray, limit: float) -> float:
    """Return the sum of squared probabilities of the capped softmax."""
    weights = np.exp(exponent)
    total = float(weights.sum())
    if limit * total < 1.0:
        height = _height(weights, limit)
        if height is None:
            top, log_sum = tilt(exponent, limit)
            weights, total = np.exp(np.minimum(exponent, top) - log_sum), 1.0
        else:
            weights, total = np.minimum(weights, height), height / limit
    weights = weights / total  # before squaring, which small numbers do not survive
    return float(weights.dot(weights))


def _bracket(excess: Callable[[float], float], start: float, low: float, high: float) -> tuple[float, float]:
    """Narrow ``[low, high]`` by steps from ``start`` that grow until they pass the root."""
    step = 1.02
    if excess(start) >= 0:
        low = start
        while low * step < high:
            if excess(low * step) < 0:
                return low, low * step
            low, step = low * step, step * step
        return low, high
    high = start
    while high / step > low:
        if excess(high / step) >= 0:
            return high / step, high
        high, step = high / step, step * step
    return low, high


def _largest_root(excess: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Return a point, at most ``tolerance`` below the root of a falling function, at which it is not negative.

    Secants, in the logarithm of the argument, which spans many orders of magnitude; halves where they stall.
    """
    at_low, at_high = excess(low), excess(high)
    for attempt in range(200):
        if high <= low * (1 + tolerance):
            break
        share = at_low / (at_low - at_high) if at_low > at_high else 0.5
        if attempt % 3 == 2 or not 0.0 < share < 1.0:
            share = 0.5
        middle = low * (high / low) ** share / (1 + 0.25 * tolerance)  # a little to the side that counts
        if not low < middle < high:
            middle = math.sqrt(low * high)
        value = excess(middle)
        if value < 0:
            high, at_high = middle, value
            continue
        slope = (at_low - at_high) / math.log(high / low)
        low, at_low = middle, value
        if value <= 0.5 * tolerance * slope:  # by the secant, the root is that close
            break
    return low
