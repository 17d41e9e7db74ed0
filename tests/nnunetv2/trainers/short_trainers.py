"""Trainers of a few steps, found through ``nnUNet_extTrainer``: the commands and all else are the real ones."""

import os
import time

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer


class _Short:
    def __init__(self, plans, configuration, fold, dataset_json, device=None):
        torch.set_num_threads(1)  # nnU-Net takes all cores, and other tests run beside it
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get("SHORT_EPOCHS", "2"))
        self.num_iterations_per_epoch = int(os.environ.get("SHORT_STEPS", "10"))
        self.num_val_iterations_per_epoch = 2
        self.save_every = 1

    def perform_actual_validation(self, save_probabilities=False):
        self.inference_allowed_mirroring_axes = None  # eight times quicker
        super().perform_actual_validation(save_probabilities)


class ShortStock(_Short, nnUNetTrainer):
    pass


class ShortHardnessWeighted(_Short, HardnessWeightedTrainer):
    pass


class ShortCompiled(ShortHardnessWeighted):
    """Has network and loss compiled on a CPU too, where nnU-Net leaves that."""

    def _do_i_compile(self):
        return True


class ShortSlowToSave(ShortHardnessWeighted):
    """Stops in the middle of writing a checkpoint, as often as it takes to be killed there."""

    def save_checkpoint(self, filename):
        import time

        original = torch.save

        def slow(checkpoint, target, *args, **kwargs):
            original(checkpoint, target, *args, **kwargs)
            if self.current_epoch >= 1:
                with open(target, "rb+") as file:
                    file.truncate(1000)
                print("HALF WRITTEN", flush=True)
                time.sleep(600)

        torch.save = slow
        try:
            super().save_checkpoint(filename)
        finally:
            torch.save = original


class _Poisoned:
    """Images of some steps are NaN, or so large that activations overflow."""

    def train_step(self, batch):
        self.steps = getattr(self, "steps", -1) + 1
        if self.steps in (2, 3):
            batch = {**batch, "data": batch["data"] * (torch.nan if self.steps % 2 else 1e38)}
        return super().train_step(batch)


class ShortPoisoned(_Poisoned, ShortHardnessWeighted):
    pass


class ShortStockPoisoned(_Poisoned, ShortStock):
    pass


class ShortClockJumps(ShortHardnessWeighted):
    """The clock is an hour earlier from each epoch to the next."""

    def on_train_epoch_start(self):
        from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module

        original = time.time
        time.time = module.time = lambda: original() - 3600.0
        super().on_train_epoch_start()
