"""The table's way to real worker processes, through nnU-Net v1's own augmenter."""

import contextlib

import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

from hws_nnunet import Settings
from hws_nnunet.hosts.loaders import DRAWN
from tests.core import naive
from tests.nnunetv1.fakes import centres_of, loader_of, make_cases, teach
from tests.valid import fault_of

pytestmark = pytest.mark.slow
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


def train(augmenter, sampler, steps, losses, structures=(0.5, 0.5)):
    """Take batches and answer them, as a trainer does; return the batches."""
    batches = []
    for _ in range(steps):
        batch = next(augmenter)
        cases, version = batch[DRAWN].ids, batch[DRAWN].version
        of_structures = np.tile(structures, (len(cases), 1))
        sampler.update(cases, losses[cases], structures=of_structures, version=version)
        batches.append(batch)
    return batches


def counts_of(batches):
    return np.bincount(np.concatenate([b[DRAWN].ids for b in batches]), minlength=CASES)


@pytest.mark.parametrize("workers", [2, 12])
def test_updates_reach_the_draws(tmp_path, workers):
    shape = (10, 10, 10)
    settings = Settings(ess=0.5, smoothing=0.0, stall_limit=False, structure_beta=2.0)
    options = {"size": 1, "patch": (4, 4, 4), "structures": (1, 2), "oversample": 1.0}
    loader, sampler = loader_of(make_cases(tmp_path, CASES, shape), settings, **options)
    easy, hard = np.full(CASES, 0.5), np.full(CASES, 0.5)
    hard[HARD] = 1.0
    with pipeline(loader, workers) as augmenter:
        train(augmenter, sampler, 60, easy)
        teach(sampler, hard, np.tile((0.2, 0.9), (CASES, 1)))
        train(augmenter, sampler, 6 * workers, hard, (0.2, 0.9))  # what was drawn before the change
        batches = train(augmenter, sampler, 1500, hard, (0.2, 0.9))
    assert fault_of(sampler) == ""
    p = sampler.probabilities()
    assert p[HARD] == pytest.approx(0.4, abs=0.02)
    assert naive.close(counts_of(batches), p)
    centres = np.concatenate([centres_of(batch, shape) for batch in batches])
    assert naive.close(np.bincount(centres[:, 1] - 6, minlength=2), naive.softmax([0.2, 0.9], 2.0))


@pytest.mark.parametrize("workers", [2, 12])
def test_no_two_workers_draw_the_same(tmp_path, workers):
    cases = make_cases(tmp_path, CASES, shape=(24, 24, 24))
    settings = Settings(smoothing=0.0, stall_limit=False, structure_beta=1e-9)
    loader, sampler = loader_of(cases, settings, structures=(1, 2))
    with pipeline(loader, workers) as augmenter:
        train(augmenter, sampler, 40, np.linspace(0, 1, CASES))
        batches = [next(augmenter) for _ in range(10 * workers)]
    patches = {batch["data"].tobytes() for batch in batches}
    assert len(patches) == len(batches)
