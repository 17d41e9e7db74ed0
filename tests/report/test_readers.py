import json
import re

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet.facts.dataset import read_labels
from hws_nnunet.facts.spellings import case_name
from hws_nnunet.report import ResultError, ResultSet, read_results
from hws_nnunet.report.read.tables import open_table, parse_columns
from tests.report.made import NAN, result_set, v2_summary


def label_maps(folder, seed):
    """Six small label maps of labels 0 to 3; the fifth has no 3, in the sixth only the seed decides."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(6):
        voxels = rng.integers(0, 4, (8, 9, 7)).astype(np.uint8)
        if i == 4 or (i == 5 and seed):
            voxels[voxels == 3] = 0
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 2, 1])), folder / f"case_{i}.nii.gz")
    return folder


def dice_by_hand(predicted, reference, label):
    one, other = (np.asanyarray(nib.load(f).dataobj) == label for f in (predicted, reference))
    return 2 * (one & other).sum() / (one.sum() + other.sum()) if (one | other).any() else NAN


def expected(references, predictions):
    return [
        [dice_by_hand(predictions / f"case_{i}.nii.gz", references / f"case_{i}.nii.gz", label) for label in (1, 2, 3)]
        for i in range(6)
    ]


def test_a_summary_that_nnunet_v2_wrote(tmp_path):
    evaluation = pytest.importorskip("nnunetv2.evaluation.evaluate_predictions", reason="nnU-Net v2 is not installed")
    from batchgenerators.utilities.file_and_folder_operations import save_json
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.json_export import recursive_fix_for_json_export

    references, predictions = label_maps(tmp_path / "r", 0), label_maps(tmp_path / "p", 1)
    cases = [
        evaluation.compute_metrics(
            str(references / f"case_{i}.nii.gz"),
            str(predictions / f"case_{i}.nii.gz"),
            SimpleITKIO(),
            [1, 2, 3, (1, 3)],
        )
        for i in range(6)
    ]
    for case in cases:
        recursive_fix_for_json_export(case)
        case["metrics"] = {evaluation.label_or_region_to_key(k): v for k, v in case["metrics"].items()}
    save_json({"metric_per_case": cases, "mean": {}, "foreground_mean": {}}, str(predictions / "summary.json"))
    found = read_results("v2", predictions, label_names={"1": "wm", "(1, 3)": "both"})
    assert found.cases == tuple(f"case_{i}" for i in range(6))
    assert found.labels == ("wm", "2", "3", "both")
    assert found.dice[:, :3] == pytest.approx(np.array(expected(references, predictions)), nan_ok=True)
    assert found.missed.tolist() == [[False] * 4] * 5 + [[False, False, True, False]]
    assert found.dice[5, 2] == 0
    assert np.isnan(found.dice[4, 2])
    assert found.hd95 is None


def test_a_summary_that_nnunet_v1_wrote(tmp_path):
    evaluator = pytest.importorskip("nnunet.evaluation.evaluator", reason="nnU-Net v1 is not installed")
    references, predictions = label_maps(tmp_path / "r", 0), label_maps(tmp_path / "p", 1)
    pairs = [(str(predictions / f"case_{i}.nii.gz"), str(references / f"case_{i}.nii.gz")) for i in range(6)]
    evaluator.aggregate_scores(
        pairs, labels=[0, 1, 2, 3], json_output_file=str(predictions / "summary.json"), num_threads=1
    )
    found = read_results("v1", predictions)
    assert found.labels == ("1", "2", "3"), "the background is not a structure"
    assert found.dice == pytest.approx(np.array(expected(references, predictions)), nan_ok=True)
    assert found.missed.sum() == 1
    assert found.missed[5, 2]
    assert np.isnan(found.dice[4, 2])


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table(tmp_path):
    path = table(
        tmp_path / "t.csv",
        "case,label,Dice,hd95\n001,wm,0.5,3.25\nNA,wm,,\n001,10,0,50\nNA,10,1,0\n001,9,1,0\nNA,9,1,0\n",
    )
    found = read_results("t", path)
    assert found.cases == ("001", "NA"), "names stay as they are"
    assert found.labels == ("9", "10", "wm"), "numbers in their order"
    assert found.dice[0].tolist() == [1, 0, 0.5]
    assert np.isnan(found.dice[1, 2])
    assert found.hd95[0].tolist() == [0, 50, 3.25]
    assert found.nsd is None
    trailing = table(tmp_path / "u.csv", "case,label,Dice\r\na,1,0.5,,\r\n\r\n,,\r\n")
    assert read_results("u", trailing).dice.tolist() == [[0.5]]
    assert not found.missed.any(), "unknown without sizes"
    assert [m.key for m in found.metrics] == ["dice", "hd95"]


def test_a_table_of_several_sets(tmp_path):
    path = table(tmp_path / "t.csv", "set,case,label,Dice\na,x,1,0.5\nb,x,1,0.75\n")
    assert read_results("b", path).dice.tolist() == [[0.75]]
    with pytest.raises(ResultError, match=r"no row of the set 'c'; its sets: 'a', 'b'"):
        read_results("c", path)


THEIRS = {"Study": "case", "ROI": "label", "Methods": "set", "Condition": "subgroup", "DSC": "dice%", "h": "hd95"}


def test_a_table_under_other_headings(tmp_path):
    text = "Study;ROI;Methods;Condition;DSC;h;Rater\nx;wm;A;rare;50;1,5;r\nx;wm;B;rare;75,5;2;r\n"
    path = table(tmp_path / "t.csv", text)
    found = read_results("B", path, columns=THEIRS)
    assert (found.dice.tolist(), found.hd95.tolist(), found.group_of) == ([[0.755]], [[2.0]], {"x": "rare"})
    assert found.notes == ("t.csv: columns that were not used: Rater",)
    assert parse_columns("Study=case,ROI=label,Methods=set,Condition=subgroup,DSC=Dice%,h=HD95") == THEIRS
    assert open_table(path, columns=THEIRS).sets == ["A", "B"]
    would = "DSC, h, Rater; perhaps --from 'Study=case,ROI=label,Methods=set,DSC=dice%'"
    with pytest.raises(ResultError, match=re.escape(would)):
        read_results("B", table(path, text.replace(",5", "")))
    with pytest.raises(ResultError, match=r"has no column 'DSC', 'h'; its columns: Study, ROI"):
        read_results("B", table(path, "Study,ROI,Methods,Condition\n"), columns=THEIRS)
    path = table(path, "case,label,Dice,subgroup\na,1,1,x\na,2,1,y\n")
    with pytest.raises(ResultError, match="case 'a' is in two subgroups, expected one"):
        read_results("t", path)


@pytest.mark.parametrize("heading", ["Dice (%)", "DICE%", "dice [percent]", "Dice"])
def test_percent_is_read_where_it_is_told(tmp_path, heading):
    sign = " %" if heading == "Dice" else ""
    path = table(tmp_path / "t.csv", f"case\tlabel\t{heading}\thausdorff95\na\t1\t91.5{sign}\t3\n")
    found = read_results("t", path)
    assert found.dice.tolist() == [[pytest.approx(0.915)]]
    assert found.hd95 is None
    assert "not used: hausdorff95 (perhaps --from 'hausdorff95=hd95')" in found.notes[0]


@pytest.mark.parametrize("text", ["Study", "=case", "Study=what", "a=case,b=case", "n=n_ref%"])
def test_mappings_with_faults(text):
    with pytest.raises(ValueError, match="--from"):
        parse_columns(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,Dice\n", "expected a column label in the first line, found: case, Dice"),
        ("", "expected a column case, label, dice in the first line, found: nothing"),
        ("case,label,Dice\n", "expected at least one case and one label, found 0 and 0"),
        ("case,label,Dice\na,1,x\n", "line 2: expected a number as Dice, found 'x'"),
        ("case,label,Dice\na,1\n", "line 2: 2 fields, expected 3"),
        ("case,label,Dice\na,1,0,5\n", "line 2: 4 fields, expected 3"),
        ("case;label;Dice;n_ref\na;1;0,5;1.234\n", "line 2: n_ref is '1.234', but line 2, Dice is '0,5': expected one"),
        ("case,label,Dice\na,1,85%\nb,1,0.5\n", "line 3: Dice is '0.5' without %, beside fields with it"),
        ("case,label,Dice\na,nan,0.5\n", "line 2: expected a case and a label, found 'a' and 'nan'"),
        ("case,label,Dice\n,1,1\n", "line 2: expected a case and a label, found '' and '1'"),
        (
            "case,label,Dice\na,1,91\n",
            "line 2, case 'a': Dice is 91.0, expected 0 to 1; in percent. --from",
        ),
        (
            "case,label,Dice,Method\na,1,1,x\na,1,1,y\n",
            r"is there 2 times, expected once\n.*perhaps --from 'Method=set'",
        ),
        ("case,label,Dice\na,1,-0.1\n", "Dice is -0.1, expected 0 to 1"),
        ("case,label,Dice\na,1,1\na,1,1\n", "case 'a', label '1': is there 2 times, expected once"),
        ("case,label,Dice\na,1,1\nb,2,1\n", "case 'a', label '2': is missing"),
        ("case,label,Dice,HD95\na,1,0.5,inf\nb,1,0,4\n", "HD95 is infinite beside a Dice of 0.5"),
        ("case,label,Dice,NSD\na,1,0,2\n", "NSD is 2.0, expected 0 to 1"),
        ("case,label,Dice,n_ref\na,1,,20\n", "has no Dice, though reference or prediction is not empty"),
        ("case,label,Dice\na,all labels,1\n", "a label is called 'all labels', which is what the report calls"),
    ],
)
def test_tables_with_faults(tmp_path, text, message):
    with pytest.raises(ResultError, match=message):
        read_results("t", table(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    "text",
    [
        "case,label,dice,,\na,1,0.5\n",
        "\r\n,,\r\ncase,label,dice\r\na,1,0.5\r\n",
        "sep=;\ncase;label;dice\na;1;0,5\n",
    ],
)
def test_what_spreadsheets_put_around_the_headings(tmp_path, text):
    path = table(tmp_path / "t.csv", text)
    assert read_results("t", path).dice.tolist() == [[0.5]]
    line = len(text.splitlines())
    with pytest.raises(ResultError, match=f"line {line}: expected a number as dice, found 'x'"):
        read_results("t", table(path, re.sub("0[.,]5", "x", text)))


def test_many_problems_are_counted(tmp_path):
    with pytest.raises(ResultError) as error:
        result_set(np.full((30, 1), 7.0))
    assert len(error.value.problems) == 11
    assert error.value.problems[-1] == "... and 20 more"
    assert "30 problems" in str(error.value)


def double(content):
    content["metric_per_case"].append(content["metric_per_case"][0])


def lose(content):
    del content["metric_per_case"][0]["metrics"]["2"]


def rename(content):
    content["metric_per_case"][0]["metrics"]["2"] = {"IoU": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (double, "case 'case000', label '1': is there 2 times, expected once"),
        (lose, "case 'case000', label '2': is missing; a structure that is empty in both .* has a Dice of NaN"),
        (rename, "is not as nnU-Net writes it: ValueError: case 'case000', label '2': expected Dice, found IoU"),
        (lambda content: content.pop("metric_per_case"), "expected 'metric_per_case' .* found: foreground_mean, mean"),
        (lambda content: content.update(metric_per_case=3), "is not as nnU-Net writes it: TypeError"),
    ],
)
def test_summaries_with_faults(tmp_path, change, message):
    path = v2_summary(tmp_path / "summary.json", [[0.5, 0.6], [0.7, 0.8]], change=change)
    with pytest.raises(ResultError, match=message):
        read_results("a", path)


def test_files_that_are_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no summary.json in .*: expected nnU-Net's, or --references"):
        read_results("a", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"does not exist: expected a summary.json, a table"):
        read_results("a", tmp_path / "x.json")
    with pytest.raises(ResultError, match="is not JSON"):
        read_results("a", table(tmp_path / "x.json", "{"))
    (tmp_path / "e.tsv").write_text("case\tlabel\tDice\n", encoding="utf-16")
    with pytest.raises(ResultError, match="is not text in UTF-8"):
        read_results("a", tmp_path / "e.tsv")
    with pytest.raises(ResultError, match="found: list"):
        read_results("a", table(tmp_path / "y.json", "[1]"))
    with pytest.raises(ResultError, match=r"ends in .json or .csv or .tsv or .jsonl, found 'x.txt'"):
        read_results("a", table(tmp_path / "x.txt", ""))


def test_case_names():
    assert case_name("/a/b/case.1.nii.gz") == "case.1"
    assert case_name("C:\\x\\ü <b>.NRRD") == "ü <b>"
    assert case_name("plain") == "plain"


def test_failures_missed_and_invented():
    one = ResultSet(
        "a",
        "a.json",
        ("x", "y", "z"),
        ("1", "2"),
        np.array([[0.9, 0.0], [0.4, 0.8], [0.0, NAN]]),
        np.array([[9.0, 9], [9, 9], [0, 0]]),
        np.array([[9.0, 0], [9, 9], [9, 0]]),
    )
    assert one.missed.tolist() == [[False, True], [False, False], [False, False]]
    assert one.invented.tolist() == [[False, False], [False, False], [True, False]]
    assert one.failures(0.45).tolist() == [[False, True, True], [True, False, False], [True, False, True]]
    assert one.values("dice")[:, 2].tolist() == pytest.approx([0.45, 0.6, 0.0])


def test_label_tables(tmp_path):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}}))
    found = read_labels(path)
    assert (found.regions, found.ignored) == ({"whole": (1, 2), "core": (2,)}, 3)
    assert found.names == {"(1, 2)": "whole", "2": "core"}
    path.write_text(json.dumps({"labels": {"0": "background", "1": "wm"}}))
    assert read_labels(path).regions == {"wm": (1,)}
    for text in ("{}", '{"labels": {"a": "b"}}', '{"labels": {"background": 0}}', "x"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"dataset\.json"):
            read_labels(path)
    with pytest.raises(FileNotFoundError, match=r"expected the dataset.json"):
        read_labels(tmp_path / "none.json")
