"""Run trainers for some steps in this process, with v1's single-threaded augmenter; save what each saw and learnt.

    python train_steps.py JOBS.json

JOBS is a list of objects: trainer, configuration, plans, steps, config (a YAML file or null), out.
"""

import copy
import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunet.run.default_configuration import get_default_configuration
from nnunet.training.data_augmentation import data_augmentation_moreDA, default_data_augmentation

sys.path.insert(0, str(Path(__file__).parents[2]))
from hws_nnunet.loop.tensors import with_tensors
from tests.valid import fault_of


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


class Recorded:
    """Keeps what the trainer is given."""

    def __init__(self, generator):
        self.generator, self.batches = generator, []

    def __next__(self):
        self.batches.append(next(self.generator))
        return self.batches[-1]


def run(job):
    os.environ.pop("HWS_CONFIG", None)
    if job["config"]:
        os.environ["HWS_CONFIG"] = job["config"]
    task = "Task001_Balls"
    plans, output, data, batch_dice, stage, cls = get_default_configuration(
        job["configuration"], task, job["trainer"], job["plans"]
    )
    seed()
    trainer = cls(plans, 0, output_folder=output, dataset_directory=data, batch_dice=batch_dice, stage=stage)
    trainer.initialize(True)
    seed()
    if hasattr(trainer, "weighting"):
        trainer.weighting.start_epoch()
    trainer.network.train()
    trainer.tr_gen = Recorded(trainer.tr_gen)
    losses = [float(trainer.run_iteration(trainer.tr_gen)) for _ in range(job["steps"])]
    sampler = getattr(trainer, "sampler", None)
    torch.save(
        {
            "batches": [
                {
                    "data": batch["data"],
                    "target": list(batch["target"]),
                    "keys": [str(key) for key in batch["keys"]],
                    "loss": loss,
                    "version": getattr(batch.get("hws_drawn"), "version", None),
                }
                for batch, loss in zip(trainer.tr_gen.batches, losses, strict=True)
            ],
            "weights": trainer.network.state_dict(),
            "state": None if sampler is None else with_tensors(sampler.state_dict()),
            "fault": None if sampler is None else fault_of(sampler),
            "random": float(np.random.random()),
        },
        job["out"],
    )


def single_threaded(loader, transform, *args, **kwargs):
    return SingleThreadedAugmenter(loader, transform)


data_augmentation_moreDA.MultiThreadedAugmenter = single_threaded
torch.set_num_threads(1)
shared = (
    default_data_augmentation.default_3D_augmentation_params,
    default_data_augmentation.default_2D_augmentation_params,
)
before = copy.deepcopy(shared)
for job in json.loads(Path(sys.argv[1]).read_text()):
    for used, fresh in zip(shared, before, strict=True):  # each trainer changes them for the next of its process
        used.clear()
        used.update(copy.deepcopy(fresh))
    run(job)
