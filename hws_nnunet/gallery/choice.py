"""Which cases a gallery shows: the hardest of a training, or the worst of a validation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from hws_nnunet.facts.spellings import is_background
from hws_nnunet.facts.summary import Summary, read_summary, trained_on_all
from hws_nnunet.gallery.layout import Layout, RawData
from hws_nnunet.record.cases import CASES_FILE, read_cases
from hws_nnunet.record.measures import measures_beside
from hws_nnunet.record.structures import Hardest, read_hardest_structures


@dataclass(frozen=True)
class Chosen:
    """A case to show; what is not known is None.

    ``other_losses`` are its losses by measures that draws do not go by; ``drawn`` its visits in times of the mean of
    all training cases; ``stalled`` whether it is far harder than the others and gets no easier for being drawn.
    """

    name: str
    prediction: Path | None = None
    hardness: float | None = None
    other_losses: tuple[tuple[str, float], ...] = ()
    hardest: Hardest | None = None
    drawn: float | None = None
    visits: int | None = None
    last_epoch: int | None = None
    stalled: bool = False
    subgroup: str = ""


def hardest_in_training(layout: Layout, data: RawData, *, top: int, predictions: Path | None) -> tuple[list, int]:
    """Return the hardest cases by the record, hardest first, and how many cases have a hardness.

    Args:
        layout: of the fold, which has a ``hardness.csv``.
        data: the raw data set.
        top: how many, at least 1.
        predictions: folder of label maps; None looks into the validations of this fold and of those beside it.

    Raises:
        FileNotFoundError: there is no record.
        ValueError: no case of it has been seen, or it, or the table of structures, is not a record.
    """
    rows = read_cases(layout.fold)
    seen = [row for row in rows if row["hardness"]]
    measures = measures_beside(rows)
    chosen = [_from_record(row, layout, data, predictions, measures) for row in seen[:top]]
    if not chosen:
        raise ValueError(f"{layout.fold / CASES_FILE} has no case with a hardness: train at least one epoch")
    hardest = read_hardest_structures(layout.fold)
    return [replace(case, hardest=hardest.get(case.name)) for case in chosen], len(seen)


def _from_record(row: dict, layout: Layout, data: RawData, predictions: Path | None, measures: list[str]) -> Chosen:
    name = row["case"]
    return Chosen(
        name,
        _prediction(name, layout, data, predictions),
        hardness=float(row["hardness"]),
        other_losses=tuple((name, float(row[name])) for name in measures if row[name]),
        drawn=float(row["drawn"]) if row.get("drawn") else None,  # records of earlier versions do not say
        visits=int(row["visits"]),
        last_epoch=int(row["last_epoch_seen"]) if row["last_epoch_seen"] else None,
        stalled=row.get("stalled") == "1",
        subgroup=data.subgroups.get(name, ""),
    )


def _prediction(name: str, layout: Layout, data: RawData, predictions: Path | None) -> Path | None:
    if predictions is None:
        return layout.predictions(name, data.file_ending)
    file = predictions / f"{name}{data.file_ending}"
    return file if file.is_file() else None


def worst_in_validation(layout: Layout, data: RawData, *, top: int) -> tuple[list, int]:
    """Return the validation cases of the lowest mean Dice, lowest first, and how many there are.

    Args:
        layout: of the fold, which has been validated.
        data: the raw data set.
        top: how many, at least 1.

    Raises:
        FileNotFoundError: the fold was not validated.
        ValueError: it was trained on all cases, or its ``summary.json`` is not what nnU-Net writes.
    """
    folder = layout.fold / layout.validation_name
    file = folder / "summary.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: expected the validation that ends nnU-Net's training, or that "
            + ("nnUNetv2_train ... --val makes" if layout.version == "v2" else "nnUNet_train ... -val makes")
        )
    if trained_on_all(layout.fold):
        raise ValueError(
            f"{layout.fold} is of a training on all cases, whose validation held none of them out: expected fold_0 to "
            "fold_4; without --worst the hardest training cases are shown"
        )
    try:
        dice = _mean_dice(read_summary(file))
    except ValueError as error:
        raise ValueError(f"{file} is not a summary of nnU-Net: {error}") from error
    if not dice:
        raise ValueError(f"{file} lists no case")
    order = sorted(dice, key=lambda name: (math.isnan(dice[name]), dice[name], name))
    ending = data.file_ending
    return [Chosen(n, folder / f"{n}{ending}", subgroup=data.subgroups.get(n, "")) for n in order[:top]], len(order)


def _mean_dice(summary: Summary) -> dict[str, float]:
    """Return each case's mean Dice over the structures that it or its prediction has."""
    dice_of_case: dict[str, list[float]] = {}
    for row in summary.rows:
        values = dice_of_case.setdefault(row["case"], [])
        if not is_background(row["label"]) and not math.isnan(row["dice"]):
            values.append(row["dice"])
    return {case: sum(values) / len(values) if values else math.nan for case, values in dice_of_case.items()}
