"""Puts our state into a host's checkpoints and gets it out again: ``torch.save`` and ``torch.load``, for a moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from hws_nnunet.files import whole_file


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[object]:
    """Replace an attribute inside the block; yield what it was, and put that back at the end."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield original
    finally:
        setattr(owner, name, original)


@contextmanager
def extended_checkpoint(
    filename: str | os.PathLike, extra: dict[str, object], *, clean: Callable[[object], object] = lambda value: value
) -> Iterator[None]:
    """Have the checkpoint saved to ``filename`` inside the block hold ``extra``, and appear whole or not at all.

    ``clean`` is applied to what the host saves.
    """

    def save(checkpoint: object, target: object, *args: object, **kwargs: object) -> None:
        if not isinstance(target, str | os.PathLike) or os.fspath(target) != os.fspath(filename):
            original(checkpoint, target, *args, **kwargs)
            return
        with whole_file(filename) as partial:
            original({**clean(checkpoint), **extra}, partial, *args, **kwargs)

    with replaced(torch, "save", save) as original:
        yield


@contextmanager
def watched_checkpoint(key: str) -> Iterator[list[object]]:
    """Yield a list that gets what a checkpoint loaded inside the block holds under ``key``, if anything."""
    found: list[object] = []

    def load(*args: object, **kwargs: object) -> object:
        checkpoint = original(*args, **kwargs)
        if isinstance(checkpoint, dict) and key in checkpoint:
            found.append(checkpoint[key])
        return checkpoint

    with replaced(torch, "load", load) as original:
        yield found


def without_numpy_scalars(value: object) -> object:
    """Return a checkpoint in which numpy's scalars are Python's numbers, as ``torch.load`` of today asks for.

    Dictionaries, lists and tuples are gone through; ordered dictionaries stay ordered ones.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, dict):
        return type(value)((key, without_numpy_scalars(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return type(value)(without_numpy_scalars(part) for part in value)
    return value
