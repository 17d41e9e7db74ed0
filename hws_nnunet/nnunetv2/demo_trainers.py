"""Trainers of the demonstration: few short epochs, with hardness weighted sampling and without."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from hws_nnunet.hosts.contract import HostClass
from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer


class _Demo(HostClass):
    """Changes a trainer's length the way nnU-Net's own variants do, after the host's constructor."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 - the host's signature
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 7, 100, 5


class HardnessWeightedTrainer_demo(_Demo, HardnessWeightedTrainer):
    """7 epochs of 100 steps, drawn by hardness."""


class nnUNetTrainer_demo(_Demo, nnUNetTrainer):
    """7 epochs of 100 steps, as nnU-Net draws them."""
