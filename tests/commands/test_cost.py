import re

import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main
from hws_nnunet.commands.cost import measure
from hws_nnunet.core import HardnessTable


@pytest.mark.parametrize(("cases", "batch_size"), [(1, 1), (40, 3), (2500, 2)])
def test_tells_time_and_memory(cases, batch_size):
    lines = measure(cases, batch_size, steps=20)
    times = {line.split()[0]: float(re.search(r"(\d+\.\d)   ", line)[1]) for line in lines[1:4]}
    assert set(times) == {"draw", "update", "uniform"}
    assert all(value > 0 for value in times.values())
    held = HardnessTable([str(i) for i in range(cases)]).nbytes
    assert f"({held / cases:.0f} bytes a case)" in lines[4]


def test_command():
    result = CliRunner().invoke(main.app, ["cost", "--cases", "30", "--batch-size", "4"])
    assert result.exit_code == 0
    assert result.output.startswith("30 cases, batches of 4")
    assert CliRunner().invoke(main.app, ["cost", "--cases", "0"]).exit_code == 2
