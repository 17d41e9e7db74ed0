"""Tables of cases: their groups, read in one way for training, report, gallery and weights."""

import pytest

from hws_nnunet.datasets.case_table import CaseTableError, read_groups, read_rows


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_groups(tmp_path):
    path = table(tmp_path, "case,subgroup,site\nc.nii.gz,rare,1\na, Rare ,2\nb,n/a,\n")
    assert read_groups(path) == read_groups(path, cases=["a", "b"]) == {"c": "rare", "a": "rare", "b": "(none)"}
    assert read_groups(path, column="site") == {"c": "1", "a": "2", "b": "(none)"}
    assert read_rows(path, "site")["a"] == {"case": "a", "subgroup": "Rare", "site": "2"}


@pytest.mark.parametrize(
    ("text", "cases", "message"),
    [
        ("case,subgroup\na,x\n", ["f", "a", "e"], r"lacks 2 of 3 cases: f, e; it has a"),
        ("case,subgroup\na,x\na,y\n", ["a"], "line 3: case 'a' is there twice"),
        ("case,group\n", ["a"], "expected a column subgroup in the first line, found: case, group"),
    ],
)
def test_groups_that_cannot_be_used(tmp_path, text, cases, message):
    with pytest.raises(CaseTableError, match=message):
        read_groups(table(tmp_path, text), cases=cases)


def test_groups_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a table with the columns case and subgroup"):
        read_groups(tmp_path / "none.csv")
