import math

import numpy as np
import pytest

from hws_nnunet.core import case_distribution, effective_sample_size, solve_beta
from hws_nnunet.core.distribution import largest_below
from tests.core import naive


@pytest.mark.parametrize("n", [1, 2, 10, 368])
@pytest.mark.parametrize("beta", [0.0, 1.0, 8.0, 100.0])
@pytest.mark.parametrize(("g", "cap"), [(0.0, None), (0.05, None), (0.0, 3.0), (0.05, 10.0), (1.0, 2.0), (0.3, 1.0)])
def test_equals_the_closed_form(n, beta, g, cap):
    hardness = np.random.default_rng(n).normal(0, 0.1, n)
    p = case_distribution(hardness, beta, uniform_fraction=g, cap=cap)
    assert p == pytest.approx(naive.closed_form(hardness, beta, g, cap), abs=1e-9)
    assert p.sum() == pytest.approx(1)
    assert p.min() >= g / n * (1 - 1e-9)
    if cap is not None:
        assert p.max() <= max(cap, 1) / n * (1 + 1e-9)


def test_is_uniform_at_beta_0_and_the_worst_cases_at_infinity():
    hardness = np.arange(10.0)
    assert case_distribution(hardness, 0.0) == pytest.approx(np.full(10, 0.1))
    assert case_distribution(hardness, 1e6)[9] == 1.0
    # with a cap, the n / cap hardest in equal shares: the conditional value at risk
    assert case_distribution(hardness, 1e6, cap=2.5) == pytest.approx([0] * 6 + [0.25] * 4)


@pytest.mark.parametrize("beta", [0.0, 1e-300, 1.0, 1e6])
@pytest.mark.parametrize("scale", [0.0, 1e-300, 1.0, 1e300, 1.7e308])
@pytest.mark.parametrize("cap", [None, 1.5])
def test_is_safe_for_any_finite_loss(beta, scale, cap):
    hardness = np.array([-1.0, 0.0, 0.3, 1.0]) * scale
    with np.errstate(all="raise", under="ignore"):
        p = case_distribution(hardness, beta, uniform_fraction=0.01, cap=cap)
        solved = solve_beta(hardness, beta, 2.0, uniform_fraction=0.01, cap=cap)
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1)
    assert (np.diff(p) >= -1e-12).all()
    assert 0 <= solved <= beta


@pytest.mark.parametrize("n", [12, 368])
def test_is_safe_with_an_outlier_of_any_size(n):
    """A wrong label far above the rest: what is left beside it is tiny, and has to be capped."""
    hardness = np.random.default_rng(0).normal(0.8, 0.1, n)
    for outlier in np.concatenate((np.linspace(1, 12, 200), np.logspace(1.1, 300, 50))):
        hardness[3] = outlier
        options = {"uniform_fraction": 0.05, "cap": 10.0}
        for beta in (100.0, 1e6):
            p = case_distribution(hardness, beta, **options)
            assert p.sum() == pytest.approx(1)
            assert p.max() <= 10 / n * (1 + 1e-6)
            solved = solve_beta(hardness, beta, 0.5 * n, **options)
            assert effective_sample_size(case_distribution(hardness, solved, **options)) >= 0.5 * n * (1 - 1e-6)


@pytest.mark.parametrize("with_prior", [False, True])
def test_sums_to_1_where_plain_weights_are_0(with_prior):
    """The cases at the cap leave half of the draws to others, whose plain weights are all 0."""
    hardness = np.concatenate((np.full(5, 1000.0), np.random.default_rng(0).exponential(1.0, 4995)))
    prior = np.ones(5000) if with_prior else None
    p = case_distribution(hardness, 1.0, cap=500.0, prior=prior)
    assert p[:5] == pytest.approx(np.full(5, 0.1))
    assert p[5:] == pytest.approx(0.5 * naive.softmax(hardness[5:], 1.0))


@pytest.mark.parametrize("guess", [-30.0, 0.0, 1.0, 7.0, 30.0])
@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        (lambda x: 2 * x - 4, 2.0),
        (lambda x: math.tanh(100 * (x - 3)), 3.0),  # flat at both ends
        (lambda x: -1e-9 if x < 5 else 1e9, 5.0),  # a jump
        (lambda x: math.copysign(abs(x + 6) ** 0.1, x + 6), -6.0),
        (lambda x: -1.0, 10.0),
        (lambda x: 1.0, -math.inf),
    ],
)
def test_the_largest_argument_below_0_is_found_from_anywhere(guess, excess, expected):
    asked = []
    result = largest_below(lambda x: asked.append(x) or excess(x), -10.0, 10.0, guess)
    assert result == pytest.approx(expected, abs=2e-4)
    assert not math.isfinite(result) or excess(result) <= 0
    assert len(asked) <= 60  # halves alone take 18, of which every fourth step is one


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("cap", [None, 10.0])
def test_solved_beta_is_the_largest_that_meets_the_bound(share, cap):
    hardness = np.random.default_rng(0).normal(1.0, 0.1, 200)
    options = {"uniform_fraction": 0.05, "cap": cap}
    beta = solve_beta(hardness, 100.0, share * 200, **options)
    assert effective_sample_size(case_distribution(hardness, beta, **options)) >= share * 200 * (1 - 1e-6)
    if beta < 100.0:
        above = effective_sample_size(case_distribution(hardness, beta * 1.005, **options))
        assert above < share * 200


def test_bounds_of_the_solution():
    hardness = np.array([0.0, 1.0, 2.0])
    assert solve_beta(hardness, 100.0, 0.0) == 100.0  # nothing asked for
    assert solve_beta(np.ones(3), 100.0, 3.0) == 100.0  # equally hard: any beta is uniform
    assert solve_beta(hardness, 100.0, 3.0) < 1e-4  # uniform asked for
    assert solve_beta(hardness, 100.0, 1.0) == 100.0


def test_effective_sample_size():
    assert effective_sample_size(np.full(8, 1 / 8)) == pytest.approx(8)
    assert effective_sample_size(np.array([1.0, 0, 0])) == 1


@pytest.mark.parametrize("n", [1, 2, 10, 368])
@pytest.mark.parametrize("beta", [0.0, 8.0, 100.0])
@pytest.mark.parametrize(("g", "cap"), [(0.0, None), (0.05, 3.0), (0.3, 1.0), (0.05, 1.5)])
def test_a_prior_takes_the_uniform_distributions_place(n, beta, g, cap):
    rng = np.random.default_rng(n)
    hardness, prior = rng.normal(0, 0.1, n), rng.gamma(1.0, size=n)
    prior *= n / prior.sum()
    options = {"uniform_fraction": g, "cap": cap, "prior": prior}
    p = case_distribution(hardness, beta, **options)
    assert p == pytest.approx(naive.closed_form(hardness, beta, g, cap, prior), abs=1e-9)
    assert p.sum() == pytest.approx(1)
    assert (p >= g * prior / n * (1 - 1e-9)).all()
    if cap is not None:
        assert (p <= cap * prior / n * (1 + 1e-9)).all()
    if beta == 0:
        assert p == pytest.approx(prior / n)
    solved = solve_beta(hardness, beta, 0.6 * n, **options)
    ess = effective_sample_size(case_distribution(hardness, solved, **options), prior=prior)
    assert ess == pytest.approx(1 / np.sum(case_distribution(hardness, solved, **options) ** 2 / prior))
    assert ess >= 0.6 * n * (1 - 1e-6)
    if solved < beta:
        above = case_distribution(hardness, solved * 1.005, **options)
        assert effective_sample_size(above, prior=prior) < 0.6 * n


def test_a_prior_of_ones_changes_nothing():
    hardness = np.random.default_rng(0).normal(0, 0.1, 50)
    for cap in (None, 3.0):
        options = {"uniform_fraction": 0.05, "cap": cap}
        without = case_distribution(hardness, 20.0, **options)
        assert case_distribution(hardness, 20.0, prior=np.ones(50), **options) == pytest.approx(without, rel=1e-12)


def test_a_case_of_twice_the_weight_is_as_good_as_two_cases():
    hardness = np.array([0.1, 0.5, 0.3])
    twins = np.array([0.1, 0.5, 0.5, 0.3])
    for cap in (None, 1.5):
        one = case_distribution(hardness, 5.0, prior=np.array([1.0, 2.0, 1.0]) * 3 / 4, uniform_fraction=0.1, cap=cap)
        two = case_distribution(twins, 5.0, uniform_fraction=0.1, cap=cap)
        assert one == pytest.approx([two[0], two[1] + two[2], two[3]])


def test_without_a_cap_a_case_of_hardly_any_weight_can_have_all_draws():
    prior = np.array([0.001, 1.4995, 1.4995])
    assert case_distribution(np.array([1.0, 0.0, 0.0]), 1e6, prior=prior)[0] == pytest.approx(1)
