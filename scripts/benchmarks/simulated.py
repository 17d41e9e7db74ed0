"""Simulated trainings, of nothing but a sampler and losses; another version's core can go through them.

    PYTHONPATH=CHECKOUT python scripts/benchmarks/simulated.py JOBS.json RESULTS.json

Epochs are of 250 batches of 2, as in nnU-Net, and answers come as many batches late as workers draw ahead.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

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
    """Train; yield the probabilities of all cases after each epoch that began after the first sweep.

    Args:
        sampler: draws and is updated.
        losses: takes the ids of the cases that were drawn and the time in epochs, and returns their losses.
        rng: of the draws.
        epochs: how many.
    """
    with_cells = "cells" in inspect.signature(sampler.update).parameters  # of a version that had them
    waiting: deque = deque()
    for epoch in range(epochs):
        weighted = sampler.table.weighted
        for step in range(STEPS):
            waiting.append(sampler.draw_cases(BATCH, rng))
            if len(waiting) > LAG:
                drawn = waiting.popleft()
                answers = losses(drawn.ids, epoch + step / STEPS)
                step_losses = (drawn.ids, None, answers) if with_cells else (drawn.ids, answers)
                sampler.update(*step_losses, version=drawn.version)
        if weighted:
            yield sampler.probabilities()


def training(job: dict) -> dict:
    """Return what the sampler of this process's core did in one training of ``scale.py``, epoch by epoch.

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
        reliability.append(float(getattr(sampler, "reliability", np.nan)))
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


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(training, jobs, chunksize=1)
    Path(sys.argv[2]).write_text(json.dumps([{**one, **job} for one, job in zip(results, jobs, strict=True)]))
