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
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

_SMALLEST_SHARE = 1e-12  # of the upper bound: a smaller beta counts as 0
_TOLERANCE = 1e-4  # of beta, relative
_WIDEST_GAP = -1e300  # times the largest beta it is still finite
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


def tilt(exponent: np.ndarray, limit: float, prior: np.ndarray | None = None) -> Tilt:
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
    n = exponent.shape[0]
    rest = exponent[:0]  # of cases that cannot reach the limit
    if prior is None:
        candidates = min(n, math.floor(1 / limit) + 1)
        split = np.partition(exponent, n - candidates)
        ordered, rest = np.sort(split[n - candidates :]), split[: n - candidates]
        logarithms, room = ordered, 1.0 - np.arange(candidates) * limit
    else:
        order = np.argsort(exponent)
        ordered, shares = exponent[order], prior[order]
        logarithms, room = ordered + np.log(shares), 1.0 - limit * (np.cumsum(shares[::-1]) - shares[::-1])
    below = [] if rest.size == 0 else [rest.max() + math.log(np.exp(rest - rest.max()).sum())]
    # sums[k]: log of the sum of all weights but the k largest; room[k]: what the k largest leave at the limit
    sums = np.logaddexp.accumulate(np.concatenate((below, logarithms)))[len(below) :][::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_sums = sums - np.log(np.maximum(room, 0.0))
        fits = (room > 0) & (ordered[::-1] - log_sums <= math.log(limit) + 1e-12)
    if not fits.any():  # limit is 1 / n: all are equal
        return Tilt(float(ordered[0]), float(ordered[0]) + math.log(n))
    found = float(log_sums[np.argmax(fits)])
    return Tilt(found + math.log(limit), found)


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
    top, log_sum = tilt(exponent, tilt_limit(n, uniform_fraction, cap), prior)
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
    if smallest_effective_sample_size <= 0:
        return beta

    def excess(logarithm: float) -> float:
        """Return the logarithm of how many times the effective sample size is the smallest one allowed."""
        p = case_distribution(hardness, math.exp(logarithm), prior=prior, uniform_fraction=uniform_fraction, cap=cap)
        return math.log(effective_sample_size(p, prior=prior) / smallest_effective_sample_size) + 1e-9

    if beta == 0 or excess(high := math.log(beta)) >= 0:
        return beta
    if excess(low := high + math.log(_SMALLEST_SHARE)) < 0:
        return 0.0
    return math.exp(brentq(excess, low, high, xtol=_TOLERANCE) - _TOLERANCE)
