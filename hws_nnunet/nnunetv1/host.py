"""Where nnU-Net v1 is touched: its version, and every name of it that is replaced for a moment and put back.

Replaced are ``DataLoader3D`` and ``DataLoader2D`` in the modules that build data loaders, while they build them.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from packaging.version import Version

OLDEST = Version("1.7.1")
LOADERS = ("DataLoader3D", "DataLoader2D")


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


@contextmanager
def replaced_loaders(trainer: type, make: Callable[..., object]) -> Iterator[None]:
    """Have ``make(original class, *args, **kwargs)`` called where the trainer's code makes one of its data loaders."""
    methods = [
        inspect.unwrap(vars(cls)["get_basic_generators"])
        for cls in trainer.__mro__
        if "get_basic_generators" in vars(cls)
    ]
    with ExitStack() as stack:
        for names in {id(method.__globals__): method.__globals__ for method in methods}.values():
            for name in (name for name in LOADERS if name in names):
                original = names[name]

                def build(*args: object, _original: type = original, **kwargs: object) -> object:
                    return make(_original, *args, **kwargs)

                names[name] = build
                stack.callback(names.__setitem__, name, original)
        yield


class Watched:
    """A batch generator that shows each batch before it gives it, and keeps the last one.

    The host asks for the batch itself, within its training step.
    """

    def __init__(self, generator: object, before: Callable[[dict], None]):
        self.generator, self.before = generator, before
        self.batch: dict = {}

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> dict:
        self.batch = next(self.generator)
        self.before(self.batch)
        return self.batch
