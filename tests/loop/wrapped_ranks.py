"""Loops of :mod:`tests.loop.wrapped` on several real processes over gloo; each writes what came of them.

torchrun --nproc-per-node 2 wrapped_ranks.py FOLDER
"""

import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path

import torch.distributed as dist

from tests.loop import wrapped


def several(folder):
    """Return each loop's name, and what runs it with a number of workers."""
    stateful = {"use_stateful_dataloader": True}
    two = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": False}
    return {
        "prepare": wrapped.accelerate,
        "split_batches": lambda workers: wrapped.accelerate(workers, split_batches=True),
        "dispatch_batches": lambda workers: wrapped.accelerate(workers, dispatch_batches=True),
        "save_state": lambda workers: wrapped.saved_by_accelerate(workers, folder / f"plain{workers}"),
        "use_stateful_dataloader": lambda workers: wrapped.saved_by_accelerate(
            workers, folder / f"stateful{workers}", **stateful
        ),
        "both": lambda workers: wrapped.saved_by_accelerate(
            workers, folder / f"both{workers}", dispatch_batches=True, **stateful
        ),
        "lightning": lambda workers: wrapped.lightning(workers, folder / f"lightning{workers}", **two),
    }


def main(folder):
    warnings.simplefilter("ignore")
    os.environ["ACCELERATE_USE_CPU"] = "true"
    found = {}
    for name, loop in several(folder).items():
        for workers in (0, 2):
            (folder / f"lightning{workers}").mkdir(exist_ok=True)
            print(name, workers, flush=True)
            found[f"{name} {workers}"] = dataclasses.asdict(loop(workers))
    (folder / f"found.{dist.get_rank()}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
