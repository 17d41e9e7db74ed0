"""Two result sets on the same cases: paired differences, intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from tqdm import tqdm

from hws_nnunet.report.read.results import AVERAGE, Metric, ResultError, ResultSet, short_list
from hws_nnunet.report.stats.statistics import tail, tail_names

RESAMPLES, PERMUTATIONS, SEED = 2000, 9999, 0
EXACT = 12  # most cases of which all 2^n signs are tried
CONFIDENCE, LEVEL = 0.95, 0.05
_SAME = 1e-9  # what two programs' rounding may do to one number


@dataclass(frozen=True)
class Difference:
    """A statistic of both sets, over the same cases, and the difference of the second from the first."""

    baseline: float
    other: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One label in one subgroup, compared. ``differences`` are the other's values less the baseline's, case by case.

    ``left_out`` counts the cases in which either has no value. ``statistics`` are keyed as in ``tail_names``. P values
    are two-sided; NaN where fewer than two cases have both values.
    """

    metric: Metric
    label: str
    subgroup: str
    cases: tuple[str, ...]
    left_out: int
    differences: np.ndarray
    statistics: Mapping[str, Difference]
    wilcoxon: float
    permutation: float
    wilcoxon_holm: float = float("nan")
    permutation_holm: float = float("nan")

    @property
    def better(self) -> int:
        """Return in how many cases the other set is better."""
        return int((self._sign * self.differences > _SAME).sum())

    @property
    def worse(self) -> int:
        """Return in how many cases the other set is worse."""
        return int((self._sign * self.differences < -_SAME).sum())

    @property
    def gain(self) -> float:
        """Return by how much the other set's mean is better."""
        return self._sign * self.statistics["mean"].difference

    @property
    def sure(self) -> bool:
        """Return whether the permutation test finds the means to differ, after Holm's correction."""
        return self.permutation_holm < LEVEL

    @property
    def _sign(self) -> int:
        return 1 if self.metric.higher_is_better else -1

    def counts(self) -> dict[str, object]:
        """Return what it is of, and numbers of cases, as tables have them."""
        figures = {"subgroup": self.subgroup, "label": self.label, "cases": len(self.cases), "left_out": self.left_out}
        return figures | {"better": self.better, "worse": self.worse}

    def tests(self) -> dict[str, float]:
        """Return the p values, as tables have them."""
        p_values = {"wilcoxon_p": self.wilcoxon, "wilcoxon_p_holm": self.wilcoxon_holm}
        return p_values | {"permutation_p": self.permutation, "permutation_p_holm": self.permutation_holm}


def common_cases(baseline: ResultSet, other: ResultSet) -> tuple[str, ...]:
    """Return the cases of both sets.

    Raises:
        ResultError: the sets share no case, or differ in their labels.
    """
    check_match(other.source, other.cases, other.labels, baseline=(baseline.source, baseline.cases, baseline.labels))
    there = set(other.cases)
    return tuple(case for case in baseline.cases if case in there)


def check_match(
    name: str, cases: Sequence[str], labels: Sequence[str], *, baseline: tuple[str, Sequence[str], Sequence[str]]
) -> None:
    """Check that two sets can be compared, each told by its name, cases and labels.

    Raises:
        ResultError: they share no case, or differ in their labels.
    """
    first, first_cases, expected = baseline
    if set(labels) != set(expected):
        text = f"has the labels {short_list(labels)}, while {first} has {short_list(expected)}; expected the same, as "
        text += "averages over different labels do not compare (--dataset dataset.json names them)"
        raise ResultError(name, [text])
    if not set(cases) & set(first_cases):
        text = f"has no case in common with {first}: {short_list(cases)} against {short_list(first_cases)}"
        raise ResultError(name, [text])


def compare(
    baseline: ResultSet,
    other: ResultSet,
    groups: Mapping[str, Sequence[str]],
    metric: Metric,
    *,
    parts: bool = False,
    progress: bool = False,
) -> list[Paired]:
    """Compare two sets over the cases that both have.

    Each label and their average are compared over all cases, the average in each subgroup, too. Holm's correction is
    over all of these, for each of the two tests by itself.

    Args:
        baseline: what differences are taken from.
        other: of the same labels.
        groups: cases of each subgroup; empty without subgroups.
        metric: that both sets have.
        parts: compare each label in each subgroup instead.
        progress: show a bar on standard error.

    Raises:
        ResultError: the sets share no case, or differ in their labels.
    """
    both = common_cases(baseline, other)
    cases_of_group = {group: set(cases) for group, cases in groups.items()}
    members = {group: [case for case in both if case in of_group] for group, of_group in cases_of_group.items()}
    if parts:
        wanted = [(label, group) for group in members for label in baseline.labels]
    else:
        wanted = [(label, "") for label in baseline.columns] + [(AVERAGE, group) for group in members]
    members[""] = list(both)
    wanted = [(label, group) for label, group in wanted if members[group]]
    frames = [one.frame(metric.key) for one in (baseline, other)]
    rows = []
    for label, group in tqdm(wanted, desc=f"comparing {metric.title}", unit="row", disable=not (progress and wanted)):
        pairs = pd.concat([frame.loc[members[group], label] for frame in frames], axis=1).dropna()
        one, two = pairs.to_numpy().T
        differences = np.where(np.abs(two - one) <= _SAME, 0, two - one)
        statistics, left_out = _statistics(one, two, metric.higher_is_better), len(members[group]) - len(pairs)
        rows.append(
            Paired(metric, label, group, tuple(pairs.index), left_out, differences, statistics, *_tests(differences))
        )
    corrected = _holm([row.wilcoxon for row in rows]), _holm([row.permutation for row in rows])
    return [
        replace(row, wilcoxon_holm=wilcoxon, permutation_holm=permutation)
        for row, wilcoxon, permutation in zip(rows, *corrected, strict=True)
    ]


def _statistics(one: np.ndarray, two: np.ndarray, higher_is_better: bool) -> dict[str, Difference]:
    names, measured = tail_names(higher_is_better), partial(tail, higher_is_better=higher_is_better)
    values = np.full((5, len(names)), np.nan)
    if one.size:
        values[:3] = measured(one), measured(two), measured(two) - measured(one)
    if one.size > 1:
        # Percentile intervals: the acceleration that BCa needs is a jackknife, which fails for percentiles.
        interval = stats.bootstrap(
            (one, two),
            lambda a, b, axis: measured(b, axis=axis) - measured(a, axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
        values[3:] = interval.low, interval.high
    return {name: Difference(*column) for name, column in zip(names, values.T.tolist(), strict=True)}


def _tests(differences: np.ndarray) -> tuple[float, float]:
    """Return p of Wilcoxon's signed-rank and of the sign-flip permutation test."""
    if differences.size < 2:
        return float("nan"), float("nan")
    if not differences.any():
        return 1.0, 1.0
    # Differences that are equal but for the last bits are ties.
    wilcoxon = stats.wilcoxon(np.round(differences, 9))
    if differences.size <= EXACT:
        options = {"permutation_type": "samples", "vectorized": True, "n_resamples": np.inf}
        permutation = stats.permutation_test((differences,), np.mean, **options)
    else:
        rng = np.random.default_rng(SEED)

        def flipped(size: tuple[int, ...]) -> np.ndarray:
            return differences * (2 * rng.integers(0, 2, size, dtype=np.int8) - 1)

        # Many times quicker than permutation_test, which draws each sign by sorting.
        options = {"vectorized": True, "n_resamples": PERMUTATIONS}
        permutation = stats.monte_carlo_test(differences, flipped, np.mean, **options)
    return float(wilcoxon.pvalue), float(permutation.pvalue)


def _holm(p: list[float]) -> list[float]:
    """Return p values corrected for their number; those that are unknown (NaN) do not count."""
    corrected = np.array(p)
    finite = np.isfinite(corrected)
    if finite.any():
        corrected[finite] = multipletests(corrected[finite], method="holm")[1]
    return corrected.tolist()
