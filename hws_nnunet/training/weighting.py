"""What every host's trainer does with a sampler: settings, steps, epochs, the record, saved state.

The adapters differ in the hooks that call this, and in nothing else.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hws_nnunet._version import __version__
from hws_nnunet.config import MEASURES, Settings, find_settings
from hws_nnunet.files import whole_file
from hws_nnunet.record.history import FIGURE_FILE, EpochSummary, Record, draw_probabilities, summarise
from hws_nnunet.sampling import HardnessWeightedSampler
from hws_nnunet.training.losses import importance_weights
from hws_nnunet.training.recorder import LossRecorder

STATE = "hardness_weighted_sampling"
"""Key of the sampler's state in a host's checkpoint."""

_PAUSE = 100
"""After a figure, in times of what it took."""

Log = Callable[[str], None]


@contextmanager
def logged_warnings(log: Log) -> Iterator[None]:
    """Send warnings of the block to the host's log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log(f"WARNING: {warning.message}")


def settings_in_force(attribute: object, log: Log) -> Settings:
    """Return the settings and tell them, and where they came from, in the host's log."""
    with logged_warnings(log):
        settings, source = find_settings(attribute)
    values = ", ".join(f"{name}: {value}" for name, value in settings.model_dump().items())
    log(f"Hardness weighted sampling {__version__}, settings from {source}: {values}")
    return settings


def recorded(host_loss: torch.nn.Module, losses: partial) -> LossRecorder:
    """Return a host's loss that records each sample's measures, in the order of ``MEASURES``.

    Args:
        host_loss: what the host trains with.
        losses: from full-resolution logits and target to :class:`~hws_nnunet.training.losses.SampleLosses`.
    """
    return LossRecorder(host_loss, partial(_stacked, losses))


def _stacked(losses: partial, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the measures of each sample, ``(B, len(MEASURES))``."""
    return torch.stack(losses(logits, target), dim=1)


class Weighting:
    """A sampler over a training's cases, its record, and what is told of both.

    Args:
        names: the training cases, in the order of the host's loader; one that is listed more than once counts once.
        settings: in force.
        log: writes a line to the host's log.
    """

    def __init__(self, names: Sequence[str], settings: Settings, log: Log):
        self.settings, self._log = settings, log
        # Neutral settings must not use up random numbers that the host would have got.
        rng = np.random.default_rng(np.random.randint(2**32, size=4)) if settings.weighs_cases else None  # noqa: NPY002
        once = list(dict.fromkeys(str(name) for name in names))
        if len(once) < len(names):
            log(
                f"WARNING: the split lists {len(names) - len(once)} case(s) more than once; draws by hardness count "
                "each case once"
            )
        self.sampler = HardnessWeightedSampler(once, settings, measures=MEASURES, rng=rng)
        self.record = Record(self.sampler.table.names)
        self._draw_again = -math.inf
        self.start_epoch()

    def start_epoch(self) -> None:
        """Start counting the epoch's visits and lags."""
        self._lags: list[int] = []
        self._visits_before = self.sampler.table.visits.copy()

    def before_step(self, loss: LossRecorder, drawn: dict) -> None:
        """Have the loss weigh the batch's samples, where importance weights are on."""
        if not self.settings.importance_weights:
            return
        table, cases = self.sampler.table, drawn["cases"]
        loss.weigh_next(
            partial(
                importance_weights,
                column=table.column,
                tracked=torch.from_numpy(table.hardness[cases, table.column]),
                beta=table.beta,
                smoothing=self.settings.smoothing,
            )
        )

    def after_step(self, loss: LossRecorder, drawn: dict) -> None:
        """Hand the step's losses to the sampler.

        Args:
            loss: has just been called on the batch.
            drawn: what the loader drew: ``cases``, ``cells`` and ``version``.
        """
        self._lags.append(self.sampler.table.version - drawn["version"])
        self.sampler.update(drawn["cases"], drawn["cells"], loss.take(), version=drawn["version"])

    def end_epoch(self, epoch: int) -> EpochSummary:
        """Log what the sampler did, put it into the record, and return it."""
        summary = summarise(self.sampler, lags=self._lags, visits_before=self._visits_before)
        for line in summary.lines():
            self._log(line)
        self.record.append(epoch, self.sampler, summary, self._visits_before)
        return summary

    def write_record(self, folder: Path, *, last: bool) -> None:
        """Write the record's files; what goes wrong is logged.

        Drawing the figure takes about a second, which short epochs would feel: it is drawn at the first epoch and the
        ``last``, and in between as often as takes at most a hundredth of the time.
        """
        begin = time.monotonic()
        figure = last or begin >= self._draw_again
        try:
            self.record.write(folder, self.sampler)
            if figure:
                self._draw(folder / FIGURE_FILE)
        except Exception as error:  # a full disk or a font that is missing must not end a training of days
            self._log(f"WARNING: the record was not written: {type(error).__name__}: {error}")
        if figure:
            now = time.monotonic()
            self._draw_again = now + _PAUSE * (now - begin)

    def _draw(self, path: Path) -> None:
        from hws_nnunet.record.figures import plot_record  # matplotlib is slow to import, and needed here alone

        with whole_file(path) as partial:
            plot_record(self.record, draw_probabilities(self.sampler), self.sampler.table.visits, partial)

    def state_dict(self) -> dict:
        """Return what a resumed training needs."""
        return {**self.sampler.state_dict(), "record": self.record.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Restore :meth:`state_dict`, and tell the log."""
        with logged_warnings(self._log):
            self.sampler.load_state_dict(state)
        if "record" in state:
            self.record.load_state_dict(state["record"])
        table = self.sampler.table
        self._log(
            f"Hardness weighted sampling goes on after {table.version} steps: {len(table) - table.unseen} of "
            f"{len(table)} cases seen, beta {table.beta:.3g}"
        )
