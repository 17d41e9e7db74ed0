import shutil
import sys
import time

import pytest

from tests.faults.rows import keep
from tests.nnunetv2.conftest import workspace  # noqa: F401 - a fixture


@pytest.fixture
def space(workspace, monkeypatch):  # noqa: F811
    """nnU-Net v2's folders with made-up data, planned, and no results; its command is imported, for forks."""
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
    for name, value in workspace.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HWS_CONFIG", raising=False)

    import hws_nnunet.nnunetv2.trainer  # noqa: F401 - what a training imports

    for folder in workspace.folders["nnUNet_results"].iterdir():
        shutil.rmtree(folder)
    return workspace


@pytest.fixture
def told(request):
    """Return a function that takes a fault's rows and fails where a try was lost; the long form's make the page."""
    if sys.platform != "linux":
        pytest.skip("processes are forked, and end with their parent on Linux alone")
    begin = time.monotonic()

    def tell(*rows):
        if request.node.get_closest_marker("faults"):
            name = request.node.originalname.removeprefix("test_").replace("_", "-")
            keep(name, rows, time.monotonic() - begin)
        assert rows
        assert not [row for row in rows if not 0 < row["tried"] == row["survived"]]

    return tell
