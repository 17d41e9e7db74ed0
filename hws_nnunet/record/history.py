"""What the sampler did, epoch by epoch: in words for the log, in tables and a figure for people.

The record travels in the checkpoint, so that a resumed training goes on with the record of its own epoch; the files
are written anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hws_nnunet.core import HardnessWeightedSampler
from hws_nnunet.messages import some_of
from hws_nnunet.record.cases import CASES_FILE
from hws_nnunet.record.measures import by_measure, other_measure
from hws_nnunet.record.snapshot import EPOCHS_FILE, FORMER_NAMES, HISTORY_FILE
from hws_nnunet.record.structures import hardest_structure
from hws_nnunet.record.tables import hardest_first, number, numbers, write_table

GROUPS_FILE, FIGURE_FILE = "hardness_groups.csv", "hardness.png"


class HardCase(NamedTuple):
    """One of the hardest cases: its hardness, hardest structure ("" where none is known), and loss by other measure."""

    name: str
    hardness: float
    structure: str
    structure_hardness: float
    other_measure: str = ""
    other_loss: float = math.nan

    def __str__(self) -> str:
        beside = [] if math.isnan(self.other_loss) else [f"{self.other_measure} {self.other_loss:.2f}"]
        beside += [f"{self.structure} {self.structure_hardness:.2f}"] if self.structure else []
        return f"{self.name} {self.hardness:.4f}" + (f" ({', '.join(beside)})" if beside else "")


class GroupSummary(NamedTuple):
    """A group of cases at an epoch's end: how many, their mean hardness, their share of draws, and of the epoch's."""

    name: str
    cases: int
    hardness: float
    probability: float
    drawn: float


_MOST_GROUPS = 8  # in a line of the log
_MOST_CASES, _MOST_EPOCHS = 100, 60  # in the table of cases over epochs, which stays small however long the training
_NAMED = 5  # of the hardest cases, in a line of the log


@dataclass(frozen=True)
class EpochSummary:
    """Figures of one epoch; hardness figures are NaN while nothing is known.

    ``effective_sample_size`` and the bound in force on it, in cases; ``lag`` in training steps. ``reliability``, 0 to
    1: the share of the differences between tracked values that the next losses bear out. ``hardest``: hardest case
    first. ``stalled``: names, see :mod:`hws_nnunet.core.safeguards.stall_limit`; ``held``: title, names and reason of
    each safeguard that holds cases. ``smallest_effective_sample_size`` is NaN while draws are not weighted.
    ``mean_dice_present`` and ``mean_dice_ce``: of all cases' losses by both measures, one of which is ``mean``. These
    four are NaN in records of earlier versions. ``groups``: hardest first, none without groups;
    ``pooling``, 0 to 1: by how much a case's hardness is pulled towards its group's, 0 without groups. ``seconds``:
    from the end of the epoch before, or from the start of the training's first; ``planned``: epochs that the training
    is to have, 0 where unknown.
    """

    cases: int
    effective_sample_size: float
    beta_in_force: float
    beta_limit: float
    weighted: bool
    smallest: float
    percentile_10: float
    median: float
    mean: float
    percentile_90: float
    largest: float
    seen: int
    visited: int
    median_lag: float
    largest_lag: float
    reliability: float = math.nan
    smallest_effective_sample_size: float = math.nan
    mean_dice_present: float = math.nan
    mean_dice_ce: float = math.nan
    hardest: tuple[HardCase, ...] = ()
    stalled: tuple[str, ...] = ()
    held: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    groups: tuple[GroupSummary, ...] = ()
    pooling: float = 0.0
    seconds: float = math.nan
    planned: int = 0

    @cached_property
    def row(self) -> tuple[int | str, ...]:
        """The figures as the table of epochs has them; it is written anew each epoch."""
        return tuple(number(getattr(self, name)) for name in _NUMBERS)

    def values(self) -> dict[str, float]:
        """Return the figures for a logger of numbers, by names like ``hardness/mean``; what is unknown is left out."""
        numbers = {name: float(getattr(self, name)) for name in _NUMBERS if name != "planned"}
        return {f"hardness/{name}": value for name, value in numbers.items() if not np.isnan(value)}

    def lines(self) -> list[str]:
        """Return the summary as lines for a log."""
        if self.weighted and self.beta_limit == 0:
            drawing = "draws go by case weights alone"
        elif self.weighted:
            reliability = "" if math.isnan(self.reliability) else f", reliability {self.reliability:.2f}"
            least = f"at least {self.smallest_effective_sample_size:.1f}{reliability}"
            drawing = (
                f"ESS {self.effective_sample_size:.1f} of {self.cases} cases ({least}), "
                f"beta {self.beta_in_force:.3g} (limit {self.beta_limit:g})"
            )
        else:
            drawing = "draws are uniform" if self.beta_limit == 0 else "warm-up pass, draws are not weighted yet"
        lines = [
            f"Sampling: {drawing}",
            f"Hardness: smallest {self.smallest:.4f}, mean {self.mean:.4f}, largest {self.largest:.4f}; "
            f"{self.seen} of {self.cases} cases seen, {self.visited} in this epoch; "
            f"lag {self.median_lag:.0f} (median), {self.largest_lag:.0f} (largest) steps",
        ]
        if self.hardest:
            lines.append(f"Hardest cases: {', '.join(map(str, self.hardest))}")
        if self.groups:
            told = [
                f"{group.name} {group.hardness:.4f}, {group.cases} cases, {group.drawn:.0%} of the epoch's draws"
                for group in self.groups
            ]
            groups = some_of(told, most=_MOST_GROUPS, separator="; ")
            lines.append(f"Groups (hardness pooled by {self.pooling:.2f}): {groups}")
        lines += [f"{title}: {some_of(names)}: {reason}" for title, names, reason in self.held]
        return lines


def summarise(sampler: HardnessWeightedSampler, *, lags: Sequence[int], visits_before: np.ndarray) -> EpochSummary:
    """Summarise an epoch from the sampler's state at its end.

    Args:
        sampler: in the training process.
        lags: of the epoch's steps.
        visits_before: ``(n,)`` visits at the epoch's start.
    """
    table = sampler.table
    hardness = table.hardness
    tracked = np.flatnonzero(np.isfinite(hardness))
    order = tracked[np.argsort(-hardness[tracked], kind="stable")][:_NAMED]
    values = hardness[tracked] if tracked.size else np.array([np.nan])
    weighted = table.weighted and sampler.weighs_cases
    groups, other = sampler.groups, other_measure(table.measure)
    means = {measure: _mean_of_known(losses) for measure, losses in by_measure(table).items()}
    return EpochSummary(
        cases=len(table),
        effective_sample_size=sampler.effective_sample_size() if weighted else float(len(table)),
        beta_in_force=table.beta_in_force if weighted else 0.0,
        beta_limit=sampler.settings.beta,
        weighted=weighted,
        smallest=float(values.min()),
        percentile_10=float(np.percentile(values, 10)),
        median=float(np.median(values)),
        mean=float(values.mean()),
        percentile_90=float(np.percentile(values, 90)),
        largest=float(values.max()),
        seen=int((table.visits > 0).sum()),
        visited=int((table.visits > visits_before).sum()),
        median_lag=float(np.median(lags)) if len(lags) else math.nan,
        largest_lag=float(max(lags, default=math.nan)),
        reliability=float(sampler.reliability),
        smallest_effective_sample_size=float(sampler.smallest_effective_sample_size) if weighted else math.nan,
        mean_dice_present=means.get("dice_present", math.nan),
        mean_dice_ce=means.get("dice_ce", math.nan),
        hardest=tuple(
            HardCase(
                table.names[i],
                float(hardness[i]),
                *hardest_structure(table.structures, table.structure_hardness[i]),
                other,
                float(table.other_loss[i]) if other else math.nan,
            )
            for i in order
        ),
        stalled=tuple(table.names[i] for i in sampler.stalled),
        held=tuple((one.title, tuple(table.names[i] for i in one.cases), one.reason) for one in sampler.held),
        groups=tuple(summarise_groups(sampler, table.visits - visits_before)),
        pooling=0.0 if groups is None else groups.pooling,
    )


def summarise_groups(sampler: HardnessWeightedSampler, visits: np.ndarray) -> list[GroupSummary]:
    """Return the sampler's groups, hardest first; none without groups.

    Args:
        sampler: in the training process.
        visits: ``(n,)``, those of which shares are told.
    """
    groups = sampler.groups
    if groups is None:
        return []
    hardness, p, made = sampler.table.hardness, draw_probabilities(sampler), []
    total = max(1, int(visits.sum()))
    for i, name in enumerate(groups.names):
        of = groups.index == i
        mean = _mean_of_known(hardness[of])
        made.append(GroupSummary(name, int(of.sum()), mean, float(p[of].sum()), float(visits[of].sum()) / total))
    return [made[i] for i in hardest_first(np.array([group.hardness for group in made]))]


def _mean_of_known(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


_NUMBERS = tuple(
    field.name for field in fields(EpochSummary) if field.name not in ("hardest", "stalled", "held", "groups")
)


class Record:
    """All epochs' summaries and all cases' hardness at the end of each epoch.

    Attributes:
        names: the cases'.
        epochs: numbers of the epochs, in order.
        hardness: one ``(n,)`` array an epoch; NaN where nothing is known.
        summaries: one an epoch.
        last_seen: ``(n,)``, the last epoch in which a case was seen, -1 for never.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.epochs: list[int] = []
        self.hardness: list[np.ndarray] = []
        self.summaries: list[EpochSummary] = []
        self.last_seen = np.full(len(self.names), -1, dtype=np.int64)

    def append(
        self, epoch: int, sampler: HardnessWeightedSampler, summary: EpochSummary, visits_before: np.ndarray
    ) -> None:
        """Add an epoch from the sampler's state at its end."""
        self.epochs.append(int(epoch))
        self.hardness.append(sampler.table.hardness.astype(np.float32))
        self.summaries.append(summary)
        self.last_seen[sampler.table.visits > visits_before] = epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the record as names and tensors."""
        rows = [[float(getattr(summary, name)) for name in _NUMBERS] for summary in self.summaries]
        return {
            "names": list(self.names),
            "epochs": list(self.epochs),
            "columns": list(_NUMBERS),
            "rows": torch.tensor(rows, dtype=torch.float64).reshape(-1, len(_NUMBERS)),
            "hardness": torch.from_numpy(np.array(self.hardness, dtype=np.float32).reshape(-1, len(self.names))),
            "last_seen": torch.from_numpy(self.last_seen.copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a record; cases are matched by name, those that are gone are left out.

        Raises:
            ValueError: the state is damaged.
        """
        try:
            self._load(state)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the saved record is damaged: {type(error).__name__}: {error}") from error

    def _load(self, state: dict[str, Any]) -> None:
        state = {key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
        old = {name: i for i, name in enumerate(state["names"])}
        here = [i for i, name in enumerate(self.names) if name in old]
        there = [old[self.names[i]] for i in here]
        self.epochs = list(state["epochs"])
        self.hardness = []
        for saved in np.asarray(state["hardness"]):
            row = np.full(len(self.names), np.nan, dtype=np.float32)
            row[here] = saved[there]
            self.hardness.append(row)
        self.last_seen = np.full(len(self.names), -1, dtype=np.int64)
        self.last_seen[here] = np.asarray(state["last_seen"])[there]
        types = {field.name: field.type for field in fields(EpochSummary)}
        self.summaries, names = [], [FORMER_NAMES.get(name, name) for name in state["columns"]]
        for row in state["rows"].tolist():
            values: dict[str, Any] = {k: _typed(v, types[k]) for k, v in zip(names, row, strict=True)}
            self.summaries.append(EpochSummary(**values))

    def write(self, folder: Path, sampler: HardnessWeightedSampler) -> None:
        """Write the tables into a folder, each whole or not at all; that of groups where there are groups.

        Of ``hardness.csv``, a row a case, hardest first: ``dice_present`` and ``dice_ce`` are the smoothed losses by
        both measures, of which ``hardness`` is one (empty where one is not tracked). ``probability`` is that of a
        single draw now; visits come out less uneven than that where a batch draws no case twice (``with_replacement``
        off). ``drawn`` is what came of it over the whole training: the case's visits in times of the mean (2.04: twice
        as many). Of ``hardness_groups.csv``, a row a group: ``probability`` and ``drawn`` are the group's shares of
        all. Of ``hardness_history.csv``, a row for each of the 100 hardest cases: the hardness after each epoch, or of
        60 epochs evenly spaced.
        """
        folder, table, groups = Path(folder), sampler.table, sampler.groups
        order = hardest_first(table.hardness)
        stalled, visits = set(sampler.stalled), table.visits[order]
        columns = {
            "case": [table.names[i] for i in order],
            "hardness": numbers(table.hardness[order]),
            **{measure: numbers(losses[order]) for measure, losses in by_measure(table).items()},
            "probability": numbers(draw_probabilities(sampler)[order]),
            "visits": visits.tolist(),
            "drawn": numbers(visits / (table.visits.mean() or math.nan)),
            "last_epoch_seen": ["" if epoch < 0 else epoch for epoch in self.last_seen[order].tolist()],
            "stalled": [int(i in stalled) for i in order.tolist()],
            **({} if groups is None else {"group": [groups.names[i] for i in groups.index[order]]}),
        }
        write_table(folder / CASES_FILE, list(columns), zip(*columns.values(), strict=True))
        epochs = [(epoch, *summary.row) for epoch, summary in zip(self.epochs, self.summaries, strict=True)]
        write_table(folder / EPOCHS_FILE, ("epoch", *_NUMBERS), epochs)
        self._write_history(folder, order[:_MOST_CASES])
        if groups is not None:
            group_summaries = summarise_groups(sampler, table.visits)
            rows = [(g.name, g.cases, *map(number, (g.hardness, g.probability, g.drawn))) for g in group_summaries]
            write_table(folder / GROUPS_FILE, ("group", *GroupSummary._fields[1:]), rows)

    def _write_history(self, folder: Path, cases: np.ndarray) -> None:
        last = len(self.epochs) - 1
        shown = sorted({round(place) for place in np.linspace(0, last, _MOST_EPOCHS)}) if last >= 0 else []
        columns = [[self.names[i] for i in cases], *(numbers(self.hardness[epoch][cases]) for epoch in shown)]
        header = ("case", *(self.epochs[epoch] for epoch in shown))
        write_table(folder / HISTORY_FILE, header, zip(*columns, strict=True))


def draw_probabilities(sampler: HardnessWeightedSampler) -> np.ndarray:
    """Return each case's probability ``(n,)`` of a single draw, the host's where cases are not weighted."""
    n = len(sampler.table)
    return sampler.probabilities() if sampler.weighs_cases else np.full(n, 1 / n)


def _typed(value: float, kind: object) -> float | int | bool:
    return bool(value) if kind == "bool" else int(value) if kind == "int" else value
