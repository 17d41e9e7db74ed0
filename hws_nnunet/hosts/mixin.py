"""What the trainers of both hosts have in common: settings, sampler, saved state; the adapters add hooks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from hws_nnunet._version import __version__
from hws_nnunet.config import Settings
from hws_nnunet.core import HardnessWeightedSampler
from hws_nnunet.facts.versions import STATE
from hws_nnunet.hosts.augmenters import loader_of, stop
from hws_nnunet.hosts.checkpoints import extended_checkpoint, watched_checkpoint, without_numpy_scalars
from hws_nnunet.hosts.contract import Adapter, check_adapter
from hws_nnunet.hosts.loaders import DrawingLoader
from hws_nnunet.hosts.recorder import LossRecorder
from hws_nnunet.hosts.weighting import Weighting, settings_in_force
from hws_nnunet.messages import some_of, without_traceback


class WeightingMixin(Adapter):
    """The part of ``HardnessWeightingMixin`` that knows no host; see :mod:`~hws_nnunet.hosts.contract`."""

    hws_settings: Settings | Mapping[str, object] | str | os.PathLike | None = None

    weighting: Weighting | None = None
    _saved_state: Any = None  # whatever a checkpoint holds
    _saved_in: object = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Refuse the mixin behind its host's trainer, whose methods would then be called in its place.

        Raises:
            TypeError: it is, or something of the contract is missing.
        """
        super().__init_subclass__(**kwargs)
        hosts = [base for base in cls.__mro__ if not issubclass(base, WeightingMixin) and "run_training" in vars(base)]
        if hosts and not hasattr(super(), "run_training"):
            bases = ", ".join(base.__name__ for base in cls.__bases__)
            raise TypeError(
                f"class {cls.__name__}({bases}) would not draw by hardness: put the mixin before {hosts[0].__name__}"
            )
        if hosts:
            check_adapter(cls)

    @cached_property
    def settings(self) -> Settings:
        """In force; read, checked and told in the log when first asked for, as a training does and nothing else.

        Raises:
            SettingsError: they cannot be used.
        """
        with without_traceback():
            return settings_in_force(type(self).hws_settings, self.print_to_log_file)

    @property
    def sampler(self) -> HardnessWeightedSampler | None:
        """The training's sampler, None before there are data."""
        return None if self.weighting is None else self.weighting.sampler

    def _active(self) -> Weighting:
        """Return what the training does with its sampler; raise a ``RuntimeError`` before there are data."""
        if self.weighting is None:
            raise RuntimeError(f"{type(self).__name__} has no training data yet: it has to be initialised first")
        return self.weighting

    def _weigh(self, names: Sequence[str]) -> None:
        """Make a new sampler over the training cases; it goes on from a checkpoint, or from the one it replaces."""
        if self._saved_state is None and self.weighting is not None:
            self._saved_state, self._saved_in = self.weighting.state_dict(), "the training so far"
        structures = list(self._structures())
        with without_traceback():
            self.weighting = Weighting(
                names,
                self.settings,
                self.print_to_log_file,
                structures=structures,
                ranks=self._ranks(2 + len(structures)),
                made_by={"hws-nnunet": __version__, **self._made_by()},
            )
        if self._saved_state is not None:
            self._take_saved_state()

    def _tell_left_out(self, preprocessed: Iterable[str], *parts: Iterable[str], file: str) -> None:
        """Tell the log which preprocessed cases are in neither part of the fold: the host says nothing of them.

        Args:
            preprocessed: all cases' names.
            parts: names of the fold's training and validation cases.
            file: with the folds.
        """
        names = sorted(preprocessed)
        if left := sorted(set(names).difference(*parts)):
            self.print_to_log_file(
                f"NOTE: neither part of the fold holds {len(left)} of {len(names)} preprocessed cases: "
                f"{some_of(left)}. nnU-Net keeps its {file} when cases are added; without the file it makes new folds, "
                "of all cases"
            )

    def _take_saved_state(self) -> None:
        try:
            self._active().load_state_dict(self._saved_state)
        except ValueError as error:
            raise ValueError(f"{self._saved_in}: {error}") from error
        self._saved_state = None

    def _attach(self, loader: DrawingLoader) -> DrawingLoader:
        """Return one of our loaders, which draws by the training's sampler from now on."""
        loader.attach(self._active().sampler.draws, structures=list(self._structures().values()))
        return loader

    def _record_losses(self) -> LossRecorder:
        """Have the loss record each sample's, also one that the trainer made anew since; return it."""
        if not isinstance(self.loss, LossRecorder):
            self.loss = LossRecorder(
                self.loss,
                wrapper=self._wrapper,
                softmax=self._softmax,
                ignore_label=self._ignore_label,
                alone=self.settings.draw_by == "dice_ce",
                log=self.print_to_log_file,
            )
        return self.loss

    def _check_loader(self, training: object, validation: object, expected: str) -> None:
        """Raise, with the workers ended, if the host's training data come from another loader than ours.

        Args:
            training: the host's augmenter of training data.
            validation: and of validation data.
            expected: names of the host's loaders that ours take the place of.
        """
        loader = loader_of(training)
        if self.sampler is None or getattr(loader, "draws", None) is not self.sampler.draws:
            stop(training, validation)
            raise RuntimeError(
                f"{type(self).__name__} built its training data from {type(loader).__name__}, which does not draw by "
                f"hardness: the mixin works with trainers that use nnU-Net's {expected}"
            )

    def _clean(self, checkpoint: dict) -> dict:
        """Return a checkpoint that every trainer of the host loads: some leave ``weights_only`` at torch's default."""
        return {
            key: value if key == self._weights else without_numpy_scalars(value) for key, value in checkpoint.items()
        }

    def save_checkpoint(self, *args: object, **kwargs: object) -> None:
        """Write the host's checkpoint with the sampler's state in it, whole or not at all."""
        state = self._saved_state if self.weighting is None else self.weighting.state_dict()
        extra = {} if state is None else {STATE: state}
        with extended_checkpoint(self._weights, extra, clean=self._clean) as extended:
            super().save_checkpoint(*args, **kwargs)
        if extra and not extended and self._saves():
            self.print_to_log_file(
                f"WARNING: the sampler's state was not saved: {type(self).__name__} did not call torch.save, in the "
                f"training's own thread, on a dictionary with {self._weights!r}. A resumed training starts it anew"
            )

    @contextmanager
    def _restored_sampler(self, file: object) -> Iterator[None]:
        """Have the sampler take its state from the checkpoint loaded inside the block; it waits until there is one.

        Args:
            file: the checkpoint's, for messages.
        """
        with watched_checkpoint(STATE) as states:
            yield
        if not states:
            self.print_to_log_file("The checkpoint holds no state of hardness weighted sampling: it starts anew")
            return
        self._saved_state, self._saved_in = states[-1], file
        if self.weighting is not None:
            self._take_saved_state()
