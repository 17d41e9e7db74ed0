"""Slow, obvious twins of what the core does fast."""

import itertools

import numpy as np


class Tracker:
    """Tracked losses of one measure: each case's smoothed loss, moved by what all losses do in between."""

    def __init__(self, n, smoothing):
        self.hardness, self.answers = np.full(n, np.nan), np.zeros(n, dtype=int)
        self.smoothing, self.losses = smoothing, 0

    def update(self, cases, losses):
        for case, loss in zip(cases, losses, strict=True):
            if not np.isfinite(loss):
                continue
            self.answers[case] += 1
            self.losses += 1
            old = self.hardness[case]
            if np.isnan(old):  # the twin knows no level: all have to be seen within the first hundred losses
                self.hardness[case] = loss
                continue
            if self.losses >= 100:
                self.hardness += 0.01 * (loss - old)
            self.hardness[case] = old + max(1 - self.smoothing, 1 / self.answers[case]) * (loss - old)


def softmax(hardness, beta, prior=1.0):
    weights = prior * np.exp(beta * (np.asarray(hardness, dtype=float) - np.max(hardness)))
    return weights / weights.sum()


def capped(p, limit):
    """Cut what exceeds the limits, hand it to the others in proportion, and again until nothing exceeds them."""
    p = np.array(p, dtype=float)
    limit = np.broadcast_to(limit, p.shape)
    fixed = np.zeros(len(p), dtype=bool)
    for _ in range(len(p)):
        over = (p > limit * (1 + 1e-12)) & ~fixed
        if not over.any():
            break
        fixed |= over
        rest = p[~fixed].sum()
        p[fixed] = limit[fixed]
        if (~fixed).any():
            p[~fixed] *= (1 - limit[fixed].sum()) / rest
    return p


def closed_form(hardness, beta, uniform_fraction=0.0, cap=None, prior=1.0):
    n, g = len(hardness), uniform_fraction
    p = softmax(hardness, beta, prior)
    if cap is not None and g < 1:
        p = capped(p, prior * max(1.0, (cap - g) / (1 - g)) / n)
    return (1 - g) * p + g * prior / n


def inclusion(p, size):
    """Expected share of each case in batches of ``size`` drawn one by one without replacement."""
    share = np.zeros(len(p))
    for batch in itertools.permutations(range(len(p)), size):
        probability, left = 1.0, 1.0
        for case in batch:
            probability *= p[case] / left
            left -= p[case]
        share[list(batch)] += probability
    return share / size


def total_variation(p, q):
    return 0.5 * np.abs(np.asarray(p) - np.asarray(q)).sum()


def close(counts, p, sigmas=4.5):
    """Whether multinomial counts agree with p: every count within so many standard deviations."""
    counts, p = np.asarray(counts, dtype=float), np.asarray(p, dtype=float)
    total = counts.sum()
    return (np.abs(counts - total * p) <= sigmas * np.sqrt(total * p * (1 - p)) + 1e-9).all()
