"""Trainers of both nnU-Nets that take steps on one batch of made-up values: no data set, no loading.

Planning and loading take no part in a step. So a network is described here, as nnU-Net's plans describe one, and the
host's own trainer builds it, its loss and its optimizer.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hws_nnunet.facts.versions import V2
from hws_nnunet.hosts.loaders import DRAWN

CASES = [f"case_{i:03d}" for i in range(25)]
BATCH, LAG = 2, 25
"""Samples of a batch; batches that are drawn ahead of the step, as loading workers do."""


@dataclass(frozen=True)
class Network:
    """What nnU-Net's plans say of a network: channels of each stage, patch, images, labels."""

    features: tuple[int, ...]
    patch: tuple[int, int, int]
    channels: int = 1
    classes: int = 8
    regions: bool = False
    """Whether three overlapping regions are trained in place of classes, as for BraTS."""

    @property
    def strides(self) -> list[list[int]]:
        return [[1] * 3, *[[2] * 3] * (len(self.features) - 1)]

    @property
    def labels(self) -> dict[str, Any]:
        if self.regions:
            return {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": [3]}
        return {"background": 0, **{f"structure_{i}": i for i in range(1, self.classes + 1)}}

    def batch(self, device: torch.device) -> dict[str, Any]:
        """Return a batch as the host's loader does, with the reference at each resolution; always the same."""
        torch.manual_seed(0)
        structures = 3 if self.regions else 1
        blocks = torch.randint(2 if self.regions else self.classes + 1, (BATCH, structures, 4, 4, 4)).float()
        target = torch.nn.functional.interpolate(blocks, size=self.patch)
        targets = [target[(..., *[slice(None, None, 2**i)] * 3)] for i in range(len(self.features) - 1)]
        data = torch.randn(BATCH, self.channels, *self.patch)
        return {"data": data.to(device), "target": [t.contiguous().to(device) for t in targets]}


class Stepper:
    """One trainer and its batch: each call of :meth:`step` trains on it once.

    Args:
        trainer: initialised, and without data.
        take: takes a batch and trains on it.
        batch: from :meth:`Network.batch`.
    """

    def __init__(self, trainer: Any, take: Callable[[dict], object], batch: dict[str, Any]):
        self._take, self._batch = take, batch
        self._sampler, self._drawn = None, deque()
        if hasattr(trainer, "weighting"):
            trainer._weigh(CASES)
            trainer._record_losses()
            self._sampler, self._rng = trainer.sampler, np.random.default_rng(0)
            self._sampler.update(range(len(CASES)), self._rng.normal(0.4, 0.1, len(CASES)))  # the warm-up pass

    def prepare(self, steps: int) -> None:
        """Draw what the next steps take, which loading workers do beside the training."""
        while self._sampler is not None and len(self._drawn) < steps + LAG:
            self._drawn.append(self._sampler.draw_cases(BATCH, self._rng))

    def step(self) -> None:
        batch = dict(self._batch)
        if self._sampler is not None:
            batch[DRAWN] = self._drawn.popleft()
        self._take(batch)


def stepper_v2(network: Network, folder: Path, settings: dict | None, device: torch.device) -> Stepper:
    """Return a stepper of nnU-Net v2; of its own trainer where there are no settings.

    Args:
        network: to train.
        folder: not used: nnU-Net's variables name its folders.
        settings: of our trainer.
        device: to train on.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from hws_nnunet.nnunetv2.trainer import HardnessWeightedTrainer

    stages, kernels = len(network.features), [[3, 3, 3]] * len(network.features)
    arguments = {
        "n_stages": stages,
        "features_per_stage": list(network.features),
        "kernel_sizes": kernels,
        "strides": network.strides,
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "none",
        "batch_size": BATCH,
        "batch_dice": True,
        "patch_size": list(network.patch),
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": arguments,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    plans = {"dataset_name": "Dataset999_None", "plans_name": "nnUNetPlans", "configurations": {"3d": configuration}}
    dataset = {"labels": network.labels, "channel_names": {str(i): "MRI" for i in range(network.channels)}}
    if network.regions:
        dataset["regions_class_order"] = [1, 2, 3]
    data = Path(os.environ[V2.preprocessed]) / plans["dataset_name"] / configuration["data_identifier"]
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{CASES[0]}.b2nd").touch()  # the host looks at the ending
    cls = nnUNetTrainer
    if settings is not None:
        cls = type("HardnessWeightedStep", (HardnessWeightedTrainer,), {"hws_settings": settings})
    trainer = cls({**plans, "continue_training": False}, "3d", 0, dataset, device=device)
    trainer.initialize()
    trainer.network.train()
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True  # as nnUNetv2_train sets them
    return Stepper(trainer, trainer.train_step, network.batch(device))


class _Batches:
    """What v1's training step asks for its batch."""

    def __init__(self) -> None:
        self.batch: dict[str, Any] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        return self.batch


def stepper_v1(network: Network, folder: Path, settings: dict | None, device: torch.device) -> Stepper:
    """Return a stepper of nnU-Net v1, which trains on a GPU wherever there is one; otherwise as :func:`stepper_v2`.

    Raises:
        ValueError: for regions, for which v1 has other trainers.
    """
    from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

    from hws_nnunet.nnunetv1.trainer import HardnessWeightedTrainer

    if network.regions:
        raise ValueError("nnU-Net v1's standard trainer trains classes, no regions")
    pools = network.strides[1:]
    stage = {
        "batch_size": BATCH,
        "patch_size": network.patch,
        "num_pool_per_axis": [len(pools)] * 3,
        "pool_op_kernel_sizes": pools,
        "conv_kernel_sizes": [[3, 3, 3]] * len(network.features),
        "do_dummy_2D_data_aug": False,
    }
    classes = list(range(1, network.classes + 1))
    plans = {
        "plans_per_stage": {0: stage},
        "dataset_properties": {"intensityproperties": {}},
        "normalization_schemes": dict.fromkeys(range(network.channels), "nonCT"),
        "use_mask_for_norm": dict.fromkeys(range(network.channels), False),
        "base_num_features": network.features[0],
        "num_modalities": network.channels,
        "num_classes": network.classes,
        "all_classes": classes,
        "keep_only_largest_region": None,
        "min_region_size_per_class": None,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "data_identifier": "none",
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "plans.pkl"
    file.write_bytes(pickle.dumps(plans))
    cls = nnUNetTrainerV2
    if settings is not None:
        cls = type("HardnessWeightedStep", (HardnessWeightedTrainer,), {"hws_settings": settings})
    on_gpu = device.type == "cuda"
    trainer = cls(str(file), 0, str(folder / "results"), str(folder), stage=0, deterministic=False, fp16=on_gpu)
    trainer.initialize(training=False)
    trainer._maybe_init_amp()
    trainer.network.train()
    trainer.tr_gen = _Batches()

    def take(batch: dict[str, Any]) -> None:
        trainer.tr_gen.batch = batch
        trainer.run_iteration(trainer.tr_gen)

    return Stepper(trainer, take, network.batch(device))


STEPPERS = {"v1": stepper_v1, "v2": stepper_v2}
