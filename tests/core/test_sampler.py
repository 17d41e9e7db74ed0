import math

import numpy as np
import pytest
import torch

from hws_nnunet import HardnessWeightedSampler, Settings
from tests.core import naive
from tests.valid import fault_of

PAPER = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0}


def sampler_of(n, *, losses=None, **settings):
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(n)], Settings(**settings))
    if losses is not None:
        teach(sampler, losses)
    return sampler


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, np.ndarray | torch.Tensor):
            assert np.array_equal(np.asarray(value), np.asarray(other[key]), equal_nan=True), key
        else:
            assert value == other[key], key


def teach(sampler, losses):
    """Have every case answer the same loss again and again, so that differences between cases count as real."""
    for _ in range(1 + -(-16 // len(losses))):
        sampler.update(range(len(losses)), np.asarray(losses, dtype=float))
    sampler.refresh()
    assert fault_of(sampler) == ""


def count(sampler, draws, size, rng):
    counts = np.zeros(len(sampler), dtype=int)
    for _ in range(draws):
        np.add.at(counts, sampler.draw_cases(size, rng).ids, 1)
    return counts


# ------------------------------------------------------------------ draws against the closed form


@pytest.mark.parametrize("beta", [1.0, 3.0])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_draws_follow_the_closed_form(size, beta):
    losses = np.linspace(0, 1, 7)
    sampler = sampler_of(7, losses=losses, beta=beta, **PAPER)
    p = naive.closed_form(losses, beta)
    assert sampler.probabilities() == pytest.approx(p)
    counts = count(sampler, 30_000 // size, size, np.random.default_rng(size))
    assert naive.close(counts, naive.inclusion(p, size))
    assert size == 1 or not naive.close(counts, p), "batches without replacement have other shares"


@pytest.mark.parametrize("cap", [4.0, None])
@pytest.mark.parametrize(("n", "size"), [(400, 2), (400, 16), (400, 17), (520, 64), (2048, 256)])
def test_batches_of_any_size_follow_one_draw_after_another(n, size, cap):
    losses = np.concatenate((np.linspace(0, 1, n - 4), [1.5, 2.0, 2.5, 3.0]))
    sampler = sampler_of(n, losses=losses, beta=6.0, ess=0.0, cap=cap, uniform_fraction=0.0)
    p, rng = sampler.probabilities(), np.random.default_rng(size)
    counts, expected = np.zeros(n), np.zeros(n)
    batches = 60_000 // size
    for _ in range(batches):
        counts[sampler.draw_cases(size, rng).ids] += 1
        expected[rng.choice(n, size, replace=False, p=p)] += 1
    deviations = (counts - expected) / np.sqrt(np.maximum(counts + expected, 1))
    assert np.abs(deviations).max() < 5
    assert np.mean(deviations**2) < 1.2
    hardest = slice(n - 4, n)
    assert abs(counts[hardest].sum() - expected[hardest].sum()) < 5 * np.sqrt(2 * expected[hardest].sum())


def test_batches_that_are_slow_to_draw_are_not_drawn_less_often():
    p = np.array([0.3, 0.3, 0.3] + [0.1 / 29] * 29)  # after the three, a draw is rejected 99 times in 100
    sampler = sampler_of(32, losses=np.log(p), beta=1.0, **PAPER)
    assert sampler.probabilities() == pytest.approx(p)
    rng = np.random.default_rng(3)
    drawn = [np.sort(sampler.draw_cases(4, rng).ids)[2] for _ in range(8_000)]
    expected = [np.sort(rng.choice(32, 4, replace=False, p=p))[2] for _ in range(8_000)]
    assert np.mean(np.equal(drawn, 2)) == pytest.approx(np.mean(np.equal(expected, 2)), abs=0.02)


@pytest.mark.parametrize("harder", [30.0, 900.0])
def test_a_batch_larger_than_the_cases_that_have_all_weight_is_drawn(harder):
    losses = np.zeros(400)
    losses[:10] += harder
    sampler = sampler_of(400, losses=losses, beta=1.0, ess=0.0, cap=None, uniform_fraction=0.0)
    ids = sampler.draw_cases(20, np.random.default_rng(0)).ids
    assert len(set(ids.tolist())) == 20
    assert set(range(10)) <= set(ids.tolist())


@pytest.mark.parametrize("size", [2, 4])
def test_draws_with_replacement_follow_the_closed_form_too(size):
    losses = np.linspace(0, 1, 7)
    sampler = sampler_of(7, losses=losses, beta=2.0, with_replacement=True, **PAPER)
    counts = count(sampler, 30_000 // size, size, np.random.default_rng(0))
    assert naive.close(counts, naive.closed_form(losses, 2.0))


def test_defaults_follow_the_closed_form_at_the_solved_beta():
    losses = np.random.default_rng(1).normal(1, 0.2, 40)
    sampler = sampler_of(40, losses=losses)
    p = naive.closed_form(losses, sampler.table.beta_in_force, sampler.settings.uniform_fraction, sampler.settings.cap)
    assert sampler.probabilities() == pytest.approx(p)
    assert sampler.effective_sample_size() == pytest.approx(32, rel=0.01)
    assert naive.close(count(sampler, 40_000, 1, np.random.default_rng(2)), p)


def test_draws_tell_the_version_that_they_saw():
    sampler = sampler_of(3, losses=[0.0, 1.0, 2.0], beta=1.0, **PAPER)
    assert sampler.draw_cases(2, np.random.default_rng(0)).version == sampler.table.version > 0


def test_a_batch_holds_no_case_twice_while_there_are_others():
    sampler = sampler_of(5, losses=[9, 0, 0, 0, 0], beta=1e6, **PAPER)
    rng = np.random.default_rng(0)
    for size in (2, 4, 5):
        for _ in range(50):
            assert len(set(sampler.draw_cases(size, rng).ids.tolist())) == size
    assert set(sampler.draw_cases(7, rng).ids.tolist()) == set(range(5))  # more than there are: all, and some twice
    assert len(sampler_of(1, losses=[1.0]).draw_cases(2, rng).ids) == 2


# ------------------------------------------------------------------ warm-up pass


@pytest.mark.parametrize("size", [1, 2, 4])
def test_every_case_is_drawn_once_before_any_twice(size):
    sampler = HardnessWeightedSampler(map(str, range(20)), rng=np.random.default_rng(5))
    rng = np.random.default_rng(0)
    drawn = np.concatenate([sampler.draw_cases(size, rng).ids for _ in range(20 // size)])
    assert sorted(drawn.tolist()) == list(range(20))
    assert drawn.tolist() == sampler.table.order.tolist()
    assert drawn.tolist() != sorted(drawn.tolist())


def test_draws_are_weighted_only_when_every_case_has_been_seen():
    sampler = sampler_of(6, beta=1e6, **PAPER)
    rng = np.random.default_rng(0)
    for case in range(5):
        assert not sampler.table.weighted
        sampler.update([case], [float(case)])
    counts = count(sampler, 3000, 1, rng)
    assert counts.min() > 0, "not weighted yet: all may come"
    sampler.update([5], [0.0])
    assert sampler.table.weighted
    assert count(sampler, 1, 1, rng)[4] == 1


def test_a_draw_lost_in_the_sweep_is_repeated():
    sampler = sampler_of(6)
    rng = np.random.default_rng(0)
    lost = sampler.draw_cases(2, rng).ids  # nnU-Net throws its first batch away
    for _ in range(2):
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, [1.0, 1.0], version=drawn.version)
    for _ in range(8):  # what waits counts as lost
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, [1.0, 1.0], version=drawn.version)
        if sampler.table.weighted:
            break
    assert sampler.table.weighted
    assert sampler.table.visits[lost].min() == 1


# ------------------------------------------------------------------ updates


def test_losses_are_smoothed_in_order():
    """The first visits count alike; then the gain is 1 - smoothing."""
    sampler = sampler_of(2, smoothing=0.75)
    sampler.update([0, 0, 1], [1.0, 2.0, 5.0])
    assert sampler.table.hardness[:] == pytest.approx([1.5, 5.0])
    assert sampler.table.visits.tolist() == [2, 1]
    sampler.update([0, 0], [3.0, 6.0])
    assert sampler.table.hardness[0] == pytest.approx(3.0), "the mean of four"
    sampler.update([0], [1.0])
    assert sampler.table.hardness[0] == pytest.approx(0.75 * 3.0 + 0.25 * 1.0)


def test_what_was_tracked_follows_the_level_of_all():
    """Losses of all cases fall by 1; a case that was not visited meanwhile is still compared rightly."""
    sampler = sampler_of(100, smoothing=0.8)
    losses = np.linspace(1.0, 2.0, 100)
    rng = np.random.default_rng(0)
    for _ in range(5):
        sampler.update(range(100), losses)
    for _ in range(30):
        order = rng.permutation(99)
        sampler.update(order, losses[order] - 1.0)
    assert sampler.table.visits[99] == 5
    assert sampler.table.hardness[99] == pytest.approx(1.0, abs=0.2)


def test_structures_are_tracked_where_a_sample_shows_them():
    sampler = HardnessWeightedSampler("ab", Settings(smoothing=0.5), structures=["x", "y"])
    sampler.update([0, 1], [0.5, 0.5], structures=[[0.2, math.nan], [math.nan, 1.0]])
    assert sampler.table.structure_hardness[0].tolist()[0] == 0.2
    sampler.update([0, 0], [0.5, 0.5], structures=[[0.4, 0.8], [math.nan, math.inf]])
    assert sampler.table.structure_hardness == pytest.approx(np.array([[0.3, 0.8], [np.nan, 1.0]]), nan_ok=True)
    assert fault_of(sampler) == ""


def test_losses_by_another_measure_are_smoothed_and_change_no_draw():
    one, other = (HardnessWeightedSampler("abc", Settings(smoothing=0.5)) for _ in range(2))
    steps = [([0, 1, 2], [0.5, 0.6, 0.7], [2.0, math.nan, 4.0]), ([0, 1, 0], [0.5, 0.5, 0.4], [3.0, 5.0, math.inf])]
    for cases, losses, others in steps:
        one.update(cases, losses)
        other.update(cases, losses, other_losses=others)
    assert np.isnan(one.table.other_loss).all()
    assert other.table.other_loss.tolist() == [2.5, 5.0, 4.0]
    assert other.probabilities().tolist() == one.probabilities().tolist()
    with pytest.raises(ValueError, match=r"other losses have shape \(1,\), expected \(2,\)"):
        other.update([0, 1], [0.5, 0.5], other_losses=[1.0])
    assert other.table.visits.tolist() == [3, 2, 1]
    many = np.arange(100)
    sampler = sampler_of(100)
    sampler.update(many, many / 100, other_losses=many / 10)
    assert sampler.table.other_loss == pytest.approx(many / 10)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.7e308, -1.7e308])
def test_a_value_that_is_not_finite_is_a_visit_and_nothing_else(value):
    sampler = sampler_of(3, losses=[0.1, 0.2, 0.3])
    hardness, visits = sampler.table.hardness, sampler.table.visits.copy()
    sampler.update([1], [value])
    assert np.array_equal(hardness, sampler.table.hardness)
    assert (sampler.table.visits - visits).tolist() == [0, 1, 0]
    assert fault_of(sampler) == ""


def test_cases_without_a_value_rank_as_hardest_before_and_as_the_mean_after_a_visit():
    sampler = sampler_of(4)
    sampler.update([0, 1, 2], [0.0, 1.0, math.nan])
    assert sampler.ranked_offsets() + sampler.table.level == pytest.approx([0.0, 1.0, 0.5, 1.0])


@pytest.mark.parametrize("settings", [{}, {"ess": 0.0, "beta": 5.0}, {"cap": None}, {"cap": 1.5, "ess": 0.2}])
def test_weights_stay_those_of_the_closed_form_under_random_updates(settings):
    """The fast structure beside the slow twin, compared after each step."""
    rng = np.random.default_rng(7)
    n = 60
    first = rng.normal(1, 0.1, n)
    sampler, twin = sampler_of(n, losses=first, smoothing=0.5, **settings), naive.Tracker(n, 0.5)
    for _ in range(2):
        twin.update(range(n), first)
    for step in range(400):
        cases = rng.choice(n, 2)
        losses = rng.normal(1 - step / 400, 0.1, 2) if step % 50 else np.array([3.0, np.nan])
        sampler.update(cases, losses)
        twin.update(cases, losses)
        assert sampler.table.hardness[:] == pytest.approx(twin.hardness)
        assert sampler._tracker.mean == pytest.approx(sampler.table.offset.mean())
        assert fault_of(sampler) == ""
        options = sampler.settings
        exact = naive.closed_form(twin.hardness, sampler.table.beta_in_force, options.uniform_fraction, options.cap)
        # Between two refreshes the cap and the uniform share are held to 5 %, all else is exact.
        assert naive.total_variation(sampler.probabilities(), exact) < 0.05
    sampler.refresh()
    exact = naive.closed_form(twin.hardness, sampler.table.beta_in_force, options.uniform_fraction, options.cap)
    assert sampler.probabilities() == pytest.approx(exact)


def test_a_constant_added_to_all_losses_changes_nothing():
    """Draws, bounds, verdicts: all of the sampler, a case with a wrong label and one that learns among them."""
    samplers = [sampler_of(30, smoothing=0.5), sampler_of(30, smoothing=0.5)]
    rngs, noise = [np.random.default_rng(0), np.random.default_rng(0)], np.random.default_rng(1)
    truth = noise.normal(0.0, 0.05, 30)
    for step in range(800):
        drawn = [sampler.draw_cases(2, rng) for sampler, rng in zip(samplers, rngs, strict=True)]
        assert drawn[0].ids.tolist() == drawn[1].ids.tolist()
        losses = truth[drawn[0].ids] + noise.normal(0.0, 0.05, 2)
        losses[drawn[0].ids == 3] = 1.0
        losses[drawn[0].ids == 4] = 2.0 / (1 + step / 100)
        for sampler, constant in zip(samplers, (-0.45, 40.0), strict=True):
            sampler.update(drawn[0].ids, losses + constant, version=drawn[0].version)
        assert samplers[0].stalled == samplers[1].stalled
        assert samplers[0].reliability == pytest.approx(samplers[1].reliability, abs=1e-6)
        assert np.allclose(samplers[0].probabilities(), samplers[1].probabilities(), rtol=1e-6)
    assert samplers[0].stalled == (3,)
    assert samplers[0].table.hardness + 40.45 == pytest.approx(samplers[1].table.hardness)


def test_a_loss_far_beyond_the_scale_takes_effect_at_once():
    sampler = sampler_of(100, losses=np.zeros(100), smoothing=0.0, ess=0.0, cap=None, uniform_fraction=0.0)
    sampler.update([3], [1e6])
    assert sampler.probabilities()[3] == pytest.approx(1.0)
    sampler.update([3], [-1e6])
    assert sampler.probabilities()[3] < 1e-6
    assert fault_of(sampler) == ""


def test_bad_updates_change_nothing():
    sampler = sampler_of(3, losses=[0.1, 0.2, 0.3])
    before = sampler.state_dict()
    for cases, losses, message in (
        ([0, 3], [1.0, 1.0], r"cases \[0, 3\] given; there are 3 cases"),
        ([0], [1.0, 2.0], r"1 cases and losses of shape \(2,\) given; expected one each"),
        ([0, 1], [[1.0, 2.0], [1.0, 2.0]], r"shape \(2, 2\) given; expected one each"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.update(cases, losses)
    with pytest.raises(ValueError, match=r"losses of structures have shape \(1, 2\), expected \(1, 0\)"):
        sampler.update([0], [1.0], structures=[[0.1, 0.2]])
    with pytest.raises(ValueError, match="size has to be at least 1, given: 0"):
        sampler.draw_cases(0, np.random.default_rng())
    assert_same_state(sampler.state_dict(), before)


# ------------------------------------------------------------------ draws ahead of their answers


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("depth", [0, 5, 25])
@pytest.mark.parametrize("losses", [np.linspace(0.5, 1.0, 10), np.array([1.0] + [0.5] * 9)])
def test_draws_ahead_follow_the_closed_form(losses, depth, size):
    sampler = sampler_of(10, losses=losses)
    rng, waiting, counts = np.random.default_rng(1), [], np.zeros(10)
    for _ in range(6000 // size):
        waiting.append(sampler.draw_cases(size, rng))
        np.add.at(counts, waiting[-1].ids, 1)
        if len(waiting) > depth:
            drawn = waiting.pop(0)
            sampler.update(drawn.ids, losses[drawn.ids], version=drawn.version)
    assert sampler.reliability == pytest.approx(1.0)
    expected = naive.inclusion(sampler.probabilities(), size)
    assert naive.total_variation(counts / counts.sum(), expected) <= 0.03


# ------------------------------------------------------------------ structures


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_structures_follow_the_closed_form(beta):
    sampler = HardnessWeightedSampler("ab", Settings(structure_beta=beta), structures="vwxyz")
    losses = np.array([0.1, 0.9, 0.4, 0.6, np.nan])
    sampler.update([1], [0.5], structures=[losses])
    among = [0, 2, 3, 4]
    p = np.exp(beta * np.array([0.1, 0.4, 0.6, (0.1 + 0.4 + 0.6) / 3]))
    p /= p.sum()
    assert sampler.draws.structure_probabilities(1, among) == pytest.approx(p)
    rng = np.random.default_rng(0)
    drawn = [sampler.draws.draw_structure(1, among, rng) for _ in range(8000)]
    assert naive.close(np.bincount(drawn, minlength=5)[among], p)
    assert sampler.draws.structure_probabilities(0, [1, 2]).tolist() == [0.5, 0.5]


# ------------------------------------------------------------------ consistency


def test_readers_never_see_weights_thrown_out_of_scale(monkeypatch):
    """What a jump does to the weights is mended before the table is given free."""
    sampler = sampler_of(100, losses=np.random.default_rng(0).normal(1, 0.1, 100), smoothing=0.0)
    seen = []
    original = type(sampler.table.writing()).__exit__

    def watched(self, *exception):
        original(self, *exception)
        assert sampler.table.lock % 2 == 0
        seen.append((sampler.probabilities().max(), sampler.effective_sample_size()))

    monkeypatch.setattr(type(sampler.table.writing()), "__exit__", watched)
    for loss in (2.0, 5.0, 1000.0, -5.0, 1e100):
        sampler.update([3], [loss])
    assert len(seen) == 5
    for largest, ess in seen:
        assert largest <= 10 / 100 * 1.05
        assert ess >= 50 * 0.98


def test_a_faulty_sampler_is_told():
    sampler = sampler_of(20, losses=np.linspace(0, 1, 20))
    weights = sampler.table.weight.copy()
    sampler.table.weigh(np.arange(20.0) ** 9)
    assert fault_of(sampler).startswith("sum of squared weights")
    sampler._updates.weights.squares = float((np.arange(20.0) ** 9) @ (np.arange(20.0) ** 9))
    assert fault_of(sampler).startswith("effective sample size")
    sampler.table.weigh(weights)
    sampler._updates.weights.squares = float(weights @ weights)
    sampler.table.beta_in_force = 101.0
    assert fault_of(sampler).startswith("beta in force 101.0")


def test_the_cap_holds_between_refreshes_where_it_cut_nothing_at_the_last():
    rng = np.random.default_rng(0)
    truth = rng.normal(0.5, 0.1, 30)
    sampler = HardnessWeightedSampler([f"c{i}" for i in range(30)], rng=rng)
    for _ in range(1000):
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, truth[drawn.ids] + 0.05 * rng.standard_normal(2), version=drawn.version)
        assert sampler.probabilities().max() <= 4 / 30 * 1.055
