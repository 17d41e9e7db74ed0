"""nnU-Net v2's trainer with hardness weighted sampling: hooks only, each calls the host's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hws_nnunet.facts.versions import V2

V2.check_version()  # before anything that older versions lack is imported

from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402
from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import (  # noqa: E402
    nnUNetTrainer_5epochs,
    nnUNetTrainer_50epochs,
    nnUNetTrainer_250epochs,
)
from nnunetv2.utilities.helpers import softmax_helper_dim1  # noqa: E402

from hws_nnunet.hosts.contract import HostClass  # noqa: E402
from hws_nnunet.hosts.loaders import DRAWN  # noqa: E402
from hws_nnunet.hosts.mixin import WeightingMixin  # noqa: E402
from hws_nnunet.hosts.replaced import replaced_in  # noqa: E402
from hws_nnunet.loop.ranks import Ranks  # noqa: E402
from hws_nnunet.nnunetv2 import host  # noqa: E402
from hws_nnunet.nnunetv2.loader import HardnessWeightedDataLoader  # noqa: E402
from hws_nnunet.processes import forks_end_with_this_process  # noqa: E402


class HardnessWeightingMixin(WeightingMixin, HostClass):
    """Adds hardness weighted sampling to any v2 trainer that uses nnU-Net's own data loader.

    Put it first: ``class Mine(HardnessWeightingMixin, nnUNetTrainerNoMirroring)``. ``hws_settings`` may hold settings,
    a mapping or a YAML file's path; the file named by ``HWS_CONFIG`` comes before it.
    """

    _weights = V2.weights
    _wrapper = DeepSupervisionWrapper
    _softmax = staticmethod(softmax_helper_dim1)
    _training_data: Any = None
    _weighed_data: Any = None

    def initialize(self) -> None:
        """Initialise as the host does."""
        super().initialize()
        self._ignore_label = self.label_manager.ignore_label

    def _structures(self) -> dict[str, int | tuple[int, ...]]:
        labels = self.label_manager
        keys = labels.foreground_regions if labels.has_regions else labels.foreground_labels
        names = {_key(value): name for name, value in self.dataset_json["labels"].items()}
        return {names.get(key, str(key)): key for key in map(_key, keys)}

    def _made_by(self) -> dict[str, str]:
        patch = " x ".join(map(str, self.configuration_manager.patch_size))
        return {"nnU-Net": str(V2.check_version()), "fold": str(self.fold), "patch size": patch}

    def _ranks(self, values: int) -> Ranks | None:
        return Ranks(self.batch_size, values) if self.is_ddp else None

    def _saves(self) -> bool:
        return not self.disable_checkpointing and self.local_rank == 0

    def get_tr_and_val_datasets(self) -> tuple:
        """Return the host's data sets; a loader of the training one will draw by hardness."""
        training, validation = super().get_tr_and_val_datasets()
        preprocessed = self.dataset_class.get_identifiers(self.preprocessed_dataset_folder)
        self._tell_left_out(preprocessed, training.identifiers, validation.identifiers, file=V2.splits_file)
        self._training_data = training
        return training, validation

    def get_dataloaders(self) -> tuple:
        """Return the host's augmenters, the training one over a loader that draws by hardness."""
        host_class = HardnessWeightedDataLoader.host_class.__name__
        names = replaced_in(type(self), "get_dataloaders", {host_class: self._make_loader})
        with forks_end_with_this_process(), names:  # the host starts its workers here
            training, validation = super().get_dataloaders()
        self._check_loader(training, validation, host_class)
        return training, validation

    def _make_loader(self, original: type, data: Any, *args: object, **kwargs: object) -> object:
        if data is not self._training_data or original is not HardnessWeightedDataLoader.host_class:
            return original(data, *args, **kwargs)
        if data is not self._weighed_data:
            self._weigh(data.identifiers)
            self._weighed_data = data
        return self._attach(HardnessWeightedDataLoader(data, *args, **kwargs))

    def on_train_start(self) -> None:
        """Read the settings, a fault in which ends the training before its long work; then start as the host does."""
        self.settings  # noqa: B018
        super().on_train_start()
        self._record_losses()

    def on_train_epoch_start(self) -> None:
        """Start counting the epoch's visits and lags."""
        super().on_train_epoch_start()
        self._active().start_epoch()

    def train_step(self, batch: dict) -> dict:
        """Run the host's step, then hand its per-sample losses to the sampler."""
        loss = self._record_losses()
        result = super().train_step(batch)
        self._active().after_step(loss, batch[DRAWN])
        return result

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Log what the sampler did, after the host's own figures of the training part."""
        super().on_train_epoch_end(train_outputs)
        summary = self._active().end_epoch(self.current_epoch, planned=self.num_epochs)
        host.log_beside(self.logger, summary.values(), self.current_epoch)

    def on_epoch_end(self) -> None:
        """Let the host end its epoch, checkpoints included; then write the record beside its ``progress.png``."""
        super().on_epoch_end()
        self._active().write_record(Path(self.output_folder), last=self.current_epoch >= self.num_epochs)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Load the host's checkpoint, whatever it calls its arguments; the sampler's state waits for a table."""
        with self._restored_sampler(next(iter((*args, *kwargs.values())), "the checkpoint")):
            super().load_checkpoint(*args, **kwargs)


def _key(label: int | list[int] | tuple[int, ...]) -> int | tuple[int, ...]:
    """Return what the host's preprocessed data call a label, or the labels of a region."""
    return tuple(label) if isinstance(label, list | tuple) else int(label)


class HardnessWeightedTrainer(HardnessWeightingMixin, nnUNetTrainer):
    """nnU-Net v2's standard trainer with hardness weighted sampling."""


class HardnessWeightedTrainer_5epochs(HardnessWeightedTrainer, nnUNetTrainer_5epochs):
    """For a quick look: 5 epochs."""


class HardnessWeightedTrainer_50epochs(HardnessWeightedTrainer, nnUNetTrainer_50epochs):
    """50 epochs."""


class HardnessWeightedTrainer_250epochs(HardnessWeightedTrainer, nnUNetTrainer_250epochs):
    """250 epochs."""
