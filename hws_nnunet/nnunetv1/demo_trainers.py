"""Trainers of the demonstration: few short epochs, with hardness weighted sampling and without."""

from __future__ import annotations

from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer


class _Demo:
    """Changes a trainer's length the way nnU-Net's own variants do, after the host's constructor."""

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.max_num_epochs, self.num_batches_per_epoch, self.num_val_batches_per_epoch = 7, 100, 5


class HardnessWeightedTrainer_demo(_Demo, HardnessWeightedTrainer):
    """7 epochs of 100 steps, drawn by hardness."""


class nnUNetTrainerV2_demo(_Demo, nnUNetTrainerV2):
    """7 epochs of 100 steps, as nnU-Net draws them."""
