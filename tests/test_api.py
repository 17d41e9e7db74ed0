"""Rules about the public interface."""

import ast
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import hws_nnunet

PUBLIC = ["hws_nnunet", "hws_nnunet.core", "hws_nnunet.datasets"]

FLOORS = [
    {"files", "processes", "config", "extras", "facts", "messages", "registration", "_lazy", "_version"},
    {"core", "datasets"},
    {"loop", "record", "report"},
    {"hosts"},
    {"__init__"},  # the package's front door
    {"demo", "gallery", "nnunetv1", "nnunetv2"},
    {"commands"},
]
"""Of the package, from the lowest: nothing imports from a floor above its own."""

POSITIONAL = ("attribute", "settings", "indices")
"""Parameters with a default that may be given by place: what a caller hands over, and not an option."""


def imports():
    """Return what each module imports, within functions too: its name to full names of modules."""
    root = Path(hws_nnunet.__file__).parent
    files = {
        ".".join(("hws_nnunet", *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__"): file
        for file in root.rglob("*.py")
    }
    found = {}
    for name, file in files.items():
        found[name] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports by a relative name"
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {part if part in files else node.module for part in parts}
    return found


def part_of(module):
    """Return the package or root module that a module of ours belongs to, None for a foreign one."""
    names = module.split(".")
    return None if names[0] != "hws_nnunet" else (names[1] if len(names) > 1 else "__init__")


def test_nothing_imports_from_a_floor_above():
    floors = {part: level for level, parts in enumerate(FLOORS) for part in parts}
    for module, imported in imports().items():
        for other in imported:
            if (there := part_of(other)) is not None:
                assert floors[there] <= floors[part_of(module)], f"{module} imports {other}"


@pytest.mark.parametrize("name", [part_of, str], ids=["packages", "modules"])
def test_nothing_imports_in_a_circle(name):
    graph = {}
    for module, imported in imports().items():
        ours = {name(other) for other in imported if part_of(other) is not None}
        graph.setdefault(name(module), set()).update(ours - {name(module)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_the_core_stands_alone():
    for module, imported in imports().items():
        if part_of(module) == "core":
            foreign = {other.split(".")[0] for other in imported}
            assert not foreign & {"nnunet", "nnunetv2", "batchgenerators", "matplotlib"}, module


def public_functions():
    """Yield functions and methods by name: of all modules but commands, whose signatures are options of the shell."""
    for module in pkgutil.walk_packages(hws_nnunet.__path__, "hws_nnunet."):
        if module.name.startswith(("hws_nnunet.commands.", "hws_nnunet.demo.commands")) or (
            "nnunetv" in module.name and importlib.util.find_spec(module.name.split(".")[1]) is None
        ):
            continue
        for key, value in vars(importlib.import_module(module.name)).items():
            if key.startswith("_") or getattr(value, "__module__", "") != module.name:
                continue
            if inspect.isfunction(value):
                yield f"{module.name}.{key}", value
            elif inspect.isclass(value):
                for method, function in vars(value).items():
                    overrides = any(hasattr(base, method) for base in value.__mro__[1:])
                    if inspect.isfunction(function) and not method.startswith("_") and not overrides:
                        yield f"{module.name}.{key}.{method}", function


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_true(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    for key in module.__all__:
        assert hasattr(module, key)


@pytest.mark.parametrize(("name", "function"), [pytest.param(*pair, id=pair[0]) for pair in public_functions()])
def test_functions_have_docstrings_and_keyword_only_options(name, function):
    assert inspect.getdoc(function), name
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty and parameter.name not in POSITIONAL:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{name}({parameter.name})"
        if parameter.annotation in (np.random.Generator, "np.random.Generator"):
            assert parameter.name == "rng", f"{name}({parameter.name})"


@pytest.mark.slow
def test_the_core_never_imports_nnunet():
    code = (
        "import sys, hws_nnunet.hosts.recorder, hws_nnunet.record.history, hws_nnunet.commands.main; "
        "from hws_nnunet import *; from hws_nnunet.datasets import *; "
        "print([m for m in sys.modules if m.startswith(('nnunetv2', 'nnunet.', 'batchgenerators'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HOST_OF = {"nnunetv1": "nnunet", "nnunetv2": "nnunetv2"}


def test_every_module_imports_and_says_what_it_is_for():
    for module in pkgutil.walk_packages(hws_nnunet.__path__, "hws_nnunet."):
        host = HOST_OF.get(module.name.split(".")[1])
        if host and importlib.util.find_spec(host) is None:
            continue
        assert importlib.import_module(module.name).__doc__, module.name


def test_version():
    assert hws_nnunet.__version__.count(".") == 2
