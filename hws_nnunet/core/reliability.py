"""How much of the differences between tracked values is real: what the next losses bear out.

The loss of one patch scatters between patches of a case, so that tracked values differ where all cases are equally
hard. If the tracked values x of two cases differ by d, their next losses y will differ by r d on average, with

    r = Cov(x, y) / Var(x)

the *reliability* of x (the ratio of true to observed variance in classical test theory). Visit noise of x is not in
y, so that r is 0 where there is nothing but noise, and 1 where tracked values tell the truth, whatever the number of
visits, the noise of each case, or the probabilities with which cases are drawn. Moments are running means over single
visits.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_SETTLED = 2000  # pairs from which on the running moments have one rate
_RATE = 1 / _SETTLED
_ERRORS = 1.5  # standard errors by which the slope is taken lower: noise alone is hardly ever taken for signal then
_FEWEST = 16  # pairs before anything is said
_POWER = 6  # of the share that is noise, in the bound in force


class Reliability:
    """The running regression of new losses on tracked values."""

    __slots__ = ("_pairs", "_x", "_xx", "_xy", "_y", "_yy")

    def __init__(self) -> None:
        self._pairs = 0
        self._x = self._y = self._xx = self._xy = self._yy = 0.0  # means, then second moments about them

    def add(self, tracked: float, loss: float) -> None:
        """Take in a case's tracked value and the loss that came next, both as differences from the common level."""
        self._pairs = pairs = self._pairs + 1
        rate = _RATE if pairs * _RATE >= 1.0 else 1.0 / pairs
        keep, dx, dy = 1.0 - rate, tracked - self._x, loss - self._y
        step = rate * dx
        self._x += step
        self._y += rate * dy
        self._xx = keep * (self._xx + step * dx)
        self._xy = keep * (self._xy + step * dy)
        self._yy = keep * (self._yy + rate * dy * dy)

    def add_all(self, tracked: np.ndarray, losses: np.ndarray) -> None:
        """Take in many pairs, ``(m,)``, in their order, as :meth:`add` does one by one."""
        if not (many := len(tracked)):
            return
        weight, old = _weights(min(self._pairs, _SETTLED), many)
        self._pairs += many
        x, y = old * self._x + float(weight @ tracked), old * self._y + float(weight @ losses)
        dx, dy = tracked - x, losses - y
        weighted = weight * dx
        old_x, old_y = self._x - x, self._y - y
        self._xx = old * (self._xx + old_x * old_x) + float(weighted @ dx)
        self._xy = old * (self._xy + old_x * old_y) + float(weighted @ dy)
        self._yy = old * (self._yy + old_y * old_y) + float((weight * dy) @ dy)
        self._x, self._y = x, y

    @property
    def value(self) -> float:
        """The reliability, 0 to 1: the slope, less one and a half of its standard errors."""
        if self._pairs < _FEWEST or not self._xx > 0.0:
            return 0.0
        slope = self._xy / self._xx
        rest = max(0.0, self._yy - slope * self._xy)
        error = math.sqrt(rest / (self._xx * min(self._pairs, 2.0 / _RATE)))
        return min(1.0, max(0.0, slope - _ERRORS * error))

    def state_dict(self) -> dict[str, float]:
        """Return the moments."""
        return {name: getattr(self, name) for name in self.__slots__}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore :meth:`state_dict`.

        Raises:
            ValueError: it is none; nothing is changed then.
        """
        try:
            values = [float(state[name]) for name in self.__slots__]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"saved reliability is damaged: {type(error).__name__}: {error}") from error
        for name, value in zip(self.__slots__, values, strict=True):
            setattr(self, name, value)


@lru_cache(maxsize=32)
def _weights(pairs: int, many: int) -> tuple[np.ndarray, float]:
    """Return the weights of ``many`` further pairs in running means, ``(many,)``, and that of the earlier ones."""
    rate = np.maximum(_RATE, 1.0 / np.arange(pairs + 1, pairs + many + 1))
    kept = np.cumprod((1.0 - rate)[::-1])[::-1]  # of each weight, after the pairs from its own on
    old = float(kept[0])
    rate[:-1] *= kept[1:]
    return rate, old


def smallest_share(ess: float, reliability: float) -> float:
    """Return the smallest effective sample size in force, as a share of the cases.

    A distribution p over n cases differs from the uniform one by n sum(p^2) - 1, its chi-square divergence, of which
    ``ess`` allows 1 / ess - 1. Of that, draws get 1 - (1 - r)^6: nothing without signal, half at a reliability of
    0.11, and nearly all from a half on. (With the square, draws lose up to half of their tilt
    towards the truly hard cases where visits are few: r is then small although the differences are real.)

    Args:
        ess: the smallest that is ever allowed, above 0 and at most 1; 0 is returned as it is, and asks for nothing.
        reliability: r, 0 to 1.
    """
    if ess <= 0:
        return 0.0
    return ess / (ess + (1.0 - ess) * (1.0 - (1.0 - reliability) ** _POWER))
