import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core import case_distribution
from tests.core.test_sampler import assert_same_state, sampler_of, teach
from tests.valid import fault_of

LOSSES = np.linspace(0.30, 0.40, 11)  # of the others; the case in question comes last


def visit(sampler, case, losses):
    for loss in losses:
        sampler.update([case], [loss])
        assert fault_of(sampler) == ""


def with_outlier(loss, **settings):
    """Return a sampler in which each case was seen three times."""
    return sampler_of(12, losses=[*LOSSES, loss], **{"smoothing": 0.0, **settings})


def test_a_case_that_stays_far_harder_is_drawn_uniformly():
    sampler = with_outlier(0.9)
    visit(sampler, 11, [0.9] * 28)
    assert sampler.stalled == ()
    assert sampler.probabilities()[11] > 2 / 12
    visit(sampler, 11, [0.9])  # the 32nd
    assert sampler.stalled == (11,)
    p = sampler.probabilities()
    assert p[11] == pytest.approx(1 / 12)
    others = case_distribution(LOSSES, sampler.table.beta_in_force, uniform_fraction=0.05, cap=4.0)
    assert p[:11] == pytest.approx(others * 11 / 12, rel=1e-6)
    assert sampler.effective_sample_size() >= 6


def test_what_learns_is_never_stalled():
    sampler = with_outlier(3.0)
    curve = 3.0 * np.arange(1, 2000) ** -0.1  # 7 % less whenever its visits double
    for loss in curve:
        sampler.update([11], [loss])
        assert sampler.stalled == ()
    slower = with_outlier(3.0)
    visit(slower, 11, 3.0 * np.arange(1, 40) ** -0.02)
    assert slower.stalled == (11,)


def test_a_case_with_easy_patches_is_not_stalled():
    sampler = with_outlier(0.9)
    visit(sampler, 11, [0.3, 0.9, 0.9, 0.9] * 100 + [0.9] * 3)
    assert sampler.table.hardness[11] == pytest.approx(0.9)
    assert sampler.stalled == ()
    visit(sampler, 11, [0.9] * 1700)
    assert sampler.stalled == (11,), "hard all over from 1024 to 2048 visits"


def test_what_rises_is_not_stalled():
    sampler = with_outlier(0.6)
    visit(sampler, 11, 0.6 * np.arange(1, 100) ** 0.1)
    assert sampler.stalled == ()


def test_noise_does_not_hide_a_wrong_label():
    rng = np.random.default_rng(0)
    sampler = with_outlier(0.85, smoothing=0.8)
    visit(sampler, 11, rng.normal(0.85, 0.05, 32))
    assert sampler.stalled == (11,)


def test_hard_but_not_far_beyond_the_others_is_not_stalled():
    sampler = with_outlier(0.45)
    visit(sampler, 11, [0.45] * 300)
    assert sampler.stalled == ()
    assert sampler.probabilities()[11] > 2 / 12


@pytest.mark.parametrize("fallen", [0.8, 0.37])
def test_a_case_that_falls_after_all_is_drawn_by_hardness_again(fallen):
    sampler = with_outlier(0.9)
    visit(sampler, 11, [0.9] * 40)
    assert sampler.stalled == (11,)
    if fallen > 0.5:  # still far harder: the window has to end
        visit(sampler, 11, [fallen] * 20)
        assert sampler.stalled == (11,)
        visit(sampler, 11, [fallen])
        assert sampler.probabilities()[11] > 2 / 12
    else:
        visit(sampler, 11, [fallen])
    assert sampler.stalled == ()


def test_values_that_are_not_finite_do_not_count():
    sampler = with_outlier(0.9)
    visit(sampler, 11, [0.9, float("nan")] * 28)
    assert sampler.stalled == ()
    visit(sampler, 11, [0.9])
    assert sampler.stalled == (11,)


def test_off():
    sampler = with_outlier(0.9, stall_limit=False)
    visit(sampler, 11, [0.9] * 100)
    assert sampler.stalled == ()
    assert sampler.probabilities()[11] > 2 / 12


def test_travels_with_the_state():
    sampler = with_outlier(0.9)
    visit(sampler, 11, [0.9] * 40)
    resumed = sampler_of(12, smoothing=0.0)
    resumed.load_state_dict(sampler.state_dict())
    assert_same_state(resumed.state_dict(), sampler.state_dict())
    for one in (sampler, resumed):
        visit(one, 11, [0.7] * 24)
    assert_same_state(resumed.state_dict(), sampler.state_dict())
    assert resumed.stalled == ()


def test_is_switched_on_in_a_resumed_training():
    off, on = with_outlier(0.9, stall_limit=False), sampler_of(12, smoothing=0.0)
    visit(off, 11, [0.9] * 17)
    on.load_state_dict(off.state_dict())
    visit(on, 11, [0.9] * 11)
    assert on.stalled == ()
    visit(on, 11, [0.9])  # the 32nd
    assert on.stalled == (11,)


def test_no_verdict_is_given_on_a_window_that_lacks_losses():
    """As in a state of an earlier version, which kept none of them where the stall limit was off."""
    off, on = with_outlier(0.9), sampler_of(12, smoothing=0.0)
    visit(off, 11, [0.9] * 15)
    nothing = np.zeros(12, dtype=int)
    on.load_state_dict({**off.state_dict(), "answers": nothing, "window": nothing.astype(float), "near": nothing})
    visit(on, 11, [0.9] * 14)  # of 16
    visit(on, 11, [0.9 * 14 / 16] * 32)
    assert on.table.answers[11] == 64
    assert on.stalled == ()


def test_is_matched_by_name():
    names = [f"case{i}" for i in range(12)]
    sampler = HardnessWeightedSampler(names, Settings(smoothing=0.0))
    teach(sampler, [*LOSSES, 0.9])
    visit(sampler, 11, [0.9] * 40)
    turned = HardnessWeightedSampler(names[::-1], Settings(smoothing=0.0))
    turned.load_state_dict(sampler.state_dict())
    assert turned.stalled == (0,)
    assert fault_of(turned) == ""


@pytest.mark.parametrize("seed", range(5))
def test_safeguards_hold_whatever_comes(seed):
    rng = np.random.default_rng(seed)
    sampler = sampler_of(20, losses=rng.random(20), smoothing=0.5)
    wrong = rng.choice(20, 3, replace=False)
    for _ in range(2500):
        case = int(sampler.draw_cases(1, rng).ids[0])
        sampler.update([case], [rng.normal(2.0, 0.02) if case in wrong else 0.3 + 0.05 * rng.random()])
        assert fault_of(sampler) == ""
    sampler.refresh()
    assert set(wrong) <= set(sampler.stalled)
    assert sampler.effective_sample_size() >= 0.5 * 20 - 1e-6
    assert sampler.probabilities().max() <= 4 / 20 + 1e-9
    assert sampler.probabilities()[wrong] == pytest.approx(1 / 20)


def test_cases_without_any_loss_do_not_make_the_others_stall():
    sampler = sampler_of(30, losses=[*[np.nan] * 19, *LOSSES])
    rng = np.random.default_rng(0)
    for _ in range(140):
        sampler.update(range(30), [*[np.nan] * 19, *(LOSSES + rng.normal(0.0, 0.01, 11))])
    assert sampler.stalled == ()
