"""Run trainers for some steps in this process, single-threaded and seeded; save what each saw and learnt.

    python train_steps.py JOBS.json

JOBS is a list of objects: trainer, dataset, configuration, steps, config (a YAML file or null), out.
"""

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.run.run_training import get_trainer_from_args

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.valid import fault_of


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def run(job):
    os.environ.pop("HWS_CONFIG", None)
    if job["config"]:
        os.environ["HWS_CONFIG"] = job["config"]
    seed()
    trainer = get_trainer_from_args(
        str(job["dataset"]), job["configuration"], 0, job["trainer"], device=torch.device("cpu")
    )
    trainer.initialize()
    seed()
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    record = []
    for _ in range(job["steps"]):
        batch = next(trainer.dataloader_train)
        target = batch["target"]
        record.append(
            {
                "data": batch["data"].clone(),
                "target": [t.clone() for t in (target if isinstance(target, list) else [target])],
                "keys": [str(key) for key in batch["keys"]],
                "loss": float(trainer.train_step(batch)["loss"]),
                "version": batch.get("hws_drawn", {}).get("version"),
            }
        )
    sampler = getattr(trainer, "sampler", None)
    torch.save(
        {
            "batches": record,
            "weights": trainer.network.state_dict(),
            "state": None if sampler is None else sampler.state_dict(),
            "fault": None if sampler is None else fault_of(sampler),
            "random": float(np.random.random()),
        },
        job["out"],
    )


torch.set_num_threads(1)
for job in json.loads(Path(sys.argv[1]).read_text()):
    run(job)
