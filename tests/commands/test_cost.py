import json
import re

import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main
from hws_nnunet.commands.cost import measure
from hws_nnunet.core import HardnessTable


@pytest.mark.parametrize(("cases", "batch_size"), [(1, 1), (40, 3), (2500, 2)])
def test_tells_time_and_memory(cases, batch_size):
    figures = measure(cases, batch_size, steps=20)
    assert (figures["cases"], figures["batch_size"], figures["steps"]) == (cases, batch_size, 20)
    assert min(figures["draw_us"], figures["update_us"], figures["uniform_draw_us"]) > 0
    assert figures["memory_bytes"] == HardnessTable([str(i) for i in range(cases)]).nbytes


def test_json(monkeypatch):
    figures = {"cases": 30, "batch_size": 4, "steps": 9, "draw_us": 1 / 3, "update_us": 12.25, "uniform_draw_us": 2.0}
    figures |= {"memory_bytes": 2 << 20}
    monkeypatch.setattr("hws_nnunet.commands.cost.measure", lambda cases, batch_size: figures)
    result = CliRunner().invoke(main.app, ["cost", "--cases", "30", "--batch-size", "4", "--json"])
    assert json.loads(result.stdout) == figures
    lines = CliRunner().invoke(main.app, ["cost", "--cases", "30", "--batch-size", "4"]).stdout.splitlines()
    assert [re.findall(r"\d+\.\d+", line) for line in lines[1:5]] == [["0.3"], ["12.2"], ["2.0"], ["2.00"]]
    assert "(69905 bytes a case)" in lines[4]


def test_command():
    result = CliRunner().invoke(main.app, ["cost", "--cases", "30", "--batch-size", "4"])
    assert result.exit_code == 0
    assert result.output.startswith("30 cases, batches of 4")
    assert CliRunner().invoke(main.app, ["cost", "--cases", "0"]).exit_code == 2
