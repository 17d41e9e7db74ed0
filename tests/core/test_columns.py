"""A column is one row: everything else follows from it."""

import math

import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.core import columns
from hws_nnunet.core.columns import Column, Word, current_format
from hws_nnunet.core.smoothing import Smoothing

SECOND = Column("entropy", float, math.nan, "Another loss of the case.", since=columns.OLDEST_FORMAT + 7)


@pytest.fixture
def older():
    """A state of before the column."""
    sampler = HardnessWeightedSampler("abc")
    sampler.update([0, 1, 2], [0.1, 0.2, 0.3])
    return sampler.state_dict()


@pytest.fixture
def second(monkeypatch, older):
    monkeypatch.setattr(columns, "COLUMNS", (*columns.COLUMNS, SECOND))


def sampler_of(names, values=None):
    sampler = HardnessWeightedSampler(names)
    sampler.update(range(len(names)), np.linspace(0.1, 0.3, len(names)))
    if values is not None:
        Smoothing(sampler.table, "entropy", 0.5).take_in(range(len(names)), np.array(values))
    return sampler


@pytest.mark.usefixtures("second")
def test_a_new_column_is_there_unknown_and_smoothed():
    sampler = sampler_of("abc")
    assert sampler.table.entropy.tolist() == pytest.approx([math.nan] * 3, nan_ok=True)
    assert len(sampler.table.words["entropy"]) == 3
    sampler = sampler_of("abc", [1.0, math.nan, 2.0])
    sampler.update([0], [0.1])
    Smoothing(sampler.table, "entropy", 0.5).take_in([0], np.array([2.0]))
    assert sampler.table.entropy == pytest.approx(np.array([1.5, math.nan, 2.0]), nan_ok=True)


@pytest.mark.usefixtures("second")
def test_a_new_column_is_saved_and_loaded_by_name():
    state = sampler_of("abc", [1.0, 2.0, 3.0]).state_dict()
    assert state["format"] == current_format() == SECOND.since
    turned = HardnessWeightedSampler("dcb")
    with pytest.warns(UserWarning, match="case"):
        turned.load_state_dict(state)
    assert turned.table.entropy == pytest.approx(np.array([math.nan, 3.0, 2.0]), nan_ok=True)
    for wrong in (np.ones(2), np.array(["x"] * 3)):
        with pytest.raises(ValueError, match=r"damaged: entropy is .* expected numbers of shape"):
            turned.load_state_dict({**state, "entropy": wrong})
    del state["entropy"]
    with pytest.raises(ValueError, match="damaged: it has no 'entropy'"):
        turned.load_state_dict(state)


@pytest.mark.usefixtures("second")
def test_a_state_of_before_the_column_still_loads(older):
    sampler = sampler_of("abc", [1.0, 2.0, 3.0])
    sampler.load_state_dict(older)
    assert np.isnan(sampler.table.entropy).all()
    assert sampler.table.hardness == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.usefixtures("second")
def test_a_new_column_is_compared_between_ranks_and_checked():
    one, other = sampler_of("abc", [1.0, 2.0, 3.0]).table, sampler_of("abc", [1.0, 2.0, 3.0]).table
    assert one.digest() == other.digest()
    other.entropy[1] += 1e-12
    assert one.digest() != other.digest()
    assert other.check_valid() == ""
    other.entropy[1] = math.inf
    assert other.check_valid() == "an infinite or a negative value entered the column entropy"


def test_a_counter_is_never_negative():
    table = HardnessWeightedSampler("ab").table
    table.answers[1] = -1
    assert table.check_valid() == "an infinite or a negative value entered the column answers"


def test_what_differs_between_ranks_is_not_compared():
    one, other = sampler_of("abc").table, sampler_of("abc").table
    other.order[:] = [2, 0, 1]
    other.stamp[1] = 5
    assert one.digest() == other.digest()
    other.level += 1e-12
    assert one.digest() != other.digest()


def test_rows_are_named_once_and_explained():
    names = [row.name for row in (*columns.COLUMNS, *columns.WORDS)]
    assert len(set(names)) == len(names)
    for row in (*columns.COLUMNS, *columns.WORDS):
        assert row.meaning.endswith(".")
        assert row.kind in (float, int, *((bool,) if isinstance(row, Word) else ()))
