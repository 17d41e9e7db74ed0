"""All figures of a report: statistics by label and subgroup, gaps between subgroups, worst cases, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hws_nnunet.evaluation.comparison import Paired, common_cases, compare
from hws_nnunet.evaluation.extra import needed
from hws_nnunet.evaluation.results import AVERAGE, METRICS, Metric, ResultSet, short_list, with_any
from hws_nnunet.evaluation.statistics import describe

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, object]
ALL_CASES = ""  # the subgroup of rows over all cases
_KEYS = ["set", "metric", "subgroup", "label"]
_HIGHER = {metric.key: metric.higher_is_better for metric in METRICS}


@dataclass(frozen=True)
class Analysis:
    """What a report says. The first set is the baseline of all comparisons.

    ``groups`` holds the cases of each subgroup, none without subgroups. ``values`` has a row a set, measure, case and
    label, the average too, with flags that are 0, 1, or NaN where they are not known. ``comparisons`` has a list for
    each further set and measure, ``parts`` one of each label in each subgroup. ``statistics`` and ``gaps`` are as they
    are written to CSV.
    """

    sets: tuple[ResultSet, ...]
    groups: Mapping[str, Sequence[str]]
    threshold: float
    notes: tuple[str, ...]
    values: pd.DataFrame
    statistics: pd.DataFrame
    gaps: pd.DataFrame
    comparisons: Mapping[tuple[str, str], Sequence[Paired]]
    parts: Mapping[tuple[str, str], Sequence[Paired]]

    @property
    def group_of(self) -> dict[str, str]:
        """Return the subgroup of each case that has one."""
        return groups_of_cases(self.groups)

    def find(self, **wanted: str) -> list[Row]:
        """Return the rows of ``statistics`` that hold some values."""
        return where(self.statistics, **wanted).to_dict("records")

    def gap(self, **wanted: str) -> Row | None:
        """Return the row of ``gaps`` that holds some values, if there is one."""
        return next(iter(where(self.gaps, **wanted).to_dict("records")), None) if len(self.gaps) else None


def where(frame: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows of a frame that hold some values."""
    for key, value in wanted.items():
        frame = frame[frame[key] == value]
    return frame


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
    pd = needed("pandas")
    values = pd.concat([_values(one, metric, threshold) for one in sets for metric in one.metrics])
    group_of = groups_of_cases(groups)
    values["subgroup"] = [group_of.get(case, ALL_CASES) for case in values["case"]]
    statistics = _statistics(values, sets, groups)
    pairs = [(other, m) for other in others for m in baseline.metrics if m in other.metrics]
    whole, parts = (
        {(other.name, m.key): compare(baseline, other, groups, m, parts=parts, progress=progress) for other, m in pairs}
        for parts in (False, True)
    )
    few = [f"{group} ({len(cases)})" for group, cases in groups.items() if len(cases) < 5]
    notes = [*notes, *_notes(baseline, others)]
    notes += [f"subgroups of fewer than five cases, whose figures say little: {', '.join(few)}"] if few else []
    return Analysis(tuple(sets), groups, threshold, tuple(notes), values, statistics, _gaps(statistics), whole, parts)


def groups_of_cases(groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the subgroup of each case that has one."""
    return {case: group for group, cases in groups.items() for case in cases}


def _statistics(values: pd.DataFrame, sets: Sequence[ResultSet], groups: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    pd = needed("pandas")
    parts = {ALL_CASES: values, **{group: values[values["case"].isin(cases)] for group, cases in groups.items()}}
    frame = pd.concat([part.assign(subgroup=group) for group, part in parts.items()])
    orders = ([one.name for one in sets], list(_HIGHER), list(parts), sets[0].columns)
    for key, order in zip(_KEYS, orders, strict=True):
        frame[key] = pd.Categorical(frame[key], order)
    rows = []
    for about, part in frame.groupby(_KEYS, observed=True):
        row: Row = dict(zip(_KEYS, about, strict=True))
        row |= describe(part["value"].to_numpy(), higher_is_better=_HIGHER[row["metric"]])
        row |= {"cases": int(row["cases"]), "left_out": int(part["value"].isna().sum())}
        row |= {key: "" if part[key].isna().any() else int(part[key].sum()) for key in ("failed", "missed", "invented")}
        rows.append(row)
    return pd.DataFrame(rows)


def _values(one: ResultSet, metric: Metric, threshold: float) -> pd.DataFrame:
    pd = needed("pandas")
    index = pd.MultiIndex.from_product([one.cases, one.columns], names=["case", "label"])
    flags = {"failed": one.failures(threshold), "missed": with_any(one.missed), "invented": with_any(one.invented)}
    told = {key: metric.key == "dice" and (key == "failed" or one.sizes_known) for key in flags}
    columns = {key: np.where(told[key], flag, np.nan).ravel() for key, flag in flags.items()}
    columns["value"] = one.values(metric.key).ravel()
    return pd.DataFrame(columns, index).reset_index().assign(set=one.name, metric=metric.key)


def _gaps(statistics: pd.DataFrame) -> pd.DataFrame:
    known = statistics[(statistics["subgroup"] != ALL_CASES) & (statistics["cases"] > 0)]
    gaps = []
    for about, part in known.groupby(["set", "metric", "label"], sort=False):
        higher = _HIGHER[about[1]]
        for key in ("mean", "p10" if higher else "p90") if len(part) > 1 else ():
            ends = part.loc[part[key].idxmin()], part.loc[part[key].idxmax()]
            row: Row = {**dict(zip(("set", "metric", "label"), about, strict=True)), "statistic": key}
            for name, end in zip(("worst", "best"), ends if higher else ends[::-1], strict=True):
                row |= {name: end["subgroup"], f"{name}_cases": end["cases"], f"{name}_value": end[key]}
            gaps.append({**row, "gap": abs(row["best_value"] - row["worst_value"])})
    return needed("pandas").DataFrame(gaps)


def worst_cases(one: ResultSet, metric: Metric, *, most: int = 10) -> list[Row]:
    """Return the worst cases of a set by their average over labels, worst first; ties by name.

    Each row has ``case``, ``value``, the case's worst labels, of one value, with it as ``label`` and ``label_value``,
    and ``missed``, its missed structures.
    """
    values = one.values(metric.key)
    sign = 1 if metric.higher_is_better else -1
    order = [i for i in np.argsort(sign * values[:, -1], kind="stable") if np.isfinite(values[i, -1])][:most]
    rows = []
    for i in order:
        worst = sign * np.nanmin(sign * values[i, :-1])
        labels, missed = (", ".join(np.array(one.labels)[flags]) for flags in (values[i, :-1] == worst, one.missed[i]))
        about = {"case": one.cases[i], "value": float(values[i, -1])}
        rows.append({**about, "label": labels, "label_value": float(worst), "missed": missed})
    return rows


def _notes(baseline: ResultSet, others: Sequence[ResultSet]) -> list[str]:
    notes = [
        f"{one.name}: the source does not tell the sizes of all structures, so that missed and invented ones cannot be "
        "counted; a missed structure counts as a failure by its Dice of 0"
        for one in (baseline, *others)
        if not one.sizes_known
    ]
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


def case_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each set, case and label, as a table that a report can be made from again."""
    pd = needed("pandas")
    names = {"dice": "Dice", "hd95": "HD95", "nsd": "NSD", "reference_size": "n_ref", "predicted_size": "n_pred"}
    frames = []
    for one in analysis.sets:
        arrays = {name: getattr(one, key) for key, name in names.items() if getattr(one, key) is not None}
        index = pd.MultiIndex.from_product([one.cases, one.labels], names=["case", "label"])
        frame = pd.DataFrame({name: values.ravel() for name, values in arrays.items()}, index).reset_index()
        frames.append(frame.assign(set=one.name, subgroup=frame["case"].map(analysis.group_of)))
    found = pd.concat(frames)
    return found[[c for c in ("set", "case", "subgroup", "label", *names.values()) if c in found]]


def difference_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each compared case: its average Dice in both sets, and the difference, worst first."""
    pd = needed("pandas")
    baseline = analysis.sets[0]
    frames = [pd.DataFrame()]
    for (name, key), rows in analysis.comparisons.items():
        if key == "dice":
            (whole,) = (row for row in rows if (row.label, row.subgroup) == (AVERAGE, ALL_CASES))
            frame = pd.DataFrame({"set": name, "baseline": baseline.name, "case": whole.cases})
            frame["subgroup"] = [analysis.group_of.get(case, "") for case in whole.cases]
            frame["baseline_dice"] = baseline.values(key)[baseline.chosen(whole.cases), -1]
            frame["dice"] = frame["baseline_dice"] + whole.differences
            frames.append(frame.assign(difference=whole.differences).sort_values("difference", kind="stable"))
    return pd.concat(frames)


def comparison_table(analysis: Analysis) -> pd.DataFrame:
    """Return a row for each comparison, label, subgroup and figure."""
    rows = []
    for (name, key), compared in analysis.comparisons.items():
        about = {"set": name, "baseline": analysis.sets[0].name, "metric": key}
        rows += [{**about, **row} for one in (*compared, *analysis.parts[name, key]) for row in one.rows()]
    return needed("pandas").DataFrame(rows)
