"""What a report answers first, in words: who is failed most, who gains, who loses, what cannot be concluded."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hws_nnunet.messages import some_of
from hws_nnunet.report.read.results import AVERAGE, ResultSet
from hws_nnunet.report.stats.analysis import ALL_CASES, Analysis, where
from hws_nnunet.report.stats.comparison import LEVEL, Paired

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
        return [Answer(baseline.name, (("Worst served:", _worst_served(analysis, [baseline])),))]
    return [_answer(analysis, other) for other in others]


def pieces(analysis: Analysis, name: str, metric: str) -> list[Paired]:
    """Return the finest comparisons that there are, by structure and subgroup, else by structure; losses first."""
    rows = analysis.parts.get((name, metric)) or [
        row for row in analysis.comparisons[name, metric] if row.label != AVERAGE
    ]
    return sorted((row for row in rows if row.cases), key=lambda row: row.gain)


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
    whole = analysis.whole(other.name)
    fine = pieces(analysis, other.name, "dice")
    losing, gaining = ([row for row in fine if row.sure and row.gain * sign > 0] for sign in (-1, 1))
    mean = whole.statistics["mean"]
    moves = "rises" if mean.difference > 0 else "falls" if mean.difference < 0 else "stays"
    helped = f"Mean Dice {moves} from {mean.baseline:.3f} to {mean.other:.3f}, {_points(whole)}; "
    helped += f"the 10th percentile moves by {_points(whole, 'p10')}; of {len(whole.cases)} cases {whole.better} are "
    helped += f"better, {whole.worse} worse. "
    groups = sorted((row for row in overall if row.subgroup != ALL_CASES), key=lambda row: row.gain)
    if len(groups) > 1:
        named = groups if len(groups) <= _MOST + 1 else [groups[0], groups[-1]]
        helped += f"By subgroup: {'; '.join(f'{row.subgroup} {_points(row)}' for row in named)}. "
    points = [
        ("Worst served:", _worst_served(analysis, [baseline, other])),
        ("Helped?", f"{helped}Gains: {_list(gaining[::-1], fine[::-1], 'gain')}"),
        ("Cost:", f"{_list(losing, fine, 'loss')} {_failures(analysis, baseline, other, rises=mean.difference > 0)}"),
        ("Cannot be concluded:", _open(analysis, fine, overall)),
    ]
    return Answer(f"{other.name} against {baseline.name}", tuple(points))


def _worst_served(analysis: Analysis, sets: list[ResultSet]) -> str:
    """Tell the subgroup of the lowest mean Dice, and its structure of the lowest, under the last of some sets."""
    names = [one.name for one in sets]
    last = where(analysis.statistics, metric="dice", set=names[-1]).dropna(subset="mean")
    averages = where(last, label=AVERAGE)
    averages = averages[(averages.subgroup == ALL_CASES) == (len(analysis.groups) < 2)]
    if averages.empty:
        return "no case has a Dice."
    group = averages.loc[averages["mean"].idxmin(), "subgroup"]
    labels = where(last[last.label != AVERAGE], subgroup=group)
    label = labels.loc[labels["mean"].idxmin(), "label"]
    dice_rows = [row for row in analysis.find(metric="dice", subgroup=group) if row["set"] in names]
    whole, part = ([row for row in dice_rows if row["label"] == of] for of in (AVERAGE, label))
    set_of: dict[object, str] = {name: f" ({name})" if len(names) > 1 else "" for name in names}
    means = (" and ".join(f"{row['mean']:.3f}{set_of[row['set']]}" for row in rows) for rows in (whole, part))
    who = str(group)
    if group == ALL_CASES:
        one_alone = f"which are of one subgroup, {next(iter(analysis.groups), '')}"
        who = f"all cases, {one_alone if analysis.groups else 'as no subgroups were given'}"
    text = f"{who}, mean Dice {next(means)}; the worst structure is {label}, {next(means)}"
    failed = " and ".join(f"{row['failed']} of {row['cases']}{set_of[row['set']]}" for row in part)
    return f"{text}, failed (below {analysis.threshold:g}, or missed) in {failed} cases."


def _failures(analysis: Analysis, baseline: ResultSet, other: ResultSet, *, rises: bool) -> str:
    """Tell what fails under both sets, over the cases of both, and where."""
    both = set(baseline.cases) & set(other.cases)
    values = analysis.values[(analysis.values["failed"] == 1) & analysis.values["case"].isin(both)]
    texts = []
    for what, rows in (
        ("Failed cases, by average or a missed structure", where(values, label=AVERAGE)),
        ("Failed structures", values[values["label"] != AVERAGE]),
    ):
        before, after = (where(rows, set=one.name) for one in (baseline, other))
        text = f"{what}: {len(before)} under {baseline.name}, {len(after)} under {other.name}"
        if len(after) and len(analysis.groups) > 1:
            most = after["subgroup"].value_counts()
            text += f", {most.iloc[0]} of them in {most.index[0]}"
        texts.append(text + (" (more, though the mean rises)." if rises and len(after) > len(before) else "."))
    return " ".join(texts)


def _open(analysis: Analysis, fine: Sequence[Paired], overall: Sequence[Paired]) -> str:
    text = ""
    if unsure := sum(not row.sure for row in fine):
        text += f"whether anything changed in {unsure} of {len(fine)} {_what(fine)} (p above {LEVEL:g} after Holm). "
    if split := disagreeing([*overall, *fine]):
        text += f"The two tests disagree on {some_of(map(piece_name, split), most=_MOST)}. "
    if few := [f"{group} ({len(cases)} cases)" for group, cases in analysis.groups.items() if len(cases) < _FEW]:
        text += f"Too few cases to judge: {some_of(few, most=_MOST)}. "
    if not all(one.sizes_known for one in analysis.sets):
        text += "Missed structures cannot be told from others of Dice 0. "
    return text + "Intervals are over cases, of one training a set: the scatter between trainings is not in them."


def _list(rows: list[Paired], among: list[Paired], kind: str) -> str:
    """Name the largest of some gains or losses; where none is sure, the largest ``among`` all."""
    if not rows:
        most = next(iter(among), None)
        if most is None or (most.gain < 0) != (kind == "loss") or not most.gain:
            return "none."
        return f"none is sure; the largest {kind} is {piece_name(most)} {_points(most)}."
    what = f"{len(rows)} of {len(among)} {_what(among)}, most " if len(rows) > 1 else ""
    named = (f"{piece_name(row)} {_points(row)}" for row in rows)
    return f"{what}{some_of(named, most=_MOST, separator='; ')}."


def _what(rows: Sequence[Paired]) -> str:
    return "structures" if all(row.subgroup == ALL_CASES for row in rows) else "structures by subgroup"


def _points(row: Paired, figure: str = "mean") -> str:
    """Return a difference of means, or of another figure, in hundredths of Dice, with its interval."""
    gain = row.statistics[figure]
    text = f"{100 * gain.difference:+.1f}\N{NO-BREAK SPACE}points"
    if math.isnan(gain.low):
        return text
    return f"{text} [{100 * gain.low:+.1f},\N{NO-BREAK SPACE}{100 * gain.high:+.1f}]"
