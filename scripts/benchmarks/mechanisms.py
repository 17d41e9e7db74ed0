"""Prototypes for ``worlds.py`` and ``rare.py``: what draws go by in place of a case's tracked loss.

Each stands where the package's groups stand: it turns a case's tracked offset into the value that draws go by.
"""

from __future__ import annotations

import numpy as np

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.core.groups import Groups
from hws_nnunet.core.reliability import Reliability

_ROBUST = 1.4826


class Value:
    """Draws go by the tracked offset itself; subclasses change :meth:`values` and what they learn from losses."""

    pooling = 1.0

    def __init__(self, sampler: HardnessWeightedSampler):
        self.within, self.sampler, self.outdated = Reliability(), sampler, False
        self.offset = sampler.table.offset
        self.freeze()

    def values(self, cases, offset):
        return offset

    def see(self, case, old, value):
        """Take in a loss, as an offset from the level."""

    def freeze(self):
        self.median = float(np.nanmedian(self.offset)) if np.isfinite(self.offset).any() else 0.0
        self.outdated = False

    def learn(self, case, old, value):
        tracked = float(self.values(case, old))
        self.see(case, old, value)
        return tracked

    def pooled(self, case, offset):
        return float(self.values(case, offset))

    def pooled_all(self, cases, offset):
        return self.values(cases, offset)

    def have_moved(self, beta):
        return self.outdated

    def count(self, offset): ...
    def add(self, case, old, new): ...


class Tail(Value):
    """Only what lies more than so many robust standard deviations above the median counts as hard."""

    beyond = 1.5

    def freeze(self):
        super().freeze()
        spread = np.nanmedian(np.abs(self.offset - self.median)) if np.isfinite(self.offset).any() else 0.0
        self.edge = self.median + self.beyond * _ROBUST * float(spread)

    def values(self, cases, offset):
        return np.maximum(offset, self.edge)

    def learn(self, case, old, value):
        return old

    def have_moved(self, beta):
        edge, median = self.edge, self.median
        self.freeze()
        moved = beta * abs(self.edge - edge) > 0.05
        if not moved:
            self.edge, self.median = edge, median
        return moved


class Claim(Value):
    """What visits buy: a claim of 0 to 1 on draws above the share, which halves where a window of visits bought nothing.

    Windows of a case end at 16, 32, 64, ... visits. Its mean offset has to come closer to the median by ``least`` of
    its distance in a window in which it was drawn above its share, or its claim halves; it doubles, up to 1, where
    the case came closer, and where it got harder again.
    """

    least, fixed = 0.05, 0

    def __init__(self, sampler):
        n = len(sampler)
        self.claim, self.sum, self.seen = np.ones(n), np.zeros(n), np.zeros(n, int)
        self.before, self.size = np.full(n, np.nan), np.full(n, self.fixed or 16)
        super().__init__(sampler)

    def values(self, cases, offset):
        return np.where(offset > self.median, self.median + self.claim[cases] * (offset - self.median), offset)

    def see(self, case, old, value):
        self.sum[case] += value
        self.seen[case] += 1
        if self.seen[case] < self.size[case]:
            return
        mean, before = self.sum[case] / self.seen[case], self.before[case]
        if before == before and before > self.median:
            fell = (before - mean) / (before - self.median)
            above = self.sampler.table.weight[case] * len(self.claim) > 1.0
            if fell >= self.least or fell < -self.least:
                self.claim[case] = min(1.0, 2 * self.claim[case])
            elif above:
                self.claim[case] /= 2
            self.outdated = True
        self.before[case], self.sum[case], self.seen[case] = mean, 0.0, 0
        if not self.fixed:
            self.size[case] = self.sampler.table.visits[case]


class ClaimUnlessFell(Claim):
    """The same; a case that got harder does not get its claim back."""

    def see(self, case, old, value):
        claim = self.claim[case]
        before = self.before[case]
        super().see(case, old, value)
        if self.claim[case] > claim and self.before[case] > before:
            self.claim[case] = claim / 2


class Regret(Value):
    """Draws go by the offset less the best mean of sixteen visits that was ever had for the case."""

    def __init__(self, sampler):
        n = len(sampler)
        self.best, self.sum, self.seen = np.full(n, np.inf), np.zeros(n), np.zeros(n, int)
        super().__init__(sampler)

    def values(self, cases, offset):
        return offset - np.minimum(self.best[cases], offset)

    def see(self, case, old, value):
        self.sum[case] += value
        self.seen[case] += 1
        if self.seen[case] == 16:
            best = min(self.best[case], self.sum[case] / 16)
            self.outdated |= best < self.best[case]
            self.best[case], self.sum[case], self.seen[case] = best, 0.0, 0


class Left(Value):
    """What is left to gain: the slope of a case's losses on the common level, times the level."""

    prior = 0.3  # in sums of squares of the level: what one pass of falling losses amounts to

    def __init__(self, sampler):
        n = len(sampler)
        self.x, self.y, self.xx, self.xy, self.weight = (np.zeros(n) for _ in range(5))
        super().__init__(sampler)

    def values(self, cases, offset):
        return self.sampler._tracker.level * (self.xy[cases] + self.prior) / (self.xx[cases] + self.prior)

    def see(self, case, old, value):
        level = self.sampler._tracker.level
        self.weight[case] += 1
        rate = max(1 / 128, 1 / self.weight[case])
        dx, dy = level - self.x[case], value + level - self.y[case]
        self.x[case] += rate * dx
        self.y[case] += rate * dy
        keep = 1.0 if self.weight[case] < 128 else 1 - 1 / 128
        self.xx[case] = keep * self.xx[case] + dx * (level - self.x[case])
        self.xy[case] = keep * self.xy[case] + dx * (value + level - self.y[case])
        self.outdated = True


def clusters_of(rare: np.ndarray, rng: np.random.Generator, *, apart: float, count: int = 6) -> list[str]:
    """Return simulated clusters: by k-means of three features, in one of which the rare kind lies apart."""
    from scipy.cluster.vq import kmeans2

    features = rng.standard_normal((len(rare), 3))
    features[:, 0] += apart * rare
    return [str(label) for label in kmeans2(features, min(count, len(rare) // 4), minit="++", rng=rng)[1]]


def made(name: str, sampler: HardnessWeightedSampler, rare: np.ndarray, rng: np.random.Generator) -> None:
    """Give a sampler a mechanism."""
    if name.startswith(("told", "clusters")):
        apart = {"told": None, "clusters 3": 3.0, "clusters 5": 5.0, "clusters 0": 0.0}[name]
        of = ["rare" if one else "common" for one in rare] if apart is None else clusters_of(rare, rng, apart=apart)
        sampler._tracker.groups = sampler.groups = Groups(of, None)
    else:
        sampler._tracker.groups = MECHANISMS[name](sampler)


class ClaimQuarter(Claim):
    least = 0.25


class ClaimFixed(Claim):
    fixed = 16


MECHANISMS = {
    "tail 1.5": Tail,
    "claim": Claim,
    "claim, rising loses": ClaimUnlessFell,
    "claim, a quarter": ClaimQuarter,
    "claim, every 16": ClaimFixed,
    "regret": Regret,
    "left to gain": Left,
}


def clusters_of_images(examples: list, count: int = 6) -> list[str]:
    """Return clusters of training images: intensities, volumes of the structures and their mean intensities."""
    from scipy import stats
    from scipy.cluster.vq import kmeans2
    from scipy.ndimage import laplace

    structures = max(int(example.labels.max()) for example in examples)
    rows = []
    for example in examples:
        image, labels = example.image, example.labels
        inside = image[image != 0] if (image == 0).mean() > 0.05 else image.ravel()
        of = [labels == k for k in range(1, structures + 1)]
        rows.append(
            [
                *np.percentile(inside, [1, 10, 25, 50, 75, 90, 99]),
                *(stats.skew(inside), stats.kurtosis(inside), laplace(image).std(), image.size ** (1 / 3)),
                *(np.log(1.0 + mask.sum()) for mask in of),
                *(image[mask].mean() if mask.any() else 0.0 for mask in of),
            ]
        )
    features = np.array(rows)
    features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    tries = []
    for seed in range(20):
        centres, labels = kmeans2(features, count, minit="++", rng=np.random.default_rng(seed))
        if len(set(labels.tolist())) == count:
            tries.append((float(((features - centres[labels]) ** 2).sum()), [str(label) for label in labels]))
    return min(tries)[1]
