"""The distribution over cases, as pure functions of their hardness.

Fidon et al., "Distributionally Robust Deep Learning using Hardness Weighted Sampling" (arXiv 2001.02658): the
softmax of beta times the loss is the worst case distribution under a penalty by its Kullback-Leibler divergence from
the uniform one. The cap bounds that worst case's density, as in the conditional value at risk, and a uniform share is
mixed in; ``docs/method.md`` gives the reasons.

Where a *prior* is given, it takes the uniform distribution's place everywhere. It is given as ``(n,)`` positive
numbers of mean 1: how many times as often as under uniform sampling a case is drawn where hardness says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_SMALLEST_SHARE = 1e-12  # of the upper bound: a smaller beta counts as 0
_TOLERANCE = 1e-4  # of beta, relative
_SLACK = 1e-9  # of the effective sample size, relative
_WIDEST_GAP = -1e300  # times the largest beta it is still finite
_REACH = 0.3  # below the limit, in exponents: mostly only these few cases have to be sorted
_LOWEST_EXPONENT = -1e9  # its exponential is an exact 0, and differences near it are still good to 1e-7


def effective_sample_size(p: np.ndarray, *, prior: np.ndarray | None = None) -> float:
    """Return ``1 / sum(p ** 2 / prior)``, in cases, for ``(n,)`` probabilities; n where they are the prior's."""
    p = np.asarray(p, dtype=np.float64)
    return float(1.0 / p.dot(p if prior is None else p / prior))


def exponents(hardness: np.ndarray, beta: float) -> np.ndarray:
    """Return ``beta * (hardness - max)``, ``(n,)``: 0 at the hardest case, finite for finite input."""
    return np.maximum(_gaps(hardness) * beta, _LOWEST_EXPONENT)


def _gaps(hardness: np.ndarray) -> np.ndarray:
    hardness = np.asarray(hardness, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.maximum(hardness - hardness.max(), _WIDEST_GAP)


class Tilt(NamedTuple):
    """The softmax with a cap: ``exp(min(exponent, top) - log_sum)``, times the prior, is each case's probability."""

    top: float
    log_sum: float


def tilt(exponent: np.ndarray, limit: float, *, prior: np.ndarray | None = None) -> Tilt:
    """Return the two numbers that make a softmax of ``exponent`` in which no probability exceeds ``limit * prior``.

    Probabilities above the limit are cut to it, and what was cut off goes to the others in proportion, until nothing
    exceeds it. In logarithms, so that the others' order survives where their plain weights are all 0.

    Args:
        exponent: ``(n,)``, largest 0, as :func:`exponents` returns them.
        limit: at least ``1 / n``; infinite for none.
        prior: ``(n,)``, of mean 1; None for 1 everywhere.
    """
    weights = np.exp(exponent)
    total = float((weights if prior is None else weights * prior).sum())
    if limit * total >= 1.0:  # nothing is cut, and what a later exponent asks for beyond the limit is
        log_sum = math.log(total)
        return Tilt(log_sum + math.log(limit), log_sum)
    # Mostly few cases come near the limit, and only these are sorted; else all that can be there.
    n, cut = len(exponent), _cut(exponent, limit, prior, exponent > math.log(limit * total) - _REACH)
    if cut is None:
        last = n - min(n, math.floor(1 / limit) + 1)
        lowest = np.partition(exponent, last)[last] if prior is None else -math.inf
        cut = _cut(exponent, limit, prior, exponent >= lowest)
    if cut is None:  # the limit is 1 / n: all are equal
        lowest = float(exponent.min())
        cut = Tilt(lowest, lowest + math.log(n))
    return cut


def _cut(exponent: np.ndarray, limit: float, prior: np.ndarray | None, near: np.ndarray) -> Tilt | None:
    """Return :func:`tilt` where some of the cases ``near`` the limit exceed it, None where all of them would be cut."""
    rest, ordered = exponent[~near], exponent[near]
    highest = rest.max() if len(rest) else 0.0
    weights = np.exp(rest - highest)
    if prior is None:
        ordered = logarithms = np.sort(ordered)[::-1]
        room = 1.0 - np.arange(len(ordered)) * limit
    else:
        order, weights = np.argsort(-ordered), weights * prior[~near]
        ordered, shares = ordered[order], prior[near][order]
        logarithms, room = ordered + np.log(shares), 1.0 - limit * (np.cumsum(shares) - shares)
    with np.errstate(divide="ignore", invalid="ignore"):
        # sums[k]: log of the sum of all weights but the k largest; room[k]: what the k largest leave at the limit
        below = highest + np.log(weights.sum())
        sums = np.logaddexp.accumulate(np.concatenate(([below], logarithms[::-1])))[:0:-1]
        log_sums = sums - np.log(np.maximum(room, 0.0))
        fits = (room > 0) & (ordered - log_sums <= math.log(limit) + 1e-12)
    if not fits.any():
        return None
    log_sum = float(log_sums[np.argmax(fits)])
    return Tilt(log_sum + math.log(limit), log_sum)


def tilt_limit(n: int, uniform_fraction: float, cap: float | None) -> float:
    """Return the limit of the tilted share's probabilities, over the prior, that holds the mixture's to ``cap / n``."""
    if cap is None or uniform_fraction >= 1:
        return math.inf
    return max(1.0, (cap - uniform_fraction) / (1.0 - uniform_fraction)) / n


def case_distribution(
    hardness: np.ndarray,
    beta: float,
    *,
    prior: np.ndarray | None = None,
    uniform_fraction: float = 0.0,
    cap: float | None = None,
) -> np.ndarray:
    """Return the probability of each case, ``(n,)``: ``(1 - g) tilted + g prior / n``.

    Args:
        hardness: ``(n,)``, finite.
        beta: at least 0; 0 is the prior, and towards infinity it is the worst case alone (without a cap) or the
            ``n / cap`` worst cases in equal shares.
        prior: ``(n,)``, of mean 1; None for the uniform distribution.
        uniform_fraction: share g of draws by the prior, 0 to 1, so that no case is ever lost.
        cap: no case is drawn more than ``cap`` times as often as by the prior; None for no cap.
    """
    exponent = exponents(hardness, beta)
    n = exponent.shape[0]
    top, log_sum = tilt(exponent, tilt_limit(n, uniform_fraction, cap), prior=prior)
    p = (1.0 - uniform_fraction) * np.exp(np.minimum(exponent, top) - log_sum) + uniform_fraction / n
    return p if prior is None else p * prior


def solve_beta(
    hardness: np.ndarray,
    beta: float,
    smallest_effective_sample_size: float,
    *,
    prior: np.ndarray | None = None,
    uniform_fraction: float = 0.0,
    cap: float | None = None,
) -> float:
    """Return the largest beta in ``[0, beta]`` whose effective sample size is at least the smallest one allowed.

    The effective sample size falls as beta grows. The result always meets the bound, and is the largest to 0.02 %.

    Args:
        hardness: ``(n,)``, finite.
        beta: the upper bound.
        smallest_effective_sample_size: in cases, 0 to n; 0 asks for nothing.
        prior: as in :func:`case_distribution`.
        uniform_fraction: as in :func:`case_distribution`.
        cap: as in :func:`case_distribution`.
    """
    gaps, n = _gaps(hardness), len(hardness)
    width, limit = -float(gaps.min()), tilt_limit(n, uniform_fraction, cap)
    if smallest_effective_sample_size <= 0 or beta == 0 or width == 0 or uniform_fraction >= 1:
        return beta
    # A share by the prior leaves (1 - g)^2 of the divergence from it, which is n / ess - 1.
    allowed = (n / smallest_effective_sample_size * (1 + _SLACK) - 1.0) / (1.0 - uniform_fraction) ** 2

    def excess(logarithm: float) -> float:
        """Return the logarithm of how many times the divergence is the allowed one."""
        exponent = np.maximum(gaps * math.exp(logarithm), _LOWEST_EXPONENT)
        top, log_sum = tilt(exponent, limit, prior=prior)
        p = np.exp(np.minimum(exponent, top) - log_sum)
        p *= p if prior is None else p * prior
        divergence = n * float(p.sum()) - 1.0
        return math.log(max(divergence / allowed, _SMALLEST_SHARE))

    # Where beta is small, the divergence is the variance of beta times the hardness.
    guess = 0.5 * math.log(allowed) - math.log(width) - math.log(float((gaps / width).std()))
    high = math.log(beta)
    logarithm = largest_below(excess, high + math.log(_SMALLEST_SHARE), high, guess)
    return beta if logarithm == high else math.exp(logarithm)


def largest_below(excess: Callable[[float], float], low: float, high: float, guess: float) -> float:
    """Return the largest argument from ``low`` to ``high``, to 1e-4, at which a rising function is at most 0.

    Secants, and halves where these do not come closer. It is called as rarely as may be, at the ends only where the
    others say nothing of them.

    Args:
        excess: rises, by about 2 where its argument rises by 1.
        low: where ``excess`` is above 0 there already, minus infinity is returned.
        high: returned where ``excess`` is at most 0 there.
        guess: of the result.
    """
    at_low = at_high = False  # whether what is told of an end is known
    x, before, widest, slow = min(max(guess, low), high), (math.nan, 0.0), math.inf, 0
    while not (at_low and at_high and high - low <= 2 * _TOLERANCE):
        value = excess(x)
        if value <= 0:
            if x == high:
                return high
            low, at_low = x, True
        elif x == low:
            return -math.inf
        else:
            high, at_high = x, True
        slope = (value - before[1]) / (x - before[0]) if before[0] == before[0] else 2.0
        before = (x, value)
        slow, widest = (slow + 1, widest) if high - low > 0.5 * widest else (0, high - low)
        if slow > 2 or not slope > 0:
            x = 0.5 * (low + high) if at_low and at_high else high if at_low else low
        else:
            x -= value / slope
        x = min(max(x, low + _TOLERANCE * at_low), high - _TOLERANCE * at_high)
    return low
