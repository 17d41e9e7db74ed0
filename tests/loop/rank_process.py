"""Ranks that draw and answer without a network; each writes what it drew and what its table holds then.

    torchrun --nproc-per-node 2 rank_process.py JOB.json OUT

With ``loader`` true it is a :class:`HardnessWeightedBatchSampler` within a ``DataLoader``.

JOB has: losses (one a case), sizes (of each rank's batch), steps, settings, sweep (whether to stop after the first
sweep), spoil (a rank whose answers get lost once, or null), leaves (one that ends amid the steps, or null), state (a
file to go on from, or null).
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from hws_nnunet import HardnessWeightedBatchSampler, HardnessWeightedSampler, Settings
from hws_nnunet.loop.ranks import Ranks
from hws_nnunet.loop.tensors import with_tensors

job, out = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
early = HardnessWeightedBatchSampler(4, 1, seed=0)
dist.init_process_group("gloo")
rank = dist.get_rank()
losses, size = np.array(job["losses"]), job["sizes"][rank]
rng = np.random.default_rng(rank)
sampler = HardnessWeightedSampler(
    [f"case{i}" for i in range(len(losses))],
    Settings(**job["settings"]),
    structures=["one"],
    rng=np.random.default_rng([7, rank]),  # orders of their own, before they share one
)
ranks = Ranks(size, 2)
if job["state"]:
    sampler.load_state_dict(torch.load(job["state"], weights_only=True))
ranks.share_sweep(sampler.table)
drawn, message = [], ""
if job["loader"]:
    batches = HardnessWeightedBatchSampler(len(losses), size, steps_per_epoch=job["steps"], seed=0, **job["settings"])
    sampler = batches.sampler
    for step, batch in enumerate(batches):
        drawn.append(batch)
        if step % 5 == 1:  # twice as many samples as were announced from one rank, and none from the other
            batch = batch * 2 if rank == 0 else []
        batches.update(losses[batch], batch)
    job["steps"] = 0
try:
    if job["loader"]:
        iter(early)
    for step in range(3 if rank == job["leaves"] else job["steps"]):
        batch = sampler.draw_cases(size, rng)
        drawn.append(batch.ids.tolist())
        values = np.stack([losses[batch.ids], np.where(batch.ids % 2, np.nan, 0.5)], axis=1)
        if rank == job["spoil"] and step == 3:
            sampler.table.offset[0] += 1e-9
        ranks.update(sampler, batch.ids, values[:, 0], structures=values[:, 1:], version=batch.version)
    if rank != job["leaves"]:
        ranks.check_equal(sampler.table)
except RuntimeError as error:
    message = str(error)
state = with_tensors(sampler.state_dict())
torch.save(
    {"drawn": drawn, "state": state, "p": torch.from_numpy(sampler.probabilities()), "message": message},
    f"{out}.{rank}",
)
dist.destroy_process_group()
