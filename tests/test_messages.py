"""One error that lists problems, one way to say how many more there are."""

import pickle
import subprocess
import sys

import pytest

from hws_nnunet.config import SettingsError
from hws_nnunet.datasets import DatasetError
from hws_nnunet.datasets.case_table import CaseTableError
from hws_nnunet.messages import More, ProblemsError, first_of, some_of, without_traceback


def test_problems_are_counted_and_listed():
    error = ProblemsError("table.csv", ["no case", *first_of(f"line {i}" for i in range(13))])
    lines = str(error).splitlines()
    assert lines[0] == "table.csv: 14 problems"
    assert lines[1:3] == ["  - no case", "  - line 0"]
    assert lines[-1] == "  - ... and 3 more"
    assert len(lines) == 13


def test_ten_need_no_more():
    assert first_of(map(str, range(10))) == list("0123456789")
    assert first_of("abc", most=2) == ["a", "b", More(1)]


def test_a_line_of_somebody_elses_counts_once_whatever_it_says():
    assert "2 problems" in str(ProblemsError("here", ["... and 7 more", "b"]))


@pytest.mark.parametrize("kind", [ProblemsError, DatasetError, CaseTableError, SettingsError])
def test_workers_can_raise_them(kind):
    error = pickle.loads(pickle.dumps(kind("here", ["a", More(3)])))
    assert type(error) is kind
    assert str(error) == str(kind("here", ["a", More(3)]))


def test_names_end_in_how_many_more_there_are():
    assert some_of(["a", "b"]) == "a, b"
    assert some_of(["a"] * 5) == "a, a, a, a, a"
    assert some_of(range(7)) == "0, 1, 2, 3, 4 and 2 more"
    assert some_of(["a, 1", "b, 2", "c, 3"], most=2, separator="; ") == "a, 1; b, 2 and 1 more"


@pytest.mark.parametrize("raised", ["ProblemsError('my.yaml', ['a', 'b'])", "FileNotFoundError('no groups.csv')"])
def test_what_nobody_catches_ends_in_its_message_alone(raised):
    code = f"""
from hws_nnunet.messages import ProblemsError, without_traceback
try:
    with without_traceback():
        raise ProblemsError("elsewhere", ["caught"])
except ValueError:
    pass
with without_traceback():
    raise {raised}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    told = "my.yaml: 2 problems\n  - a\n  - b" if "my.yaml" in raised else "no groups.csv"
    assert done.stderr == f"error: {told}\n"
    other = code.replace(f"    raise {raised}", "    1 / 0")
    done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback")


def test_who_catches_it_finds_the_error_itself(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(ProblemsError, match="here: 1 problem"), without_traceback():
        raise ProblemsError("here", ["a"])
