"""What our adapter needs to know of nnU-Net v1: its version, its finder of trainers, how it asks for batches."""

from __future__ import annotations

import importlib.metadata

from packaging.version import Version

OLDEST = Version("1.7.1")


def check_version() -> Version:
    """Return the installed nnU-Net v1's version.

    Raises:
        RuntimeError: none is installed, or one older than 1.7.1.
    """
    try:
        found = Version(importlib.metadata.version("nnunet"))
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError("nnU-Net v1 is not installed: pip install 'hws-nnunet[v1]'") from None
    if found < OLDEST:
        raise RuntimeError(
            f"nnunet {found} is installed, hardness weighted sampling needs {OLDEST}: pip install -U 'hws-nnunet[v1]'"
        )
    return found


def find_trainer(name: str) -> type:
    """Return the trainer class of a name, by nnU-Net's own finder.

    Raises:
        ValueError: it finds none.
    """
    import nnunet
    from nnunet.training.model_restore import recursive_find_python_class

    folder = f"{nnunet.__path__[0]}/training/network_training"
    found = recursive_find_python_class([folder], name, current_module="nnunet.training.network_training")
    if found is None:
        raise ValueError(f"nnU-Net v1 finds no trainer {name}: hws-nnunet register")
    return found


class Watched:
    """A batch generator that keeps the batch it gave last: the host asks for it within its training step."""

    def __init__(self, generator: object):
        self.generator = generator
        self.batch: dict = {}

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> dict:
        self.batch = next(self.generator)
        return self.batch
