"""Trainers of the demonstration: few short epochs, with hardness weighted sampling and without."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer


class _Demo:
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the host's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 10
        self.num_iterations_per_epoch = 60
        self.num_val_iterations_per_epoch = 5


class HardnessWeightedTrainer_demo(_Demo, HardnessWeightedTrainer):
    """10 epochs of 60 steps, drawn by hardness."""


class nnUNetTrainer_demo(_Demo, nnUNetTrainer):
    """10 epochs of 60 steps, as nnU-Net draws them."""
