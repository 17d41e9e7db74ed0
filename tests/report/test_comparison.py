import math

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from hws_nnunet.report import ResultError, compare
from hws_nnunet.report.read.results import AVERAGE, METRICS
from tests.report.made import NAN, result_set

DICE, HD95 = METRICS[:2]


def signs(n):
    return 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1


def sign_flip_p(d):
    means = signs(len(d)) @ d / len(d)
    return min(1.0, 2 * min((means >= d.mean() - 1e-12).mean(), (means <= d.mean() + 1e-12).mean()))


def wilcoxon_p(d):
    ranks = rankdata(abs(d))
    sums = (signs(len(d)) > 0) @ ranks
    seen = ranks[d > 0].sum()
    return min(1.0, 2 * min((sums >= seen).mean(), (sums <= seen).mean()))


def pair(n, *, seed=0, shift=0.02, labels=1):
    rng = np.random.default_rng(seed)
    one = rng.uniform(0.4, 0.8, (n, labels))
    return one, np.clip(one + rng.normal(shift, 0.05, one.shape), 0.01, 1)


def row_of(rows, label=AVERAGE, subgroup=""):
    (found,) = (row for row in rows if (row.label, row.subgroup) == (label, subgroup))
    return found


def test_exact_tests_against_all_signs():
    one, two = pair(10)
    row = row_of(compare(result_set(one), result_set(two, name="b"), {}, DICE))
    d = (two - one)[:, 0]
    assert row.differences == pytest.approx(d)
    assert row.permutation == pytest.approx(sign_flip_p(d))
    assert row.wilcoxon == pytest.approx(wilcoxon_p(d))
    assert (row.better, row.worse) == ((d > 0).sum(), (d < 0).sum())


def test_drawn_signs_come_near_all_signs():
    one, two = pair(15, seed=3, shift=0.0)
    row = row_of(compare(result_set(one), result_set(two), {}, DICE))
    exact = sign_flip_p((two - one)[:, 0])
    assert 0.01 < exact < 0.9
    assert row.permutation == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9999) * 2 + 2e-4)


def test_wilcoxon_with_ties_and_equal_cases_against_the_normal_approximation():
    d = np.repeat([-0.02, 0.01, 0.02, 0.03, 0.0], [10, 15, 20, 10, 6])
    one = np.linspace(0.3, 0.7, len(d))
    row = row_of(compare(result_set(one[:, None]), result_set((one + d)[:, None]), {}, DICE))
    used = np.round(d[d != 0], 9)
    ranks = rankdata(abs(used))
    ties = np.unique(abs(used), return_counts=True)[1]
    n = len(used)
    variance = n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48
    z = (ranks[used > 0].sum() - n * (n + 1) / 4) / math.sqrt(variance)
    assert row.wilcoxon == pytest.approx(2 * norm.sf(abs(z)), rel=1e-6)
    assert (row.better, row.worse) == (45, 10)


def test_intervals_against_a_bootstrap_of_its_own():
    one, two = pair(80, seed=1)
    found = row_of(compare(result_set(one), result_set(two), {}, DICE)).statistics
    rng = np.random.default_rng(99)
    places = rng.integers(0, 80, (20000, 80))
    a, b = one[:, 0][places], two[:, 0][places]
    expected = {
        "mean": b.mean(1) - a.mean(1),
        "median": np.median(b, 1) - np.median(a, 1),
        "p25": np.percentile(b, 25, axis=1) - np.percentile(a, 25, axis=1),
        "p10": np.percentile(b, 10, axis=1) - np.percentile(a, 10, axis=1),
        "p5": np.percentile(b, 5, axis=1) - np.percentile(a, 5, axis=1),
        "cvar_10": np.sort(b, 1)[:, :8].mean(1) - np.sort(a, 1)[:, :8].mean(1),
    }
    assert set(found) == set(expected)
    for name, drawn in expected.items():
        low, high = np.percentile(drawn, (2.5, 97.5))
        assert found[name].low == pytest.approx(low, abs=0.12 * (high - low)), name
        assert found[name].high == pytest.approx(high, abs=0.12 * (high - low)), name
        assert found[name].low <= found[name].difference <= found[name].high
    half = 1.96 * (two - one).std(ddof=1) / math.sqrt(80)
    assert found["mean"].high - found["mean"].low == pytest.approx(2 * half, rel=0.1)
    p10 = np.percentile(two, 10) - np.percentile(one, 10)
    assert found["p10"].difference == pytest.approx(p10)
    assert found["p10"].baseline == pytest.approx(np.percentile(one, 10))


def test_holm_by_hand():
    one, two = pair(12, labels=3)
    groups = {"x": [f"case{i:03d}" for i in range(5)], "y": [f"case{i:03d}" for i in range(5, 12)]}
    rows = compare(result_set(one), result_set(two), groups, DICE)
    assert [(row.label, row.subgroup) for row in rows] == [
        *((label, "") for label in ("1", "2", "3", AVERAGE)),
        (AVERAGE, "x"),
        (AVERAGE, "y"),
    ]
    for raw, corrected in (("wilcoxon", "wilcoxon_holm"), ("permutation", "permutation_holm")):
        p = [getattr(row, raw) for row in rows]
        largest, expected = 0.0, {}
        for place, i in enumerate(np.argsort(p, kind="stable")):
            largest = max(largest, min(1.0, (len(p) - place) * p[i]))
            expected[i] = largest
        assert [getattr(row, corrected) for row in rows] == pytest.approx([expected[i] for i in range(len(p))])


def test_each_label_in_each_subgroup():
    one, two = pair(20, labels=2)
    two[:8, 1] -= 0.3
    names = [f"case{i:03d}" for i in range(20)]
    rows = compare(result_set(one), result_set(two), {"x": names[:8], "y": names[8:]}, DICE, parts=True)
    assert [(row.label, row.subgroup) for row in rows] == [("1", "x"), ("2", "x"), ("1", "y"), ("2", "y")]
    worst = min(rows, key=lambda row: row.gain)
    assert (worst.label, worst.subgroup, worst.sure) == ("2", "x", True)
    assert worst.gain == pytest.approx((two - one)[:8, 1].mean())
    assert worst.permutation_holm == pytest.approx(min(1, 4 * worst.permutation)), "Holm's over these four"


def test_lower_hd95_is_better_and_the_tail_is_the_high_one():
    one = np.arange(1.0, 21)[:, None]
    two = one - np.r_[np.full(15, 0.5), np.full(5, -0.25)][:, None]
    dice = np.full((20, 1), 0.5)
    row = row_of(compare(result_set(dice, hd95=one), result_set(dice, hd95=two), {}, HD95))
    assert (row.better, row.worse) == (15, 5)
    assert list(row.statistics) == ["mean", "median", "p75", "p90", "p95", "cvar_10"]
    assert row.statistics["p95"].baseline == pytest.approx(np.percentile(one, 95))
    assert row.statistics["cvar_10"].baseline == 19.5


def test_identical_results():
    one, _ = pair(30)
    row = row_of(compare(result_set(one), result_set(one), {}, DICE))
    assert (row.wilcoxon, row.permutation, row.wilcoxon_holm, row.better, row.worse) == (1, 1, 1, 0, 0)
    assert all((f.difference, f.low, f.high) == (0, 0, 0) for f in row.statistics.values())


def test_one_case_has_differences_but_no_interval_and_no_test():
    rows = compare(result_set([[0.5]]), result_set([[0.75]]), {"x": ["case000"]}, DICE)
    for row in rows:
        assert row.statistics["p10"].difference == 0.25
        assert all(math.isnan(v) for v in (row.statistics["p10"].low, row.wilcoxon, row.permutation, row.wilcoxon_holm))


def test_a_subgroup_of_one_case_leaves_the_correction_of_the_others_alone():
    one, two = pair(10)
    sets = result_set(one), result_set(two)
    with_group, without = compare(*sets, {"x": ["case004"]}, DICE), compare(*sets, {}, DICE)
    assert row_of(with_group).wilcoxon_holm == row_of(without).wilcoxon_holm
    assert math.isnan(row_of(with_group, subgroup="x").wilcoxon_holm)


def test_cases_and_labels_are_matched_by_name():
    one = result_set([[0.1, 0.5], [0.2, 0.6], [0.3, NAN]], cases=["a", "b", "c"], labels=["x", "y"])
    two = result_set([[0.65, 0.25], [0.7, 0.35], [0.4, 0.4]], cases=["b", "c", "d"], labels=["y", "x"])
    rows = compare(one, two, {"g": ["a", "d"]}, DICE)
    assert row_of(rows, "x").cases == ("b", "c")
    assert row_of(rows, "x").differences == pytest.approx([0.05, 0.05])
    assert row_of(rows, "y").cases == ("b",)
    assert row_of(rows, "y").left_out == 1
    assert row_of(rows).differences == pytest.approx([0.45 - 0.4, 0.525 - 0.3]), "average over labels with a value"
    assert {row.subgroup for row in rows} == {""}, "no case of the subgroup is in both"


def test_a_label_that_no_case_has():
    row = row_of(compare(result_set([[NAN, 0.5]]), result_set([[NAN, 0.5]]), {}, DICE), "1")
    assert (row.cases, row.left_out) == ((), 1)
    assert math.isnan(row.statistics["mean"].difference)


def test_what_cannot_be_compared():
    with pytest.raises(ResultError, match=r"has no case in common with a.json: 'y' against 'x'"):
        compare(result_set([[0.5]], cases=["x"]), result_set([[0.5]], cases=["y"]), {}, DICE)
    with pytest.raises(ResultError, match=r"has the labels '1', '2', while a.json has '1'; expected the same"):
        compare(result_set([[0.5]]), result_set([[0.5, 0.5]]), {}, DICE)
