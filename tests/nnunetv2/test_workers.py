"""The table's way to real worker processes, through nnU-Net's own multi-process augmenter."""

import contextlib
import multiprocessing

import numpy as np
import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from batchgenerators.dataloading import nondet_multi_threaded_augmenter as augmenters

from hws_nnunet import Settings
from hws_nnunet.core.draws import Draws
from hws_nnunet.hosts.loaders import DRAWN
from tests.core import naive
from tests.nnunetv2.fakes import FakeCases, loader_of, teach
from tests.valid import fault_of

# The host's own thread complains when its workers end before it.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")]
CASES = 10
HARD = 3
STRUCTURES = (1, 2)


class OwnMethod:
    """nnU-Net's augmenter makes its processes and queues by the default start method: put another in its place."""

    def __init__(self, method):
        self.context = multiprocessing.get_context(method)

    def __enter__(self):
        self.kept = {name: getattr(augmenters, name) for name in ("Process", "Queue", "Event")}
        for name in self.kept:
            setattr(augmenters, name, getattr(self.context, name))

    def __exit__(self, *exception):
        for name, value in self.kept.items():
            setattr(augmenters, name, value)


@contextlib.contextmanager
def pipeline(loader, workers, method="fork"):
    with OwnMethod(method):
        augmenter = augmenters.NonDetMultiThreadedAugmenter(
            loader, None, workers, num_cached=max(6, workers // 2), seeds=None, wait_time=0.002
        )
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
        of_structures = np.tile(structures, (len(cases), 1)) if sampler.table.structures else None
        sampler.update(cases, losses[cases], structures=of_structures, version=version)
        batches.append(batch)
    return batches


def counts_of(batches):
    return np.bincount(np.concatenate([b[DRAWN].ids for b in batches]), minlength=CASES)


def hard_run(workers, *, steps, size=1, shared=True, method="fork"):
    """Let a case and a structure become hard after a while.

    Returns:
        the sampler, the batches that were drawn afterwards, and how often each structure was.
    """
    cases = FakeCases(CASES, shape=(10, 10, 10))
    settings = Settings(ess=0.5, smoothing=0.0, stall_limit=False, structure_beta=2.0)
    loader, sampler = loader_of(cases, settings, size=size, patch=(4, 4, 4), structures=STRUCTURES, oversample=1.0)
    if not shared:  # what a fork without shared memory has: each worker the state of the start
        loader.draws = Draws(private_copy(sampler.table), settings)
    easy, hard = np.full(CASES, 0.5), np.full(CASES, 0.5)
    hard[HARD] = 1.0
    with pipeline(loader, workers, method) as augmenter:
        train(augmenter, sampler, 60, easy)
        teach(sampler, hard, np.tile((0.2, 0.9), (CASES, 1)))
        train(augmenter, sampler, 2 * (workers + 16), hard, (0.2, 0.9))  # what was drawn before the change
        batches = train(augmenter, sampler, steps, hard, (0.2, 0.9))
    assert fault_of(sampler) == ""
    centres = np.concatenate([cases.centres(batch) for batch in batches])
    return sampler, batches, np.bincount(centres[:, 1] - 6, minlength=2)


def private_copy(table):
    twin = object.__new__(type(table))
    state = table.__getstate__()
    twin.__setstate__({**state, "_block": bytearray(memoryview(table._block))})
    return twin


STRUCTURE_SHARES = naive.softmax([0.2, 0.9], 2.0)


@pytest.mark.parametrize(("workers", "size"), [(2, 1), (2, 2), (12, 1)])
def test_updates_reach_the_draws(workers, size):
    sampler, batches, structures = hard_run(workers, steps=800, size=size)
    p = naive.closed_form(sampler.table.hardness, sampler.table.beta_in_force, 0.05, sampler.settings.cap)
    assert p[HARD] == pytest.approx(0.4, abs=0.02)
    assert sampler.probabilities() == pytest.approx(p, rel=0.02)
    assert naive.close(counts_of(batches), naive.inclusion(p, size))
    assert naive.close(structures, STRUCTURE_SHARES)


def test_without_the_shared_table_none_does():
    sampler, batches, structures = hard_run(2, steps=800, shared=False)
    counts = counts_of(batches)
    assert naive.total_variation(counts / counts.sum(), sampler.probabilities()) > 0.2
    assert naive.close(structures, [0.5, 0.5])
    assert not naive.close(structures, STRUCTURE_SHARES)


@pytest.mark.parametrize("method", [m for m in ("forkserver", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_updates_reach_workers_however_they_are_started(method):
    sampler, batches, structures = hard_run(2, steps=800, method=method)
    assert naive.close(counts_of(batches), sampler.probabilities())
    assert naive.close(structures, STRUCTURE_SHARES)


@pytest.mark.parametrize("workers", [2, 12])
def test_no_two_workers_draw_the_same(workers):
    cases = FakeCases(CASES, shape=(24, 24, 24))
    settings = Settings(smoothing=0.0, stall_limit=False, structure_beta=1e-9)
    loader, sampler = loader_of(cases, settings, structures=STRUCTURES, oversample=1.0)
    with pipeline(loader, workers) as augmenter:
        batches = train(augmenter, sampler, 60 * workers, np.linspace(0.5, 1, CASES))
    drawn = {}
    for batch in batches[CASES:]:
        of_structures = (cases.centres(batch)[:, 1] - 6).tolist()
        drawn.setdefault(int(batch["data"].max()), []).append((batch[DRAWN].ids.tolist(), of_structures))
    assert len(drawn) == workers
    for part in range(2):  # cases by themselves, structures by themselves
        assert len({str([draw[part] for draw in sequence[:16]]) for sequence in drawn.values()}) == workers


def test_a_generator_made_before_the_fork_is_not_inherited():
    loader, sampler = loader_of(FakeCases(CASES), Settings())
    teach(sampler, np.linspace(0.5, 1, CASES))
    next(loader)
    context = multiprocessing.get_context("fork")
    draws = []
    for _ in range(2):  # as the host does in its workers: the global generator is seeded, and then used
        here, there = context.Pipe()
        worker = context.Process(target=lambda end: (np.random.seed(), end.send(loader._rng().random())), args=(there,))
        worker.start()
        draws.append(here.recv())
        worker.join()
    assert len({*draws, loader._rng().random()}) == 3


@pytest.mark.parametrize("workers", [2, 12])
def test_every_case_is_seen_before_any_draw_is_weighted(workers):
    loader, sampler = loader_of(FakeCases(40, shape=(10, 10, 10)), Settings(), patch=(4, 4, 4))
    table, losses = sampler.table, np.linspace(0, 1, 40)
    with pipeline(loader, workers) as augmenter:
        for _ in range(400):
            unseen = int((table.visits == 0).sum())
            assert table.weighted == (unseen == 0)
            if table.weighted:
                break
            train(augmenter, sampler, 1, losses)
        assert table.weighted
        assert table.visits.sum() <= 40 + 4 * (workers + 16), "few draws were repeated in the sweep"
