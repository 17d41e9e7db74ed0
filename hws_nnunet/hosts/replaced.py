"""Names of others that we replace for a moment: the list of all, and the one way to replace and put back."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from types import ModuleType

NAMES = {
    "save": "of torch: checkpoints get the sampler's state, and appear whole or not at all",
    "load": "of torch: a checkpoint's state waits for the sampler that takes it",
    "nnUNetDataLoader": "where v2's trainer makes its loaders: the training one is ours",
    "DataLoader3D": "where v1's trainer makes its loaders: the training one is ours",
    "DataLoader2D": "the same",
    "batch_size": "of v1's loader, which makes one sample at a time for ours: 1, and in the next four",
    "list_of_keys": "the case",
    "data_shape": "of one image",
    "seg_shape": "of one reference",
    "_data": "of the case, with the structure to centre the patch on",
    "apply_nonlin": "of nnU-Net's Dice losses: their softmax or sigmoid is kept, not computed again",
    "ddp": "of nnU-Net's Dice losses: the loss of one sample gathers nothing over ranks",
    "DDP": "where v2's trainer wraps its network: torchrun's device is used",
    "get_trainer_from_args": "of nnunetv2.run.run_training: trainers get torchrun's device",
}
"""Each name that is replaced, with where and why: look here first when a new version of a host fails."""

_TURN = threading.RLock()


class Through:
    """Stands for a function or class: calls of this thread go through ``hook(original, ...)`` while the block lasts.

    Other threads, and whoever keeps it after the block, call the original.
    """

    def __init__(self, hook: Callable[..., object]):
        self._hook, self._thread = hook, threading.get_ident()
        self._original: Callable[..., object] = hook
        self._inside = False

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Call the hook, or the original."""
        if self._inside and threading.get_ident() == self._thread:
            return self._hook(self._original, *args, **kwargs)
        return self._original(*args, **kwargs)


@contextmanager
def replaced(place: object, values: Mapping[str, object]) -> Iterator[None]:
    """Have names hold other values inside the block, and put back what they held.

    What everybody sees, a module's names, threads replace in turns. A name that somebody else replaced meanwhile is
    left to them.

    Args:
        place: a module, a function's globals, or an object.
        values: by name, each of them in :data:`NAMES`; a :class:`Through` gets the original to call.

    Raises:
        KeyError: a name is not in the list.
    """
    if unlisted := values.keys() - NAMES.keys():
        raise KeyError(f"{', '.join(sorted(unlisted))}: names that are replaced stand in {__name__}.NAMES")
    names = place if isinstance(place, dict) else vars(place)
    with _TURN if isinstance(place, dict | ModuleType) else nullcontext():
        before = {name: names[name] for name in values if name in names}
        for name, value in values.items():
            if isinstance(value, Through):
                value._original, value._inside = before[name], True
        names.update(values)
        try:
            yield
        finally:
            for name, value in values.items():
                if isinstance(value, Through):
                    value._inside = False
                if names.get(name) is not value:
                    continue
                if name in before:
                    names[name] = before[name]
                else:
                    del names[name]


@contextmanager
def replaced_in(cls: type, method: str, hooks: Mapping[str, Callable[..., object]]) -> Iterator[None]:
    """Have ``hook(original, ...)`` called where a method's code calls a name, inside the block.

    Names are replaced among the globals of the code, not in the modules that they come from: nnU-Net v2 forgets some of
    these after it has found an external trainer.

    Args:
        cls: a class; its own method and those that it overrides are meant.
        method: its name.
        hooks: by name; what the code does not use is left out.
    """
    functions = [inspect.unwrap(vars(base)[method]) for base in cls.__mro__ if method in vars(base)]
    with ExitStack() as stack:
        for place in {id(function.__globals__): function.__globals__ for function in functions}.values():
            there = {name: Through(hook) for name, hook in hooks.items() if name in place}
            stack.enter_context(replaced(place, there))
        yield
