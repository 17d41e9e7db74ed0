"""Reads a record while a training writes it: needs neither torch nor the training's process.

Each file appears whole, so that what is read of it is of one epoch; of two files one may be an epoch ahead.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hws_nnunet.record.cases import A_FOLD, CASES_FILE, read_cases

EPOCHS_FILE, HISTORY_FILE = "hardness_epochs.csv", "hardness_history.csv"
FORMER_NAMES = {
    "ess": "effective_sample_size",
    "smallest_ess": "smallest_effective_sample_size",
    "beta": "beta_in_force",
}
"""What columns of the table of epochs were called in records of earlier versions."""

_STRUCTURES_FILE = "hardness_structures.csv"
_RECENT = 10  # epochs, whose median time tells what is left


@dataclass(frozen=True)
class Snapshot:
    """A record as it stands.

    Attributes:
        epochs: a row an epoch, at least one: numbers by the names of ``hardness_epochs.csv``, what is unknown left out.
        cases: a row a case, hardest first, as ``hardness.csv`` has it.
        history: of some of the hardest cases, the hardness over the epochs, NaN where unknown.
        structures: of some cases the hardest structure.
        written: when, in seconds since 1970.
    """

    epochs: Sequence[Mapping[str, float]]
    cases: Sequence[Mapping[str, str]]
    history: Mapping[str, Sequence[float]]
    structures: Mapping[str, str]
    written: float

    @property
    def done(self) -> int:
        """Epochs that have ended."""
        return int(self.epochs[-1]["epoch"]) + 1

    @property
    def planned(self) -> int:
        """Epochs that the training is to have, 0 where the record does not say."""
        return int(self.epochs[-1].get("planned", 0))

    @property
    def seconds(self) -> float:
        """Of an epoch, the median of the last ten; NaN where the record does not say."""
        durations = sorted(row["seconds"] for row in self.epochs[-_RECENT:] if "seconds" in row)
        return durations[len(durations) // 2] if durations else math.nan

    @property
    def over(self) -> bool:
        """Whether all planned epochs have ended."""
        return 0 < self.planned <= self.done


def read_record(folder: Path) -> Snapshot | None:
    """Return a fold's record, None where a training has begun and no epoch has ended yet.

    Raises:
        FileNotFoundError: there is no such folder, or no training of ours has begun in it.
        ValueError: a file is not what it should be.
    """
    folder = Path(folder)
    epochs, cases = folder / EPOCHS_FILE, folder / CASES_FILE
    if not (epochs.is_file() and cases.is_file()):
        if any(folder.glob("training_log_*.txt")):  # both versions of nnU-Net write one from the start on
            return None
        problem = "is not a folder" if not folder.is_dir() else f"holds no {EPOCHS_FILE} and {CASES_FILE}"
        raise FileNotFoundError(f"{folder} {problem}: expected {A_FOLD}")
    try:
        path, written = epochs, epochs.stat().st_mtime
        numbers = [
            {FORMER_NAMES.get(name, name): float(text) for name, text in row.items() if text} for row in _rows(path)
        ]
        if not numbers or "epoch" not in numbers[-1]:
            raise ValueError("no epoch in it")
        path = folder / HISTORY_FILE
        history = {row.pop("case"): [float(text) if text else math.nan for text in row.values()] for row in _rows(path)}
        path = folder / _STRUCTURES_FILE
        structures = {row["case"]: row["hardest_structure"] for row in _rows(path)}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return Snapshot(numbers, read_cases(folder), history, structures, written)


def _rows(path: Path) -> list[dict[str, str]]:
    """Return a table's rows, none where there is no such file: older trainings, and some, do not have all."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(io.StringIO(text)))
