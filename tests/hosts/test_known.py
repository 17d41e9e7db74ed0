import pytest

from hws_nnunet import Settings
from hws_nnunet.hosts.known import read_weights, training_groups
from hws_nnunet.hosts.weighting import Weighting


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_weights_come_in_the_order_of_the_cases(tmp_path, capsys):
    path = table(tmp_path, "\ufeffweight,case,site\n 2.5 ,a,x\n1e-3,b,y\n7,held out,y\n")
    assert read_weights(path, ["b", "a"], print) == [1e-3, 2.5]
    assert f"{path}: 1 of its 3 cases are not among the training cases: held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,weight\na,1\n", "lacks 1 of 2 cases: b; it has a"),
        ("case,weight\na,1\nb,0\n", "case 'b': expected a weight above 0, found '0'"),
        ("case,weight\na,1\nb,-2\n", "found '-2'"),
        ("case,weight\na,1\nb,nan\n", "found 'nan'"),
        ("case,weight\na,1\nb,inf\n", "found 'inf'"),
        ("case,weight\na,1\nb,many\n", "found 'many'"),
        ("case,weight\na,1\nb,1e-12\n", "the smallest weight has to be at least 1e-09 of the mean, given: 1e-12 to 1"),
        ("case,weight\na,1\nb\n", "line 3: 1 of 2 fields"),
        ("case,weight\na,1\nb,\n", "found ''"),
        ("case,weight\na,1\nb,1\na,2\n", "line 4: case 'a' is there twice"),
        ("case|weight\na|1\n", "expected a column case and weight in the first line, found: case.weight"),
        ("", "found: nothing"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(table(tmp_path, text), ["a", "b"], print)
    assert "table.csv" in str(caught.value)


def test_every_problem_is_told_at_once(tmp_path):
    with pytest.raises(ValueError, match="2 problem") as caught:
        read_weights(table(tmp_path, "case,weight\na,0\n"), ["a", "b"], print)
    assert "lacks 1" in str(caught.value)
    assert "'a'" in str(caught.value)


def test_groups(tmp_path):
    path = table(tmp_path, "case,subgroup,site\na,rare,1\nb,n/a,1\nc,common,2\n")
    assert training_groups(path, "subgroup", ["b", "a", "c"], print) == ["", "rare", "common"]
    assert training_groups(path, "site", ["a", "c"], print) == ["1", "2"]
    with pytest.raises(ValueError, match="column 'site' tells of the group '1' alone in 2 training cases"):
        training_groups(path, "site", ["a", "b"], print)
    with pytest.raises(ValueError, match="column 'subgroup' tells of no group in 1 training cases"):
        training_groups(path, "subgroup", ["b"], print)
    with pytest.raises(ValueError, match="lacks 1 of 2 cases: d"):
        training_groups(path, "site", ["a", "d"], print)
    with pytest.raises(ValueError, match="expected a column diagnosis"):
        training_groups(path, "diagnosis", ["a", "b"], print)


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist: expected a table"):
        read_weights(str(tmp_path / "none.csv"), ["a"], print)
    (tmp_path / "image.csv").write_bytes(b"case,weight\n\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a table"):
        read_weights(str(tmp_path / "image.csv"), ["a"], print)


def test_a_training_does_not_start_with_such_a_file(tmp_path):
    settings = Settings(case_weights=table(tmp_path, "case,weight\na,1\n"))
    with pytest.raises(ValueError, match="lacks 1 of 2 cases: b"):
        Weighting(["a", "b"], settings, print)
