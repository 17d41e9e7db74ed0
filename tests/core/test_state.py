"""Saved state of the sampler: what a resumed run gets back."""

import copy
import math
import re

import numpy as np
import pytest
import torch

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.core.columns import current_format
from hws_nnunet.loop.tensors import with_tensors
from tests.core.test_sampler import assert_same_state, sampler_of, teach
from tests.valid import fault_of


@pytest.mark.parametrize("midpoint", [1, 5, 8, 40])
def test_resume_loses_nothing(midpoint, tmp_path):
    """Save at several midpoints, one within the warm-up pass; the rest of the run is the same, draw by draw."""
    losses = np.linspace(0.3, 1.0, 12)

    def run(sampler, steps, rng):
        record = []
        for _ in range(steps):
            drawn = sampler.draw_cases(2, rng)
            sampler.update(drawn.ids, losses[drawn.ids], version=drawn.version)
            record.append((drawn.ids.tolist(), sampler.table.beta_in_force, sampler.probabilities().tolist()))
        return record

    sampler = HardnessWeightedSampler([f"case{i}" for i in range(12)], rng=np.random.default_rng(3))
    rng = np.random.default_rng(0)
    run(sampler, midpoint, rng)
    torch.save(with_tensors(sampler.state_dict()), tmp_path / "state.pth")
    resumed = HardnessWeightedSampler([f"case{i}" for i in range(12)], rng=np.random.default_rng(99))
    resumed.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
    assert_same_state(resumed.state_dict(), sampler.state_dict())
    assert fault_of(resumed) == ""
    rest = run(sampler, 30, copy.deepcopy(rng))
    again = run(resumed, 30, rng)
    for (ids, beta, p), (ids_again, beta_again, p_again) in zip(rest, again, strict=True):
        assert ids == ids_again
        assert beta == beta_again
        assert p == p_again


def test_tables_of_several_ranks_stay_equal_if_all_are_asked_for_their_state():
    first, second, alone = (HardnessWeightedSampler(range(40)) for _ in range(3))
    rng = np.random.default_rng(0)
    for step in range(400):
        cases = rng.integers(0, 40, 2)
        losses = rng.normal(0.3 + 0.01 * cases, 0.02)
        for sampler in (first, second, alone):
            sampler.update(cases, losses)
        if step == 200:
            assert first.table.digest() == second.table.digest() == alone.table.digest()
            first.state_dict()
            second.state_dict()
        assert first.table.digest() == second.table.digest()
    assert alone.table.digest() != first.table.digest(), "weights were computed anew at another step"
    assert alone.table.hardness == pytest.approx(first.table.hardness)
    assert alone.probabilities() == pytest.approx(first.probabilities(), rel=0.05)


def test_numbers_for_names_are_saved_as_texts():
    numbered = HardnessWeightedSampler(range(3))
    teach(numbered, [0.1, 0.2, 0.3])
    state = numbered.state_dict()
    assert state["names"] == ["0", "1", "2"]
    for other in (HardnessWeightedSampler(["2", "1", "0"]), HardnessWeightedSampler(range(3))):
        other.load_state_dict(state)
        by_name = {str(name): hardness for name, hardness in zip(other.table.names, other.table.hardness, strict=True)}
        assert by_name == pytest.approx({"0": 0.1, "1": 0.2, "2": 0.3})


def test_cases_are_matched_by_name():
    old = HardnessWeightedSampler(["a", "b", "c"], Settings(smoothing=0.0))
    teach(old, [0.1, 0.2, 0.3])
    new = HardnessWeightedSampler(["d", "c", "a"], Settings(smoothing=0.0))
    with pytest.warns(UserWarning, match="case") as caught:
        new.load_state_dict(old.state_dict())
    assert [str(w.message) for w in caught] == [
        "1 case gone since the state was saved: b",
        "1 case new since the state was saved, unseen so far: d",
    ]
    assert new.table.hardness[1:] == pytest.approx([0.3, 0.1])
    assert new.table.visits.tolist() == [0, *[old.table.visits[0]] * 2]
    assert new.table.weighted, "weighting stays on"
    assert new.ranked_offsets() + new.table.level == pytest.approx([0.3, 0.3, 0.1]), "a new case ranks as the hardest"
    assert fault_of(new) == ""


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("order", [0, 0, 1], "the sweep's order is not a permutation"),
        ("offset", [0.0, math.inf, 0.0], "an infinite or a negative value entered the column offset"),
        ("visits", [0, 1, 1], "a case without a visit has a loss"),
        ("visits", [0.5, 1.0, math.nan], "visits is float64 of shape (3,), expected numbers of shape (3,)"),
        ("level", math.nan, "the word level is nan"),
        ("losses", 0.5, "losses is 0.5, expected a number, int"),
        ("level", 10**400, "expected a number, float"),
        ("version", 2**70, "version is 1180591620717411303424, expected a number, int"),
        ("names", [], "a table needs at least one case"),
        ("names", ["a", "b", "a"], "case names have to be unique"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(name, value, told):
    sampler = sampler_of(3, losses=[0.1, 0.2, 0.3])
    before = sampler.state_dict()
    damaged = {**before, name: np.array(value) if name in ("order", "offset", "visits") else value}
    with pytest.raises(ValueError, match=f"^sampler state is damaged: .*{re.escape(told)}"):
        sampler.load_state_dict(damaged)
    assert_same_state(sampler.state_dict(), before)


@pytest.mark.parametrize(("kept", "new"), [(1, 40), (40, 40), (40, 3)])
def test_a_resume_with_new_cases_never_loses_its_balance(kept, new):
    losses = np.random.default_rng(0).normal(1.0, 0.1, kept + new)
    old = sampler_of(kept, losses=losses[:kept])
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(kept + new)])
    with pytest.warns(UserWarning, match="new since"):
        sampler.load_state_dict(old.state_dict())
    rng, waiting = np.random.default_rng(1), []
    for _ in range(20 * (kept + new)):
        waiting.append(sampler.draw_cases(2, rng))
        if len(waiting) > 10:
            drawn = waiting.pop(0)
            sampler.update(drawn.ids, losses[drawn.ids], version=drawn.version)
            assert fault_of(sampler) == ""
    assert sampler.table.unseen == 0


def test_a_new_case_without_a_value_leaves_the_top():
    sampler = sampler_of(3, losses=[0.0, 0.5, 1.0], ess=0.0, beta=3.0)
    more = HardnessWeightedSampler([f"case{i}" for i in range(4)], Settings(ess=0.0, beta=3.0))
    with pytest.warns(UserWarning, match="new since"):
        more.load_state_dict(sampler.state_dict())
    assert more.probabilities()[3] == pytest.approx(more.probabilities()[2])
    more.update([3], [math.nan])
    assert more.probabilities()[3] == pytest.approx(more.probabilities()[1])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_state_loads_from_the_device_that_the_host_put_it_on():
    sampler = sampler_of(3, losses=[0.0, 0.5, 1.0])
    state = {k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in with_tensors(sampler.state_dict()).items()}
    resumed = sampler_of(3)
    resumed.load_state_dict(state)
    assert_same_state(resumed.state_dict(), sampler.state_dict())


def test_structures_are_matched_by_name():
    old = HardnessWeightedSampler("ab", structures=["x", "y"])
    old.update([0, 1], [0.1, 0.2], structures=[[0.1, 0.2], [0.3, 0.4]])
    new = HardnessWeightedSampler("ab", structures=["z", "y"])
    with pytest.warns(UserWarning, match="structure") as caught:
        new.load_state_dict(old.state_dict())
    assert [str(w.message) for w in caught] == [
        "1 structure gone since the state was saved: x",
        "1 structure new since the state was saved, unknown so far: z",
    ]
    assert new.table.structure_hardness[:, 1].tolist() == [0.2, 0.4]
    assert np.isnan(new.table.structure_hardness[:, 0]).all()


def test_another_format_or_measure_is_refused():
    sampler = sampler_of(2, losses=[0.1, 0.2])
    before = sampler.state_dict()
    with pytest.raises(
        ValueError, match=f"has format 1, expected 4 to {current_format()}: it was saved by another version"
    ):
        sampler.load_state_dict({**before, "format": 1})
    with pytest.raises(ValueError, match="tracks 'x', expected 'loss': a training goes on with the draw_by"):
        sampler.load_state_dict({**before, "measure": "x"})
    assert_same_state(sampler.state_dict(), before)
