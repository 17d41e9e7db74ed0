"""Hardness weighted sampling in PyTorch Lightning: a callback that answers each batch and saves the sampler.

    python examples/lightning_module.py [--steps 1500] [--devices 2]

Needs Lightning and scikit-learn (``pip install lightning scikit-learn``). Data, network and what is printed are those
of ``examples/digits.py``, on CPUs. ``HardnessWeighting`` can be taken over as it is; a module needs two things for it:
its loader takes the callback's sampler, as ``batch_sampler`` and for the samples' indices, and ``training_step``
returns the samples' losses and indices beside the mean. Under several devices,
``Trainer(use_distributed_sampler=False)``: Lightning would put a sampler of its own into the loader, and ends in an
error because it cannot.
"""

from __future__ import annotations

import argparse
import logging
import warnings

import lightning as L
import torch
from digits import BATCH, data, print_accuracy, print_draws
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hws_nnunet import HardnessWeightedBatchSampler, per_sample


class HardnessWeighting(L.Callback):
    """Makes the batch sampler, answers each training batch, and keeps the sampler's state in Lightning's checkpoints.

    Args:
        *sizes: see :class:`~hws_nnunet.HardnessWeightedBatchSampler`.
        **options: the same.

    Attributes:
        sampler: there once Lightning has set up its processes, which a sampler made before would not know of: in
            ``train_dataloader``, for instance.
    """

    def __init__(self, *sizes: int, **options: object):
        self.sampler: HardnessWeightedBatchSampler | None = None
        self._sizes, self._options = sizes, options

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Make the sampler; Lightning restores a checkpoint after this, and asks for the loader then."""
        if self.sampler is None:
            self.sampler = HardnessWeightedBatchSampler(*self._sizes, **self._options)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: dict, batch: object, batch_idx: int
    ) -> None:
        """Answer the batch; one that ``training_step`` left out, by returning None, has no outputs."""
        outputs = outputs or {"losses": [], "index": []}
        self.sampler.update(outputs["losses"], outputs["index"])

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log how many samples the draws amount to."""
        self.log("ess", self.sampler.sampler.effective_sample_size(), sync_dist=True)

    def state_dict(self) -> dict[str, object]:
        """Return what Lightning saves."""
        return self.sampler.learnt.state_dict()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Restore it."""
        self.sampler.learnt.load_state_dict(state_dict)


class Digits(L.LightningModule):
    """The network of ``examples/digits.py``, trained in batches by hardness where there is a callback for them."""

    def __init__(self, dataset: TensorDataset, batch_size: int, hardness: HardnessWeighting | None = None):
        super().__init__()
        self.dataset, self.batch_size, self.hardness = dataset, batch_size, hardness
        self.network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        self.criterion = nn.CrossEntropyLoss()

    def train_dataloader(self) -> DataLoader:
        """Return the loader, which takes the callback's batch sampler."""
        if self.hardness is None:
            return DataLoader(self.dataset, self.batch_size, shuffle=True)
        sampler = self.hardness.sampler
        return DataLoader(sampler.indexed(self.dataset), batch_sampler=sampler)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return ``loss``, which Lightning wants; ``losses`` and ``index``, ``(B,)``, are for the callback."""
        images, numbers, *index = batch
        losses = per_sample(self.criterion, self.network(images), numbers)
        return {"loss": losses.mean(), "losses": losses.detach(), "index": index[0] if index else None}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.SGD(self.parameters(), 0.01, momentum=0.9)


def train(dataset: TensorDataset, steps: int, hardness: HardnessWeighting | None, devices: int = 1) -> nn.Module:
    """Train a network in whole passes, in batches by hardness where there is a callback for them."""
    torch.manual_seed(0)
    trainer = L.Trainer(
        max_epochs=-(-steps // -(-len(dataset) // BATCH)),
        accelerator="cpu",
        devices=devices,
        use_distributed_sampler=hardness is None,
        callbacks=[] if hardness is None else [hardness],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Digits(dataset, BATCH // devices, hardness)
    trainer.fit(module)
    return module.network


def main() -> None:
    """Train twice, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--devices", type=int, default=1, help="processes on this machine's CPU, which share a batch")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    dataset, images, numbers = data()
    steps = -(-len(dataset) // BATCH)
    hardness = HardnessWeighting(len(dataset), BATCH // args.devices, steps_per_epoch=steps, seed=0, ess=0.5)
    for name, which in (("uniform", None), ("by hardness", hardness)):
        network = train(dataset, args.steps, which, args.devices)
        rank_zero_only(print_accuracy)(name, network, images, numbers)
    rank_zero_only(print_draws)(hardness.sampler, dataset)


if __name__ == "__main__":
    main()
