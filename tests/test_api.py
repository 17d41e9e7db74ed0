"""Rules about the public interface."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import hws_nnunet

PUBLIC = ["hws_nnunet", "hws_nnunet.sampling", "hws_nnunet.datasets"]


def public_functions():
    for name in (
        "hws_nnunet.sampling",
        "hws_nnunet.training.losses",
        "hws_nnunet.config",
        "hws_nnunet.training.recorder",
        "hws_nnunet.training.measures",
    ):
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            if key.startswith("_") or not getattr(value, "__module__", "").startswith("hws_nnunet"):
                continue
            if inspect.isfunction(value):
                yield f"{name}.{key}", value
            elif inspect.isclass(value) and issubclass(value, object):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{key}.{method}", function


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_true(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__)
    for key in module.__all__:
        assert hasattr(module, key)


@pytest.mark.parametrize(("name", "function"), [pytest.param(*found, id=found[0]) for found in public_functions()])
def test_functions_have_docstrings_and_keyword_only_options(name, function):
    assert inspect.getdoc(function), name
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not inspect.Parameter.empty and parameter.name not in ("attribute", "settings"):
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, f"{name}({parameter.name})"
        if parameter.annotation in (np.random.Generator, "np.random.Generator"):
            assert parameter.name == "rng", f"{name}({parameter.name})"


def test_the_core_never_imports_nnunet():
    code = (
        "import sys, hws_nnunet, hws_nnunet.training.losses, hws_nnunet.training.recorder, hws_nnunet.record.history, "
        "hws_nnunet.datasets, hws_nnunet.commands.main; "
        "print([m for m in sys.modules if m.startswith(('nnunetv2', 'nnunet.', 'batchgenerators'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_imports_and_says_what_it_is_for():
    for module in pkgutil.walk_packages(hws_nnunet.__path__, "hws_nnunet."):
        if "nnunetv2." in module.name:
            pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
        assert importlib.import_module(module.name).__doc__, module.name


def test_version():
    assert hws_nnunet.__version__.count(".") == 2
