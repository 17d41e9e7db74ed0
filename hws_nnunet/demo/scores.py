"""Dice of held-out cases, by group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hws_nnunet.datasets.case_table import read_groups
from hws_nnunet.datasets.images import open_image, read_voxels
from hws_nnunet.facts.versions import SUBGROUPS


@dataclass(frozen=True)
class GroupDice:
    """Dice of one group of held-out cases, averaged over structures in each case; 0 to 1."""

    trainer: str
    group: str
    cases: int
    mean: float
    percentile_10: float
    worst: float


def score(label: str, predictions: Path, raw: Path) -> list[GroupDice]:
    """Return the Dice of each group, and of all cases, of one trainer's predictions.

    Args:
        label: what to call the trainer.
        predictions: folder of its label maps.
        raw: the raw data set, with ``labelsTs`` and ``subgroups.csv``.
    """
    group_of = read_groups(raw / SUBGROUPS)
    dice: dict[str, list[float]] = {}
    for path in sorted((raw / "labelsTs").glob("*.nii.gz")):
        reference = read_voxels(open_image(path))
        predicted = read_voxels(open_image(predictions / path.name))
        name = path.name.removesuffix(".nii.gz")
        dice.setdefault(group_of[name], []).append(_mean_dice(predicted, reference))
    dice["all"] = [value for values in dice.values() for value in values]
    return [
        GroupDice(label, group, len(v), float(np.mean(v)), float(np.percentile(v, 10)), min(v))
        for group, v in dice.items()
    ]


def _mean_dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Mean Dice over the structures of the reference."""
    scores = []
    for value in np.unique(reference[reference > 0]):
        one, other = predicted == value, reference == value
        scores.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    return float(np.mean(scores))


def table(rows: list[GroupDice]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| sampling | group | cases | mean | 10th percentile | worst |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = f"{row.mean:.3f} | {row.percentile_10:.3f} | {row.worst:.3f}"
        lines.append(f"| {row.trainer} | {row.group} | {row.cases} | {numbers} |")
    return "\n".join(lines)
