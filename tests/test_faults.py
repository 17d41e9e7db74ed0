"""Short forms of what ``scripts/faults.py`` does on purpose, without nnU-Net; docs/faults.md has the long ones."""

import os
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"
SHORT = ["readers", "workers-die", "writer-dies", "numbers", "shared-folder", "disk-full", "read-only"]
ROOT = ["disk-full", "read-only"]
"""These mount a disk."""


@pytest.fixture(scope="module")
def faults():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        from faults import files, numbers, readers

        return {**readers.FAULTS, **numbers.FAULTS, **files.FAULTS}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and end with their parent on Linux alone")
@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost(faults, name):
    if name in ROOT and os.geteuid():
        pytest.skip("mounts a small disk, which needs root")
    for row in faults[name][1](True):
        assert row.tried > 0, row
        assert row.lost == 0, row
