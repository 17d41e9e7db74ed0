"""Puts our state into a host's checkpoints and gets it out again: ``torch.save`` and ``torch.load``, for a moment."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from hws_nnunet.files import atomic_write
from hws_nnunet.hosts.replaced import Through, replaced


@contextmanager
def extended_checkpoint(
    weights: str, extra: Mapping[str, object], *, clean: Callable[[dict], dict] = lambda value: value
) -> Iterator[list[object]]:
    """Have checkpoints that this thread saves inside the block hold ``extra``, and appear whole or not at all.

    A checkpoint is a dictionary with a key ``weights``, whatever file a trainer puts it into. ``clean`` is applied
    to what the host saves. Yields a list that gets each checkpoint's target.
    """
    extended: list[object] = []

    def save(original: Callable, obj: object, f: object, *args: object, **kwargs: object) -> None:  # torch's names
        if not isinstance(obj, dict) or weights not in obj:
            original(obj, f, *args, **kwargs)
            return
        with atomic_write(f) if isinstance(f, str | os.PathLike) else nullcontext(f) as target:
            original({**clean(obj), **extra}, target, *args, **kwargs)
        extended.append(f)

    with replaced(torch, {"save": Through(save)}):
        yield extended


@contextmanager
def watched_checkpoint(key: str) -> Iterator[list[object]]:
    """Yield a list that gets what a checkpoint loaded inside the block holds under ``key``, if anything."""
    states: list[object] = []

    def load(original: Callable, *args: object, **kwargs: object) -> object:
        checkpoint = original(*args, **kwargs)
        if isinstance(checkpoint, dict) and key in checkpoint:
            states.append(checkpoint[key])
        return checkpoint

    with replaced(torch, {"load": Through(load)}):
        yield states


def without_numpy_scalars(value: object) -> object:
    """Return a checkpoint in which numpy's scalars are Python's numbers, as ``torch.load`` of today asks for.

    The values of dictionaries, lists and tuples are gone through; each stays of its type.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, dict):
        cleaned = copy.copy(value)  # keeps a default factory, and the attributes of a state_dict
        for key, part in value.items():
            cleaned[key] = without_numpy_scalars(part)
        return cleaned
    if isinstance(value, list | tuple):
        parts = map(without_numpy_scalars, value)
        return value._make(parts) if hasattr(value, "_make") else type(value)(parts)
    return value
