"""Losses that come many at a time have the effect of the same losses one by one."""

import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core.updates import Updates

CASES = 300
KNOWN = {
    "nothing": {},
    "prior": {"prior": np.random.default_rng(9).random(CASES) + 0.5},
    "groups": {"groups": [str(case % 7) for case in range(CASES)]},
}


def batches(rng, count=150):
    """Yield ids, some of them twice, and losses: noisy ones, some that are not finite, and cases that stay hard."""
    base = rng.normal(1.0, 0.3, CASES)
    base[:5] = 9.0
    for number in range(count):
        size = int(rng.integers(25, 260))
        ids = rng.integers(0, CASES, size) if number % 2 else rng.permutation(CASES)[:size]
        losses = base[ids] + rng.normal(0.0, 0.05, size) * (ids >= 10)
        faulty = rng.random(size)
        losses[faulty < 0.03] = np.nan
        losses[(faulty > 0.03) & (faulty < 0.05)] = np.inf
        losses[(faulty > 0.05) & (faulty < 0.06)] = -np.inf
        yield ids, losses


@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("seed", [0, 1])
def test_many_at_a_time_are_as_good_as_one_by_one(known, seed, monkeypatch):
    names = [str(case) for case in range(CASES)]
    fast, slow = (HardnessWeightedSampler(names, rng=np.random.default_rng(0), **KNOWN[known]) for _ in range(2))
    at_once, calls = Updates._all_at_once, []

    def one_by_one(self, ids, losses):
        if self is slow._updates:
            return self._one_by_one(ids.tolist(), losses.tolist())
        calls.append(len(ids))
        return at_once(self, ids, losses)

    monkeypatch.setattr(Updates, "_all_at_once", one_by_one)
    for ids, losses in batches(np.random.default_rng(seed)):
        for sampler in (fast, slow):
            sampler.update(ids, losses)
    assert len(calls) == 150
    for column in ("visits", "offset", "weight"):
        expected = getattr(slow.table, column)
        assert getattr(fast.table, column) == pytest.approx(expected, rel=1e-11, abs=1e-13, nan_ok=True), column
    assert fast.table.weighted
    assert (fast.table.version, fast.table.unseen) == (slow.table.version, slow.table.unseen)
    assert fast.table.level == pytest.approx(slow.table.level, rel=1e-11)
    assert fast.reliability == pytest.approx(slow.reliability, rel=1e-9)
    assert [held.cases for held in fast.held] == [held.cases for held in slow.held]
    assert fast.held or seed, "the first trainings stall cases"


@pytest.mark.parametrize("size", [2, 40])
def test_first_losses_count_alike_however_many_patches_between_them_have_none(size):
    without, between = (HardnessWeightedSampler(range(size), Settings(smoothing=0.8)) for _ in range(2))
    for sampler in (without, between):
        for _ in range(100):
            sampler.update([0], [0.5])  # finds the level
        for loss in (1.0, 0.5, 0.5):
            for patch in [loss] if sampler is without else [np.nan, np.nan, loss]:
                sampler.update(range(1, size), [patch] * (size - 1))
    assert between.table.hardness == pytest.approx(without.table.hardness)
    assert size > 2 or without.table.hardness[1] == pytest.approx(2 / 3, abs=0.01)
    between.load_state_dict({**between.state_dict(), "answers": np.zeros(size, dtype=int)})  # as were
    assert between.table.answers.tolist() == [100, *[9] * (size - 1)]
