"""The record's values for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDER = "tensorboard"


class TensorBoardWriter:
    """Writes epochs' values into the folder ``tensorboard`` of a fold's.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # slow to import
        except ImportError as error:
            raise ImportError(f"setting tensorboard: {error}; pip install tensorboard") from error
        self._make = SummaryWriter
        self._writer: SummaryWriter | None = None

    def add(self, folder: Path, epoch: int, values: Mapping[str, float]) -> None:
        """Write an epoch's values by name; what a training that was resumed had written of later epochs is hidden."""
        if self._writer is None:
            self._writer = self._make(str(folder / FOLDER), purge_step=epoch)
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()
