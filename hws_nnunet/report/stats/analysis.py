"""All figures of a report: statistics by label and subgroup, gaps between subgroups, worst cases, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hws_nnunet.messages import number
from hws_nnunet.report.read.results import AVERAGE, LESIONS, METRICS, Metric, ResultSet, short_list, with_any
from hws_nnunet.report.stats.comparison import Paired, compare
from hws_nnunet.report.stats.statistics import describe

Row = dict[str, object]
ALL_CASES = ""  # the subgroup of rows over all cases
_HIGHER = {metric.key: metric.higher_is_better for metric in METRICS}


@dataclass(frozen=True)
class Analysis:
    """What a report says. The first set is the baseline of all comparisons.

    ``groups`` holds the cases of each subgroup, none without subgroups. ``values`` has a row a set, case and label, the
    average too: measures and sizes, NaN where there are none, and flags that are 0, 1, or NaN where they are not known.
    ``comparisons`` has a list for each further set and measure, ``parts`` one of each label in each subgroup.
    ``statistics`` and ``gaps`` are as they are written to CSV.
    """

    sets: tuple[ResultSet, ...]
    groups: Mapping[str, Sequence[str]]
    group_of: Mapping[str, str]
    threshold: float
    notes: tuple[str, ...]
    values: pd.DataFrame
    statistics: pd.DataFrame
    gaps: pd.DataFrame
    comparisons: Mapping[tuple[str, str], Sequence[Paired]]
    parts: Mapping[tuple[str, str], Sequence[Paired]]

    def whole(self, name: str) -> Paired:
        """Return the comparison of a further set's average Dice over all cases."""
        rows = self.comparisons[name, "dice"]
        return next(row for row in rows if row.label == AVERAGE and row.subgroup == ALL_CASES)

    def wide(self, key: str) -> pd.DataFrame:
        """Return a measure with a row a set, case and subgroup, and a column a label, the average last."""
        table = self.values.pivot(index=["set", "case", "subgroup"], columns="label", values=key)
        return table[list(self.sets[0].columns)]

    def find(self, **wanted: str) -> list[Row]:
        """Return the rows of ``statistics`` that hold some values."""
        return where(self.statistics, **wanted).to_dict("records")

    def gap(self, **wanted: str) -> Row | None:
        """Return the row of ``gaps`` that holds some values, if there is one."""
        return next(iter(where(self.gaps, **wanted).to_dict("records")), None) if len(self.gaps) else None


def where(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows of a frame that hold some values."""
    for key, value in wanted.items():
        frame = frame[frame[key] == value]
    return frame


def analyse(
    sets: Sequence[ResultSet],
    groups: Mapping[str, Sequence[str]],
    *,
    threshold: float = 0.5,
    progress: bool = False,
) -> Analysis:
    """Compute all figures of a report.

    Args:
        sets: at least one; the first is the baseline.
        groups: cases of each subgroup, from ``read_groups``; empty without subgroups.
        threshold: a case fails with a Dice below it, above 0 and at most 1.
        progress: show bars on standard error.

    Raises:
        ResultError: a set shares no case with the baseline, or differs in its labels.
    """
    baseline, *others = sets
    group_of = {case: group for group, cases in groups.items() for case in cases}
    values = pd.concat([_values(one, threshold) for one in sets])
    values["subgroup"] = [group_of.get(case, ALL_CASES) for case in values["case"]]
    statistics = _statistics(values, sets, groups)
    pairs = [(other, metric) for other in others for metric in _both(baseline, other)]
    whole, parts = (
        {(other.name, m.key): compare(baseline, other, groups, m, parts=parts, progress=progress) for other, m in pairs}
        for parts in (False, True)
    )
    notes = [*dict.fromkeys(note for one in sets for note in one.notes), *_notes(baseline, others)]
    if few := [f"{group} ({len(cases)})" for group, cases in groups.items() if len(cases) < 5]:
        notes.append(f"subgroups of fewer than five cases, whose figures say little: {', '.join(few)}")
    cases = sorted({case for one in sets for case in one.cases})
    if groups and (without := [case for case in cases if case not in group_of]):
        notes.append(
            f"{number(len(without), 'case')} without a subgroup, counted among all cases alone: {short_list(without)}"
        )
    gaps = _gaps(statistics)
    return Analysis(tuple(sets), groups, group_of, threshold, tuple(notes), values, statistics, gaps, whole, parts)


def _values(one: ResultSet, threshold: float) -> pd.DataFrame:
    keys = [*(metric.key for metric in one.metrics), "reference_size", "predicted_size"]
    missed, invented = (np.where(one.sizes_known, with_any(flags), np.nan) for flags in (one.missed, one.invented))
    columns = {key: one.values(key) for key in keys}
    columns |= {"failed": one.failures(threshold).astype(float), "missed": missed, "invented": invented}
    index = pd.MultiIndex.from_product([[one.name], one.cases, one.columns], names=["set", "case", "label"])
    return pd.DataFrame({key: column.ravel() for key, column in columns.items()}, index).reset_index()


def _statistics(values: pd.DataFrame, sets: Sequence[ResultSet], groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    frame = pd.concat([values.assign(subgroup=ALL_CASES), values[values["subgroup"] != ALL_CASES]])
    for key, order in (("subgroup", [ALL_CASES, *groups]), ("label", sets[0].columns)):
        frame[key] = pd.Categorical(frame[key], order)
    parts = [
        (one.name, metric, *about, part)
        for one in sets
        for metric in one.metrics
        for about, part in where(frame, set=one.name).groupby(["subgroup", "label"], observed=True)
    ]
    rows = []
    for name, metric, group, label, part in parts:
        row: Row = {"set": name, "metric": metric.key, "subgroup": group, "label": label}
        row |= describe(part[metric.key].to_numpy(), higher_is_better=metric.higher_is_better)
        row["left_out"] = int(part[metric.key].isna().sum())
        for key in ("failed", "missed", "invented"):
            row[key] = int(part[key].sum()) if metric.key == "dice" and part[key].notna().all() else ""
        rows.append(row)
    return pd.DataFrame(rows)


def _gaps(statistics: pd.DataFrame) -> pd.DataFrame:
    of_groups = statistics[(statistics["subgroup"] != ALL_CASES) & (statistics["cases"] > 0)]
    gaps = []
    for (name, metric, label), part in of_groups.groupby(["set", "metric", "label"], sort=False):
        for key in ("mean", "p10" if _HIGHER[metric] else "p90") if len(part) > 1 else ():
            row: Row = {"set": name, "metric": metric, "label": label, "statistic": key}
            ends = part.loc[[part[key].idxmin(), part[key].idxmax()]].to_dict("records")
            for which, end in zip(("worst", "best"), ends if _HIGHER[metric] else ends[::-1], strict=True):
                row |= {which: end["subgroup"], f"{which}_cases": end["cases"], f"{which}_value": end[key]}
            gaps.append(row | {"gap": ends[1][key] - ends[0][key]})
    return pd.DataFrame(gaps)


def worst_cases(one: ResultSet, metric: Metric) -> list[Row]:
    """Return the ten worst cases of a set by their average over labels, worst first; ties by name.

    Each row has ``case``, ``value``, the case's worst labels, of one value, with it as ``label`` and ``label_value``,
    and ``missed``, its missed structures.
    """
    values = one.frame(metric.key)
    rows = []
    order = values[AVERAGE].dropna().sort_values(ascending=metric.higher_is_better, kind="stable")
    for case, average in order.head(10).items():
        labels = values.loc[case, list(one.labels)]
        worst = labels.min() if metric.higher_is_better else labels.max()
        missed = np.array(one.labels)[one.missed[values.index.get_loc(case)]]
        row = {"case": case, "value": average, "label": ", ".join(labels.index[labels == worst]), "label_value": worst}
        rows.append(row | {"missed": ", ".join(missed)})
    return rows


def _both(baseline: ResultSet, other: ResultSet) -> list[Metric]:
    """Return the measures of two sets that are made by one rule; lesions are counted and averaged in several ways."""
    shared = [metric for metric in baseline.metrics if metric in other.metrics]
    alike = baseline.lesion_rule == other.lesion_rule
    return [metric for metric in shared if alike or metric.key not in LESIONS]


def _notes(baseline: ResultSet, others: Sequence[ResultSet]) -> list[str]:
    notes = [
        f"{one.name}: the source does not tell the sizes of all structures, so that missed and invented ones cannot be "
        "counted; a missed structure counts as a failure by its Dice of 0"
        for one in (baseline, *others)
        if not one.sizes_known
    ]
    for one in (baseline, *others):
        notes += [f"{one.name}: rule of the lesion-wise measures: {one.lesion_rule}"] if one.lesion_rule else []
        if one.told_mean is not None and not abs(one.told_mean - one.foreground_mean) < 1e-4:
            notes.append(
                f"{one.name}: its summary tells a foreground_mean of {one.told_mean:.3f}, while its cases give "
                f"{one.foreground_mean:.3f}"
            )
    for other in others:
        for one, two in ((baseline, other), (other, baseline)):
            if alone := sorted(set(one.cases) - set(two.cases)):
                notes.append(
                    f"{two.name} lacks {number(len(alone), 'case')} of {one.name}, left out where the two are "
                    f"compared: {short_list(alone)}"
                )
        for metric in (m for m in METRICS if (m in baseline.metrics) != (m in other.metrics)):
            lacking = other if metric in baseline.metrics else baseline
            notes.append(f"{lacking.name} has no {metric.title}, so that it is not compared")
        compared = _both(baseline, other)
        if apart := [m.title for m in baseline.metrics if m in other.metrics and m not in compared]:
            rules = f"{baseline.lesion_rule}; {other.lesion_rule}"
            notes.append(f"{', '.join(apart)} follow different rules and are not compared ({rules})")
        tools = baseline.surface_tool, other.surface_tool
        if all(tools) and tools[0] != tools[1]:
            notes.append(
                f"{baseline.name} and {other.name} have their HD95 and normalised surface Dice from different sources "
                f"({tools[0]}; {tools[1]}), which may differ by more than the methods do"
            )
    return notes


def case_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each set, case and label, as a table that a report can be made from again."""
    names = {metric.key: metric.heading for metric in METRICS} | {"reference_size": "n_ref", "predicted_size": "n_pred"}
    columns = [key for key in ("set", "case", "subgroup", "label", *names) if key in analysis.values]
    table = analysis.values.loc[analysis.values["label"] != AVERAGE, columns].rename(columns=names)
    rules = {one.name: one.lesion_rule for one in analysis.sets}
    return table.assign(lesion_rule=table["set"].map(rules)) if any(rules.values()) else table


def difference_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each compared case: its average Dice in both sets, and the difference, worst first."""
    baseline, *others = (one.name for one in analysis.sets)
    before = analysis.wide("dice").loc[baseline, AVERAGE].rename("baseline_dice").reset_index()
    frames = [pd.DataFrame()]
    for name in others:
        whole = analysis.whole(name)
        changes = pd.DataFrame({"case": whole.cases, "difference": whole.differences})
        frame = before.merge(changes, on="case").sort_values("difference", kind="stable")
        frames.append(frame.assign(set=name, baseline=baseline, dice=frame["baseline_dice"] + frame["difference"]))
    columns = ["set", "baseline", "case", "subgroup", "baseline_dice", "dice", "difference"]
    return pd.concat(frames).reindex(columns=columns)


def comparison_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each comparison, label, subgroup and figure."""
    rows = [
        {"set": name, "baseline": analysis.sets[0].name, "metric": metric}
        | one.counts()
        | {"statistic": key, "baseline_value": statistic.baseline, "value": statistic.other}
        | {"difference": statistic.difference, "low": statistic.low, "high": statistic.high}
        | one.tests()
        for (name, metric), compared in analysis.comparisons.items()
        for one in (*compared, *analysis.parts[name, metric])
        for key, statistic in one.statistics.items()
    ]
    return pd.DataFrame(rows)
