"""Run trainers for some steps in this process, single-threaded and seeded; save what each saw and learnt.

    python train_steps.py JOBS.json
    torchrun --nproc-per-node 2 train_steps.py JOBS.json

JOBS is a list of objects: trainer, dataset, configuration, steps, config (a YAML file or null), out. Each of several
ranks saves a file of its own: out, a dot, and its rank.
"""

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from nnunetv2.run import run_training

sys.path.insert(0, str(Path(__file__).parents[2]))
from hws_nnunet.loop.tensors import with_tensors
from tests.valid import fault_of


def seed():
    """The same for every run, another one for each of several ranks."""
    rank = dist.get_rank() if dist.is_initialized() else 0
    random.seed(rank)
    np.random.seed(rank)
    torch.manual_seed(rank)


def run(job):
    os.environ.pop("HWS_CONFIG", None)
    if job["config"]:
        os.environ["HWS_CONFIG"] = job["config"]
    seed()
    trainer = run_training.get_trainer_from_args(
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
                "version": getattr(batch.get("hws_drawn"), "version", None),
            }
        )
    sampler = getattr(trainer, "sampler", None)
    torch.save(
        {
            "batches": record,
            "weights": trainer.network.state_dict(),
            "state": None if sampler is None else with_tensors(sampler.state_dict()),
            "fault": None if sampler is None else fault_of(sampler),
            "random": float(np.random.random()),
        },
        job["out"] + (f".{dist.get_rank()}" if dist.is_initialized() else ""),
    )


def main():
    torch.set_num_threads(1)
    jobs = json.loads(Path(sys.argv[1]).read_text())
    if not dist.is_torchelastic_launched():
        for job in jobs:
            run(job)
        return
    from hws_nnunet.nnunetv2.torchrun import join, trainers_on

    device = join("cpu")
    for job in jobs:
        with trainers_on(device):
            run(job)
    dist.destroy_process_group()


main()
