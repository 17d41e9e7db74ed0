"""The table's way to real worker processes, through nnU-Net's own multi-process augmenter."""

import contextlib
import copy
import multiprocessing

import numpy as np
import pytest

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from batchgenerators.dataloading import nondet_multi_threaded_augmenter as augmenters

from hws_nnunet import Settings
from hws_nnunet.nnunetv2.loader import DRAWN
from tests.nnunetv2.fakes import FakeCases, loader_of
from tests.sampling import naive

# The host's own thread complains when its workers end before it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
CASES = 10
HARD = 3


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


def train(augmenter, sampler, steps, losses):
    """Take batches and answer them, as a trainer does; return the batches."""
    batches = []
    for _ in range(steps):
        batch = next(augmenter)
        drawn = batch[DRAWN]
        sampler.update(
            drawn["cases"], drawn["cells"], np.stack([losses[drawn["cases"]]] * 2, axis=1), version=drawn["version"]
        )
        batches.append(batch)
    return batches


def counts_of(batches):
    return np.bincount(np.concatenate([b[DRAWN]["cases"] for b in batches]), minlength=CASES)


def hard_run(workers, *, in_flight_limit, steps, size, shared=True, method="fork"):
    """Let one case become hard after a while; return its sampler and the batches that were drawn afterwards."""
    settings = Settings(smoothing=0.0, in_flight_limit=in_flight_limit, stall_limit=False)
    loader = loader_of(FakeCases(CASES, shape=(10, 10, 10)), settings, size=size, patch=(4, 4, 4))
    sampler = loader.sampler
    if not shared:  # what a fork without shared memory has: each worker the state of the start
        loader.sampler = copy.copy(sampler)
        loader.sampler.__setstate__({"settings": settings, "table": private_copy(sampler.table)})
    easy, hard = np.full(CASES, 0.5), np.full(CASES, 0.5)
    hard[HARD] = 1.0
    with pipeline(loader, workers, method) as augmenter:
        train(augmenter, sampler, 60, easy)
        sampler.update([HARD], [0], [[1.0, 1.0]])
        train(augmenter, sampler, 2 * (workers + 16), hard)  # what was drawn before the change
        batches = train(augmenter, sampler, steps, hard)
    assert sampler.check_valid() == (True, "")
    return sampler, batches


def private_copy(table):
    twin = object.__new__(type(table))
    state = table.__getstate__()
    twin.__setstate__({**state, "_block": bytearray(memoryview(table._block))})
    return twin


@pytest.mark.parametrize("workers", [2, 12])
def test_updates_reach_the_draws(workers):
    sampler, batches = hard_run(workers, in_flight_limit=False, steps=2500, size=1)
    p = naive.closed_form(sampler.table.hardness[:, 0], sampler.table.beta, 0.05, sampler.settings.cap)
    assert p[HARD] == pytest.approx(0.4, abs=0.02)
    assert sampler.probabilities() == pytest.approx(p, rel=0.02)
    assert naive.close(counts_of(batches), p)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("workers", [2, 12])
def test_the_in_flight_rule_keeps_draws_close(workers, size):
    sampler, batches = hard_run(workers, in_flight_limit=True, steps=2500, size=size)
    counts = counts_of(batches)
    assert naive.total_variation(counts / counts.sum(), naive.inclusion(sampler.probabilities(), size)) <= 0.05


@pytest.mark.parametrize("workers", [2, 12])
def test_the_in_flight_rule_binds_across_workers(workers):
    """Marks made in one worker restrain the others: how far any case is above its limit, with the rule on and off."""

    def excess(in_flight_limit):
        settings = Settings(smoothing=0.0, in_flight_limit=in_flight_limit, stall_limit=False)
        loader = loader_of(FakeCases(CASES, shape=(10, 10, 10)), settings, size=1, patch=(4, 4, 4))
        table, losses, worst = loader.sampler.table, np.full(CASES, 0.5), []
        losses[HARD] = 1.0
        with pipeline(loader, workers) as augmenter:
            train(augmenter, loader.sampler, 100, losses)
            for _ in range(1500):
                train(augmenter, loader.sampler, 1, losses)
                share = loader.sampler.probabilities() * (table.lag + 1)
                worst.append((table.drawn - table.answered - np.ceil(share + np.sqrt(share))).max())
        return np.array(worst)

    on, off = excess(True), excess(False)
    # The measured lag, and so the limit, moves a little while draws are out.
    assert (off > 0).mean() > (on > 0).mean() + 0.05
    assert on.max() <= 2


@pytest.mark.parametrize("in_flight_limit", [False, True])
def test_without_the_shared_table_neither_holds(in_flight_limit):
    sampler, batches = hard_run(2, in_flight_limit=in_flight_limit, steps=1500, size=1, shared=False)
    counts = counts_of(batches)
    assert not naive.close(counts, sampler.probabilities())
    assert naive.total_variation(counts / counts.sum(), sampler.probabilities()) > 0.2


@pytest.mark.parametrize("method", [m for m in ("forkserver", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_updates_reach_workers_however_they_are_started(method):
    sampler, batches = hard_run(2, in_flight_limit=False, steps=1000, size=1, method=method)
    assert naive.close(counts_of(batches), sampler.probabilities())


@pytest.mark.parametrize("workers", [2, 12])
def test_no_two_workers_draw_the_same(workers):
    settings = Settings(smoothing=0.0, in_flight_limit=False, stall_limit=False)
    loader = loader_of(FakeCases(CASES, shape=(24, 24, 24)), settings, size=2)
    with pipeline(loader, workers) as augmenter:
        batches = train(augmenter, loader.sampler, 60 * workers, np.linspace(0.5, 1, CASES))
    drawn = {}
    for batch in batches[CASES:]:
        worker = int(batch["data"].max())
        drawn.setdefault(worker, []).append((*batch[DRAWN]["cases"].tolist(), *batch[DRAWN]["cells"].tolist()))
    assert len(drawn) == workers
    sequences = [tuple(sequence[:8]) for sequence in drawn.values()]
    assert len(set(sequences)) == workers
    for part in (slice(0, 2), slice(2, 4)):  # cases by themselves, cells by themselves
        assert len({tuple(draw[part] for draw in sequence) for sequence in sequences}) == workers


@pytest.mark.parametrize("workers", [2, 12])
def test_every_case_is_seen_before_any_draw_is_weighted(workers):
    loader = loader_of(FakeCases(40, shape=(10, 10, 10)), Settings(), size=2, patch=(4, 4, 4))
    table, losses = loader.sampler.table, np.linspace(0, 1, 40)
    with pipeline(loader, workers) as augmenter:
        for _ in range(400):
            unseen = int((table.visits == 0).sum())
            assert table.weighted == (unseen == 0)
            if table.weighted:
                break
            train(augmenter, loader.sampler, 1, losses)
        assert table.weighted
        assert table.visits.sum() <= 40 + 4 * (workers + 16), "few draws were repeated in the sweep"
