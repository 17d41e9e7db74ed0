"""Trainers of a few steps: the commands and all else are the real ones."""

import os

import torch
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer, HardnessWeightedTrainerCascadeFullRes


class _Short:
    def __init__(self, *args, **kwargs):
        torch.set_num_threads(1)  # nnU-Net takes all cores, and other tests run beside it
        super().__init__(*args, **kwargs)
        self.max_num_epochs = int(os.environ.get("SHORT_EPOCHS", "2"))
        self.num_batches_per_epoch = int(os.environ.get("SHORT_STEPS", "10"))
        self.num_val_batches_per_epoch = 2
        self.save_every = 1

    def validate(self, do_mirroring=True, *args, **kwargs):
        return super().validate(False, *args, **kwargs)  # eight times quicker


class ShortStock(_Short, nnUNetTrainerV2):
    pass


class ShortHardnessWeighted(_Short, HardnessWeightedTrainer):
    pass


class ShortCascade(_Short, HardnessWeightedTrainerCascadeFullRes):
    def __init__(self, *args, **kwargs):
        if len(args) < 9:  # nnUNet_predict gives them all, by position
            kwargs["previous_trainer"] = "ShortHardnessWeighted"
        super().__init__(*args, **kwargs)
