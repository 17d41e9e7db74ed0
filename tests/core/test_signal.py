"""What counts as a difference between cases: it is followed, noise and what all losses do are not."""

import numpy as np
import pytest

from hws_nnunet.core.reliability import smallest_share
from tests.core.test_sampler import sampler_of


def simulate(n, spread, steps, seed=0, **settings):
    """Train on losses that scatter by 0.15 around truths that scatter by ``spread``; return sampler, truth, visits."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(n)
    sampler = sampler_of(n, **settings)
    for _ in range(steps):
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, 0.4 + spread * truth[drawn.ids] + rng.normal(0, 0.15, 2), version=drawn.version)
    return sampler, truth


def test_noise_alone_is_not_followed():
    sampler, _ = simulate(100, 0.0, 8000)
    assert sampler.reliability < 0.1
    assert sampler.effective_sample_size() > 90
    visits = sampler.table.visits
    assert visits.std() / visits.mean() < 1.3 * visits.mean() ** -0.5


@pytest.mark.parametrize("steps", [60, 250, 1000])
def test_a_common_fall_of_the_losses_is_no_signal(steps):
    """As in the first epochs of a training: what all cases do tells nothing of the differences between them."""
    rng = np.random.default_rng(0)
    sampler = sampler_of(20)
    for step in range(1500):
        drawn = sampler.draw_cases(2, rng)
        losses = 0.4 + 0.5 * np.exp(-step / steps) + rng.normal(0, 0.15, 2)
        sampler.update(drawn.ids, losses, version=drawn.version)
        assert step < 100 or sampler.reliability < 0.3
    assert sampler.reliability < 0.1
    assert sampler.effective_sample_size() > 17


def test_signal_is_followed():
    sampler, truth = simulate(100, 0.1, 8000)
    assert sampler.reliability > 0.4
    assert sampler.smallest_effective_sample_size < 82
    assert sampler.effective_sample_size() < 85
    assert sampler.probabilities() @ truth > 0.3


def test_draws_that_are_uniform_can_become_weighted_later():
    rng = np.random.default_rng(0)
    sampler, truth = simulate(50, 0.0, 3000)
    assert sampler.effective_sample_size() > 45
    for _ in range(3000):
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, truth[drawn.ids] + rng.normal(0, 0.15, 2), version=drawn.version)
    assert sampler.effective_sample_size() < 42


def test_the_bound_in_force_lies_between_ess_and_all():
    assert smallest_share(0.5, 0.0) == 1.0
    assert smallest_share(0.5, 1.0) == 0.5
    assert smallest_share(0.0, 0.3) == 0.0
    assert smallest_share(5e-324, 0.0) == 1.0, "whose inverse is infinite"
    shares = [smallest_share(0.3, r) for r in np.linspace(0, 1, 20)]
    assert shares == sorted(shares, reverse=True)
