"""Statistics of one group of cases, with the tail in view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SHARE = 0.1  # of the cases, for CVaR
PERCENTILES = (5, 10, 25, 75, 90, 95)
TAIL = (50, 25, 10, 5)  # percentiles from the worse end


def cvar(values: np.ndarray, *, higher_is_better: bool = True, axis: int = -1) -> np.ndarray:
    """Return the conditional value at risk at 10 %: the mean of the worst tenth of the values.

    A tenth that is not a whole number of values takes its share of the next one: the mean is over exactly 0.1 n;
    of fewer than ten values it is the worst. See Rockafellar and Uryasev, Journal of Banking & Finance 26, 2002.

    Args:
        values: without NaN.
        higher_is_better: whether the worst values are the lowest.
        axis: the cases' axis; at least one.
    """
    return _cvar(_worst_first(values, higher_is_better, axis))


def _cvar(ordered: np.ndarray) -> np.ndarray:
    n = ordered.shape[-1]
    return ordered @ (np.clip(SHARE * n - np.arange(n), 0, 1) / (SHARE * n))


def _worst_first(values: np.ndarray, higher_is_better: bool, axis: int) -> np.ndarray:
    """Return values sorted along an axis, which becomes the last one."""
    ordered = np.sort(np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1), axis=-1)
    return ordered if higher_is_better else ordered[..., ::-1]


def _percentile(q: int) -> Callable[[np.ndarray, bool], Any]:
    return lambda values, _: np.percentile(values, q)


STATISTICS: dict[str, Callable[[np.ndarray, bool], Any]] = {
    "mean": lambda values, _: values.mean(),
    "sd": lambda values, _: values.std(ddof=1) if values.size > 1 else np.nan,
    "median": _percentile(50),
    "iqr": lambda values, _: np.subtract(*np.percentile(values, (75, 25))),
    **{f"p{q}": _percentile(q) for q in PERCENTILES},
    "min": lambda values, _: values.min(),
    "max": lambda values, _: values.max(),
    "cvar_10": lambda values, higher_is_better: cvar(values, higher_is_better=higher_is_better),
}
"""Of values ``(n,)`` without NaN, at least one, and whether higher ones are better."""


def describe(values: np.ndarray, *, higher_is_better: bool = True) -> dict[str, float]:
    """Return ``cases`` and the :data:`STATISTICS`, which are NaN where there is no value.

    Args:
        values: ``(n,)``; NaN is left out.
        higher_is_better: decides which tail ``cvar_10`` is of.

    Returns:
        ``cases`` is the number of values; ``sd`` divides by n - 1 and is NaN for one value; percentiles interpolate
        linearly between neighbouring values; ``iqr`` is p75 - p25. Units are those of ``values``.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    cases = {"cases": values.size}
    return cases | {
        key: float(compute(values, higher_is_better)) if values.size else np.nan for key, compute in STATISTICS.items()
    }


def tail_names(higher_is_better: bool) -> tuple[str, ...]:
    """Return the statistics that tell of the mean and of the worse tail, for :func:`tail`."""
    worse = (q if higher_is_better else 100 - q for q in TAIL)
    return ("mean", *("median" if q == 50 else f"p{q}" for q in worse), "cvar_10")


def tail(values: np.ndarray, *, higher_is_better: bool, axis: int = -1) -> np.ndarray:
    """Return the statistics of :func:`tail_names` stacked along a new first axis.

    Args:
        values: without NaN.
        higher_is_better: decides which tail.
        axis: the cases' axis.
    """
    ordered = _worst_first(values, higher_is_better, axis)  # once for all statistics of thousands of resamples
    places = np.array(TAIL) / 100 * (ordered.shape[-1] - 1)
    low, high = (ordered[..., ends(places).astype(np.int64)] for ends in (np.floor, np.ceil))
    percentiles = low + places % 1 * (high - low)
    return np.stack([ordered.mean(axis=-1), *np.moveaxis(percentiles, -1, 0), _cvar(ordered)])
