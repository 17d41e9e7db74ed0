import csv
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hws_nnunet.report
from hws_nnunet.commands import main as cli
from hws_nnunet.report import ResultError, write_report
from hws_nnunet.report.command import parse_results
from hws_nnunet.report.page import plots
from hws_nnunet.report.page.answers import answers
from hws_nnunet.report.page.contents import sections
from hws_nnunet.report.page.render import plain
from hws_nnunet.report.read.results import AVERAGE, METRICS
from hws_nnunet.report.stats.analysis import analyse, worst_cases
from tests.report.made import NAN, result_set, subgroups, v2_summary

WILD = '<script>alert("1")</script>'.replace("/", "")
CASES = ["$a_1$", "名前|_*x*", *(f"case{i:03d}" for i in range(2, 30))]
CASES[5] = WILD  # which misses a structure
FILES = ["cases.csv", "comparison.csv", "differences.csv", "gaps.csv", "report.html", "report.json", "report.md"]


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def dice(seed, *, shift=0.0):
    rng = np.random.default_rng(seed)
    values = np.clip(rng.normal(0.75 + shift, 0.12, (len(CASES), 2)), 0.01, 0.99)
    values[4, 1], values[5, 1] = NAN, 0
    return values


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    return {
        "one": v2_summary(folder / "one" / "summary.json", dice(0), cases=CASES),
        "two": v2_summary(folder / "two" / "summary.json", dice(0) * 0.98 + 0.01, cases=CASES),
        "groups": subgroups(folder / "s.csv", {case: "rare" if i < 6 else "common" for i, case in enumerate(CASES)}),
    }


@pytest.fixture(scope="module")
def report(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    arguments = [f"first={given['one']}", f"sec<on>d={given['two'].parent}", "--subgroups", str(given["groups"])]
    done = CliRunner().invoke(cli.app, ["report", *arguments, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return out, done.output


class Page(HTMLParser):
    """Collects tags, their attributes and the text of an HTML page; complains of tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if self.open[-1:] not in (["script"], ["style"]) else ""


def test_the_files_and_what_is_printed(report):
    out, printed = report
    assert sorted(path.name for path in out.iterdir()) == [*FILES, "statistics.csv"]
    assert re.search(r"first +all cases +30 +0\.\d{3}", printed)
    assert f"wrote {out / 'report.html'}" in printed


def test_the_page_needs_nothing_else_and_shows_names_as_they_are(report):
    text = (report[0] / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert WILD in page.text
    assert "sec<on>d" in page.text
    assert not {"link", "on", "img", "iframe"} & {tag for tag, _ in page.found}
    assert not [values for tag, values in page.found if tag == "script" and values], "nothing is loaded"
    assert len([values for _, values in page.found if values.get("role") == "img" and values["aria-label"]]) == 5
    assert "alert(" not in "".join(re.findall(r"<script>.*?</script>", text, re.S)[-1]), "no name is run"
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none'", text)
    without_scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"(src|href)=\"(?!data:|#)", without_scripts)
    assert "url(" not in without_scripts


def test_the_markdown_tables_have_as_many_cells_as_columns(report):
    text = (report[0] / "report.md").read_text(encoding="utf-8")
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) > 5
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert plain(CASES[1]) in text
    assert "<script" not in text.replace("\\<", "")


def test_statistics_against_numpy(report):
    found = rows(report[0] / "statistics.csv")
    values = dice(0)
    for label, column in (("1", values[:, 0]), ("2", values[:, 1]), (AVERAGE, np.nanmean(values, axis=1))):
        for group, part in (("", slice(None)), ("rare", slice(0, 6)), ("common", slice(6, None))):
            (row,) = (
                r
                for r in found
                if (r["set"], r["label"], r["subgroup"], r["metric"]) == ("first", label, group, "dice")
            )
            all_of_part = column[part]
            chosen = all_of_part[~np.isnan(all_of_part)]
            assert int(row["cases"]) == chosen.size
            assert int(row["left_out"]) == all_of_part.size - chosen.size
            assert float(row["mean"]) == pytest.approx(chosen.mean())
            assert float(row["sd"]) == pytest.approx(chosen.std(ddof=1))
            assert float(row["p10"]) == pytest.approx(np.percentile(chosen, 10))
            missed = values[part, 1] == 0
            failed = (chosen < 0.5).sum() if label != AVERAGE else ((all_of_part < 0.5) | missed).sum()
            assert int(row["failed"]) == failed
            assert int(row["missed"]) == (0 if label == "1" else missed.sum())


def test_gaps_against_numpy(report):
    average = np.nanmean(dice(0), axis=1)
    for key, figure in (("mean", np.mean), ("p10", lambda v: np.percentile(v, 10))):
        (row,) = (
            r for r in rows(report[0] / "gaps.csv") if (r["set"], r["label"], r["statistic"]) == ("first", AVERAGE, key)
        )
        values = {"rare": figure(average[:6]), "common": figure(average[6:])}
        assert row["worst"] == min(values, key=values.get)
        assert float(row["gap"]) == pytest.approx(abs(values["rare"] - values["common"]))


def test_differences_and_worst_cases(report):
    first = np.nanmean(dice(0), axis=1)
    second = np.nanmean(np.where(dice(0) == 0, 0.01, dice(0) * 0.98 + 0.01), axis=1)
    found = rows(report[0] / "differences.csv")
    assert [r["case"] for r in found] == [CASES[i] for i in np.argsort(second - first)]
    assert [float(r["difference"]) for r in found] == pytest.approx(sorted(second - first))
    text = (report[0] / "report.md").read_text(encoding="utf-8")
    better, worse = (second > first).sum(), (second < first).sum()
    assert f"higher in {better}, lower in {worse} and the same in 0 of 30 cases" in text
    worst = [row["case"] for row in worst_cases(result_set(dice(0), cases=CASES), METRICS[0])]
    assert worst == [CASES[i] for i in np.argsort(first)[:10]]


def test_a_report_from_a_reports_cases_has_the_same_figures(report, given, tmp_path):
    table = report[0] / "cases.csv"
    write_report({"first": table, "sec<on>d": table}, tmp_path / "again", subgroups=given["groups"])
    for name in ("statistics.csv", "comparison.csv", "gaps.csv", "cases.csv", "differences.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (report[0] / name).read_bytes(), name


def test_one_set_of_one_case_without_subgroups(tmp_path):
    out = write_report({"a": v2_summary(tmp_path / "a.json", [[0.5, NAN]])}, tmp_path / "out")
    (row,) = (r for r in rows(out / "statistics.csv") if r["label"] == AVERAGE)
    assert (row["mean"], row["sd"], row["p5"], row["cvar_10"]) == ("0.5", "", "0.5", "0.5")
    assert sorted(path.name for path in out.glob("*.csv")) == ["cases.csv", "statistics.csv"], "no table without rows"


REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [1, 3]}


@pytest.mark.parametrize("given", ["fold_0", "fold_0/validation", "fold_0/validation/summary.json"])
def test_regions_are_called_as_nnunet_describes_them_beside_the_results(tmp_path, given):
    model = tmp_path / "trainer__plans__3d"
    v2_summary(model / "fold_0/validation/summary.json", [[0.5, 0.4]], labels=("(1, 2, 3)", "(1, 3)"))
    elsewhere = v2_summary(tmp_path / "evaluated/summary.json", [[0.6, 0.5]], labels=("(1, 2, 3)", "(1, 3)"))
    (model / "dataset.json").write_text(json.dumps({"labels": REGIONS}))

    def labels(out):
        written = write_report({"a": model / given, "b": elsewhere}, tmp_path / out)
        return {row["label"] for row in rows(written / "cases.csv")}

    assert labels("one") == {"whole_tumor", "tumor_core"}
    (elsewhere.parent / "dataset.json").write_text(json.dumps({"labels": {"other": [1, 2, 3], "core": [1, 3]}}))
    assert labels("two") == {"(1, 2, 3)", "(1, 3)"}, "two descriptions, which is right is not known"
    (elsewhere.parent / "dataset.json").write_text("[]")
    assert labels("three") == {"whole_tumor", "tumor_core"}, "not nnU-Net's"


def test_axes_keep_to_what_a_measure_can_be_and_no_plot_is_there_twice():
    values = np.array([[0.99, 0.99], [0.02, 0.0]])
    found = analyse([result_set(values), result_set(values[::-1] + 0.01, name="b")], {"GLI": ["case000", "case001"]})
    for plot, axis in (
        (plots.distributions(found, METRICS[0]), "yaxis"),
        (plots.sorted_cases(found, found.sets[1], METRICS[0]), "yaxis"),
        (plots.worst(found, found.sets[0], METRICS[0]), "xaxis"),
    ):
        low, high = plot["layout"][axis]["range"]
        assert -0.02 <= low < high <= 1.02
    places = {trace["x"][0] for trace in plots.distributions(found, METRICS[0])["data"]}
    assert places == {"all cases (2)"}, "one subgroup is what all cases are"
    for sets in (1, 2):
        alone = analyse(found.sets[:sets], {})
        drawn = [str(one.plot) for part in sections(alone, tolerance=1.0) for one in part.pictures]
        assert len(set(drawn)) == len(drawn) > 1
    flat = pd.Series([0.5, 0.5, np.nan])
    assert plots._values_axis(METRICS[0], "", flat)["range"] == pytest.approx([0.45, 0.55])
    assert plots._values_axis(METRICS[1], "", flat)["rangemode"] == "tozero"


def test_predictions_and_references(tmp_path):
    pytest.importorskip("monai", reason="the extra 'report' is not installed")
    voxels = np.zeros((8, 8, 8), np.uint8)
    voxels[2:6, 2:6, 2:6] = 1
    for part, low in (("references", 2), ("predictions", 3)):
        (tmp_path / part).mkdir()
        for case in "ab":
            moved = np.roll(voxels, low - 2, 0)
            nib.save(nib.Nifti1Image(moved, np.diag([2, 1, 1, 1])), tmp_path / part / f"{case}.nii.gz")
    out = write_report({"x": tmp_path / "predictions"}, tmp_path / "out", references=tmp_path / "references")
    found = rows(out / "cases.csv")
    assert [(r["case"], r["Dice"], r["HD95"]) for r in found] == [("a", "0.75", "2.0"), ("b", "0.75", "2.0")]
    assert "by MONAI" in (out / "report.md").read_text()
    with pytest.raises(ValueError, match="none of the result sets is a folder of predictions"):
        write_report({"x": out / "cases.csv"}, tmp_path / "more", references=tmp_path / "references")


@pytest.mark.slow
def test_notes_on_what_does_not_fit(tmp_path):
    surfaces = {"hd95": np.ones((6, 1)), "nsd": np.ones((6, 1))}
    one = result_set(np.full((6, 1), 0.5), name="one", **surfaces, surface_tool="MONAI")
    two = result_set(np.full((4, 1), 0.5), name="two", sizes=False, hd95=np.ones((4, 1)), surface_tool="another")
    found = analyse([one, two], {"g": one.cases[:2], "h": one.cases[2:]})
    text = "\n".join(found.notes)
    assert "two: the source does not tell the sizes of all structures" in text
    assert "two lacks 2 cases of one, left out where the two are compared: 'case004', 'case005'" in text
    assert "two has no normalised surface Dice, so that it is not compared" in text
    assert "from different sources (MONAI; another)" in text
    assert "fewer than five cases, whose figures say little: g (2), h (4)" in text
    assert [row["missed"] for row in found.find(set="two", metric="dice", label="1", subgroup="")] == [""]


def test_cases_of_no_subgroup_are_none(tmp_path):
    table = subgroups(tmp_path / "s.csv", {"case000": "a", "case001": "b", "case002": "n/a", "case003": ""})
    paths = {"one": v2_summary(tmp_path / "summary.json", [[0.8, 0.8], [0.6, 0.6], [0.1, 0.1], [0.2, 0.2]])}
    page = write_report(paths, tmp_path / "out", subgroups=table)
    statistics, gaps = ((page / name).read_text() for name in ("statistics.csv", "gaps.csv"))
    assert "(none)" not in statistics + gaps
    assert {row["worst"] for row in csv.DictReader(gaps.splitlines())} == {"b"}
    text = (page / "report.md").read_text().replace("\\", "")
    assert "2 cases without a subgroup, counted among all cases alone: 'case002', 'case003'" in text


def test_gaps_between_three_subgroups_in_both_directions_and_ties():
    groups = {"a": ["case000"], "b": ["case001"], "c": ["case002"], "d": ["case003"]}
    values = np.array([[0.8], [0.6], [0.6], [0.8]])
    found = analyse([result_set(values, hd95=10 * values)], groups)
    dice, hd95 = (found.gap(metric=key, label="1", statistic="mean") for key in ("dice", "hd95"))
    assert (dice["worst"], dice["best"], dice["gap"]) == ("b", "a", pytest.approx(0.2))
    assert (hd95["worst"], hd95["best"], hd95["gap"]) == ("a", "b", pytest.approx(2.0))
    assert found.gap(metric="hd95", label="1", statistic="p90") is not None


def test_what_is_refused_before_anything_is_written(given, tmp_path):
    one, out = given["one"], tmp_path / "out"
    for options, message in (
        ({"threshold": 0}, "above 0 and at most 1, given: 0"),
        ({"threshold": 1.5}, "above 0 and at most 1, given: 1.5"),
        ({"tolerance": -1}, "above 0 mm, given: -1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_report({"a": one}, out, **options)
    with pytest.raises(ValueError, match="no result set given"):
        write_report({}, out)
    other = v2_summary(tmp_path / "b.json", [[0.5, 0.5]], labels=("1", "3"), cases=[CASES[0]])
    with pytest.raises(ResultError, match=r"has the labels '1', '3', while a has '1', '2'; expected the same"):
        write_report({"a": one, "b": other}, out)
    other = v2_summary(tmp_path / "c.json", [[0.5, 0.5]], cases=["elsewhere"])
    with pytest.raises(ResultError, match="has no case in common with a"):
        write_report({"a": one, "b": other}, out)
    assert not list(tmp_path.glob("out*"))


def test_nothing_is_overwritten_unless_it_is_a_report(given, tmp_path):
    out = tmp_path / "out"
    write_report({"a": given["one"]}, out)
    with pytest.raises(FileExistsError, match="exists; --overwrite replaces it"):
        write_report({"a": given["one"]}, out)
    write_report({"a": given["two"]}, out, overwrite=True)
    assert str(given["two"]) in (out / "cases.csv").with_name("report.md").read_text().replace("\\", "")
    (out / "precious.nii.gz").touch()
    with pytest.raises(FileExistsError, match=r"is not a report, as it holds 'precious.nii.gz'"):
        write_report({"a": given["one"]}, out, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_arguments():
    assert list(parse_results(["a=x=y.json", " b =z"])) == ["a", "b"]
    assert str(parse_results(["a=x=y.json"])["a"]) == "x=y.json"
    for wrong in (["=x"], ["a="]):
        with pytest.raises(ValueError, match=f"^expected NAME=PATH.* given: '{wrong[0]}'"):
            parse_results(wrong)
    with pytest.raises(FileNotFoundError, match=r"^nope does not exist: expected NAME=PATH"):
        parse_results(["nope"])
    with pytest.raises(ValueError, match="the name 'a' is given to two result sets"):
        parse_results(["a=x", "a=y"])


def test_arguments_without_a_name(tmp_path):
    fold = tmp_path / "SomeTrainer__nnUNetPlans__3d_fullres" / "fold_0"
    fold.mkdir(parents=True)
    table = tmp_path / "t.csv"
    table.write_text("case;label;Dice;Method\na;1;0,5;new\na;1;0,6;old\n")
    assert parse_results([str(fold)]) == {"SomeTrainer": fold}
    assert list(parse_results([str(table)], columns={"Method": "set"})) == ["new", "old"]
    assert list(parse_results([str(table)])) == ["t"]


def test_the_command_line_imports_no_library_of_the_report():
    code = (
        "import sys, hws_nnunet.commands.main;"
        "print([m for m in ('monai', 'statsmodels', 'pandas', 'plotly', 'hws_nnunet.report') if m in sys.modules]);"
        "import hws_nnunet.report; print([m for m in ('monai', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.slow
@pytest.mark.parametrize(("cases", "labels", "groups", "sets"), [(1, 1, 0, 1), (3, 14, 1, 2), (14, 2, 13, 2)])
def test_figures_for_any_number_of_cases(monkeypatch, cases, labels, groups, sets):
    plotly = pytest.importorskip("plotly.graph_objects", reason="the extra 'report' is not installed")
    for name in ("RESAMPLES", "PERMUTATIONS"):
        monkeypatch.setattr(f"hws_nnunet.report.stats.comparison.{name}", 20)
    names = sorted(f"<b>case_{i}" for i in range(cases))
    rng = np.random.default_rng(0)
    drawn = [result_set(rng.uniform(size=(cases, labels)), name=f"_{s}<", cases=names) for s in range(sets)]
    found = analyse(drawn, {f"group {g}": names[g::groups] for g in range(groups)})
    made = [plots.distributions(found, METRICS[0]), *(plots.worst(found, one, METRICS[0]) for one in drawn)]
    if sets > 1:
        made += [plots.changes(found, METRICS[0]), plots.sorted_cases(found, drawn[1], METRICS[0])]
    for figure in made:
        assert plotly.Figure(**figure).data, "Plotly refuses what it does not know"
        assert "<b>case" not in str(figure["layout"])
        assert all(len(trace["meta"]) == 2 for trace in figure["data"])
    boxes = [trace for trace in made[0]["data"] if "q1" in trace]
    assert boxes[0]["lowerfence"] == [pytest.approx(np.percentile(np.mean(drawn[0].dice, axis=1), 5))]
    colours = [trace["marker"]["color"] for trace in made[1]["data"]]
    if labels <= 12:
        assert len({*colours[-labels:]} - {*colours[:-labels]}) == labels, "no two structures, no subgroup alike"


def test_answers():
    rng = np.random.default_rng(0)
    one = rng.uniform(0.7, 0.9, (40, 2))
    two = one + 0.04
    two[:10, 1] -= 0.14
    two[:5] = 0.3
    one[0] = 0.3
    names = result_set(one).cases
    sets = [result_set(one, name="old"), result_set(two + np.array([0.0, 0.02]), name="new")]
    found = analyse(sets, {"rare": names[:10], "common": names[10:37], "few": names[37:]})
    (answer,) = answers(found)
    text = {lead: words.replace("\N{NO-BREAK SPACE}", " ") for lead, words in answer.points}
    assert answer.title == "new against old"
    assert text["Worst served:"].startswith("rare, mean Dice ")
    assert "the worst structure is 2, " in text["Worst served:"]
    assert "in 1 of 10 (old) and 5 of 10 (new) cases" in text["Worst served:"]
    assert "Gains: 2 of 6 structures by subgroup, most 2 in common +6.0 points [+6.0, +6.0]; 1 in" in text["Helped?"]
    assert text["Cost:"].startswith("2 in rare -")
    assert (
        "Failed cases, by average or a missed structure: 1 under old, 5 under new, 5 of them in rare" in text["Cost:"]
    )
    assert "Too few cases to judge: few (3 cases)." in text["Cannot be concluded:"]
    (alone,) = answers(analyse(sets[:1], {}))
    assert alone.points[0][1].startswith("all cases, as no subgroups were given, mean Dice ")
    (alone,) = answers(analyse(sets[:1], {"GLI": names}))
    assert alone.points[0][1].startswith("all cases, which are of one subgroup, GLI, mean Dice ")
    assert "(old)" not in alone.points[0][1], "the only set is not named again with each figure"


def test_more_failures_are_told_though_the_mean_rises():
    one = np.full((20, 1), 0.6)
    two = np.where(np.arange(20)[:, None] < 3, 0.45, 0.9)
    (answer,) = answers(analyse([result_set(one, name="a"), result_set(two, name="b")], {}))
    assert "structure: 0 under a, 3 under b (more, though the mean rises)." in dict(answer.points)["Cost:"]
    assert dict(answer.points)["Helped?"].startswith("Mean Dice rises from 0.600 to 0.833")


def test_the_public_interface():
    assert hws_nnunet.report.__all__ == sorted(hws_nnunet.report.__all__)
    for module in pkgutil.walk_packages(hws_nnunet.report.__path__, "hws_nnunet.report."):
        for name, function in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(function) and function.__module__ == module.name and not name.startswith("_"):
                assert inspect.getdoc(function), name
                for parameter in inspect.signature(function).parameters.values():
                    if parameter.default is not parameter.empty and name not in ("shown", "number"):
                        assert parameter.kind is parameter.KEYWORD_ONLY, f"{name}({parameter.name})"
