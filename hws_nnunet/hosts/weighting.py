"""What every host's trainer does with a sampler: settings, steps, epochs, the record, saved state.

The adapters differ in the hooks that call this, and in nothing else.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from hws_nnunet._version import __version__
from hws_nnunet.config import Settings, find_settings
from hws_nnunet.core import DrawnCases, HardnessWeightedSampler
from hws_nnunet.core.draws import weighs_cases
from hws_nnunet.hosts.known import read_weights, training_groups
from hws_nnunet.hosts.record_writer import RecordWriter
from hws_nnunet.hosts.recorder import LossRecorder
from hws_nnunet.loop.ranks import Ranks
from hws_nnunet.loop.tensors import with_tensors
from hws_nnunet.messages import number, some_of
from hws_nnunet.record.history import EpochSummary, Record, summarise
from hws_nnunet.record.measures import other_measure

Log = Callable[[str], None]


@contextmanager
def logged_warnings(log: Log) -> Iterator[None]:
    """Send warnings of the block to the host's log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        log(f"WARNING: {warning.message}")


def settings_in_force(attribute: Settings | Mapping[str, object] | str | PathLike[str] | None, log: Log) -> Settings:
    """Return the settings and tell them, and where they came from, in the host's log."""
    with logged_warnings(log):
        settings, source = find_settings(attribute)
    values = ", ".join(f"{name}: {value}" for name, value in settings.model_dump().items())
    log(f"Hardness weighted sampling {__version__}, settings from {source}: {values}")
    return settings


class Weighting:
    """A sampler over a training's cases, its record, and what is told of both.

    Args:
        names: the training cases, in the order of the host's loader; one that is listed more than once counts once.
        settings: in force.
        log: writes a line to the host's log.
        structures: names of the foreground classes or regions, in the order of the recorded losses.
        ranks: the processes that train together, None where there is one.
        made_by: what else makes a training what it is, such as versions; saved, and told where it has changed.

    Raises:
        FileNotFoundError, CaseTableError: the tables that the settings name cannot be used.
    """

    def __init__(
        self,
        names: Sequence[str],
        settings: Settings,
        log: Log,
        *,
        structures: Sequence[str] = (),
        ranks: Ranks | None = None,
        made_by: Mapping[str, str] | None = None,
    ):
        self.settings, self._log = settings, log
        self._ranks = Ranks(1, 1, alone=True) if ranks is None else ranks
        self._made_by = dict(made_by or {})
        once = _each_once(names, log)
        prior = None if settings.case_weights is None else read_weights(settings.case_weights, once, log)
        # Neutral settings must not use up random numbers that the host would have got.
        draws = weighs_cases(settings, has_prior=prior is not None)
        rng = np.random.default_rng(np.random.randint(2**32, size=4)) if draws else None  # noqa: NPY002
        self.sampler = HardnessWeightedSampler(
            once,
            settings,
            structures=structures,
            measure=settings.draw_by,
            prior=prior,
            groups=None
            if settings.groups is None
            else training_groups(settings.groups, settings.group_column, once, log),
            rng=rng,
        )
        self._tell_what_is_known()
        self._ranks.share_sweep(self.sampler.table)
        self.record = Record(self.sampler.table.names)
        self._writer = RecordWriter(self.record, self.sampler, log, tensorboard=settings.tensorboard)
        self._epoch_ended: float | None = None  # of an epoch before, in this process
        self.start_epoch()

    def _tell_what_is_known(self) -> None:
        settings, sampler = self.settings, self.sampler
        if settings.case_weights is not None:
            low, high = sampler.prior.min(), sampler.prior.max()
            self._log(f"Case weights from {settings.case_weights}: {low:.2f} to {high:.2f} times their mean")
        if sampler.groups is not None:
            sizes = np.bincount(sampler.groups.index).tolist()
            told = some_of([f"{name} {size}" for name, size in zip(sampler.groups.names, sizes, strict=True)], most=12)
            self._log(f"Groups by the column {settings.group_column} of {settings.groups}: {told}")

    def start_epoch(self) -> None:
        """Start counting the epoch's visits and lags."""
        self._lags: list[int] = []
        self._visits_before = self.sampler.table.visits.copy()
        self._began = time.monotonic() if self._epoch_ended is None else self._epoch_ended

    def after_step(self, loss: LossRecorder, drawn: DrawnCases) -> None:
        """Hand the step's losses to the sampler.

        Args:
            loss: has just been called on the batch.
            drawn: the batch's.

        Raises:
            RuntimeError: the loss was called on something else than the whole batch.
        """
        recorded = loss.take()
        if len(recorded.structures) != len(drawn.ids):
            raise RuntimeError(
                f"the training step called its loss on {number(len(recorded.structures), 'sample')}, and the batch "
                f"holds {len(drawn.ids)}: hardness weighted sampling needs one call with the whole batch, a trainer "
                "that splits batches does not work with it"
            )
        self._lags.append(self.sampler.table.version - drawn.version)
        measure = self.settings.draw_by
        self._ranks.update(
            self.sampler,
            drawn.ids,
            getattr(recorded, measure),
            other_losses=getattr(recorded, other_measure(measure)),
            structures=recorded.structures,
            version=drawn.version,
        )

    def end_epoch(self, epoch: int, *, planned: int = 0) -> EpochSummary:
        """Log what the sampler did, put it into the record, and return it.

        Args:
            epoch: its number, from 0.
            planned: epochs that the training is to have, 0 where unknown.

        Raises:
            RuntimeError: the tables of several ranks differ.
        """
        self._ranks.check_equal(self.sampler.table)
        self._epoch_ended = time.monotonic()
        summary = replace(
            summarise(self.sampler, lags=self._lags, visits_before=self._visits_before),
            seconds=self._epoch_ended - self._began,
            planned=planned,
        )
        for line in summary.lines():
            self._log(line)
        self.record.append(epoch, self.sampler, summary, self._visits_before)
        return summary

    def write_record(self, folder: Path, *, last: bool) -> None:
        """Write the record's files, where there are several ranks the first one's.

        See :meth:`hws_nnunet.hosts.record_writer.RecordWriter.write`.
        """
        if self._ranks.rank == 0:
            self._writer.write(folder, last=last)

    def state_dict(self) -> dict:
        """Return what a resumed training needs."""
        return {**with_tensors(self.sampler.state_dict()), "record": self.record.state_dict(), "made_by": self._made_by}

    def load_state_dict(self, state: dict) -> None:
        """Restore :meth:`state_dict`, and tell the log.

        Raises:
            ValueError: it is damaged, or of another version or measure.
        """
        with logged_warnings(self._log):
            self.sampler.load_state_dict(state)
        self._ranks.share_sweep(self.sampler.table)
        self.start_epoch()  # earlier visits are not the epoch's, in which a trainer may make its loaders again
        if "record" in state:
            self.record.load_state_dict(state["record"])
        before = {**state.get("settings", {}), **state.get("made_by", {})}
        now = {**self.settings.model_dump(), **self._made_by}
        changed = [f"{name}: {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
        if changed:
            self._log(f"Changed since the checkpoint was saved: {', '.join(changed)}")
        table = self.sampler.table
        self._log(
            f"Hardness weighted sampling goes on after {table.version} steps: {len(table) - table.unseen} of "
            f"{len(table)} cases seen, beta {table.beta_in_force:.3g}"
        )


def _each_once(names: Sequence[str], log: Log) -> list[str]:
    once = list(dict.fromkeys(str(name) for name in names))
    if twice := len(names) - len(once):
        log(f"WARNING: the split lists {number(twice, 'case')} more than once; draws by hardness count each case once")
    return once
