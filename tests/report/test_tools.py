"""Tables as other people's tools write them, against figures from the label maps that the tools were given."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hws_nnunet.facts.spellings import MISSING, aggregates, case_names, is_aggregate, is_background
from hws_nnunet.report import ResultError, read_results
from hws_nnunet.report.read.conventions import Convention
from hws_nnunet.report.read.tables import parse_columns
from hws_nnunet.report.read.tools import TOOLS
from hws_nnunet.report.stats.analysis import analyse, case_table
from tests.report.maps import CASES, dice_of, sizes_of

FILES = Path(__file__).with_name("tools")
READ = ("seg_metrics.csv", "seg_metrics_counts.csv", "pymia.csv", "panoptica.tsv", "panoptica.jsonl", "brats_seg.csv")
NAN = float("nan")


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def truth(labels):
    """Dice of each case and structure, NaN where neither map has it."""
    return np.array([[dice_of(case, label) for label in labels] for case in CASES])


def value_of(label):
    return {"one": 1, "two": 2}.get(label) or int(label)


@pytest.mark.parametrize("name", [*READ, "panoptica_instances.tsv", "brats_mets.csv"])
def test_what_tools_wrote_is_what_the_label_maps_say(name):
    found = read_results("x", FILES / name)
    assert found.cases == tuple(CASES)
    values = [value_of(label) for label in found.labels]
    np.testing.assert_allclose(found.dice, truth(values), atol=1e-9)
    sizes = np.array([[sizes_of(case, value) for value in values] for case in CASES])
    for key, expected in (("reference_size", sizes[..., 0]), ("predicted_size", sizes[..., 1])):
        told = found.measured(key)
        assert ((told > 0) == (expected > 0))[np.isfinite(told)].all()
    assert found.hd95 is None, "none is told that would be right for missed structures, or in millimetres"
    assert any("read as a table of" in note for note in found.notes)


def test_a_tool_that_writes_1_for_what_is_absent_and_for_what_is_perfect_is_refused():
    with pytest.raises(ResultError, match=r"Dice is 1, and the table does not tell .* --absent one"):
        read_results("x", FILES / "mist.csv")
    found = read_results("x", FILES / "mist.csv", absent="never")
    values = [value_of(label) for label in found.labels]
    expected = np.where(np.isnan(truth(values)), 1, truth(values))
    np.testing.assert_allclose(found.dice, expected, atol=1e-9)
    found = read_results("x", FILES / "mist.csv", absent="one")
    np.testing.assert_allclose(found.dice, np.where(expected == 1, np.nan, expected), atol=1e-9)
    lost = found.hd95[(found.dice == 0)]
    assert (lost > 50).all(), "MIST takes the image's diagonal"


def test_a_report_of_monai(tmp_path):
    pytest.importorskip("monai", reason="the extra 'report' is not installed")
    from monai.handlers.utils import write_metrics_reports

    values = np.array([[0.5, 0.75], [0.25, 0.5]])
    names = ["/data/a.nii.gz", "/data/b.nii.gz"]
    write_metrics_reports(str(tmp_path), names, None, {"mean_dice": values}, "mean", class_labels=["wt", "tc"])
    found = read_results("x", tmp_path / "mean_dice_raw.csv")
    assert (found.cases, found.labels) == (("a", "b"), ("tc", "wt"))
    assert found.dice.tolist() == values[:, ::-1].tolist()
    with pytest.raises(ResultError, match="expected a column case, label, dice"):
        read_results("x", tmp_path / "mean_dice_summary.csv")
    values[0, 0] = NAN  # the reference lacks it; whether the prediction does MONAI does not tell
    write_metrics_reports(str(tmp_path), names, None, {"mean_dice": values}, None, class_labels=["wt", "tc"])
    with pytest.raises(ResultError, match=r"case 'a', label 'wt': there is no Dice.*--absent nan"):
        read_results("x", tmp_path / "mean_dice_raw.csv")
    assert np.isnan(read_results("x", tmp_path / "mean_dice_raw.csv", absent="nan").dice[0, 1])


def test_classes_of_monai_that_have_numbers_alone(tmp_path):
    path = table(tmp_path / "val_mean_dice_raw.csv", "filename,class0,class1,mean\na,0.9,0.5,0.7\nb,0.8,0.4,0.6\n")
    with pytest.raises(ResultError, match=r"class0 is the background.*--from 'class0=background.dice"):
        read_results("x", path)
    columns = {"class0": "background.dice", "class1": "wt.dice"}
    assert read_results("x", path, columns=columns).labels == ("wt",)
    columns = {"class0": "tc.dice", "class1": "wt.dice"}
    assert read_results("x", path, columns=columns).labels == ("tc", "wt")


def test_lesion_wise_measures_are_their_own_and_name_their_rule():
    """Two lesions, one found: brats-evaluation's 'seg' says 1.0 and 'mets' 0.5 under one heading."""
    seg, mets = (read_results(f"b_{kind}", FILES / f"brats_{kind}_lesions.csv") for kind in ("seg", "mets"))
    assert (seg.lesions["lesion_dice"][0, 0], mets.lesions["lesion_dice"][0, 0]) == (1.0, 0.5)
    assert seg.lesions["lesions_missed"][0, 0] == mets.lesions["lesions_missed"][0, 0] == 1
    assert "found" in seg.lesion_rule
    assert "0 for missed" in mets.lesion_rule
    analysis = analyse([seg, mets], {})
    assert ("b_mets", "dice") in analysis.comparisons
    assert ("b_mets", "lesion_dice") not in analysis.comparisons
    assert any("lesion-wise Dice" in note and "not compared" in note for note in analysis.notes)


def test_rules_of_lesions_are_kept_in_the_reports_own_table(tmp_path):
    seg, mets = (read_results(f"b_{kind}", FILES / f"brats_{kind}_lesions.csv") for kind in ("seg", "mets"))
    case_table(analyse([seg, mets], {})).to_csv(tmp_path / "cases.csv", index=False)
    assert read_results("b_seg", tmp_path / "cases.csv").lesion_rule == seg.lesion_rule
    assert read_results("b_mets", tmp_path / "cases.csv").lesion_rule == mets.lesion_rule


def test_quality_of_found_lesions_is_not_offered_as_dice(tmp_path):
    path = table(
        tmp_path / "t.csv", "name,x-sq_dsc,lesion_dice_x,soft_dice,surface_dice,hausdorff\na,0.6,0.6,0.6,0.6,9\n"
    )
    with pytest.raises(ResultError) as error:
        read_results("x", path)
    assert "=dice" not in str(error.value)
    assert "=hd95" not in str(error.value)


def test_one_hint_for_a_wide_table_that_can_be_pasted(tmp_path):
    headings = [f"{m}_{s}" for s in ("ET", "WT", "TC") for m in ("Dice", "Sens", "Spec", "Hausdorff95")]
    path = table(tmp_path / "t.csv", f"Subject,{','.join(headings)}\na{',0.5' * len(headings)}\n")
    with pytest.raises(ResultError) as error:
        read_results("x", path)
    assert "and 5 more" in str(error.value)
    assert "docs/howto/report.md" in str(error.value)
    hint = str(error.value).split("--from '")[1].split("'")[0]
    found = read_results("x", path, columns=parse_columns(hint))
    assert found.labels == ("ET", "TC", "WT")
    assert found.dice.tolist() == [[0.5] * 3]
    assert found.hd95.tolist() == [[0.5] * 3]


@pytest.mark.parametrize(
    ("headings", "labels"),
    [
        ('Patient,"Dice, ET","Dice, WT"', ("ET", "WT")),
        ("Patient's ID,ET's Dice,WT's Dice", ("ET's", "WT's")),
        ("Patient,Dice=ET,Dice=WT", ("ET", "WT")),
        ("case,dice,HD95", ("foreground",)),
        ("Name,DSC", ("foreground",)),
    ],
)
def test_hints_can_be_pasted_whatever_the_headings(tmp_path, headings, labels):
    path = table(tmp_path / "t.csv", f"{headings}\na{',0.5' * headings.replace(', ', '').count(',')}\n")
    with pytest.raises(ResultError) as error:
        read_results("x", path)
    _, option, value, *_ = shlex.split(str(error.value).split("perhaps")[1].replace(" ", " . ", 1))
    assert option == "--from"
    found = read_results("x", path, columns=parse_columns(value))
    assert (found.labels, set(found.dice.ravel())) == (labels, {0.5})


@pytest.mark.parametrize(
    "headings", ["filename,class1,class2,mean", "class,mean,median", "case,label,IoU", "case,HD95"]
)
def test_no_hint_that_would_not_do(tmp_path, headings):
    path = table(tmp_path / "t.csv", f"{headings}\na{',0.5' * headings.count(',')}\n")
    with pytest.raises(ResultError, match="tells what is read") as error:
        read_results("x", path)
    assert "--from" not in str(error.value)


@pytest.mark.parametrize("unit", ["voxel", "px", "cm"])
def test_distances_in_other_units_are_not_offered_as_millimetres(tmp_path, unit):
    text = f"case,label,Dice,HD95 ({unit})\na,1,0.5,3\n"
    (note,) = (n for n in read_results("x", table(tmp_path / "t.csv", text)).notes if "not used" in n)
    assert "--from" not in note


def test_a_table_of_the_brats_portal(tmp_path):
    text = "Label,Dice_ET,Dice_WT,Sensitivity_ET,Hausdorff95_ET,Hausdorff95_WT\nB1,0,0.9,0,373.13,2\n"
    statistics = "".join(
        f"{name},0.5,0.5,0.5,9,9\n" for name in ("Mean", "StdDev", "Median", "25quantile", "75quantile")
    )
    found = read_results("x", table(tmp_path / "t.csv", text + statistics))
    assert (found.cases, found.labels) == (("B1",), ("ET", "WT"))
    assert (found.dice.tolist(), found.hd95.tolist()) == ([[0, 0.9]], [[373.13, 2]])
    with pytest.raises(ResultError, match=r"case 'B2', label 'ET': Dice is 1, and the table does not tell"):
        read_results("x", table(tmp_path / "t.csv", text + "B2,1,0.9,1,0,2\n"))


def test_missing_predictions_of_brats_are_no_measurements(tmp_path):
    text = (FILES / "brats_seg.csv").read_text()
    width = text.splitlines()[0].count(",") + 1
    headings = text.splitlines()[0].split(",")
    zeros = ["373" if "hd95" in heading and "std" not in heading else "0" for heading in headings[1:]]
    assert len(zeros) == width - 1
    lines = text.splitlines()
    lines.insert(3, ",".join(["lost.nii.gz", *zeros]))
    found = read_results("x", table(tmp_path / "b.csv", "\n".join(lines) + "\n"))
    assert "lost" not in found.cases
    assert any("missing predictions" in note and "lost.nii.gz" in note for note in found.notes)


def test_tools_do_not_take_each_others_tables():
    for file in FILES.iterdir():
        headings = file.read_text().splitlines()[0].replace("\t", ",").replace(";", ",").split(",")
        assert sum(bool(tool.read(headings)) for tool in TOOLS) <= 2, "both of brats-evaluation at most"
    assert all(isinstance(tool.convention, Convention) for tool in TOOLS)


# What each measure may be, and what it becomes: one line a rule.


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,0,0,100,0", "HD95 is 0 beside a Dice of 0, which cannot be"),
        ("a,1,1,0,0,50", "Dice is 1 beside sizes of 0 in the reference and 50 in the prediction, expected at most 0"),
        ("a,1,0.5,2,0,0", "Dice is 0.5, though reference and prediction are empty"),
        ("a,1,,7,0,0", "HD95 is 7, though reference and prediction are empty"),
        ("a,1,1,40,9,9", "HD95 is 40 mm beside a Dice of 1"),
        ("a,1,0.5,inf,9,9", "HD95 is infinite beside a Dice of 0.5"),
        ("a,1,,3,9,0", "has no Dice, though reference or prediction is not empty"),
        (
            "a,1,0.7,3,0,",
            "Dice is 0.7 beside sizes of 0 in the reference and nan in the prediction, expected at most 0",
        ),
        ("a,1,0.9,3,100,20", "Dice is 0.9 beside sizes of 100 .* and 20 in the prediction, expected at most 0.333"),
        ("a,1,0.9,3,-5,20", "sizes are -5 and 20, expected 0 or more"),
    ],
)
def test_what_cannot_be_is_told_with_its_row(tmp_path, rows, message):
    text = f"case,label,Dice,HD95,n_ref,n_pred\n{rows}\nb,1,0.9,4,100,100\n"
    with pytest.raises(ResultError, match=f"case 'a', label '1': {message}"):
        read_results("x", table(tmp_path / "t.csv", text))


def test_a_surface_dice_of_what_is_not_there(tmp_path):
    text = "case,label,Dice,NSD,n_ref,n_pred\na,1,0,0.5,9,0\n"
    with pytest.raises(ResultError, match=r"NSD is 0.5, though one of both is empty: expected 0"):
        read_results("x", table(tmp_path / "t.csv", text))
    with pytest.raises(
        ResultError, match=r"case 'a', label '1': NSD is 0.5, though reference and prediction are empty"
    ):
        read_results("x", table(tmp_path / "t.csv", "case,label,Dice,NSD\na,1,,0.5\nb,1,0.9,1\n"))
    text = "case,label,Dice,NSD,n_ref,n_pred\na,1,0,,9,0\nb,1,0.5,0.5,9,9\nc,1,1,1,0,0\n"
    found = read_results("x", table(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(found.nsd[:, 0], [0, 0.5, NAN])
    assert any("no NSD in the source for 1 structure of Dice 0" in note for note in found.notes)


def test_dice_of_1_where_both_are_empty_is_left_out(tmp_path):
    rows = "A,ET,1,0,0|A,WT,0.95,900,880|B,ET,0,0,40|B,WT,0.9,800,810|C,ET,0.6,100,120|C,WT,0.8,700,650"
    text = "case,label,Dice,n_ref,n_pred\n" + rows.replace("|", "\n") + "\n"
    found = read_results("x", table(tmp_path / "t.csv", text))
    assert np.nanmean(found.dice, axis=0).tolist() == pytest.approx([0.3, (0.95 + 0.9 + 0.8) / 3])
    assert any("a Dice in the source for 1 structure that reference" in note for note in found.notes)


def test_what_is_absent_in_a_table_of_seg_metrics_with_decimal_commas(tmp_path):
    rows = "a;1;1,0;1,0\na;2;0,9;0,1\nb;1;0,8;0,1\nb;2;0,9;0,1\n"
    found = read_results("x", table(tmp_path / "t.csv", f"filename;label;dice;vs\n{rows}"))
    np.testing.assert_array_equal(found.dice, [[NAN, 0.9], [0.8, 0.9]])


@pytest.mark.parametrize("mark", ".,")
def test_a_count_of_seg_metrics_that_is_not_known(tmp_path, mark):
    rows = f"a;1;0{mark}9;10;1;1\nb;1;0{mark}8;;1;1\n"
    found = read_results("x", table(tmp_path / "t.csv", f"filename;label;dice;TP;FP;FN\n{rows}"))
    np.testing.assert_array_equal(found.measured("reference_size"), [[11], [NAN]])


def test_one_empty_size_and_a_perfect_dice(tmp_path):
    found = read_results("x", table(tmp_path / "t.csv", "case,label,Dice,n_ref\na,1,1,0\nb,1,0.5,9\n"))
    np.testing.assert_array_equal(found.dice[:, 0], [NAN, 0.5])


def test_a_dice_of_1_of_which_nothing_tells_whether_there_is_a_structure(tmp_path):
    path = table(tmp_path / "t.csv", "case,label,Dice\na,1,1\nb,1,0.5\n")
    for absent, told in ((None, True), ("never", False), ("one", False)):
        notes = read_results("x", path, absent=absent).notes
        assert any("1 structure of Dice 1, taken for found without a fault" in note for note in notes) is told


def test_distances_of_what_brats_missed_count_and_are_told(tmp_path):
    found = read_results("x", table(tmp_path / "t.csv", "case,label,Dice,HD95\na,1,0,373.13\nb,1,0.5,3\n"))
    assert found.hd95[:, 0].tolist() == [373.13, 3]
    assert any("an HD95 of 373 mm, as BraTS writes it, for 1 structure of Dice 0" in note for note in found.notes)


def test_nothing_that_has_a_dice(tmp_path):
    with pytest.raises(ResultError, match="no structure of any case has a Dice"):
        read_results("x", table(tmp_path / "t.csv", "case,label,Dice\na,1,\nb,1,n/a\n"))


@pytest.mark.parametrize("mark", ["", "nan", "inf", "n/a", "-"])
def test_missed_structures_without_a_distance_do_not_make_the_mean_better(tmp_path, mark):
    path = table(tmp_path / "t.csv", f"case,label,Dice,HD95,n_ref,n_pred\na,1,0.9,4,9,9\nb,1,0,{mark},9,0\n")
    found = read_results("x", path)
    assert found.hd95 is None
    assert any(
        "no HD95 in the source for 1 structure of Dice 0" in note and "not reported" in note for note in found.notes
    )
    assert read_results("x", path, missed_hd95=300).hd95.tolist() == [[4], [300]]
    for wrong in (0, -1, np.inf):
        with pytest.raises(ValueError, match="has to be above 0 mm"):
            read_results("x", path, missed_hd95=wrong)
    with pytest.raises(ValueError, match="expected one, never, nan"):
        read_results("x", path, absent="maybe")


def test_a_perfect_dice_beside_no_or_an_infinite_distance_is_of_what_is_absent(tmp_path):
    text = "case,label,Dice,HD95\na,1,1,inf\nb,1,1,\nc,1,1,0\nd,1,1,373.13\ne,1,0.5,3\n"
    found = read_results("x", table(tmp_path / "t.csv", text))
    np.testing.assert_array_equal(found.dice[:, 0], [NAN, NAN, 1, NAN, 0.5])
    np.testing.assert_array_equal(found.hd95[:, 0], [NAN, NAN, 0, NAN, 3])


def test_single_precision_is_no_fault(tmp_path):
    found = read_results("x", table(tmp_path / "t.csv", "case,label,Dice\na,1,1.0000001192092896\nb,1,-1e-9\n"))
    assert found.dice[:, 0].tolist() == [1, 0]
    with pytest.raises(ResultError, match="expected 0 to 1"):
        read_results("x", table(tmp_path / "t.csv", "case,label,Dice\na,1,1.001\n"))


@pytest.mark.parametrize("rows", ["a,1,0.85\nb,1,0.7", "a,1,0.85 %\nb,1,0.7 %"])
def test_percents_of_which_none_is_above_1_are_shares(tmp_path, rows):
    heading = "Dice" if "%" in rows else "Dice (%)"
    with pytest.raises(ResultError, match=r"is in percent, and its largest figure is 0.85"):
        read_results("x", table(tmp_path / "t.csv", f"case,label,{heading}\n{rows}\n"))


# Rows and labels that are none, and names.


@pytest.mark.parametrize(
    "name",
    [
        "Mean",
        "mean",
        "MEAN",
        "Std",
        "StdDev",
        "SD",
        "std_dev",
        "Median",
        "25quantile",
        "75quantile",
        "25th_percentile",
        "average",
        "Average",
        "Total",
        "Minimum",
        "max",
        "Mean±SD",
        "mean_(std)",
        "IQR",
        "overall_mean",
        "standard_deviation",
        "95%_percentile",
        "25%",
        "count",
        "95%_CI",
        "ci_low",
        "95%_CI_lower",
        "mean_ci95",
        "mean_Dice",
        "weighted_avg",
        "Mittelwert",
        "all",
    ],
)
def test_statistics_among_cases(tmp_path, name):
    text = f"case,label,Dice\nA,wt,0.9\nB,wt,0.5\n{name.replace('_', ' ')},wt,0.7\n"
    found = read_results("x", table(tmp_path / "t.csv", text))
    assert found.cases == ("A", "B")
    assert any("hold statistics" in note and name.replace("_", " ") in note for note in found.notes)


@pytest.mark.parametrize("name", ["mean_001", "P25", "Max-Planck-01", "sub-std1", "25", "total01", "allen", "CI_001"])
def test_cases_whose_names_look_like_statistics_stay(name):
    assert not is_aggregate(name)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["A", "B", "Mean", "Q1", "Q3", "p95"], ["Mean", "Q1", "Q3", "p95"]),
        (["A", "B", "Q1", "Q3"], []),
        (["A", "CI_1", "Q1", "P95"], []),
        (["P5", "P10", "Mean"], ["Mean"]),
        (["P5", "P6", "A", "Mean"], ["Mean"]),
    ],
)
def test_ranks_are_statistics_beside_others_alone(names, expected):
    assert aggregates(names) == expected


@pytest.mark.parametrize("name", ["mean", "Average", "all", "foreground mean", "all_labels", "Dice mean", "mDice"])
def test_averages_among_labels(tmp_path, name):
    found = read_results("x", table(tmp_path / "t.csv", f"case,label,Dice\na,wt,0.5\na,tc,0.7\na,{name},0.6\n"))
    assert found.labels == ("tc", "wt")
    assert any("averages of labels" in note and name in note for note in found.notes)


@pytest.mark.parametrize(
    "name", ["Background", "BG", "0", "0.0", "class0", "__background__", "label_0", "(0,)", "bkg", "Clear Label"]
)
def test_the_background_in_any_spelling(tmp_path, name):
    field = f'"{name}"'
    found = read_results("x", table(tmp_path / "t.csv", f"case,label,Dice\na,wt,0.5\na,{field},0.99\n"))
    assert found.dice.tolist() == [[0.5]]
    assert not is_background("10")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["A.nii.gz", "B.nii.gz"], ["A", "B"]),
        (["/x/A.nii", "C:\\y\\B.mha"], ["A", "B"]),
        (["HGG/A", "LGG/B"], ["A", "B"]),
        (["one/A", "two/A"], ["one/A", "two/A"]),
        (["A_0000.nii.gz", "B_0000.nii.gz"], ["A", "B"]),
        (["A_0000", "A_0001"], ["A_0000", "A_0001"]),
        (["<b>a</b>", "x"], ["<b>a</b>", "x"]),
    ],
)
def test_names_of_cases(names, expected):
    assert list(case_names(names).values()) == expected


def test_subgroups_in_a_table(tmp_path):
    text = "case,label,Dice,subgroup\na,1,0.5,HGG\nb,1,0.5,hgg\nc,1,0.5,n/a\nd,1,0.5,HGG\n"
    found = read_results("x", table(tmp_path / "t.csv", text))
    assert found.group_of == {"a": "HGG", "b": "HGG", "c": "", "d": "HGG"}


# Columns.


def test_two_columns_for_one_thing(tmp_path):
    with pytest.raises(ResultError, match="two columns for one thing, expected one: Dice, dice"):
        read_results("x", table(tmp_path / "t.csv", "case,label,Dice,dice\na,1,0.5,0.6\n"))
    with pytest.raises(ResultError, match="two columns of one heading: 'Dice'"):
        read_results("x", table(tmp_path / "t.csv", "case,label,Dice,Dice\na,1,0.5,0.6\n"))
    with pytest.raises(ResultError, match="expected a structure for each column of measures, found none for HD95"):
        read_results("x", table(tmp_path / "t.csv", "case,x,HD95\na,0.5,1\n"), columns={"x": "wt.dice"})


def test_a_summary_with_two_spellings(tmp_path):
    metrics = {"1": {"Dice": 0.5, "dice": 0.5, "HD95": 3.0, "n_ref": 9, "n_pred": 9}}
    content = {"metric_per_case": [{"prediction_file": "a.nii.gz", "metrics": metrics}]}
    path = table(tmp_path / "summary.json", json.dumps(content))
    found = read_results("x", path)
    assert (found.dice.tolist(), found.hd95.tolist()) == ([[0.5]], [[3.0]])
    metrics["1"]["dice"] = 0.6
    with pytest.raises(ResultError, match=r"dice is there twice, as 0.5 and 0.6"):
        read_results("x", table(path, json.dumps(content)))


def test_lines_of_json_that_are_none(tmp_path):
    with pytest.raises(ResultError, match="is not a table"):
        read_results("x", table(tmp_path / "t.jsonl", '{"a": 1}\n'))


ROWS = [("a", "wt", 0.5, 3.0), ("a", "tc", None, None), ("b", "wt", 0.25, 8.5), ("b", "tc", 1.0, 0.0)]
HEADINGS = {
    "case": ["case", "Case", " CASE "],
    "label": ["label", "Label"],
    "dice": ["Dice", "dice", "DICE", "Dice (%)"],
}
HEADINGS["hd95"] = ["HD95", "hd95"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_same_figures_under_any_heading_separator_mark_and_order(tmp_path_factory, data):
    headings = {key: data.draw(st.sampled_from(names)) for key, names in HEADINGS.items()}
    separator = data.draw(st.sampled_from(",;\t"))
    comma = separator == ";" and data.draw(st.booleans())
    percent = "%" in headings["dice"]
    mark = data.draw(st.sampled_from(sorted(MISSING)))
    ending = data.draw(st.sampled_from(["", ".nii.gz", "_0000.nii.gz"]))
    order, rows = data.draw(st.permutations(list(headings))), data.draw(st.permutations(ROWS))

    def text(value):
        return mark if value is None else str(value).replace(".", "," if comma else ".")

    lines = [separator.join(headings[key] for key in order)]
    for case, label, dice, hd95 in rows:
        dice = None if dice is None else 100 * dice if percent else dice
        fields = {"case": case + ending, "label": label, "dice": text(dice), "hd95": text(hd95)}
        lines.append(separator.join(fields[key] for key in order))
    path = tmp_path_factory.mktemp("t") / ("t.tsv" if separator == "\t" else "t.csv")
    found = read_results("x", table(path, "\n".join(lines) + "\n"))
    assert (found.cases, found.labels) == (("a", "b"), ("tc", "wt"))
    np.testing.assert_allclose(found.dice, [[NAN, 0.5], [1, 0.25]])
    np.testing.assert_allclose(found.hd95, [[NAN, 3], [0, 8.5]])
