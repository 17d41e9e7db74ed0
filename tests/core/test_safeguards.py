"""Safeguards: what they hold is drawn uniformly, costs nothing, and is told with their own reason."""

import math

import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core import updates
from hws_nnunet.core.safeguards import Safeguard
from hws_nnunet.core.weights import Weights
from hws_nnunet.record.history import summarise
from tests.valid import fault_of


def held(monkeypatch, cases):
    class First(Safeguard):
        title, reason = "First", "because they come first"

        def hold(self, offset):
            assert np.isfinite(offset).all()
            return np.arange(len(offset)) < cases

    monkeypatch.setattr(updates, "SAFEGUARDS", (*updates.SAFEGUARDS, First))


def train(n, steps, size=2, **settings):
    rng = np.random.default_rng(0)
    truth = rng.normal(0.5, 0.1, n)
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(n)], Settings(**settings), rng=rng)
    for _ in range(steps):
        drawn = sampler.draw_cases(size, rng)
        sampler.update(drawn.ids, truth[drawn.ids] + 0.1 * rng.standard_normal(size), version=drawn.version)
        assert fault_of(sampler) == ""
    return sampler


@pytest.mark.parametrize("size", [2, 32])
def test_held_cases_cost_no_computation(monkeypatch, size):
    counted = []
    compute = Weights.compute
    monkeypatch.setattr(Weights, "compute", lambda self: counted.append(1) or compute(self))
    train(300, 1500, size)
    without = len(counted)
    held(monkeypatch, 20)
    counted.clear()
    sampler = train(300, 1500, size)
    assert len(counted) <= 1.5 * without + 2
    assert sampler.probabilities()[:20] == pytest.approx(sampler.probabilities()[0])


def test_all_cases_held(monkeypatch):
    held(monkeypatch, 10)
    sampler = train(10, 300)
    assert sampler.probabilities() == pytest.approx(np.full(10, 0.1))
    assert sampler.table.beta_in_force == 0
    assert sampler.held[0].cases == tuple(range(10))
    other = HardnessWeightedSampler(sampler.table.names)
    other.load_state_dict(sampler.state_dict())
    assert other.probabilities() == pytest.approx(np.full(10, 0.1))


def test_all_but_one_held(monkeypatch):
    held(monkeypatch, 9)
    assert train(10, 300).probabilities() == pytest.approx(np.full(10, 0.1))


def test_each_safeguard_tells_its_own_reason(monkeypatch):
    held(monkeypatch, 2)
    sampler = train(10, 100)
    summary = summarise(sampler, lags=[1], visits_before=np.zeros(10))
    assert summary.lines()[-1] == "First: case0, case1: because they come first"
    assert summary.stalled == sampler.stalled == ()
    for _ in range(200):
        sampler.update(range(2, 10), [5.0] + [0.5] * 7)
    assert sampler.stalled == (2,)
    summary = summarise(sampler, lags=[1], visits_before=np.zeros(10))
    stalled, first = summary.lines()[-2:]
    assert stalled.startswith("Stalled: case2: far harder than the others")
    assert "Are the labels right?" in stalled
    assert first.startswith("First: ")


def test_what_a_safeguard_learns_comes_to_it_in_batches_of_any_size(monkeypatch):
    seen = []

    class Watch(Safeguard):
        def hold(self, offset):
            return np.zeros(len(offset), dtype=bool)

        def learn(self, cases, losses, levels):
            seen.extend(zip(cases.tolist(), losses.tolist(), strict=True))
            return False

    monkeypatch.setattr(updates, "SAFEGUARDS", (Watch,))
    sampler = HardnessWeightedSampler(map(str, range(200)))
    sampler.update(range(200), np.arange(200.0))
    sampler.update([3, 4], [1.0, math.nan])
    assert seen == [*((i, float(i)) for i in range(200)), (3, 1.0)]
