"""The mixin on every trainer that the installed nnU-Net v1 has: three steps, a checkpoint saved and loaded."""

import copy
import sys

import numpy as np
import pytest

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunet.training.data_augmentation import default_data_augmentation
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

from hws_nnunet.nnunetv1.trainer import HardnessWeightingMixin
from tests.core.test_sampler import assert_same_state
from tests.every_trainer import classes_below, parameters, train_with, trainer_class
from tests.nnunetv1.conftest import SMALL
from tests.nnunetv1.test_trainer import trainer_of

TRAINERS = classes_below("nnunet", ("training", "network_training"), "nnUNetTrainer")
RESIDUAL = {  # what nnU-Net's planner for residual encoders would say
    "num_blocks_encoder": [1, 1, 1],
    "num_blocks_decoder": [1, 1],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
}
PARAMETERS = ("default_3D_augmentation_params", "default_2D_augmentation_params")


def why_not(name):
    """Return why a trainer cannot have the mixin, None where it can."""
    if "dummyLoad" in name:
        return "loads no data: there is nothing to draw"
    if "_DP" in name or "_DDP" in name:
        return "trains on several GPUs, which the mixin refuses for nnU-Net v1"
    return None


@pytest.fixture
def in_this_process(workspace, monkeypatch):
    """Have nnU-Net's augmenters run in this process; return a function that does so for what is imported by then.

    Each trainer changes parameters that all of them share: they are put back. Cascades find a first stage's results.
    """

    class Alone(SingleThreadedAugmenter):
        def __init__(self, loader, transform, *args, **kwargs):
            super().__init__(loader, transform)

        def restart(self):
            """There are no workers."""

    kept = {name: copy.deepcopy(getattr(default_data_augmentation, name)) for name in PARAMETERS}

    def patch():
        for module in [module for name, module in sys.modules.items() if name.startswith("nnunet.")]:
            for name in ("MultiThreadedAugmenter", "NonDetMultiThreadedAugmenter"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, Alone)
            if hasattr(module, "network_training_output_dir"):
                monkeypatch.setattr(module, "network_training_output_dir", str(workspace.root / "first_stage"))

    yield patch
    for name, before in kept.items():
        getattr(default_data_augmentation, name).clear()
        getattr(default_data_augmentation, name).update(before)


def write_first_stage(workspace):
    """Give the references out as what a first stage has predicted."""
    task = workspace.preprocessed(1)
    out = workspace.root / "first_stage" / "3d_lowres" / task.name / f"nnUNetTrainerV2__{SMALL}" / "pred_next_stage"
    out.mkdir(parents=True, exist_ok=True)
    for file in task.glob("nnUNetData_pretrained_small_stage0/*.npz"):
        reference = np.load(file)["data"][-1].clip(0).astype(np.uint8)
        np.savez_compressed(out / f"{file.stem}_segFromPrevStage.npz", data=reference)


@pytest.mark.parametrize("name", parameters(TRAINERS, HardnessWeightingMixin))
def test_trains_saves_and_loads(workspace, monkeypatch, tmp_path, in_this_process, name):
    if reason := why_not(name):
        pytest.skip(f"{name} {reason}")
    host, file = trainer_class(TRAINERS[name][0], name), tmp_path / "model.model"
    in_this_process()
    if "Cascade" in name:
        write_first_stage(workspace)

    def made(cls):
        trainer = trainer_of(workspace, monkeypatch, cls)
        trainer.load_plans_file()
        trainer.plans["base_num_features"] = 8  # groups of 8 channels are normalised by one of the trainers
        if "Resenc" in name:
            trainer.plans["plans_per_stage"][0] |= RESIDUAL
        trainer.initialize(True)
        return trainer

    def trained(cls):
        trainer = made(cls)
        trainer.network.train()
        for _ in range(3):
            trainer.run_iteration(trainer.tr_gen)
        trainer.save_checkpoint(str(file))
        if not file.exists() and host.save_checkpoint is not nnUNetTrainerV2.save_checkpoint:
            return trainer, None  # the benchmarks' save nothing
        again = made(cls)
        again.load_checkpoint(str(file))
        return trainer, again

    again, state = train_with(HardnessWeightingMixin, host, trained)
    if again is not None:
        assert_same_state(again.sampler.state_dict(), state)
