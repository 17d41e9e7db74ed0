"""Which tests run and in which order, what they share, and what is to be done when all test processes have ended."""

import importlib.util
import os
import runpy
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads that wait for each other keep other tests waiting
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of the processes compiles all of this package anew
sys.dont_write_bytecode = False
RUN = os.environ.setdefault("HWS_TEST_RUN", str(os.getpid()))  # of all processes of this run
ONLY_ASKED_FOR = ("faults", "modes")
"""Markers whose tests run only where ``-m`` names them: they take hours, and write pages of the documentation."""

FIRST = ("nnunetv2/test_end_to_end.py", "nnunetv1/test_end_to_end.py")  # each plans what the tests of its version share


def pytest_addoption(parser):
    words = "leave out what is marked slow, and what needs data that nnU-Net has planned: no command of nnU-Net's runs"
    parser.addoption("--quick", action="store_true", help=words)


def pytest_configure(config):
    if name := os.environ.get("HWS_COMPATIBILITY"):
        from tests.modes.results import Results

        config.pluginmanager.register(Results(name), "compatibility")


def pytest_collection_modifyitems(config, items):
    if config.getoption("quick"):
        out = [item for item in items if item.get_closest_marker("slow") or "workspace" in item.fixturenames]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]
    for marker in ONLY_ASKED_FOR:
        if marker not in config.option.markexpr:
            out = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=out)
            items[:] = [item for item in items if item not in set(out)]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    names = {item.path: item.path.as_posix() for item in items}
    rank = {path: 0 if name.endswith(FIRST) else 1 if path in slow else 2 for path, name in names.items()}
    items.sort(key=lambda item: rank[item.path])  # else one process is left with the longest file at the end


@pytest.fixture
def script(monkeypatch):
    """Return a function that runs a Python script with arguments in this process."""

    def run(file, *arguments):
        monkeypatch.setattr(sys, "argv", [str(file), *map(str, arguments)])
        monkeypatch.syspath_prepend(str(file.parent))
        runpy.run_path(str(file), run_name="__main__")

    return run


def finder_of_short_trainers() -> Path | None:
    """Return the module that leads nnU-Net v1, which looks in its own folder alone, to the trainers of this run."""
    if (spec := importlib.util.find_spec("nnunet")) is None:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    return package / "training" / "network_training" / f"hws_nnunet_short_trainers_{RUN}.py"


def pytest_sessionfinish():
    if "PYTEST_XDIST_WORKER" not in os.environ and (file := finder_of_short_trainers()):
        file.unlink(missing_ok=True)
