import math
import statistics

import numpy as np
import pytest

from hws_nnunet.report import cvar, describe
from hws_nnunet.report.stats.statistics import tail, tail_names


def cvar_by_optimisation(values, share=0.1):
    """Rockafellar and Uryasev: the largest value of a concave, piecewise linear function, at one of its corners."""
    return max(c - sum(max(c - x, 0) for x in values) / (share * len(values)) for c in values)


def samples():
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 9, 10, 11, 15, 30, 101):
        yield rng.uniform(size=n)
        yield rng.integers(0, 4, n) / 4  # ties


@pytest.mark.parametrize("values", [pytest.param(v, id=f"{len(v)}-{i % 2}") for i, v in enumerate(samples())])
def test_figures_against_the_standard_library(values):
    found = describe(values)
    given = values.tolist()
    assert found["cases"] == len(given)
    assert found["mean"] == pytest.approx(statistics.fmean(given))
    assert found["median"] == pytest.approx(statistics.median(given))
    assert (found["min"], found["max"]) == (min(given), max(given))
    assert found["cvar_10"] == pytest.approx(cvar_by_optimisation(given))
    if len(given) == 1:
        assert math.isnan(found["sd"])
        assert {found[f"p{q}"] for q in (5, 10, 25, 75, 90, 95)} == {given[0]}
        return
    twentieths = statistics.quantiles(given, n=20, method="inclusive")
    for q in (5, 10, 25, 75, 90, 95):
        assert found[f"p{q}"] == pytest.approx(twentieths[q // 5 - 1])
    assert found["sd"] == pytest.approx(statistics.stdev(given))
    assert found["iqr"] == pytest.approx(twentieths[14] - twentieths[4])


def test_cvar_by_hand():
    assert cvar(np.arange(20.0)) == pytest.approx(0.5)
    assert cvar(np.arange(20.0), higher_is_better=False) == pytest.approx(18.5)
    assert cvar(np.arange(15.0)) == pytest.approx((0 + 0.5 * 1) / 1.5)
    assert cvar(np.array([0.3, 0.2, 0.9])) == 0.2, "a tenth of three cases is the worst one"


def test_nan_is_left_out_and_nothing_is_nan():
    assert describe(np.array([np.nan, 0.5, np.nan, 0.7])) == describe(np.array([0.5, 0.7]))
    empty = describe(np.array([np.nan]))
    assert empty.pop("cases") == 0
    assert all(math.isnan(value) for value in empty.values())


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("n", [1, 2, 9, 10, 33])
def test_the_tail_of_many_samples_is_the_tail_of_each(n, higher):
    values = np.random.default_rng(n).uniform(size=(4, n))
    found = tail(values, higher_is_better=higher)
    assert found.shape == (6, 4)
    for one, row in zip(found.T, values, strict=True):
        expected = describe(row, higher_is_better=higher)
        assert one == pytest.approx([expected[name] for name in tail_names(higher)])
    assert tail(values.T, higher_is_better=higher, axis=0) == pytest.approx(found)
