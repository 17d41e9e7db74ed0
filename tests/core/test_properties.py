"""Whatever comes: table, draws and distribution beside their slow twins, on inputs that nobody thought of."""

import math

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core import case_distribution, effective_sample_size, solve_beta
from tests.core import naive
from tests.valid import fault_of

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is told as it came: making it small takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
ANY_LOSS = some.floats() | some.sampled_from([1.7e308, -1.7e308, 1e100, -1e100, 1e154, 0.5])
LOSS = some.floats(-10, 10)


@some.composite
def all_settings(draw):
    """Any settings of the sampler that go together."""
    made = {
        "ess": draw(some.floats(0, 1)),
        "beta": draw(some.sampled_from([0.0, 1e-3, 1.0, 30.0, 100.0, 1e6])),
        "uniform_fraction": draw(some.floats(0, 1)),
        "cap": draw(some.none() | some.floats(1, 50)),
        "smoothing": draw(some.floats(0, 0.99)),
        "with_replacement": draw(some.booleans()),
        "stall_limit": draw(some.booleans()),
    }
    assume(not (made["cap"] == 1 and made["ess"] == 0))
    return Settings(**made)


class Training(RuleBasedStateMachine):
    """A sampler that draws, takes in whatever losses, is saved and goes on, in any order."""

    @initialize(
        n=some.integers(1, 12),
        made=all_settings(),
        weights=some.booleans(),
        groups=some.booleans(),
        seed=some.integers(0, 99),
    )
    def make(self, n, made, weights, groups, seed):
        self.rng = np.random.default_rng(seed)
        self.n, self.made = n, made
        self.known = {
            "prior": self.rng.gamma(1.0, size=n) + 0.01 if weights else None,
            "groups": [f"group{i % 3}" for i in range(n)] if groups else None,
        }
        self.sampler = self.another()
        self.waiting, self.visits = [], np.zeros(n, dtype=int)

    def another(self):
        names = [f"case{i}" for i in range(self.n)]
        return HardnessWeightedSampler(names, self.made, structures=["a", "b"], rng=self.rng, **self.known)

    @rule(size=some.integers(1, 4))
    def draw(self, size):
        drawn = self.sampler.draw_cases(size, self.rng)
        ids = drawn.ids.tolist()
        assert len(ids) == size
        assert all(0 <= case < self.n for case in ids)
        if not self.made.with_replacement:
            assert len(set(ids)) == min(size, self.n)
        self.waiting.append(drawn)

    @precondition(lambda self: self.waiting)
    @rule(data=some.data())
    def answer(self, data):
        drawn = self.waiting.pop(0)
        losses = data.draw(some.lists(ANY_LOSS, min_size=len(drawn.ids), max_size=len(drawn.ids)))
        self.take_in(drawn.ids.tolist(), losses, drawn.version)

    @rule(losses=some.lists(LOSS, min_size=12, max_size=12))
    def answer_all(self, losses):
        self.take_in(list(range(self.n)), losses[: self.n], None)

    def take_in(self, cases, losses, version):
        structures = np.tile([losses[0], math.nan], (len(cases), 1))
        self.sampler.update(cases, losses, structures=structures, version=version)
        np.add.at(self.visits, cases, 1)

    @rule()
    def save_and_go_on(self):
        state = self.sampler.state_dict()
        self.sampler = self.another()
        self.sampler.load_state_dict(state)
        self.waiting.clear()

    @rule()
    def look_exactly(self):
        """After a refresh, probabilities are the closed form's at the beta in force."""
        table = self.sampler.table
        if not table.weighted:
            return
        self.sampler.refresh()
        options = self.made
        if not self.sampler.stalled:
            ranked, prior = self.sampler.ranked_offsets(), self.sampler.prior
            with np.errstate(all="ignore"):
                exact = naive.closed_form(ranked, table.beta_in_force, options.uniform_fraction, options.cap, prior)
            if np.isfinite(exact).all():  # the twin has no logarithms
                assert naive.total_variation(self.sampler.probabilities(), exact) < 1e-6

    @invariant()
    def is_valid(self):
        assert fault_of(self.sampler) == ""
        assert self.sampler.table.visits.tolist() == self.visits.tolist()
        p = self.sampler.probabilities()
        assert p.sum() == pytest.approx(1)
        assert p.min() >= 0
        of_structures = self.sampler.draws.structure_probabilities(0, [0, 1])
        assert of_structures.sum() == pytest.approx(1)


Training.TestCase.settings = settings(FEW, max_examples=40, stateful_step_count=25)
TestTraining = Training.TestCase


@FEW
@given(
    hardness=some.lists(some.floats(-1e6, 1e6), min_size=1, max_size=30),
    beta=some.floats(0, 1e6),
    g=some.floats(0, 1),
    cap=some.none() | some.floats(1, 40),
    share=some.floats(0, 1),
    seed=some.none() | some.integers(0, 1000),
)
def test_the_distribution_is_the_slow_twins(hardness, beta, g, cap, share, seed):
    hardness, n = np.array(hardness), len(hardness)
    prior = None if seed is None else np.random.default_rng(seed).uniform(0.1, 2, n)
    prior = prior if prior is None else prior * n / prior.sum()
    options = {"uniform_fraction": g, "cap": cap, "prior": prior}
    of_prior = np.ones(n) if prior is None else prior
    p = case_distribution(hardness, beta, **options)
    assert p.sum() == pytest.approx(1)
    assert (p >= g * of_prior / n * (1 - 1e-9)).all()
    if cap is not None:
        assert (p <= max(cap, 1) * of_prior / n * (1 + 1e-6)).all()
    relative = p / of_prior
    ordered = relative[np.argsort(hardness, kind="stable")]
    assert (np.diff(ordered) >= -1e-9 * relative.max()).all(), "harder, more often"
    with np.errstate(all="ignore"):
        slow = naive.closed_form(hardness, beta, g, cap, of_prior)
    if np.isfinite(slow).all():  # the twin has no logarithms
        assert naive.total_variation(p, slow) < 1e-6
    solved = solve_beta(hardness, beta, share * n, **options)
    assert 0 <= solved <= beta
    assert effective_sample_size(case_distribution(hardness, solved, **options), prior=prior) >= share * n * (1 - 1e-6)
