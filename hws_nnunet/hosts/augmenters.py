"""How both versions of nnU-Net hand data to a training: loaders that it makes, within batchgenerators' augmenters."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

_TURN = threading.RLock()


@contextmanager
def replaced_names(trainer: type, method: str, names: Sequence[str], make: Callable[..., object]) -> Iterator[None]:
    """Have ``make(original, *args, **kwargs)`` called where a method of the trainer calls one of the names.

    The names are replaced where that code looks them up: among the globals of the functions, not in their modules,
    some of which nnU-Net v2 forgets after it has found an external trainer. Threads take turns, so that each puts back
    what it found.

    Args:
        trainer: its classes' code is meant.
        method: of the trainer, in which the host makes its loaders, for instance.
        names: of classes or functions.
        make: is called in their place.
    """
    functions = [inspect.unwrap(vars(cls)[method]) for cls in trainer.__mro__ if method in vars(cls)]
    with _TURN, ExitStack() as stack:
        for places in {id(function.__globals__): function.__globals__ for function in functions}.values():
            for name in (name for name in names if name in places):
                original = places[name]

                def build(*args: object, _original: type = original, **kwargs: object) -> object:
                    return make(_original, *args, **kwargs)

                places[name] = build
                stack.callback(places.__setitem__, name, original)
        yield


def loader_of(augmenter: object) -> object:
    """Return the data loader that one of the host's augmenters holds, None where it holds none."""
    for name in ("generator", "data_loader"):
        if (loader := getattr(augmenter, name, None)) is not None:
            return loader
    return None


def stop(*augmenters: object) -> None:
    """End the workers of the host's augmenters, of those that have any."""
    for augmenter in augmenters:
        if hasattr(augmenter, "_finish"):
            augmenter._finish()
