"""All figures of a report: statistics by label and subgroup, gaps between subgroups, worst cases, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hws_nnunet.evaluation.comparison import Paired, common_cases, compare
from hws_nnunet.evaluation.results import AVERAGE, Metric, ResultSet, short_list
from hws_nnunet.evaluation.statistics import describe

Row = dict[str, object]
ALL_CASES = ""  # the subgroup of rows over all cases


@dataclass(frozen=True)
class Analysis:
    """What a report says. The first set is the baseline of all comparisons.

    ``groups`` holds the cases of each subgroup, none without subgroups; ``comparisons`` a list for each further set
    and measure. ``statistics`` and ``gaps`` are rows as they are written to CSV.
    """

    sets: tuple[ResultSet, ...]
    groups: Mapping[str, Sequence[str]]
    threshold: float
    notes: tuple[str, ...]
    statistics: tuple[Row, ...]
    gaps: tuple[Row, ...]
    comparisons: Mapping[tuple[str, str], Sequence[Paired]]

    def find(self, **wanted: str) -> list[Row]:
        """Return the rows of ``statistics`` that hold some values."""
        return [row for row in self.statistics if all(row[key] == value for key, value in wanted.items())]

    def gap(self, **wanted: str) -> Row | None:
        """Return the row of ``gaps`` that holds some values, if there is one."""
        return next((row for row in self.gaps if all(row[key] == value for key, value in wanted.items())), None)

    def group_of(self, case: str) -> str:
        """Return a case's subgroup; empty without subgroups."""
        return next((group for group, cases in self.groups.items() if case in cases), "")


def analyse(
    sets: Sequence[ResultSet],
    groups: Mapping[str, Sequence[str]],
    *,
    threshold: float = 0.5,
    notes: Sequence[str] = (),
    progress: bool = False,
) -> Analysis:
    """Compute all figures of a report.

    Args:
        sets: at least one; the first is the baseline.
        groups: cases of each subgroup, from ``read_groups``; empty without subgroups.
        threshold: a case fails with a Dice below it, above 0 and at most 1.
        notes: what people should know of the input; what is found here is added.
        progress: show bars on standard error.

    Raises:
        ResultError: a set shares no case with the baseline, or differs in its labels.
    """
    baseline, *others = sets
    for other in others:
        common_cases(baseline, other)  # complain before any long computation
    statistics = [row for one in sets for row in _statistics(one, groups, threshold)]
    comparisons = {
        (other.name, metric.key): compare(baseline, other, groups, metric, progress=progress)
        for other in others
        for metric in baseline.metrics
        if metric in other.metrics
    }
    return Analysis(
        tuple(sets),
        groups,
        threshold,
        (*notes, *_notes(baseline, others), *_group_notes(groups)),
        tuple(statistics),
        tuple(_gaps(statistics, sets)),
        comparisons,
    )


def _statistics(one: ResultSet, groups: Mapping[str, Sequence[str]], threshold: float) -> list[Row]:
    known = set(one.cases)
    parts = {ALL_CASES: one.cases, **{g: [case for case in cases if case in known] for g, cases in groups.items()}}
    sizes_known = np.isfinite(one.reference_size) & np.isfinite(one.predicted_size)
    counts = {
        "failed": one.failures(threshold),
        "missed": np.column_stack([one.missed, one.missed.any(axis=1)]),
        "invented": np.column_stack([one.invented, one.invented.any(axis=1)]),
    }
    rows = []
    for metric in one.metrics:
        values = one.values(metric.key)
        for group, cases in parts.items():
            places = one.chosen(cases)
            for j, label in enumerate(one.columns):
                row: Row = {"set": one.name, "metric": metric.key, "subgroup": group, "label": label}
                row |= describe(values[places, j], higher_is_better=metric.higher_is_better)
                row["cases"] = int(row["cases"])
                row["left_out"] = len(places) - row["cases"]
                for key, flags in counts.items():
                    told = key == "failed" or sizes_known.all()
                    row[key] = int(flags[places, j].sum()) if metric.key == "dice" and told else ""
                rows.append(row)
    return rows


def _gaps(statistics: Sequence[Row], sets: Sequence[ResultSet]) -> list[Row]:
    gaps = []
    for one in sets:
        for metric in one.metrics:
            for label in one.columns:
                rows = [
                    row
                    for row in statistics
                    if (row["set"], row["metric"], row["label"]) == (one.name, metric.key, label)
                    and row["subgroup"] != ALL_CASES
                    and row["cases"]
                ]
                if len(rows) < 2:
                    continue
                for key in ("mean", "p10" if metric.higher_is_better else "p90"):
                    low, high = (choose(rows, key=lambda row, key=key: row[key]) for choose in (min, max))
                    worst, best = (low, high) if metric.higher_is_better else (high, low)
                    gaps.append(
                        {
                            "set": one.name,
                            "metric": metric.key,
                            "label": label,
                            "statistic": key,
                            "worst": worst["subgroup"],
                            "worst_cases": worst["cases"],
                            "worst_value": worst[key],
                            "best": best["subgroup"],
                            "best_cases": best["cases"],
                            "best_value": best[key],
                            "gap": abs(best[key] - worst[key]),
                        }
                    )
    return gaps


def worst_cases(one: ResultSet, metric: Metric, *, most: int = 10) -> list[Row]:
    """Return the worst cases of a set by their average over labels, worst first; ties by name.

    Each row has ``case``, ``value``, and the case's worst label with its value as ``label`` and ``label_value``.
    """
    values = one.values(metric.key)
    sign = 1 if metric.higher_is_better else -1
    order = [i for i in np.argsort(sign * values[:, -1], kind="stable") if np.isfinite(values[i, -1])][:most]
    rows = []
    for i in order:
        j = int(np.nanargmin(sign * values[i, :-1]))
        rows.append(
            {
                "case": one.cases[i],
                "value": float(values[i, -1]),
                "label": one.labels[j],
                "label_value": float(values[i, j]),
                "missed": [label for label, missed in zip(one.labels, one.missed[i], strict=True) if missed],
            }
        )
    return rows


def _notes(baseline: ResultSet, others: Sequence[ResultSet]) -> list[str]:
    notes = []
    for one in (baseline, *others):
        if not (np.isfinite(one.reference_size) & np.isfinite(one.predicted_size)).all():
            notes.append(
                f"{one.name}: the source does not tell the sizes of all structures, so that missed and invented ones "
                "cannot be counted; a missed structure counts as a failure by its Dice of 0"
            )
    for other in others:
        for one, two in ((baseline, other), (other, baseline)):
            if alone := sorted(set(one.cases) - set(two.cases)):
                notes.append(
                    f"{len(alone)} case(s) of {one.name} are not in {two.name}, and left out where the two are "
                    f"compared: {short_list(alone)}"
                )
        for metric in {*baseline.metrics} ^ {*other.metrics}:
            lacking = other if metric in baseline.metrics else baseline
            notes.append(f"{lacking.name} has no {metric.title}, so that it is not compared")
        tools = baseline.surface_tool, other.surface_tool
        if all(tools) and tools[0] != tools[1]:
            notes.append(
                f"{baseline.name} and {other.name} have their HD95 and normalised surface Dice from different sources "
                f"({tools[0]}; {tools[1]}), which may differ by more than the methods do"
            )
    return notes


def _group_notes(groups: Mapping[str, Sequence[str]]) -> list[str]:
    few = [f"{group} ({len(cases)})" for group, cases in groups.items() if len(cases) < 5]
    return [f"subgroups of fewer than five cases, whose figures say little: {', '.join(few)}"] if few else []


def case_rows(analysis: Analysis) -> list[Row]:
    """Return a row for each set, case and label, as a table that a report can be made from again."""
    rows = []
    group_of = {case: group for group, cases in analysis.groups.items() for case in cases}
    for one in analysis.sets:
        for i, case in enumerate(one.cases):
            for j, label in enumerate(one.labels):
                row: Row = {"set": one.name, "case": case, "subgroup": group_of.get(case, ""), "label": label}
                for column, key in (("Dice", "dice"), ("HD95", "hd95"), ("NSD", "nsd")):
                    if any(key in {m.key for m in each.metrics} for each in analysis.sets):
                        values = getattr(one, key)
                        row[column] = float(values[i, j]) if values is not None else float("nan")
                row["n_ref"], row["n_pred"] = float(one.reference_size[i, j]), float(one.predicted_size[i, j])
                rows.append(row)
    return rows


def difference_rows(analysis: Analysis) -> list[Row]:
    """Return a row for each compared case: its average Dice in both sets, and the difference, worst first."""
    baseline = analysis.sets[0]
    rows = []
    for (name, key), paired in analysis.comparisons.items():
        for row in paired:
            if key != "dice" or row.label != AVERAGE or row.subgroup != ALL_CASES:
                continue
            first = baseline.values(key)[baseline.chosen(row.cases), -1]
            order = np.argsort(row.differences, kind="stable")
            rows += [
                {
                    "set": name,
                    "baseline": baseline.name,
                    "case": row.cases[i],
                    "subgroup": analysis.group_of(row.cases[i]),
                    "baseline_dice": float(first[i]),
                    "dice": float(first[i] + row.differences[i]),
                    "difference": float(row.differences[i]),
                }
                for i in order
            ]
    return rows


def comparison_rows(analysis: Analysis) -> list[Row]:
    """Return a row for each comparison, label, subgroup and figure."""
    rows = []
    for (name, _), paired in analysis.comparisons.items():
        for one in paired:
            for figure, found in one.figures.items():
                rows.append(
                    {
                        "set": name,
                        "baseline": analysis.sets[0].name,
                        "metric": one.metric.key,
                        "subgroup": one.subgroup,
                        "label": one.label,
                        "cases": len(one.cases),
                        "left_out": one.left_out,
                        "better": one.better,
                        "worse": one.worse,
                        "statistic": figure,
                        "baseline_value": found.baseline,
                        "value": found.other,
                        "difference": found.difference,
                        "low": found.low,
                        "high": found.high,
                        "wilcoxon_p": one.wilcoxon,
                        "wilcoxon_p_holm": one.wilcoxon_holm,
                        "permutation_p": one.permutation,
                        "permutation_p_holm": one.permutation_holm,
                    }
                )
    return rows
