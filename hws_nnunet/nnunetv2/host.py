"""Where nnU-Net v2 is touched: its version, and every name of it that is replaced for a moment and put back.

Replaced is ``nnUNetDataLoader`` in the modules that build data loaders, while they build them.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from packaging.version import Version

OLDEST = Version("2.6")
_LOADER = "nnUNetDataLoader"


def check_version() -> Version:
    """Return the installed nnU-Net v2's version.

    Raises:
        RuntimeError: none is installed, or one older than 2.6.
    """
    try:
        found = Version(importlib.metadata.version("nnunetv2"))
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError("nnU-Net v2 is not installed: pip install 'hws-nnunet[v2]'") from None
    if found < OLDEST:
        raise RuntimeError(
            f"nnunetv2 {found} is installed, hardness weighted sampling needs {OLDEST} or newer (its data loader "
            "differs before that): pip install -U 'hws-nnunet[v2]'"
        )
    return found


def find_trainer(name: str) -> type:
    """Return the trainer class of a name, by nnU-Net's own finder.

    Raises:
        ValueError: it finds none.
    """
    import nnunetv2

    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
    except ImportError:  # before 2.8
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

        folder = os.path.join(nnunetv2.__path__[0], "training", "nnUNetTrainer")
        found = recursive_find_python_class(folder, name, "nnunetv2.training.nnUNetTrainer")
    else:
        try:
            found = find(name)
        except RuntimeError:
            found = None
    if found is None:
        raise ValueError(f"nnU-Net finds no trainer {name}: hws-nnunet register")
    return found


@contextmanager
def replaced_loader(trainer: type, make: Callable[..., object]) -> Iterator[None]:
    """Have ``make(original class, *args, **kwargs)`` called where the trainer's code makes an ``nnUNetDataLoader``."""
    with ExitStack() as stack:
        for names in _loader_names(trainer):
            original = names[_LOADER]

            def build(*args: object, _original: type = original, **kwargs: object) -> object:
                return make(_original, *args, **kwargs)

            names[_LOADER] = build
            stack.callback(names.__setitem__, _LOADER, original)
        yield


def _loader_names(trainer: type) -> list[dict[str, object]]:
    """Return the global names of those ``get_dataloaders`` of the trainer's classes that can name the loader class.

    By the function, not by the module: nnU-Net forgets the modules of external trainers after it has found one.
    """
    methods = [
        inspect.unwrap(vars(cls)["get_dataloaders"]) for cls in trainer.__mro__ if "get_dataloaders" in vars(cls)
    ]
    names = {id(method.__globals__): method.__globals__ for method in methods}
    return [found for found in names.values() if _LOADER in found]


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


def log_beside(logger: object, values: dict[str, float], epoch: int) -> None:
    """Send values to the loggers that nnU-Net 2.7 and later keep beside their local one, such as Weights & Biases.

    The local logger takes nnU-Net's own names only.
    """
    for other in getattr(logger, "loggers", []):
        for name, value in values.items():
            other.log(name, value, epoch)
