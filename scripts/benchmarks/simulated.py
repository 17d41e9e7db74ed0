"""Simulated trainings, of nothing but a sampler and losses.

Epochs are of 250 batches of 2, as in nnU-Net, and answers come as many batches late as workers draw ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from hws_nnunet import HardnessWeightedSampler, Settings

BATCH, STEPS, EPOCHS, LAG = 2, 250, 90, 25
NOISE, FALL = 0.15, 0.5


def weighted_epochs(
    sampler: HardnessWeightedSampler,
    losses: Callable[[np.ndarray, float], np.ndarray],
    rng: np.random.Generator,
    epochs: int,
) -> Iterator[np.ndarray]:
    """Train; yield the probabilities of all cases after each epoch that began after the warm-up pass.

    Args:
        sampler: draws and is updated.
        losses: takes the ids of the cases that were drawn and the time in epochs, and returns their losses.
        rng: of the draws.
        epochs: how many.
    """
    waiting: deque = deque()
    for epoch in range(epochs):
        weighted = sampler.table.weighted
        for step in range(STEPS):
            waiting.append(sampler.draw_cases(BATCH, rng))
            if len(waiting) > LAG:
                drawn = waiting.popleft()
                answers = losses(drawn.ids, epoch + step / STEPS)
                sampler.update(drawn.ids, answers, version=drawn.version)
        if weighted:
            yield sampler.probabilities()


def training(job: dict) -> dict:
    """Return what the sampler did in one training of ``scale.py``, epoch by epoch.

    Args:
        job: ``cases``, ``spread``, ``fall``, ``seed``, ``epochs`` and ``settings``.
    """
    n, rng = job["cases"], np.random.default_rng([job["seed"], job["cases"]])
    truth = rng.standard_normal(n)
    truth = (truth - truth.mean()) / truth.std()
    hardness, visits = 0.4 + job["spread"] * truth, np.zeros(n, dtype=int)
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], Settings(**job["settings"]), rng=rng)

    def losses(ids: np.ndarray, time: float) -> np.ndarray:
        visits[ids] += 1
        common = FALL * np.exp(-time / job["fall"]) if job["fall"] else 0.0
        return hardness[ids] + common + NOISE * rng.standard_normal(BATCH)

    ess, tilt, reliability, mean_p = [], [], [], np.zeros(n)
    for p in weighted_epochs(sampler, losses, rng, job["epochs"]):
        ess.append(1 / (n * p.dot(p)))
        tilt.append(float(p.dot(truth)))
        reliability.append(sampler.reliability)
        mean_p += p
    share = mean_p / mean_p.sum()
    return {
        "ess": np.round(ess, 4).tolist(),
        "over_time": float(1 / (n * share.dot(share))),
        "variation": float(visits.std() / visits.mean()),
        "poisson": float(visits.mean() ** -0.5),
        "visits": [int(visits.min()), int(visits.max())],
        "tilt": np.round(tilt, 4).tolist(),
        "reliability": np.round(reliability, 4).tolist(),
    }
