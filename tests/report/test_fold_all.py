"""A training on all cases validates on cases that it was trained on: never held out."""

import json

import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.commands.case_weights import held_out_dice, weights_by_group
from hws_nnunet.facts.dataset import read_labels
from hws_nnunet.facts.summary import trained_on_all
from hws_nnunet.gallery.choice import worst_in_validation
from hws_nnunet.gallery.layout import find_layout
from hws_nnunet.report import ResultError, read_results
from tests.report.made import result_set, v2_summary


@pytest.fixture
def model(tmp_path):
    model = tmp_path / "Dataset501_X" / "T__P__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    v2_summary(model / "fold_all" / "validation" / "summary.json", [[0.97, 0.9]], cases=["a"])
    (model / "fold_all" / "validation" / "a.nii.gz").touch()
    return model


def test_it_is_never_held_out(model):
    with pytest.raises(ResultError, match="a training on all cases, whose validation held none of them out"):
        held_out_dice([model / "fold_all"])
    found = read_results("x", model / "fold_all" / "validation" / "summary.json")
    assert any("validates on cases that it was trained on" in note for note in found.notes)
    copied = v2_summary(model / "s.json", [[0.97, 0.9]], cases=["x/fold_all/validation/a"])
    assert read_results("x", copied).on_training_cases
    with pytest.raises(ResultError, match="a training on all cases"):
        held_out_dice([copied])
    assert find_layout(model / "fold_0").predictions("a", ".nii.gz") is None
    assert find_layout(model / "fold_all").predictions("a", ".nii.gz") is None
    with pytest.raises(ValueError, match="whose validation held none of them out: expected fold_0"):
        worst_in_validation(find_layout(model / "fold_all"), None, top=1)


@pytest.mark.parametrize("fold", ["T__P__3d_fullres/fold_all", "T__P/all"])
def test_a_test_set_that_was_predicted_into_a_folder_below_the_fold(tmp_path, fold):
    path = v2_summary(tmp_path / fold / "test_set" / "summary.json", [[0.9, 0.8]], cases=[f"{fold}/test_set/c1"])
    assert not read_results("x", path).on_training_cases


def test_folds_of_v1(tmp_path):
    assert trained_on_all(tmp_path / "T__P" / "all")
    assert trained_on_all(tmp_path / "T__P" / "all" / "validation_raw")
    assert not trained_on_all(tmp_path / "all" / "T__P" / "fold_0")


@pytest.mark.parametrize("mark", ["n/a", "unknown", "", "(none)"])
def test_what_is_not_known_is_no_group(mark):
    groups = dict.fromkeys("abcd", "neurotypical") | dict.fromkeys("ef", "pathological")
    found = weights_by_group(groups | {"g": mark}, ess=0.5, cap=4)
    assert found.pop("g") == 1
    assert found == pytest.approx(weights_by_group(groups, ess=0.5, cap=4))


def test_labels_whose_values_are_text(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": {"background": "0", "tumor": "1", "both": ["1", "2"]}}))
    assert read_labels(path).regions == {"tumor": (1,), "both": (1, 2)}


def test_nnunets_own_mean_beside_ours(tmp_path):
    def tell(content):
        content["foreground_mean"] = {"Dice": 0.628}

    nan = float("nan")
    found = read_results("x", v2_summary(tmp_path / "s.json", [[0.4, nan], [0.4, nan], [0.4, 0.9]], change=tell))
    assert found.told_mean == 0.628
    assert found.foreground_mean == pytest.approx((0.4 + 0.9) / 2)
    assert result_set([[0.5]]).told_mean is None


def test_json_for_scripts(tmp_path):
    def tell(content):
        content["foreground_mean"] = {"Dice": 0.65}

    path = v2_summary(tmp_path / "s.json", [[0.4, float("nan")], [0.4, 0.9]], change=tell)
    done = CliRunner().invoke(cli.app, ["report", f"x={path}", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert done.stdout == (tmp_path / "out" / "report.json").read_text()
    (one,) = found["sets"]
    assert (one["name"], one["cases"], one["told_foreground_mean"]) == ("x", ["case000", "case001"], 0.65)
    rows = {row["label"]: row for row in found["statistics"] if not row["subgroup"]}
    assert rows["2"]["mean"] == 0.9
    assert rows["2"]["sd"] is None
    assert rows["2"]["left_out"] == 1
    assert found["answers"][0]["points"]["Worst served:"]
    page = (tmp_path / "out" / "report.md").read_text().replace("\\", "")
    assert "foreground_mean: x 0.525 and 0.650" in page
