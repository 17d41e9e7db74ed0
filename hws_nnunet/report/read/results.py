"""A set of results: what one method reached, case by case and label by label, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from hws_nnunet.messages import ProblemsError, first_of, some_of

AVERAGE = "all labels"  # the pseudo-label of a case's average over its labels
_MOST_NAMED = 10


class ResultError(ProblemsError):
    """Results that cannot be used; the message counts all problems and lists those found."""

    heading = "{source}: {count}, nothing was written:"


@dataclass(frozen=True)
class Metric:
    """A measure of one structure in one case, ``heading`` in tables. ``unit`` is empty for shares from 0 to 1."""

    key: str
    title: str
    heading: str
    unit: str
    higher_is_better: bool
    digits: int

    @property
    def axis(self) -> str:
        """Return the title with the unit, as on a figure's axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


METRICS = (
    Metric("dice", "Dice", "Dice", "", True, 3),
    Metric("hd95", "HD95", "HD95", "mm", False, 2),
    Metric("nsd", "normalised surface Dice", "NSD", "", True, 3),
    Metric("lesion_dice", "lesion-wise Dice", "lesion_Dice", "", True, 3),
    Metric("lesion_f1", "F1 of detected lesions", "lesion_F1", "", True, 3),
    Metric("lesions_found", "found lesions", "lesions_found", "lesions", True, 2),
    Metric("lesions_missed", "missed lesions", "lesions_missed", "lesions", False, 2),
    Metric("lesions_invented", "invented lesions", "lesions_invented", "lesions", False, 2),
)
LESIONS = tuple(metric.key for metric in METRICS if metric.key.startswith("lesion"))
SIZES = ("reference_size", "predicted_size")
_EXPECTED = {
    "": (1.0, "0 to 1, or nothing where reference and prediction are empty"),
    "mm": (1e300, "millimetres from 0 on; for a missed structure the diagonal of the image, say"),
    "lesions": (1e300, "a number of lesions"),
}


@dataclass(frozen=True)
class ResultSet:
    """What one method reached. Arrays are ``(cases, labels)``, float64.

    Attributes:
        name: what people call the method.
        source: the file or folder that it was read from.
        cases: names, unique, sorted.
        labels: names, unique.
        dice: 0 to 1; NaN where the structure is empty in both reference and prediction.
        hd95: millimetres, from 0 on, or None where the source has none; NaN where both are empty.
        nsd: normalised surface Dice, 0 to 1, or None; NaN where both are empty.
        reference_size: voxels of the structure in the reference, or lesions where a source tells these alone; NaN where
            unknown.
        predicted_size: the same of the prediction.
        lesions: measures by :data:`LESIONS`, where the source has them.
        surface_tool: what computed ``hd95`` and ``nsd``; empty without them.
        lesion_rule: how ``lesions`` are counted and averaged; empty without them.
        group_of: subgroups of cases, where the source tells them.
        notes: what people should know of the source.
        told_mean: nnU-Net's own ``foreground_mean`` of Dice, where the source tells it.
        on_training_cases: whether the source is nnU-Net's validation of a training on all cases.
    """

    name: str
    source: str
    cases: tuple[str, ...]
    labels: tuple[str, ...]
    dice: np.ndarray
    reference_size: np.ndarray
    predicted_size: np.ndarray
    hd95: np.ndarray | None = None
    nsd: np.ndarray | None = None
    lesions: Mapping[str, np.ndarray] = field(default_factory=dict)
    surface_tool: str = ""
    lesion_rule: str = ""
    group_of: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    told_mean: float | None = None
    on_training_cases: bool = False

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ResultError(self.source, problems)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the measures that the set has."""
        return tuple(metric for metric in METRICS if self.measured(metric.key) is not None)

    def measured(self, key: str) -> np.ndarray | None:
        """Return a measure or size of each label, ``(cases, labels)``, None where the source has none."""
        return self.lesions.get(key) if key in LESIONS else getattr(self, key)

    @property
    def foreground_mean(self) -> float:
        """Return the mean Dice over labels of their means over cases, which nnU-Net calls ``foreground_mean``."""
        counts = np.isfinite(self.dice).sum(axis=0)
        means = np.nansum(self.dice, axis=0)[counts > 0] / counts[counts > 0]
        return float(means.mean()) if means.size else float("nan")

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns of :meth:`values`: the labels, then their average."""
        return (*self.labels, AVERAGE)

    @property
    def sizes_known(self) -> bool:
        """Return whether the sizes of all structures are told, so that missed and invented ones can be counted."""
        return bool(np.isfinite([self.reference_size, self.predicted_size]).all())

    @property
    def missed(self) -> np.ndarray:
        """Return ``(cases, labels)``: the reference has the structure, the prediction none of it."""
        return (self.reference_size > 0) & (self.predicted_size == 0)

    @property
    def invented(self) -> np.ndarray:
        """Return ``(cases, labels)``: the prediction has the structure, the reference none of it."""
        return (self.reference_size == 0) & (self.predicted_size > 0)

    def values(self, key: str) -> np.ndarray:
        """Return ``(cases, labels + 1)``: a measure of each label, and each case's average over labels that have one.

        Args:
            key: of one of :attr:`metrics`.
        """
        values = self.measured(key)
        assert values is not None, f"{self.name} has no {key}"
        with np.errstate(invalid="ignore"):
            averages = np.nansum(values, axis=1) / np.isfinite(values).sum(axis=1)
        return np.column_stack([values, averages])

    def frame(self, key: str) -> pd.DataFrame:
        """Return :meth:`values` with the names of cases and columns."""
        return pd.DataFrame(self.values(key), list(self.cases), list(self.columns))

    def failures(self, threshold: float) -> np.ndarray:
        """Return ``(cases, labels + 1)``, bool: Dice below ``threshold``, or a structure missed (in the last: any)."""
        return with_any(self.missed) | (self.values("dice") < threshold)

    def _problems(self) -> list[str]:
        if not self.cases or not self.labels:
            return [f"expected at least one case and one label, found {len(self.cases)} and {len(self.labels)}"]
        problems = [
            f"{kind} {name!r} is there {count} times, expected once"
            for kind, names in (("case", self.cases), ("label", self.labels))
            for name, count in Counter(names).items()
            if count > 1
        ]
        if AVERAGE in self.labels:
            problems.append(f"a label is called {AVERAGE!r}, which is what the report calls the average of all")
        for metric in self.metrics:
            values, (most, expected) = self.values(metric.key)[:, :-1], _EXPECTED[metric.unit]
            wrong = ~(((values >= 0) & (values <= most)) | np.isnan(values))
            problems += self._places(wrong, f"{metric.heading} is {{}}, expected {expected}", values)
        if not np.isfinite(self.dice).any():
            problems.append("no structure of any case has a Dice: reference and prediction lack all of them")
        unexplained = np.isnan(self.dice) & ((self.reference_size > 0) | (self.predicted_size > 0))
        text = "has no Dice, though reference or prediction is not empty: expected 0 for a missed structure"
        return problems + self._places(unexplained, text, self.dice)

    def _places(self, wrong: np.ndarray, text: str, values: np.ndarray) -> list[str]:
        return first_of(
            f"case {self.cases[i]!r}, label {self.labels[j]!r}: {text.format(values[i, j])}"
            for i, j in np.argwhere(wrong)
        )


def with_any(flags: np.ndarray) -> np.ndarray:
    """Return ``(n, k)`` flags with one more column: whether any of the row is set."""
    return np.column_stack([flags, flags.any(axis=1)])


def short_list(names: Sequence[str]) -> str:
    """Return names for a message, no more than ten of them."""
    return some_of([repr(name) for name in names], most=_MOST_NAMED)
