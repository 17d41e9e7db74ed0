"""The table's way to real worker processes, through nnU-Net v1's own augmenter."""

import contextlib

import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

from hws_nnunet import Settings
from hws_nnunet.nnunetv1.loader import DRAWN
from tests.nnunetv1.fakes import loader_of, make_cases
from tests.sampling import naive

CASES = 10
HARD = 3


@contextlib.contextmanager
def pipeline(loader, workers):
    """As nnU-Net v1 makes it: two batches kept for each worker, no seeds."""
    augmenter = MultiThreadedAugmenter(loader, None, workers, 2, seeds=None)
    try:
        next(augmenter)  # nnU-Net throws its first batch away
        yield augmenter
    finally:
        augmenter._finish()


def train(augmenter, sampler, steps, losses):
    """Take batches and answer them, as a trainer does; return what was drawn."""
    all_drawn = []
    for _ in range(steps):
        drawn = next(augmenter)[DRAWN]
        sampler.update(
            drawn["cases"], drawn["cells"], np.stack([losses[drawn["cases"]]] * 2, axis=1), version=drawn["version"]
        )
        all_drawn.append(drawn)
    return all_drawn


def counts_of(drawn):
    return np.bincount(np.concatenate([d["cases"] for d in drawn]), minlength=CASES)


@pytest.mark.parametrize("workers", [2, 12])
def test_updates_reach_the_draws(tmp_path, workers):
    cases = make_cases(tmp_path, CASES, shape=(10, 10, 10))
    settings = Settings(smoothing=0.0, in_flight_limit=False, stall_limit=False)
    loader = loader_of(cases, settings, size=1, patch=(4, 4, 4))
    sampler = loader.sampler
    easy, hard = np.full(CASES, 0.5), np.full(CASES, 0.5)
    hard[HARD] = 1.0
    with pipeline(loader, workers) as augmenter:
        train(augmenter, sampler, 60, easy)
        sampler.update([HARD], [0], [[1.0, 1.0]])
        train(augmenter, sampler, 6 * workers, hard)  # what was drawn before the change
        drawn = train(augmenter, sampler, 2000, hard)
    assert sampler.check_valid() == (True, "")
    p = sampler.probabilities()
    assert p[HARD] == pytest.approx(0.4, abs=0.02)
    assert naive.close(counts_of(drawn), p)


@pytest.mark.parametrize("workers", [2, 12])
def test_no_two_workers_draw_the_same(tmp_path, workers):
    cases = make_cases(tmp_path, CASES, shape=(24, 24, 24))
    loader = loader_of(cases, Settings(smoothing=0.0, in_flight_limit=False, stall_limit=False), size=2)
    with pipeline(loader, workers) as augmenter:
        train(augmenter, loader.sampler, 40, np.linspace(0, 1, CASES))
        batches = [next(augmenter) for _ in range(10 * workers)]
    patches = {batch["data"].tobytes() for batch in batches}
    assert len(patches) == len(batches)
