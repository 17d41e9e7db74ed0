"""nnU-Net v2's trainer with hardness weighted sampling: hooks only, each calls the host's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from hws_nnunet.nnunetv2 import host

host.check_version()  # before anything that older versions lack is imported

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402

from hws_nnunet.config import Settings  # noqa: E402
from hws_nnunet.nnunetv2.loader import DRAWN, HardnessWeightedDataLoader  # noqa: E402
from hws_nnunet.nnunetv2.losses import host_losses  # noqa: E402
from hws_nnunet.sampling import HardnessWeightedSampler  # noqa: E402
from hws_nnunet.training.augmenters import loader_of, replaced_loaders, stop  # noqa: E402
from hws_nnunet.training.checkpoints import extended_checkpoint, watched_checkpoint  # noqa: E402
from hws_nnunet.training.weighting import (  # noqa: E402
    STATE,
    Weighting,
    check_bases,
    check_settings,
    recorded,
    settings_in_force,
)


class HardnessWeightingMixin:
    """Adds hardness weighted sampling to any v2 trainer that uses nnU-Net's own data loader.

    Put it first: ``class Mine(HardnessWeightingMixin, nnUNetTrainerNoMirroring)``. ``hws_settings`` may hold settings,
    a mapping or a YAML file's path; the file named by ``HWS_CONFIG`` comes before it.
    """

    hws_settings: Settings | Mapping[str, object] | str | os.PathLike | None = None

    settings: Settings
    weighting: Weighting | None = None
    _saved_state: dict | None = None
    _training_data: object = None

    def __new__(cls, *args: object, **kwargs: object) -> HardnessWeightingMixin:
        """Check the order of bases and the settings before the host's constructor makes a folder."""
        check_bases(cls, HardnessWeightingMixin, nnUNetTrainer)
        check_settings(cls.hws_settings)
        return super().__new__(cls)

    @property
    def sampler(self) -> HardnessWeightedSampler | None:
        """The training's sampler, None before there are data."""
        return None if self.weighting is None else self.weighting.sampler

    def initialize(self) -> None:
        """Check what can be checked before the long work, then initialise as the host does."""
        if self.is_ddp:
            raise NotImplementedError(
                "hardness weighted sampling on several GPUs (DDP) is not there yet: train with -num_gpus 1"
            )
        self.settings = settings_in_force(type(self).hws_settings, self.print_to_log_file)
        super().initialize()
        self._record_losses()

    def _record_losses(self) -> None:
        """Have the loss record each sample's, also one that the trainer made anew since."""
        labels = self.label_manager
        self.loss = recorded(self.loss, host_losses(regions=labels.has_regions, ignore_label=labels.ignore_label))

    def get_tr_and_val_datasets(self) -> tuple:
        """Return the host's data sets; the sampler's cases are the training one's."""
        training, validation = super().get_tr_and_val_datasets()
        self.weighting = Weighting(training.identifiers, self.settings, self.print_to_log_file)
        if self._saved_state is not None:
            self.weighting.load_state_dict(self._saved_state)
            self._saved_state = None
        self._training_data = training
        return training, validation

    def get_dataloaders(self) -> tuple:
        """Return the host's augmenters, the training one over a loader that draws by hardness."""
        with replaced_loaders(type(self), "get_dataloaders", ["nnUNetDataLoader"], self._make_loader):
            training, validation = super().get_dataloaders()
        loader = loader_of(training)
        if not isinstance(loader, HardnessWeightedDataLoader) or loader.draws is not self.sampler.draws:
            stop(training, validation)
            raise RuntimeError(
                f"{type(self).__name__} built its training data from {type(loader).__name__}, which does not draw by "
                "hardness: the mixin works with trainers that use nnU-Net's nnUNetDataLoader"
            )
        return training, validation

    def _make_loader(self, original: type, data: object, *args: object, **kwargs: object) -> object:
        if data is not self._training_data or original is not HardnessWeightedDataLoader.__base__:
            return original(data, *args, **kwargs)
        loader = HardnessWeightedDataLoader(data, *args, **kwargs)
        loader.attach(self.sampler.draws)
        return loader

    def on_train_epoch_start(self) -> None:
        """Start counting the epoch's visits and lags."""
        super().on_train_epoch_start()
        self.weighting.start_epoch()

    def train_step(self, batch: dict) -> dict:
        """Run the host's step, then hand its per-sample losses to the sampler."""
        self._record_losses()
        self.weighting.before_step(self.loss, batch[DRAWN])
        result = super().train_step(batch)
        self.weighting.after_step(self.loss, batch[DRAWN])
        return result

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log what the sampler did, after the host's own figures of the training part."""
        super().on_train_epoch_end(train_outputs)
        summary = self.weighting.end_epoch(self.current_epoch)
        host.log_beside(self.logger, summary.values(), self.current_epoch)

    def on_epoch_end(self) -> None:
        """Let the host end its epoch, checkpoints included; then write the record beside its ``progress.png``."""
        super().on_epoch_end()
        self.weighting.write_record(Path(self.output_folder), last=self.current_epoch >= self.num_epochs)

    def save_checkpoint(self, filename: str) -> None:
        """Write the host's checkpoint with the sampler's state in it, whole or not at all."""
        state = self._saved_state if self.weighting is None else self.weighting.state_dict()
        with extended_checkpoint(filename, {} if state is None else {STATE: state}):
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Load the host's checkpoint; the sampler's state waits until there is a table to take it."""
        with watched_checkpoint(STATE) as found:
            super().load_checkpoint(filename_or_checkpoint)
        if not found:
            self.print_to_log_file("The checkpoint holds no state of hardness weighted sampling: it starts anew")
        elif self.weighting is None:
            self._saved_state = found[-1]
        else:
            self.weighting.load_state_dict(found[-1])


class HardnessWeightedTrainer(HardnessWeightingMixin, nnUNetTrainer):
    """nnU-Net v2's standard trainer with hardness weighted sampling."""


class OtherLength:
    """Changes how long a trainer trains the way nnU-Net's own variants do: after the host's constructor."""

    epochs: int
    steps: int | None = None
    """Of an epoch; None is the host's number."""
    validation_steps: int | None = None

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the host's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = self.steps or self.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = self.validation_steps or self.num_val_iterations_per_epoch


class HardnessWeightedTrainer_5epochs(OtherLength, HardnessWeightedTrainer):
    """For a quick look: 5 epochs."""

    epochs = 5


class HardnessWeightedTrainer_50epochs(OtherLength, HardnessWeightedTrainer):
    """50 epochs."""

    epochs = 50


class HardnessWeightedTrainer_250epochs(OtherLength, HardnessWeightedTrainer):
    """250 epochs."""

    epochs = 250
