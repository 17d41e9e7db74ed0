"""What our adapter needs to know of nnU-Net v1: its finder of trainers, how it asks for batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def find_trainer(name: str) -> type:
    """Return the trainer class of a name, by nnU-Net's own finder.

    Raises:
        ValueError: it finds none.
    """
    import nnunet
    from nnunet.training.model_restore import recursive_find_python_class

    folder = f"{nnunet.__path__[0]}/training/network_training"
    trainer = recursive_find_python_class([folder], name, current_module="nnunet.training.network_training")
    if trainer is None:
        raise ValueError(f"nnU-Net v1 finds no trainer {name}: hws-nnunet register")
    return trainer


class Watched:
    """A batch generator that keeps the batch it gave last: the host asks for it within its training step."""

    def __init__(self, generator: Iterator[dict[str, Any]]):
        self.generator = generator
        self.batch: dict[str, Any] = {}

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> dict[str, Any]:
        self.batch = next(self.generator)
        return self.batch
