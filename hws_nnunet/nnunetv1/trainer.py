"""nnU-Net v1's trainers with hardness weighted sampling: hooks only, each calls the host's own."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from hws_nnunet.facts.versions import V1

V1.check_version()  # before anything that older versions lack is imported

from nnunet.training.loss_functions.deep_supervision import MultipleOutputLoss2  # noqa: E402
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2  # noqa: E402
from nnunet.training.network_training.nnUNetTrainerV2_CascadeFullRes import (  # noqa: E402
    nnUNetTrainerV2CascadeFullRes,
)
from nnunet.utilities.nd_softmax import softmax_helper  # noqa: E402

from hws_nnunet.hosts.augmenters import stop  # noqa: E402
from hws_nnunet.hosts.contract import HostClass  # noqa: E402
from hws_nnunet.hosts.loaders import DRAWN  # noqa: E402
from hws_nnunet.hosts.mixin import WeightingMixin  # noqa: E402
from hws_nnunet.hosts.replaced import replaced_in  # noqa: E402
from hws_nnunet.nnunetv1 import host  # noqa: E402
from hws_nnunet.nnunetv1.loader import (  # noqa: E402
    HardnessWeightedDataLoader2D,
    HardnessWeightedDataLoader3D,
)
from hws_nnunet.processes import forks_end_with_this_process  # noqa: E402

LOADERS = {loader.host_class: loader for loader in (HardnessWeightedDataLoader3D, HardnessWeightedDataLoader2D)}


class HardnessWeightingMixin(WeightingMixin, HostClass):
    """Adds hardness weighted sampling to a v1 trainer that derives from ``nnUNetTrainerV2``.

    Put it first: ``class Mine(HardnessWeightingMixin, nnUNetTrainerV2_noMirroring)``. ``hws_settings`` may hold
    settings, a mapping or a YAML file's path; the file named by ``HWS_CONFIG`` comes before it.
    """

    _weights = V1.weights
    _wrapper = MultipleOutputLoss2
    _softmax = staticmethod(softmax_helper)
    _weighed_data: dict | None = None

    def __new__(cls, *args: object, **kwargs: object) -> HardnessWeightingMixin:
        """Check what was asked for, before the host's constructor makes a folder."""
        several = {"num_gpus", "local_rank", "distribute_batch_size"} & kwargs.keys()
        if several or any(base.__name__.endswith(("_DP", "_DDP")) for base in cls.__mro__):
            raise NotImplementedError(
                "hardness weighted sampling does not train on several GPUs through nnU-Net v1 (nnUNet_train_DP, "
                "nnUNet_train_DDP): train on one with nnUNet_train, or use nnU-Net v2"
            )
        return super().__new__(cls)

    def initialize(self, training: bool = True, force_load_plans: bool = False) -> None:
        """Initialise as the host does, and have the loss record each sample's; for prediction, nothing of ours."""
        if self.was_initialized or not training:
            super().initialize(training, force_load_plans)
            return
        # A fault in the settings ends the training before the host makes a folder or unpacks.
        if self.settings.weighs_structures and getattr(self, "regions", None):
            self.print_to_log_file(
                "WARNING: structure_beta is without effect: nnU-Net v1 centres patches on labels, and "
                f"{type(self).__name__} trains regions"
            )
        super().initialize(training, force_load_plans)
        self._check_loader(self.tr_gen, self.val_gen, " and ".join(loader.__name__ for loader in LOADERS))
        self._record_losses()

    def _structures(self) -> dict[str, int | tuple[int, ...]]:
        if getattr(self, "regions", None):  # nnU-Net's BraTS trainers; patches are centred on labels all the same
            return {name: tuple(labels) for name, labels in self.regions.items()}
        file = Path(self.dataset_directory, "dataset.json")
        told = json.loads(file.read_text(encoding="utf-8"))["labels"] if file.is_file() else {}
        names = [str(told.get(str(label), label)) for label in self.classes]
        return {
            name if names.count(name) == 1 else f"{name} {label}": int(label)
            for name, label in zip(names, self.classes, strict=True)
        }

    def _made_by(self) -> dict[str, str]:
        patch = " x ".join(map(str, self.patch_size))
        return {"nnU-Net": str(V1.check_version()), "fold": str(self.fold), "patch size": patch}

    def get_basic_generators(self) -> tuple:
        """Return the host's loaders, the training one drawing by hardness."""

        def make(original: type, data: dict, *args: object, **kwargs: object) -> object:
            if data is not self.dataset_tr or original not in LOADERS or data is self._weighed_data:
                return original(data, *args, **kwargs)
            self._tell_left_out(self.dataset, self.dataset_tr, self.dataset_val, file=V1.splits_file)
            loader = LOADERS[original](data, *args, **kwargs)
            self._weigh(loader.list_of_keys)
            self._weighed_data = data
            return self._attach(loader)

        with replaced_in(type(self), "get_basic_generators", {loader.__name__: make for loader in LOADERS}):
            return super().get_basic_generators()

    def run_training(self) -> object:
        """Train as the host does, from an epoch's start; then end the workers, for which the process would wait."""
        self._active().start_epoch()
        try:
            with forks_end_with_this_process():  # the host starts its workers here
                return super().run_training()
        finally:
            stop(self.tr_gen, self.val_gen)

    def run_iteration(
        self, data_generator: object, do_backprop: bool = True, run_online_evaluation: bool = False
    ) -> np.ndarray:
        """Run the host's step; after a training step hand its per-sample losses to the sampler."""
        if not do_backprop or data_generator is not self.tr_gen:
            return super().run_iteration(data_generator, do_backprop, run_online_evaluation)
        loss = self._record_losses()
        watched = host.Watched(data_generator)
        result = super().run_iteration(watched, do_backprop, run_online_evaluation)
        self._active().after_step(loss, watched.batch[DRAWN])
        return result

    def on_epoch_end(self) -> bool:
        """Log what the sampler did, let the host end its epoch, checkpoints included; then write the record."""
        self._active().end_epoch(self.epoch, planned=self.max_num_epochs)
        go_on = super().on_epoch_end()
        self._active().write_record(Path(self.output_folder), last=self.epoch + 1 >= self.max_num_epochs)
        self._active().start_epoch()
        return go_on

    def load_checkpoint(self, fname: str, train: bool = True) -> None:
        """Load the host's checkpoint, and the sampler's state to train on."""
        with self._restored_sampler(fname) if train else nullcontext():
            super().load_checkpoint(fname, train)


class HardnessWeightedTrainer(HardnessWeightingMixin, nnUNetTrainerV2):
    """nnU-Net v1's standard trainer with hardness weighted sampling."""


class HardnessWeightedTrainerCascadeFullRes(HardnessWeightingMixin, nnUNetTrainerV2CascadeFullRes):
    """The same for ``3d_cascade_fullres``; its ``3d_lowres`` is ours unless ``previous_trainer`` says otherwise."""

    def __init__(
        self,
        plans_file: str,
        fold: int | str,
        output_folder: str | None = None,
        dataset_directory: str | None = None,
        batch_dice: bool = True,
        stage: int | None = None,
        unpack_data: bool = True,
        deterministic: bool = True,
        previous_trainer: str = HardnessWeightedTrainer.__name__,
        fp16: bool = False,
    ):
        super().__init__(
            plans_file,
            fold,
            output_folder,
            dataset_directory,
            batch_dice,
            stage,
            unpack_data,
            deterministic,
            previous_trainer=previous_trainer,
            fp16=fp16,
        )


class _OtherLength:
    """Changes how long a trainer trains the way nnU-Net's own variants do: after the host's constructor."""

    epochs: int

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.max_num_epochs = self.epochs


class HardnessWeightedTrainer_5epochs(_OtherLength, HardnessWeightedTrainer):
    """For a quick look: 5 epochs."""

    epochs = 5


class HardnessWeightedTrainer_50epochs(_OtherLength, HardnessWeightedTrainer):
    """50 epochs."""

    epochs = 50


class HardnessWeightedTrainer_250epochs(_OtherLength, HardnessWeightedTrainer):
    """250 epochs."""

    epochs = 250
