"""What people know of cases: draws around weights, and hardness pooled over groups."""

import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core.groups import Groups
from tests.core import naive
from tests.valid import fault_of

N = 30
PRIOR = np.random.default_rng(5).gamma(2.0, size=N)
GROUPS = ["rare" if i < 6 else "common" for i in range(N)]


def trained(settings=None, *, prior=None, groups=None, truth=None, noise=0.05, steps=2000, seed=0):
    """Return a sampler that has drawn and seen losses, valid after each update."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.5, 0.1, N) if truth is None else truth
    names = [f"c{i}" for i in range(N)]
    sampler = HardnessWeightedSampler(names, settings, prior=prior, groups=groups, rng=rng)
    for step in range(steps):
        drawn = sampler.draw_cases(2, rng)
        losses = truth[drawn.ids] + noise * rng.standard_normal(2)
        if step % 97 == 0:
            losses[0] = np.nan
        sampler.update(drawn.ids, losses, version=drawn.version)
        if step % 50 == 0:
            assert fault_of(sampler) == ""
    return sampler


def test_beta_0_draws_by_the_weights_alone():
    sampler = trained(Settings(beta=0.0, with_replacement=True), prior=PRIOR, steps=100)
    assert sampler.probabilities() == pytest.approx(PRIOR / PRIOR.sum())
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([sampler.draw_cases(10, rng).ids for _ in range(4000)]), minlength=N)
    assert np.abs(counts / counts.sum() - PRIOR / PRIOR.sum()).sum() / 2 < 0.03
    assert sampler.effective_sample_size() == pytest.approx(N), "relative to the weights"


def test_draws_follow_the_closed_form_around_the_weights():
    sampler = trained(Settings(ess=0.4), prior=PRIOR)
    sampler.refresh()
    prior, settings = PRIOR * N / PRIOR.sum(), sampler.settings
    expected = naive.closed_form(
        sampler.table.hardness, sampler.table.beta_in_force, settings.uniform_fraction, settings.cap, prior
    )
    assert sampler.probabilities() == pytest.approx(expected, rel=1e-6)
    assert sampler.effective_sample_size() >= sampler.smallest_effective_sample_size * (1 - 1e-6)
    assert sampler.effective_sample_size() == pytest.approx(1 / np.sum(expected**2 / prior))


def test_between_refreshes_a_weight_is_that_of_its_case_times_the_prior():
    sampler = trained(prior=PRIOR, groups=GROUPS, steps=500)
    sampler.refresh()
    before = sampler.probabilities()
    sampler.update([4], [float(sampler.table.hardness[4]) + 0.01])
    after = sampler.probabilities()
    assert after[4] > before[4]
    assert np.delete(after / before, 4) == pytest.approx((after / before)[0])
    assert fault_of(sampler) == ""


def test_stalled_cases_are_drawn_by_the_weights():
    truth = np.random.default_rng(1).normal(0.3, 0.02, N)
    truth[3] = 1.0
    sampler = trained(prior=PRIOR, truth=truth, noise=0.01)
    assert sampler.stalled == ("c3",) or sampler.stalled == (3,)
    sampler.refresh()
    assert sampler.probabilities()[3] == pytest.approx(PRIOR[3] / PRIOR.sum())
    assert sampler.probabilities().sum() == pytest.approx(1)


def test_full_pooling_makes_a_group_equally_hard_and_is_group_dro():
    sampler = trained(Settings(group_pooling=1.0), groups=GROUPS)
    sampler.refresh()
    p, hardness = sampler.probabilities(), sampler.table.hardness
    assert p[:6] == pytest.approx(p[0])
    assert p[6:] == pytest.approx(p[6])
    means = np.where(np.arange(N) < 6, hardness[:6].mean(), hardness[6:].mean())
    settings = sampler.settings
    assert p == pytest.approx(
        naive.closed_form(means, sampler.table.beta_in_force, settings.uniform_fraction, settings.cap), rel=1e-6
    )


def test_no_pooling_is_no_groups():
    groups = trained(Settings(group_pooling=0.0), groups=GROUPS)
    none = trained()
    assert np.array_equal(groups.table.visits, none.table.visits)
    assert groups.probabilities() == pytest.approx(none.probabilities(), rel=1e-12)


def test_pooling_follows_what_lies_between_groups():
    rng = np.random.default_rng(3)
    between = np.where(np.arange(N) < 6, 0.7, 0.4)
    within = np.full(N, 0.4) + rng.normal(0, 0.15, N)
    alike = trained(groups=GROUPS, truth=between, noise=0.15, steps=4000)
    apart = trained(groups=GROUPS, truth=within, noise=0.05, steps=4000)
    assert alike.groups.pooling > 0.8
    assert apart.groups.pooling < 0.3
    assert alike.probabilities()[:6].sum() > 0.35, "the rare fifth, which is truly harder"


def test_a_groups_mean_reaches_its_other_cases_without_a_visit():
    sampler = trained(Settings(group_pooling=1.0, stall_limit=False), groups=GROUPS)
    before = sampler.probabilities()[:6].sum()
    for _ in range(40):  # one rare case alone gets easier
        sampler.update([0], [0.0])
    assert fault_of(sampler) == ""
    assert sampler.probabilities()[1:6].sum() < 0.9 * before


def test_state_goes_on_with_the_same_pooling():
    sampler = trained(groups=GROUPS)
    state = sampler.state_dict()
    other = HardnessWeightedSampler(sampler.table.names, groups=GROUPS)
    other.load_state_dict(state)
    assert other.groups.pooling == sampler.groups.pooling
    assert np.array_equal(other.probabilities(), sampler.probabilities())
    HardnessWeightedSampler(sampler.table.names).load_state_dict(state)  # groups are gone
    ungrouped = HardnessWeightedSampler(sampler.table.names)
    HardnessWeightedSampler(sampler.table.names, groups=GROUPS).load_state_dict(ungrouped.state_dict())  # or new


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": [1.0]}, "1 weights given; there are 2 cases"),
        ({"groups": ["a", "b", "c"]}, "3 groups given; there are 2 cases"),
        ({"prior": [1.0, 0.0]}, "above 0"),
        ({"prior": [1.0, float("nan")]}, "above 0"),
        ({"prior": [1.0, float("inf")]}, "above 0"),
        ({"prior": [1.0, 1e-300]}, "at least 1e-09 of the mean, given: 1e-300 to 1.0"),
    ],
)
def test_what_cannot_be_used_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HardnessWeightedSampler(["a", "b"], **options)


def test_weights_have_no_unit():
    for unit in (1e-300, 1.0, 1e308):
        sampler = HardnessWeightedSampler(["a", "b"], prior=[unit, 0.5 * unit])
        assert sampler.prior == pytest.approx([4 / 3, 2 / 3])


@pytest.mark.parametrize("pooling", [1.0, 0.5, None])
def test_cases_of_no_group_are_as_groups_of_one(pooling):
    rng = np.random.default_rng(0)
    none, alone = Groups(["", "x", "x", "", "y", "y"], pooling), Groups(["a", "x", "x", "b", "y", "y"], pooling)
    assert none.names == ("(none)", "x", "y")
    tracked = np.full(6, np.nan)
    for _ in range(60):
        cases = np.sort(rng.permutation(6)[: rng.integers(1, 7)])
        old, values = tracked[cases], rng.normal(size=len(cases))
        new = np.where(np.isnan(old), values, 0.8 * old + 0.2 * values)
        one, two = (groups.learn_all(cases, old, new, values) for groups in (none, alone))
        np.testing.assert_allclose(one, two)
        tracked[cases] = new
        case = int(cases[0])
        assert none.learn(case, tracked[case], 1.0) == pytest.approx(alone.learn(case, tracked[case], 1.0))
        assert none.pooling == pytest.approx(alone.pooling)
        none.freeze()
        alone.freeze()
        np.testing.assert_allclose(none.pooled_all(slice(None), tracked), alone.pooled_all(slice(None), tracked))
        assert none.pooled(0, tracked[0]) == pytest.approx(tracked[0], nan_ok=True)
    none.add(0, tracked[0], tracked[0] + 9)
    assert not none.have_moved(10.0)
