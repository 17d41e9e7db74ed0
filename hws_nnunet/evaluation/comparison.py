"""Two result sets on the same cases: paired differences, intervals and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from tqdm import tqdm

from hws_nnunet.evaluation.extra import needed
from hws_nnunet.evaluation.results import AVERAGE, Metric, ResultError, ResultSet, short_list
from hws_nnunet.evaluation.statistics import tail, tail_names

RESAMPLES, PERMUTATIONS, SEED = 2000, 9999, 0
EXACT = 12  # most cases of which all 2^n signs are tried
CONFIDENCE, LEVEL = 0.95, 0.05
_SAME = 1e-9  # what two programs' rounding may do to one number


@dataclass(frozen=True)
class Difference:
    """A figure of both sets, over the same cases, and the difference of the second from the first."""

    baseline: float
    other: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One label in one subgroup, compared. ``differences`` are the other's values less the baseline's, case by case.

    ``left_out`` counts the cases in which either has no value. ``figures`` are keyed as in ``tail_names``. P values are
    two-sided; NaN where fewer than two cases have both values.
    """

    metric: Metric
    label: str
    subgroup: str
    cases: tuple[str, ...]
    left_out: int
    differences: np.ndarray
    figures: Mapping[str, Difference]
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
        return self._sign * self.figures["mean"].difference

    @property
    def sure(self) -> bool:
        """Return whether the permutation test finds the means to differ, after Holm's correction."""
        return self.permutation_holm < LEVEL

    @property
    def _sign(self) -> int:
        return 1 if self.metric.higher_is_better else -1

    def rows(self) -> list[dict[str, object]]:
        """Return a row a figure, as a table has them."""
        about = {"subgroup": self.subgroup, "label": self.label, "cases": len(self.cases), "left_out": self.left_out}
        about |= {"better": self.better, "worse": self.worse}
        tests = {"wilcoxon_p": self.wilcoxon, "wilcoxon_p_holm": self.wilcoxon_holm}
        tests |= {"permutation_p": self.permutation, "permutation_p_holm": self.permutation_holm}
        keys = ("baseline_value", "value", "difference", "low", "high")
        figures = {name: dict(zip(keys, vars(found).values(), strict=True)) for name, found in self.figures.items()}
        return [{**about, "statistic": name, **found, **tests} for name, found in figures.items()]


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
    first, known, expected = baseline
    if set(labels) != set(expected):
        text = f"has the labels {short_list(labels)}, while {first} has {short_list(expected)}; expected the same, as "
        text += "averages over different labels do not compare (--dataset dataset.json names them)"
        raise ResultError(name, [text])
    if not set(cases) & set(known):
        text = f"has no case in common with {first}: {short_list(cases)} against {short_list(known)}"
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
    order = [other.columns.index(label) for label in baseline.columns]
    one = baseline.values(metric.key)[baseline.chosen(both)]
    two = other.values(metric.key)[other.chosen(both)][:, order]
    members_of = {group: np.isin(both, list(cases)) for group, cases in groups.items()}
    wanted = [] if parts else [(label, "", np.ones(len(both), bool)) for label in baseline.columns]
    labels = baseline.labels if parts else (AVERAGE,)
    wanted += [(label, group, members) for group, members in members_of.items() for label in labels]
    bar = tqdm(wanted, desc=f"comparing {metric.title}", unit="row", disable=not (progress and wanted))
    rows = []
    for label, group, members in bar:
        column = baseline.columns.index(label)
        if members.any():
            values = one[members, column], two[members, column]
            rows.append(_row(metric, label, group, np.array(both)[members], *values))
    return _corrected(rows)


def _row(metric: Metric, label: str, group: str, cases: np.ndarray, one: np.ndarray, two: np.ndarray) -> Paired:
    known = np.isfinite(one) & np.isfinite(two)
    one, two, names = one[known], two[known], tuple(map(str, cases[known]))
    differences = two - one
    differences[np.abs(differences) <= _SAME] = 0
    figures = _figures(one, two, metric.higher_is_better)
    return Paired(metric, label, group, names, int((~known).sum()), differences, figures, *_tests(differences))


def _figures(one: np.ndarray, two: np.ndarray, higher_is_better: bool) -> dict[str, Difference]:
    names = tail_names(higher_is_better)
    if not one.size:
        return {name: Difference(*[float("nan")] * 5) for name in names}

    def figures(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return tail(values, higher_is_better=higher_is_better, axis=axis)

    low = high = np.full(len(names), np.nan)
    if one.size > 1:
        # Percentile intervals: the acceleration that BCa needs is a jackknife, which fails for percentiles.
        interval = stats.bootstrap(
            (one, two),
            lambda a, b, axis: figures(b, axis) - figures(a, axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(SEED),
        ).confidence_interval
        low, high = interval.low, interval.high
    first, second = figures(one), figures(two)
    columns = zip(first, second, second - first, low, high, strict=True)
    return {name: Difference(*map(float, row)) for name, row in zip(names, columns, strict=True)}


def _tests(differences: np.ndarray) -> tuple[float, float]:
    """Return p of Wilcoxon's signed-rank and of the sign-flip permutation test."""
    if differences.size < 2:
        return float("nan"), float("nan")
    if not differences.any():
        return 1.0, 1.0
    # Differences that are equal but for the last bits are ties.
    wilcoxon = stats.wilcoxon(np.round(differences, 9)).pvalue
    return float(wilcoxon), _sign_flips(differences)


def _sign_flips(differences: np.ndarray) -> float:
    if differences.size <= EXACT:
        options = {"permutation_type": "samples", "vectorized": True, "n_resamples": np.inf}
        return float(stats.permutation_test((differences,), np.mean, **options).pvalue)
    rng = np.random.default_rng(SEED)

    def flipped(size: tuple[int, ...]) -> np.ndarray:
        return differences * (2 * rng.integers(0, 2, size, dtype=np.int8) - 1)

    # Many times quicker than permutation_test, which draws each sign by sorting.
    return float(
        stats.monte_carlo_test(differences, flipped, np.mean, vectorized=True, n_resamples=PERMUTATIONS).pvalue
    )


def _corrected(rows: list[Paired]) -> list[Paired]:
    multipletests = needed("statsmodels.stats.multitest").multipletests
    for test in ("wilcoxon", "permutation"):
        p = np.array([getattr(row, test) for row in rows])
        known = np.isfinite(p)
        if known.any():
            p[known] = multipletests(p[known], method="holm")[1]
        rows = [replace(row, **{f"{test}_holm": float(holm)}) for row, holm in zip(rows, p, strict=True)]
    return rows
