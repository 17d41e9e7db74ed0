"""Follows the draws and answers of one training through nnU-Net's pipeline of worker processes."""

from __future__ import annotations

import numpy as np

from hws_nnunet.core import DrawnCases

EVERY = 10  # steps between two looks at the effective sample size


def expected_share(p: np.ndarray, size: int, *, with_replacement: bool = False) -> np.ndarray:
    """Return each case's share of batches of 1 or 2, ``(n,)``.

    Args:
        p: ``(n,)``, of a single draw.
        size: of a batch.
        with_replacement: whether a batch may hold a case twice.
    """
    if size > 2 and not with_replacement:
        raise ValueError(f"only batches of 1 and 2 without replacement are worked out, given: {size}")
    if size == 1 or with_replacement:
        return p
    ratio = p / np.maximum(1.0 - p, 1e-12)
    return p * (1.0 + ratio.sum() - ratio) / 2


class Feedback:
    """Follows a training, step by step, and tells how draws and answers went.

    Args:
        sampler: a :class:`~hws_nnunet.HardnessWeightedSampler` of the training process, before the first step.
    """

    def __init__(self, sampler: object):
        self.sampler = sampler
        self.first = sampler.table.version
        self.intended = [self._probabilities()]  # by version, from the first on
        self.lags: list[int] = []
        self.draws: list[tuple[int, list[int]]] = []
        self.seen: set[int] = set()
        self.steps_until_all_seen: int | None = None
        self.ess: list[float] = []

    def _probabilities(self) -> np.ndarray | None:
        return self.sampler.probabilities() if self.sampler.table.weighted else None

    def step(self, drawn: DrawnCases, version: int) -> None:
        """Take in a batch's draws after its training step.

        Args:
            drawn: the batch's.
            version: the table's when the step began.
        """
        self.lags.append(version - drawn.version)
        cases = [int(case) for case in drawn.ids]
        self.draws.append((drawn.version, cases))
        self.intended.append(self._probabilities())
        self.seen.update(cases)
        if self.steps_until_all_seen is None and len(self.seen) == len(self.sampler):
            self.steps_until_all_seen = len(self.draws)
        if len(self.draws) % EVERY == 0 and self.intended[-1] is not None:
            self.ess.append(round(1 / float(np.square(self.intended[-1]).sum()) / len(self.sampler), 4))

    def summary(self) -> dict:
        """Return the figures, plain numbers.

        ``lag``: median and largest, in steps. ``total_variation`` between the realised shares of weighted draws and the
        mean of what was intended at each, and what free draws of that number would have (their scatter alone).
        ``longest_run``: most batches on end with one case. ``ess``: shares of the cases, every 10 steps.
        """
        n, settings = len(self.sampler), self.sampler.settings
        counts, intended, free = np.zeros(n), np.zeros(n), []
        rng = np.random.default_rng(0)
        weighted = 0
        for version, cases in self.draws:
            # Probabilities of a version before the first are not known: draws of before this training was watched.
            p = self.intended[version - self.first] if version >= self.first else None
            if p is None:
                continue
            share = expected_share(p, len(cases), with_replacement=settings.with_replacement)
            np.add.at(counts, cases, 1)
            intended += share * len(cases)
            free.append(rng.multinomial(len(cases), share / share.sum(), size=50))
            weighted += len(cases)
        longest = 0
        running: dict[int, int] = {}
        for _, cases in self.draws:
            running = {case: running.get(case, 0) + 1 for case in set(cases)}
            longest = max(longest, *running.values())
        figures = {
            "lag": [float(np.median(self.lags)), int(max(self.lags))],
            "longest_run": longest,
            "steps_until_all_seen": self.steps_until_all_seen,
            "ess": self.ess,
            "weighted_draws": weighted,
        }
        if weighted:
            figures["total_variation"] = float(np.abs(counts - intended).sum() / weighted / 2)
            scattered = np.abs(np.sum(free, axis=0) - intended).sum(axis=1) / weighted / 2
            figures["total_variation_of_free_draws"] = float(scattered.mean())
        return figures
