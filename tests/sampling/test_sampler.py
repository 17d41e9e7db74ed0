import math

import numpy as np
import pytest
import torch

from hws_nnunet import CellGrid, HardnessWeightedSampler, Settings
from tests.sampling import naive

PAPER = {"ess": 0.0, "cap": None, "uniform_fraction": 0.0, "smoothing": 0.0, "cells": 1}


def sampler_of(n, *, losses=None, **settings):
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(n)], Settings(**settings))
    if losses is not None:
        teach(sampler, losses)
    return sampler


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(-7.0), other[key].nan_to_num(-7.0)), key
        else:
            assert value == other[key], key


def teach(sampler, losses):
    sampler.update(range(len(losses)), None, np.asarray(losses, dtype=float))
    assert sampler.check_valid() == (True, "")


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
    sampler = sampler_of(7, losses=losses, beta=beta, in_flight_limit=False, **PAPER)
    p = naive.closed_form(losses, beta)
    assert sampler.probabilities() == pytest.approx(p)
    counts = count(sampler, 30_000 // size, size, np.random.default_rng(size))
    assert naive.close(counts, naive.inclusion(p, size))
    assert size == 1 or not naive.close(counts, p), "batches without replacement have other shares"


@pytest.mark.parametrize("size", [2, 4])
def test_draws_with_replacement_follow_the_closed_form_too(size):
    losses = np.linspace(0, 1, 7)
    sampler = sampler_of(7, losses=losses, beta=2.0, in_flight_limit=False, with_replacement=True, **PAPER)
    counts = count(sampler, 30_000 // size, size, np.random.default_rng(0))
    assert naive.close(counts, naive.closed_form(losses, 2.0))


def test_defaults_follow_the_closed_form_at_the_solved_beta():
    losses = np.random.default_rng(1).normal(1, 0.2, 40)
    sampler = sampler_of(40, losses=losses, in_flight_limit=False)
    p = naive.closed_form(losses, sampler.table.beta, sampler.settings.uniform_fraction, sampler.settings.cap)
    assert sampler.probabilities() == pytest.approx(p)
    assert sampler.effective_sample_size() == pytest.approx(20, rel=0.01)
    assert naive.close(count(sampler, 40_000, 1, np.random.default_rng(2)), p)


def test_draws_return_their_evidence():
    losses = [0.0, 1.0, 2.0]
    sampler = sampler_of(3, losses=losses, beta=1.0, **PAPER)
    drawn = sampler.draw_cases(2, np.random.default_rng(0))
    assert drawn.version == sampler.table.version == 1
    assert drawn.probabilities == pytest.approx(naive.softmax(losses, 1.0)[drawn.ids])


def test_a_batch_holds_no_case_twice_while_there_are_others():
    sampler = sampler_of(5, losses=[9, 0, 0, 0, 0], beta=1e6, **PAPER)
    rng = np.random.default_rng(0)
    for size in (2, 4, 5):
        for _ in range(50):
            assert len(set(sampler.draw_cases(size, rng).ids.tolist())) == size
    assert set(sampler.draw_cases(7, rng).ids.tolist()) == set(range(5))  # more than there are: all, and some twice
    assert len(sampler_of(1, losses=[1.0]).draw_cases(2, rng).ids) == 2


# ------------------------------------------------------------------ first sweep


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
        sampler.update([case], [0], [float(case)])
    counts = count(sampler, 3000, 1, rng)
    assert counts.min() > 0, "not weighted yet: all may come"
    sampler.update([5], [0], [0.0])
    assert sampler.table.weighted
    sampler.table.answered[:] = sampler.table.drawn
    assert count(sampler, 1, 1, rng)[4] == 1


def test_a_draw_lost_in_the_sweep_is_repeated():
    sampler = sampler_of(6)
    rng = np.random.default_rng(0)
    lost = sampler.draw_cases(2, rng).ids  # nnU-Net throws its first batch away
    for _ in range(2):
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, None, [1.0, 1.0], version=drawn.version)
    for _ in range(8):  # what waits expires
        drawn = sampler.draw_cases(2, rng)
        sampler.update(drawn.ids, None, [1.0, 1.0], version=drawn.version)
        if sampler.table.weighted:
            break
    assert sampler.table.weighted
    assert sampler.table.visits[lost].min() == 1


# ------------------------------------------------------------------ updates


def test_losses_are_smoothed_in_order():
    sampler = sampler_of(2, smoothing=0.75, cells=3)
    sampler.update([0, 0, 1], [2, 1, 0], [1.0, 2.0, 5.0])
    assert sampler.table.hardness[:, 0].tolist() == [1.25, 5.0]
    assert sampler.table.cell_hardness[0, 1:].tolist() == [2.0, 1.0]
    assert sampler.table.visits.tolist() == [2, 1]
    sampler.update([0], [1], [1.25])
    assert sampler.table.cell_hardness[0, 1] == pytest.approx(0.75 * 2.0 + 0.25 * 1.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_a_visit_and_nothing_else(value):
    sampler = sampler_of(3, losses=[0.1, 0.2, 0.3])
    before = sampler.table.hardness.copy(), sampler.table.cell_hardness.copy()
    sampler.update([1], [0], [value])
    assert np.array_equal(before[0], sampler.table.hardness)
    assert np.array_equal(before[1], sampler.table.cell_hardness, equal_nan=True)
    assert sampler.table.visits.tolist() == [1, 2, 1]
    assert sampler.check_valid() == (True, "")


def test_cases_without_a_value_rank_as_hardest_before_and_as_the_mean_after_a_visit():
    sampler = sampler_of(4)
    sampler.update([0, 1, 2], None, [0.0, 1.0, math.nan])
    assert sampler.ranked_hardness().tolist() == [0.0, 1.0, 0.5, 1.0]


def test_both_measures_are_tracked_and_one_draws():
    sampler = HardnessWeightedSampler(
        "ab", Settings(draw_by="dice_present", **PAPER), measures=("dice_ce", "dice_present")
    )
    sampler.update([0, 1], [0, 0], np.array([[9.0, 0.0], [0.0, 1.0]]))
    assert sampler.table.hardness.tolist() == [[9.0, 0.0], [0.0, 1.0]]
    assert sampler.probabilities()[1] == pytest.approx(1.0)


@pytest.mark.parametrize("settings", [{}, {"ess": 0.0, "beta": 5.0}, {"cap": None}, {"cap": 1.5, "ess": 0.2}])
def test_weights_stay_those_of_the_closed_form_under_random_updates(settings):
    """The fast structure beside the slow twin, compared after each step."""
    rng = np.random.default_rng(7)
    n = 60
    sampler = sampler_of(n, losses=rng.normal(1, 0.1, n), smoothing=0.5, **settings)
    twin = sampler.table.hardness[:, 0].copy()
    for step in range(400):
        cases = rng.choice(n, 2)
        losses = rng.normal(1 - step / 400, 0.1, 2) if step % 50 else np.array([3.0, np.nan])
        sampler.update(cases, None, losses)
        for case, loss in zip(cases, losses, strict=True):
            if np.isfinite(loss):
                twin[case] = 0.5 * twin[case] + 0.5 * loss
        assert sampler.table.hardness[:, 0] == pytest.approx(twin)
        assert sampler.check_valid() == (True, "")
        options = sampler.settings
        exact = naive.closed_form(twin, sampler.table.beta, options.uniform_fraction, options.cap)
        # Between two refreshes the cap and the uniform share are held to 5 %, all else is exact.
        assert naive.total_variation(sampler.probabilities(), exact) < 0.05
    sampler.refresh()
    exact = naive.closed_form(twin, sampler.table.beta, sampler.settings.uniform_fraction, sampler.settings.cap)
    assert sampler.probabilities() == pytest.approx(exact)


def test_a_loss_far_beyond_the_scale_takes_effect_at_once():
    sampler = sampler_of(100, losses=np.zeros(100), smoothing=0.0, ess=0.0, cap=None, uniform_fraction=0.0)
    sampler.update([3], [0], [1e6])
    assert sampler.probabilities()[3] == pytest.approx(1.0)
    sampler.update([3], [0], [-1e6])
    assert sampler.probabilities()[3] < 1e-6
    assert sampler.check_valid() == (True, "")


def test_bad_updates_change_nothing():
    sampler = sampler_of(3, losses=[0.1, 0.2, 0.3])
    before = sampler.state_dict()
    for cases, cells, losses, message in (
        ([0, 3], [0, 0], [1.0, 1.0], r"cases \[0, 3\] and cells \[0, 0\] given; there are 3 cases"),
        ([0], [8], [1.0], r"cells \[8\] given; there are 3 cases with 8 cells"),
        ([0], [0], [1.0, 2.0], "expected as many"),
        ([0, 1], [0, 0], [[1.0, 2.0], [1.0, 2.0]], "1 losses each"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.update(cases, cells, losses)
    with pytest.raises(ValueError, match="size has to be at least 1, given: 0"):
        sampler.draw_cases(0, np.random.default_rng())
    assert_same_state(sampler.state_dict(), before)


# ------------------------------------------------------------------ in-flight rule


def pipeline(sampler, depth, steps, size, rng, losses):
    """Draw ``depth`` batches ahead of the updates, as workers do; return how often each case was drawn."""
    waiting, counts = [], np.zeros(len(sampler), dtype=int)
    for _ in range(steps):
        waiting.append(sampler.draw_cases(size, rng))
        np.add.at(counts, waiting[-1].ids, 1)
        if len(waiting) > depth:
            drawn = waiting.pop(0)
            sampler.update(drawn.ids, None, losses[drawn.ids], version=drawn.version)
    return counts


def test_unanswered_draws_stay_within_their_share():
    losses = np.zeros(10)
    losses[3] = 1.0
    sampler = sampler_of(10, losses=losses, stall_limit=False)
    rng, depth, waiting = np.random.default_rng(0), 12, []
    for step in range(500):
        waiting.append(sampler.draw_cases(1, rng))
        if len(waiting) > depth:
            drawn = waiting.pop(0)
            sampler.update(drawn.ids, None, losses[drawn.ids], version=drawn.version)
        if step > 50:
            out = np.bincount([int(d.ids[0]) for d in waiting], minlength=10)
            share = sampler.probabilities() * (sampler.table.lag + 1)
            assert (out <= np.ceil(share + np.sqrt(share)) + 1).all()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("depth", [0, 2, 5, 25])
@pytest.mark.parametrize("losses", [np.linspace(0.5, 1.0, 10), np.array([1.0] + [0.5] * 9)])
def test_the_rule_keeps_draws_close_to_the_closed_form(losses, depth, size):
    sampler = sampler_of(10, losses=losses)
    counts = pipeline(sampler, depth, 6000 // size, size, np.random.default_rng(1), losses)
    expected = naive.inclusion(sampler.probabilities(), size)
    assert naive.total_variation(counts / counts.sum(), expected) <= 0.05


def test_marks_that_nobody_answers_expire():
    sampler = sampler_of(2, losses=[0.0, 1.0], beta=1e6, ess=0.0, cap=None, uniform_fraction=0.0)
    rng = np.random.default_rng(0)
    thrown_away = [int(sampler.draw_cases(1, rng).ids[0]) for _ in range(3)]
    assert thrown_away == [1, 1, 0], "its share, and then another"
    for _ in range(4):
        sampler.update([0], [0], [0.0], version=sampler.table.version)
    assert sampler.draw_cases(1, rng).ids.tolist() == [1]


# ------------------------------------------------------------------ cells


@pytest.mark.parametrize("patch_beta", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("forced", [False, True])
def test_cells_follow_the_closed_form(patch_beta, forced):
    grid = CellGrid((100, 70, 60), (32, 32, 32))
    sampler = sampler_of(2, patch_beta=patch_beta)
    rng = np.random.default_rng(0)
    losses = rng.random(grid.cells)
    sampler.update([1] * grid.cells, range(grid.cells), losses)
    shares = rng.random(grid.cells) * (np.arange(grid.cells) != 2) if forced else None
    prior = grid.shares if shares is None else shares / shares.sum()
    p = prior * np.exp(patch_beta * losses)
    p /= p.sum()
    assert sampler.cell_probabilities(1, grid, shares=shares) == pytest.approx(p)
    drawn = [sampler.draw_cell(1, grid, rng, shares=shares) for _ in range(20_000)]
    assert naive.close(np.bincount([d.cell for d in drawn], minlength=grid.cells), p)
    assert all(d.probability == pytest.approx(p[d.cell]) for d in drawn[:50])


def test_an_unseen_cell_takes_its_cases_hardness():
    grid = CellGrid((100, 20), (32, 20))
    assert grid.cells == 8
    sampler = sampler_of(1, patch_beta=1.0, smoothing=0.5)
    assert sampler.cell_probabilities(0, grid) == pytest.approx(grid.shares)
    sampler.update([0, 0], [0, 1], [1.0, 2.0])
    expected = grid.shares * np.exp([1.0, 2.0] + [1.5] * 6)
    assert sampler.cell_probabilities(0, grid) == pytest.approx(expected / expected.sum())


def test_bad_cells():
    sampler = sampler_of(1, cells=2)
    rng = np.random.default_rng(0)
    grid = CellGrid((200, 200), (20, 20), max_cells=8)
    with pytest.raises(ValueError, match="the grid has 8 cells, the table tracks 2"):
        sampler.draw_cell(0, grid, rng)
    with pytest.raises(ValueError, match="expected 2 shares with a positive sum"):
        sampler.draw_cell(0, CellGrid((200, 200), (20, 20), max_cells=2), rng, shares=[0, 0])


# ------------------------------------------------------------------ consistency


def test_readers_never_see_weights_thrown_out_of_scale(monkeypatch):
    """What a jump does to the weights is mended before the table is given free."""
    sampler = sampler_of(100, losses=np.random.default_rng(0).normal(1, 0.1, 100), smoothing=0.0)
    lock, seen = sampler.table._integers, []
    original = type(sampler.table.writing()).__exit__

    def watched(self, *exception):
        original(self, *exception)
        assert lock[0] % 2 == 0
        seen.append((sampler.probabilities().max(), sampler.effective_sample_size()))

    monkeypatch.setattr(type(sampler.table.writing()), "__exit__", watched)
    for loss in (2.0, 5.0, 1000.0, -5.0, 1e300):
        sampler.update([3], [0], [loss])
    assert len(seen) == 5
    for largest, ess in seen:
        assert largest <= 10 / 100 * 1.05
        assert ess >= 50 * 0.98


def test_check_valid_sees_what_is_wrong():
    sampler = sampler_of(20, losses=np.linspace(0, 1, 20))
    weights = sampler.table.tree.weights.copy()
    sampler.table.tree.fill(np.arange(20.0) ** 9)
    assert sampler.check_valid()[1].startswith("sum of squared weights")
    sampler._squares = float((np.arange(20.0) ** 9) @ (np.arange(20.0) ** 9))
    assert sampler.check_valid()[1].startswith("effective sample size")
    sampler.table.tree.fill(weights)
    sampler._squares = float(weights @ weights)
    sampler.table.set(beta=101.0)
    assert sampler.check_valid()[1].startswith("beta in force 101.0")
