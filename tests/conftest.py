"""What is to be done once, when all test processes have ended."""

import importlib.util
import os
from pathlib import Path


def finder_of_short_trainers() -> Path | None:
    """Return the module that leads nnU-Net v1, which looks in its own folder alone, to the trainers of the tests."""
    if (spec := importlib.util.find_spec("nnunet")) is None:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    return package / "training" / "network_training" / "hws_nnunet_short_trainers_of_tests.py"


def pytest_sessionfinish():
    if "PYTEST_XDIST_WORKER" not in os.environ and (file := finder_of_short_trainers()):
        file.unlink(missing_ok=True)
