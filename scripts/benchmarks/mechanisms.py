"""Mechanisms that were tried for ``worlds.py`` and the trainings on real images."""

from __future__ import annotations

import math

import numpy as np

from hws_nnunet import HardnessWeightedSampler, Settings


class Slope:
    """The regression of losses on values that were fixed before."""

    __slots__ = ("n", "x", "xx", "xy", "y", "yy")

    def __init__(self) -> None:
        self.n = self.x = self.y = self.xx = self.xy = self.yy = 0.0

    def add(self, x: float, y: float) -> None:
        self.n += 1
        dx, dy = x - self.x, y - self.y
        self.x += dx / self.n
        self.y += dy / self.n
        self.xx += dx * (x - self.x)
        self.xy += dx * (y - self.y)
        self.yy += dy * (y - self.y)

    def fit(self) -> tuple[float, float]:
        """Return slope and its variance."""
        if self.n < 8 or not self.xx > 0:
            return 0.0, math.inf
        slope = self.xy / self.xx
        return slope, max(1e-12, self.yy - slope * self.xy) / (self.n - 2) / self.xx


class _Share:
    """Stands in for the reliability: what the bound makes of it is a share of today's divergence."""

    def __init__(self, inner, owner):
        self.inner, self.owner = inner, owner

    def add(self, *args):
        self.inner.add(*args)

    @property
    def value(self) -> float:
        share = (1 - (1 - self.inner.value) ** 6) * self.owner.allowed()
        return 1 - (1 - share) ** (1 / 6)

    def state_dict(self):
        return self.inner.state_dict()


class Moving(HardnessWeightedSampler):
    """The bound follows how often the gap moved lately."""

    def __init__(self, names, settings=None, *, window=1200, per_case=0.0, limit=2.5, memory=4.0, soft=False, start=0.0, **kwargs):
        self.window_size = max(window, int(per_case * len(names)))
        self.limit, self.memory, self.soft = limit, memory, soft
        self.moved, self.windows, self.z2 = start, 0, 1.0
        self.history = []
        self.snapshot, self.count = None, 0
        super().__init__(names, settings, **kwargs)
        self._reliability = _Share(self._reliability, self)

    def allowed(self) -> float:
        return self.moved

    def _take_in(self, case, loss):
        if self.table.weighted or self.table.unseen == 0:
            if self.snapshot is None or self.count >= self.window_size:
                self._judge()
            x = self.snapshot[case]
            if x == x:
                (self.first if self.count * 2 < self.window_size else self.second).add(x, loss - self._level)
            self.count += 1
        return super()._take_in(case, loss)

    def _judge(self):
        if self.snapshot is not None:
            (a, va), (b, vb) = self.first.fit(), self.second.fit()
            z = (b - a) / math.sqrt(va + vb)
            self.history.append((round(a, 3), round(b, 3), round(z, 2)))
            self.windows += 1
            rate = max(1 / self.memory, 1 / self.windows)
            if self.soft:
                self.z2 += rate * (z * z - self.z2)
                self.moved = max(0.0, 1 - self.limit / self.z2)
            else:
                self.moved += rate * ((abs(z) > self.limit) - self.moved)
        self.snapshot, self.count = self.table.offset.copy(), 0
        self.first, self.second = Slope(), Slope()


class _Excess:
    """The reliability of what lies beyond the edge, in place of that of all differences."""

    def __init__(self, inner, owner):
        self.inner, self.owner = inner, owner

    def add(self, tracked, loss):
        self.inner.add(max(tracked + self.owner._mean, self.owner.edge), loss)

    @property
    def value(self) -> float:
        return self.inner.value

    def state_dict(self):
        return self.inner.state_dict()


class Tail(HardnessWeightedSampler):
    """Only what lies beyond the bulk counts as hard: more than so many robust standard deviations above the median."""

    def __init__(self, names, settings=None, *, beyond, own=False, **kwargs):
        self.beyond, self.edge = beyond, -math.inf
        super().__init__(names, settings, **kwargs)
        if own:
            self._reliability = _Excess(self._reliability, self)

    def _edge(self, offset):
        median = np.median(offset)
        return median + self.beyond * 1.4826 * np.median(np.abs(offset - median))

    def ranked_offsets(self):
        offset = super().ranked_offsets()
        self.edge = self._edge(offset)
        return np.maximum(offset, self.edge)

    def _has_drifted(self):
        if self.table.version % max(16, len(self) // 8) == 0:
            edge = self._edge(super().ranked_offsets())
            if edge != self.edge and not super()._has_drifted():
                self.edge = edge
                return self._smallest_ess < 0.98 * len(self)  # weights are about to be computed anew
        return super()._has_drifted()

    def _reweigh(self, case):
        old = self._offset[case]
        if old < self.edge:
            self._offset[case] = self.edge
        super()._reweigh(case)
        self._offset[case] = old


class Ending(HardnessWeightedSampler):
    """Uniform for the last share of the steps."""

    def __init__(self, names, settings=None, *, steps, share=1 / 3, **kwargs):
        self.until = (1 - share) * steps
        super().__init__(names, settings, **kwargs)
        self._reliability = _Share(self._reliability, self)

    def allowed(self) -> float:
        return float(self.table.version < self.until)


def _plain(**settings):
    return lambda n, rng, steps: HardnessWeightedSampler([str(i) for i in range(n)], Settings(**settings), rng=rng)


def _moving(**options):
    return lambda n, rng, steps: Moving([str(i) for i in range(n)], Settings(ess=0.5), rng=rng, **options)


def _tail(beyond, own=False, **settings):
    return lambda n, rng, steps: Tail([str(i) for i in range(n)], Settings(**settings), rng=rng, beyond=beyond, own=own)


MECHANISMS = {
    "tail 1": _tail(1.0, ess=0.5),
    "tail 1.5": _tail(1.5, ess=0.5),
    "tail 1 own": _tail(1.0, own=True, ess=0.5),
    "tail 1.5 own": _tail(1.5, own=True, ess=0.5),
    "tail 2": _tail(2.0, ess=0.5),
    "tail 1, ess 0.8": _tail(1.0, ess=0.8),
    "tail 1.5, beta 20": _tail(1.5, ess=0.5, beta=20.0),
    "uniform": _plain(ess=1.0),
    "ours": _plain(ess=0.5),
    "ess 0.8": _plain(ess=0.8),
    "beta 40": _plain(ess=0.5, beta=40.0),
    "beta 30": _plain(ess=0.5, beta=30.0),
    "beta 20": _plain(ess=0.5, beta=20.0),
    "beta 10": _plain(ess=0.5, beta=10.0),
    "floor 0.5": _plain(ess=0.5, uniform_fraction=0.5),
    "moving 600": _moving(),
    "moving 300": _moving(window=600),
    "moving 12 visits": _moving(window=300, per_case=12),
    "moving 24 visits": _moving(window=300, per_case=24),
    "moving soft": _moving(soft=True, limit=1.5),
    "moving soft 24": _moving(soft=True, limit=1.5, window=300, per_case=24),
    "ends uniformly": lambda n, rng, steps: Ending([str(i) for i in range(n)], Settings(ess=0.5), rng=rng, steps=steps),
}
