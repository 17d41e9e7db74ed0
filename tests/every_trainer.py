"""Which trainers an installed nnU-Net has, read from its files: nothing of it is imported while tests are collected."""

import ast
import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hws_nnunet.hosts.mixin import WeightingMixin

LONG = pytest.mark.skipif(
    not os.environ.get("HWS_LONG_TESTS"), reason="changes no method that ours hooks into: HWS_LONG_TESTS=1 runs it"
)


def classes_below(package: str, folder: tuple[str, ...], root: str) -> dict[str, tuple[str, set[str]]]:
    """Return a class and those that derive from it: module, and the names of the methods that each defines itself."""
    if (spec := importlib.util.find_spec(package)) is None:
        return {}
    top = Path(next(iter(spec.submodule_search_locations)))
    found = {}
    for file in sorted(top.joinpath(*folder).rglob("*.py")):
        module = ".".join((package, *file.relative_to(top).with_suffix("").parts))
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                found[node.name] = (module, bases, methods)
    trainers = {root}
    while more := {name for name, (_, bases, _) in found.items() if bases & trainers} - trainers:
        trainers |= more
    return {name: (module, methods) for name, (module, _, methods) in found.items() if name in trainers}


def parameters(trainers: dict[str, tuple[str, set[str]]], mixin: type | None) -> list:
    """Return a test's parameters: the name of each trainer; by default those run that change what the mixin hooks into.

    Args:
        trainers: as :func:`classes_below` returns them.
        mixin: the host's, None where it is not installed.
    """
    hooked = {name for cls in (WeightingMixin, mixin) if cls for name in vars(cls) if not name.startswith("__")}
    return [pytest.param(name, marks=() if methods & hooked else LONG) for name, (_, methods) in trainers.items()]


def trainer_class(module: str, name: str) -> type:
    """Import a trainer; skip the test where that needs a package that is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}, which is not installed")


def train_with(mixin: type, host: type, trained: Callable[[type], tuple]) -> tuple:
    """Train a host's trainer with the mixin; return what loaded its checkpoint, and its sampler's state.

    The test is skipped where nnU-Net's own trainer fails in the same way: then there is nothing to add to.

    Args:
        mixin: the host's.
        host: nnU-Net's trainer.
        trained: trains a class for three steps, and returns both.
    """
    name = host.__name__
    try:
        trainer, again = trained(type(f"HardnessWeighted_{name}", (mixin, host), {}))
    except Exception as error:
        try:
            trained(host)
        except Exception as own:
            if (type(own), str(own)) == (type(error), str(error)):
                pytest.skip(f"{name}: nnU-Net's own fails, too, with {type(own).__name__}: {own}".strip())
        raise
    state = trainer.sampler.state_dict()
    assert state["version"] == 3
    assert state["visits"].sum() == 3 * trainer.batch_size
    return again, state
