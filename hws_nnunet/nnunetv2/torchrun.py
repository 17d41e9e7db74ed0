"""nnU-Net v2's own training on the process group, ranks and devices that torchrun gives: on one machine or several.

    torchrun --nproc-per-node 4 -m hws_nnunet.nnunetv2.torchrun 501 3d_fullres 0 -tr HardnessWeightedTrainer

Arguments are those of ``nnUNetv2_train``, for any trainer, nnU-Net's own too. Gradients go over NCCL on GPUs, and over
gloo with ``-device cpu``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from hws_nnunet.facts.versions import V2

V2.check_version()

from nnunetv2.run import run_training  # noqa: E402

from hws_nnunet.hosts.replaced import Through, replaced, replaced_in  # noqa: E402
from hws_nnunet.processes import forks_end_with_this_process  # noqa: E402


def main() -> None:
    """Train, validate, or what else the command line asks of ``nnUNetv2_train``.

    Raises:
        SystemExit: torchrun did not start this process, there is no GPU or no sample of the batch for it, or
            ``-num_gpus`` is given, which is torchrun's to say.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-device", default="cuda")
    parser.add_argument("-num_gpus")
    options, _ = parser.parse_known_args()
    if {"-h", "--help"} & set(sys.argv):
        run_training.run_training_entry()
    if options.num_gpus is not None:
        raise SystemExit("-num_gpus given: torchrun says how many processes there are, by --nproc-per-node")
    if not dist.is_torchelastic_launched():
        raise SystemExit(f"not started by torchrun; expected: {__doc__.splitlines()[2].strip()}")
    # torchrun ends the others when a rank has died: an exit, not a sudden death, ends their data-loading workers too.
    signal.signal(signal.SIGTERM, lambda *received: sys.exit(128 + signal.SIGTERM))
    device = join(options.device)
    try:
        with forks_end_with_this_process(), trainers_on(device):
            run_training.run_training_entry()
    finally:
        dist.destroy_process_group()


def join(kind: str) -> torch.device:
    """Join torchrun's process group and return this process's device.

    Args:
        kind: of device, as nnU-Net calls it: ``cuda`` or ``cpu``.

    Raises:
        SystemExit: this machine has no GPU for this process, or ``kind`` is another one.
    """
    if kind not in ("cuda", "cpu"):
        raise SystemExit(f"-device {kind} given; several processes train on cuda or cpu")
    local = int(os.environ["LOCAL_RANK"])
    if kind == "cuda" and local >= (there := torch.cuda.device_count()):
        less = (
            f"process {local} of this machine has no GPU, there are {there}: give torchrun a smaller --nproc-per-node"
        )
        raise SystemExit(
            f"{less if there else 'PyTorch finds no GPU here: install a CUDA build'}, or train with -device cpu"
        )
    device = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return device


def check_batch_size(samples: int, configuration: str) -> None:
    """End all processes, the first with the reason, where a batch has fewer samples than there are processes.

    Args:
        samples: in the planned batch, which is split over the processes.
        configuration: whose plan it is.
    """
    if samples < (processes := dist.get_world_size()):
        text = (
            f"the plans of {configuration} have batches of {samples}, too few for {processes} processes, which share "
            f"each batch: start at most {samples}, train one fold on each GPU, or give the plans a configuration with "
            '"batch_size": N (docs/howto/gpus.md)'
        )
        if dist.get_rank() == 0:
            print(text, file=sys.stderr, flush=True)
        dist.barrier()  # torchrun ends the first process as soon as another one has ended
        raise SystemExit(1)


@contextmanager
def trainers_on(device: torch.device) -> Iterator[None]:
    """Have the trainers that nnU-Net makes in the block train on this device.

    The host takes the global rank for the number of a GPU, which is wrong on a second machine and on a CPU: in the
    trainer's device, and in its call of PyTorch's ``DistributedDataParallel``.

    Raises:
        SystemExit: a trainer is made whose batches have fewer samples than there are processes.
    """

    def wrap(original: type[nn.Module], network: nn.Module, **kwargs: object) -> nn.Module:
        return original(network, **{**kwargs, "device_ids": [device] if device.type == "cuda" else None})

    with ExitStack() as stack:

        def make(original: Callable[..., Any], *args: object, **kwargs: object) -> object:
            trainer = original(*args, **kwargs)
            check_batch_size(trainer.configuration_manager.batch_size, trainer.configuration_name)
            trainer.device = device
            if device.type != "cuda":
                trainer.grad_scaler = None
            stack.enter_context(replaced_in(type(trainer), "initialize", {"DDP": wrap}))
            return trainer

        stack.enter_context(replaced(run_training, {"get_trainer_from_args": Through(make)}))
        yield


if __name__ == "__main__":
    main()
