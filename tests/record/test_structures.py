"""The table and the picture of structures."""

import csv
import math

import numpy as np
import pytest

from hws_nnunet.record.structures import (
    STRUCTURES_FILE,
    Hardest,
    hardest_structure,
    read_hardest_structures,
    write_structures,
)

NAN = float("nan")


def test_the_table_tells_each_cases_structures(tmp_path):
    values = np.array([[0.1234567, NAN, 0.3], [NAN, NAN, NAN], [0.5, 0.5, 0.25]])
    names, structures = ("a", 'b,"é', "c"), ("case", "hardness", "x, y")  # no name is in the way of another
    write_structures(tmp_path, names, np.array([0.2, NAN, 0.9]), structures, values)
    with open(tmp_path / STRUCTURES_FILE, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["case", "hardness", "hardest_structure", "case", "hardness", "x, y"],
        ["c", "0.9", "case", "0.5", "0.5", "0.25"],
        ["a", "0.2", "x, y", "0.123457", "", "0.3"],
        ['b,"é', "", "", "", "", ""],
    ]
    assert read_hardest_structures(tmp_path) == {"c": ("case", 0.5), "a": ("x, y", 0.3)}


def test_the_hardest_of_nothing_is_unknown():
    assert hardest_structure(("x", "y"), np.array([NAN, 0.0])) == ("y", 0.0)
    for structures in ((), ("x", "y")):
        found = hardest_structure(structures, np.full(len(structures), NAN))
        assert found.structure == ""
        assert math.isnan(found.hardness)
    assert isinstance(found, Hardest)


def test_no_structures_no_table(tmp_path):
    write_structures(tmp_path, ("a",), np.array([0.2]), (), np.empty((1, 0)))
    assert list(tmp_path.iterdir()) == []
    assert read_hardest_structures(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "starts with nothing; expected case, hardness, hardest_structure"),
        ("case,hardness\na,1\n", "starts with case, hardness; expected"),
        ("case,hardness,hardest_structure,x\na,1,y,0.5\n", "cannot be read at 'a,1,y,0.5': 'y' is not in list"),
        ("case,hardness,hardest_structure,x\na,1,x\n", "cannot be read at 'a,1,x': "),
        ("case,hardness,hardest_structure,x\na,1,,\nb,1,x,\n", "cannot be read at 'b,1,x,': could not convert"),
        ("case,hardness,hardest_structure,x\n\na,1\n", "cannot be read at 'a,1': 2 of 4 fields"),
    ],
)
def test_another_table_is_refused(tmp_path, text, message):
    (tmp_path / STRUCTURES_FILE).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_hardest_structures(tmp_path)
