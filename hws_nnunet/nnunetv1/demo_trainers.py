"""Trainers of the demonstration: few short epochs, with hardness weighted sampling and without."""

from __future__ import annotations

from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer, OtherLength


class _Demo(OtherLength):
    epochs = 7
    steps = 100
    validation_steps = 5


class HardnessWeightedTrainer_demo(_Demo, HardnessWeightedTrainer):
    """7 epochs of 100 steps, drawn by hardness."""


class nnUNetTrainerV2_demo(_Demo, nnUNetTrainerV2):
    """7 epochs of 100 steps, as nnU-Net draws them."""
