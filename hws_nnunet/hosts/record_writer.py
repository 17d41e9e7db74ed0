"""Writes a training's record into its folder, and never ends the training over it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from hws_nnunet.core import HardnessWeightedSampler
from hws_nnunet.files import atomic_write
from hws_nnunet.record.history import FIGURE_FILE, Record, draw_probabilities
from hws_nnunet.record.measures import by_measure
from hws_nnunet.record.structures import write_structures
from hws_nnunet.record.tensorboard import TensorBoardWriter

_PAUSE = 1000
"""After a plot, in times of what it took."""


class RecordWriter:
    """Writes tables and plots of a record.

    Args:
        record: what is written, as it stands then.
        sampler: whose table it is of.
        log: writes a line to the host's log.
        tensorboard: also write events for TensorBoard.
    """

    def __init__(
        self, record: Record, sampler: HardnessWeightedSampler, log: Callable[[str], None], *, tensorboard: bool
    ):
        self._record, self._sampler, self._log = record, sampler, log
        self._tensorboard = TensorBoardWriter() if tensorboard else None
        self._plot_again = -math.inf

    def write(self, folder: Path, *, last: bool) -> None:
        """Write all files; what goes wrong is logged.

        Plots take about a second, which short epochs would feel: they are drawn after the first epoch and the ``last``,
        and in between as often as takes at most a thousandth of the time.
        """
        begin, record, table = time.monotonic(), self._record, self._sampler.table
        plots = last or begin >= self._plot_again
        try:
            record.write(folder, self._sampler)
            write_structures(folder, table.names, table.hardness, table.structures, table.structure_hardness)
            if self._tensorboard is not None and record.epochs:
                self._tensorboard.add(folder, record.epochs[-1], record.summaries[-1].values())
            if plots:
                self._plot(folder)
        except Exception as error:  # a full disk or a font that is missing must not end a training of days
            self._log(f"WARNING: the record was not written: {type(error).__name__}: {error}")
        if plots:
            now = time.monotonic()
            self._plot_again = now + _PAUSE * (now - begin)

    def _plot(self, folder: Path) -> None:
        # matplotlib is slow to import, and needed here alone
        from hws_nnunet.record.figures import plot_record
        from hws_nnunet.record.structure_figure import STRUCTURES_FIGURE, plot_structures

        sampler, table = self._sampler, self._sampler.table
        beside = {name: losses for name, losses in by_measure(table).items() if name != table.measure}
        with atomic_write(folder / FIGURE_FILE) as partial:
            probabilities = draw_probabilities(sampler)
            plot_record(self._record, probabilities, table.visits, partial, groups=sampler.groups, beside=beside)
        file = folder / STRUCTURES_FIGURE
        plot_structures(table.names, table.hardness, table.structures, table.structure_hardness, file)
