"""What a report answers first, in words: who is failed most, who gains, who loses, what cannot be concluded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hws_nnunet.evaluation.analysis import ALL_CASES, Analysis, where
from hws_nnunet.evaluation.comparison import Paired
from hws_nnunet.evaluation.results import AVERAGE, ResultSet

LEVEL = 0.05  # of p after Holm's correction
_MOST, _FEW = 3, 5  # pieces named a sentence; cases below which a subgroup's figures say little


@dataclass(frozen=True)
class Answer:
    """A paragraph: its heading, and sentences, each with the words that it begins with."""

    title: str
    points: tuple[tuple[str, str], ...]


def answers(analysis: Analysis) -> list[Answer]:
    """Return a paragraph on each comparison's Dice; on the set itself, where there is one alone."""
    baseline, *others = analysis.sets
    if not others:
        return [Answer(baseline.name, (("Failed most:", _failed_most(analysis, [baseline])),))]
    return [_answer(analysis, other) for other in others]


def pieces(analysis: Analysis, name: str, metric: str) -> list[Paired]:
    """Return the finest comparisons that there are, by structure and subgroup, else by structure; losses first."""
    found = analysis.parts.get((name, metric)) or [
        row for row in analysis.comparisons[name, metric] if row.label != AVERAGE
    ]
    return sorted((row for row in found if row.cases), key=lambda row: row.gain)


def piece_name(row: Paired) -> str:
    """Return what a comparison is of, in words."""
    label = "the average" if row.label == AVERAGE else row.label
    return label if row.subgroup == ALL_CASES else f"{label} in {row.subgroup}"


def disagreeing(rows: Iterable[Paired]) -> list[Paired]:
    """Return the comparisons of which one test alone finds a difference, after Holm's correction."""
    return [row for row in rows if (row.wilcoxon_holm < LEVEL) != (row.permutation_holm < LEVEL)]


def _answer(analysis: Analysis, other: ResultSet) -> Answer:
    baseline = analysis.sets[0]
    overall = analysis.comparisons[other.name, "dice"]
    (whole,) = (row for row in overall if (row.label, row.subgroup) == (AVERAGE, ALL_CASES))
    fine = pieces(analysis, other.name, "dice")
    losing, gaining = ([row for row in fine if row.sure and row.gain * sign > 0] for sign in (-1, 1))
    mean = whole.figures["mean"]
    helped = (
        f"mean Dice {_moves(mean.difference)} from {mean.baseline:.3f} to {mean.other:.3f}, {_points(whole)}, over "
    )
    helped += f"{len(whole.cases)} cases: {whole.better} better, {whole.worse} worse. "
    groups = [row for row in overall if row.subgroup != ALL_CASES]
    helped += "".join(f"{row.subgroup}: {_points(row)}. " for row in groups) if 1 < len(groups) <= _MOST + 1 else ""
    helped += f"Gains most: {_list(gaining[::-1], len(fine))}"
    cost = _list(losing, len(fine)) + _failures(analysis, baseline, other, rises=mean.difference > 0)
    points = [
        ("Failed most:", _failed_most(analysis, [baseline, other])),
        ("Helped?", helped[0].upper() + helped[1:]),
        ("Cost:", cost),
        ("Cannot be concluded:", _open(analysis, fine, overall)),
    ]
    return Answer(f"{other.name} against {baseline.name}", tuple(points))


def _failed_most(analysis: Analysis, sets: list[ResultSet]) -> str:
    """Tell the subgroup of the lowest mean Dice, and its structure of the lowest, under the last of some sets."""
    dice = where(analysis.statistics, metric="dice")
    last = where(dice, set=sets[-1].name).dropna(subset="mean")
    averages = where(last, label=AVERAGE)
    averages = averages[averages.subgroup != ALL_CASES] if len(analysis.groups) > 1 else averages
    labels = last[last.label != AVERAGE]
    if averages.empty or labels.empty:
        return "no case has a Dice."
    group = averages.loc[averages["mean"].idxmin(), "subgroup"]
    labels = where(labels, subgroup=group)
    label = labels.loc[labels["mean"].idxmin(), "label"]
    who = "all cases together (no subgroups were given)" if group == ALL_CASES else group
    told = []
    for what in (AVERAGE, label):
        rows = where(dice, subgroup=group, label=what).set_index("set")
        figures = [(one.name, rows.loc[one.name]) for one in sets if one.name in rows.index]
        told.append(", ".join(f"{r['mean']:.3f} with {r['failed']} of {r['cases']} failed ({n})" for n, r in figures))
    return (
        f"{who}, mean Dice {told[0]}; there {label}: {told[1]}. Failed is Dice below {analysis.threshold:g} or missed."
    )


def _failures(analysis: Analysis, baseline: ResultSet, other: ResultSet, *, rises: bool) -> str:
    """Tell failed cases under both, over the cases of both, and where they are."""
    both = set(baseline.cases) & set(other.cases)
    values = where(analysis.values, metric="dice", label=AVERAGE)
    values = values[(values["failed"] == 1) & values["case"].isin(both)]
    counts = {one.name: where(values, set=one.name) for one in (baseline, other)}
    before, after = (len(rows) for rows in counts.values())
    text = f" Cases that fail: {before} under {baseline.name}, {after} under {other.name}"
    most = counts[other.name]["subgroup"].value_counts() if after else []
    if len(most) and len(analysis.groups) > 1:
        text += f", {most.iloc[0]} of them in {most.index[0]}"
    return text + (": failures rise though the mean rises." if rises and after > before else ".")


def _open(analysis: Analysis, fine: list[Paired], overall: list[Paired]) -> str:
    unsure = sum(not row.sure for row in fine)
    text = f"in {unsure} of {len(fine)} {_what(fine)} the interval holds no difference. "
    if split := disagreeing([*overall, *fine]):
        text += f"The two tests disagree on {_and(map(piece_name, split))}. "
    if few := [f"{group} ({len(cases)} cases)" for group, cases in analysis.groups.items() if len(cases) < _FEW]:
        text += f"Too few cases to judge: {_and(few)}. "
    if not all(one.sizes_known for one in analysis.sets):
        text += "Missed structures cannot be told from a Dice of 0. "
    return text + "All this is over cases, of one training a set: how trainings scatter by seed is not in it."


def _list(rows: list[Paired], of: int) -> str:
    if not rows:
        return "none whose interval leaves out 0."
    what = f"{len(rows)} of {of} {_what(rows)}, most " if len(rows) > 1 else ""
    named = (f"{piece_name(row)} {_points(row)}" for row in rows[:_MOST])
    return what + "; ".join(named) + ("; ..." if len(rows) > _MOST else ".")


def _what(rows: list[Paired]) -> str:
    return "structures" if all(row.subgroup == ALL_CASES for row in rows) else "structures by subgroup"


def _moves(difference: float) -> str:
    return "rises" if difference > 0 else "falls" if difference < 0 else "stays"


def _points(row: Paired) -> str:
    """Return a difference of means in hundredths of Dice, with its interval and p."""
    found = row.figures["mean"]
    text = f"{100 * found.difference:+.1f} points"
    if math.isnan(found.low):
        return text
    return f"{text} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def _and(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
