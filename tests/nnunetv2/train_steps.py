"""Run a trainer for some steps in this process, single-threaded and seeded; save what it saw and learnt.

python train_steps.py TRAINER DATASET CONFIGURATION STEPS OUT
"""

import random
import sys

import numpy as np
import torch
from nnunetv2.run.run_training import get_trainer_from_args

trainer_name, dataset, configuration, steps, out = sys.argv[1:]
torch.set_num_threads(1)


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


seed()
trainer = get_trainer_from_args(dataset, configuration, 0, trainer_name, device=torch.device("cpu"))
trainer.initialize()
seed()
trainer.on_train_start()
trainer.on_train_epoch_start()
record = []
for _ in range(int(steps)):
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
        "valid": None if sampler is None else sampler.check_valid(),
        "random": float(np.random.random()),
    },
    out,
)
