"""``hws-nnunet hardness --json``: what the command prints, for a script."""

import json

import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main
from hws_nnunet.commands.options import print_json


@pytest.fixture
def fold(tmp_path):
    (tmp_path / "hardness.csv").write_text(
        "case,hardness,probability,visits,drawn,last_epoch_seen,stalled\n"
        "007,0.512345,0.712345,3,1.2,7,1\nb,0.25,0.187655,2,0.8,6,0\nc,,0.1,0,0,,0\n"
    )
    (tmp_path / "hardness_structures.csv").write_text(
        "case,hardness,hardest_structure,csf,white matter\n007,0.512345,white matter,0.25,0.754321\n"
    )
    return tmp_path


def told(*arguments):
    return CliRunner().invoke(main.app, ["hardness", *map(str, arguments)])


def test_all_columns_unrounded(fold):
    found = json.loads(told(fold, "--json").stdout)
    assert found["cases"] == 3
    first, second, last = found["hardest"]
    assert first == {
        **{"case": "007", "hardness": 0.512345, "probability": 0.712345, "visits": 3, "drawn": 1.2},
        **{"last_epoch_seen": 7, "stalled": 1, "chance": pytest.approx(3 * 0.712345, rel=1e-15)},
        **{"hardest_structure": "white matter", "structure_hardness": 0.754321},
    }
    assert second["hardest_structure"] is second["structure_hardness"] is None
    assert last["hardness"] is last["last_epoch_seen"] is None
    assert last["visits"] == 0


def test_the_hardest_alone_of_all(fold):
    found = json.loads(told(fold, "--json", "--top", 1).stdout)
    assert (found["cases"], [row["case"] for row in found["hardest"]]) == (3, ["007"])


def test_one_format_at_a_time(fold):
    done = told(fold, "--json", "--csv")
    assert str(done.exception) == "--csv and --json are given, expected one of them"
    assert done.stdout == ""


def test_unknown_is_null(capsys):
    print_json({"a": [float("nan"), {"b": float("nan")}, 1 / 3], "c": "nan"})
    assert json.loads(capsys.readouterr().out) == {"a": [None, {"b": None}, 1 / 3], "c": "nan"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json([float("inf")])
