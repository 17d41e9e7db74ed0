"""``hws-nnunet weights``: from held-out Dice of nnU-Net's own summaries, and from groups."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.hosts.known import read_weights

run = CliRunner().invoke


def fold(folder, dice, version="v2"):
    """Write the summary of a fold's validation; a Dice of None is a structure that is nowhere."""
    if version == "v2":
        cases = [
            {
                "prediction_file": f"/x/validation/{case}.nii.gz",
                "reference_file": f"/x/{case}.nii.gz",
                "metrics": {str(k + 1): {"Dice": value} for k, value in enumerate(values)},
            }
            for case, values in dice.items()
        ]
        path, content = folder / "validation" / "summary.json", {"metric_per_case": cases}
    else:
        cases = [
            {"test": f"/x/{case}.nii.gz", "reference": "", **{str(k + 1): {"Dice": v} for k, v in enumerate(values)}}
            for case, values in dice.items()
        ]
        path, content = folder / "validation_raw" / "summary.json", {"results": {"all": cases}}
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return folder


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("version", ["v2", "v1"])
def test_weights_grow_as_held_out_dice_falls(tmp_path, version):
    one = fold(tmp_path / "fold_0", {f"a{i}": [0.9, 0.9] for i in range(9)} | {"rare": [0.7, 0.9]}, version)
    two = fold(tmp_path / "fold_1", {f"b{i}": [0.9, None] for i in range(9)} | {"empty": [None, None]}, version)
    out = tmp_path / "weights.csv"
    done = run(cli.app, ["weights", "--validation", str(one), "--validation", str(two), "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = {row["case"]: float(row["weight"]) for row in rows(out)}
    assert len(found) == 20
    assert sum(found.values()) == pytest.approx(20, rel=1e-5)
    assert found["rare"] / found["a0"] == pytest.approx(2.71828, rel=1e-3), "a Dice lower by 0.1"
    assert found["b0"] == found["a0"], "a structure that is nowhere does not count"
    assert found["a0"] < found["empty"] < found["rare"], "a case without any takes the mean"
    assert "20 cases" in done.output
    assert "rare" in done.output
    assert read_weights(str(out), ["rare", "a0"], print) == [found["rare"], found["a0"]]


def test_weights_stay_within_their_bounds(tmp_path):
    one = fold(tmp_path / "fold_0", {f"a{i:02}": [i / 20] for i in range(20)})
    for options, cap, ess in (([], 4.0, 0.5), (["--cap", "2"], 2.0, 0.5), (["--ess", "0.9"], 4.0, 0.9)):
        arguments = ["weights", "--validation", str(one), "--out", str(tmp_path / "w.csv"), "--overwrite", *options]
        assert run(cli.app, [*arguments, "--beta", "1000"]).exit_code == 0
        found = [float(row["weight"]) for row in rows(tmp_path / "w.csv")]
        assert max(found) <= cap * 1.0001
        assert 20 / sum(w * w for w in found) >= ess * 0.9999
        assert found == sorted(found, reverse=True)


def test_each_group_gets_the_same_share(tmp_path):
    table = tmp_path / "subgroups.csv"
    table.write_text("case,site\n" + "".join(f"c{i},{'b' if i < 4 else 'a'}\n" for i in range(16)))
    out = tmp_path / "weights.csv"
    done = run(cli.app, ["weights", "--balance", str(table), "--column", "site", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = [float(row["weight"]) for row in rows(out)]
    assert found == pytest.approx([2.0] * 4 + [2 / 3] * 12, rel=1e-4)
    assert "50.0%" in done.output
    done = run(cli.app, ["weights", "--balance", str(table), "--column", "site", "--out", str(out)])
    assert "exists" in str(done.exception)
    assert [float(row["weight"]) for row in rows(out)] == found
    capped = ["weights", "--balance", str(table), "--column", "site", "--out", str(out), "--overwrite", "--cap", "1.5"]
    assert run(cli.app, capped).exit_code == 0
    assert [float(row["weight"]) for row in rows(out)] == pytest.approx([1.5] * 4 + [10 / 12] * 12, rel=1e-4)


def told(*arguments):
    done = run(cli.app, ["weights", "--json", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_json_by_group(tmp_path):
    table, out = tmp_path / "subgroups.csv", tmp_path / "w.csv"
    table.write_text("case,subgroup\n" + "".join(f"c{i},{'b' if i < 4 else 'a'}\n" for i in range(16)))
    found = told("--balance", table, "--out", out)
    assert found["written"] == str(out)
    assert found["weights"]["c9"] == pytest.approx(2 / 3, rel=1e-9), "unrounded, and not the table's six digits"
    assert found["groups"] == [
        {"group": "b", "cases": 4, "of_all": 0.25, "of_draws": pytest.approx(0.5), "weight": pytest.approx(2)},
        {"group": "a", "cases": 12, "of_all": 0.75, "of_draws": pytest.approx(0.5), "weight": pytest.approx(2 / 3)},
    ]
    assert found["smallest_weight"] == found["weights"]["c9"]
    assert found["largest_weight"] == found["weights"]["c0"]
    assert found["effective_sample_size"] == pytest.approx(0.75)
    assert [float(row["weight"]) for row in rows(out)] == pytest.approx(list(found["weights"].values()), rel=1e-5)


def test_json_by_dice(tmp_path):
    dice = {f"a{i:02}": [1 / 3 + i / 40] for i in range(20)}
    found = told("--validation", fold(tmp_path / "fold_0", dice), "--out", tmp_path / "w.csv")
    assert [(row["rank"], row["cases"]) for row in found["ranks"]] == [
        *(("worst 10%", 2), ("next 15%", 3), ("next 25%", 5), ("next 50%", 10))
    ]
    assert found["ranks"][0]["lowest_dice"] == 1 / 3
    assert found["ranks"][-1]["highest_dice"] == 1 / 3 + 19 / 40
    assert sum(row["of_draws"] for row in found["ranks"]) == pytest.approx(1)
    assert [row["case"] for row in found["first"]] == [f"a{i:02}" for i in range(10)]
    assert found["first"][3] == {"case": "a03", "dice": dice["a03"][0], "weight": found["weights"]["a03"]}


def data_set(folder, cases, *, rare=(), channels=1, ending=".nii.gz"):
    """Write noise as a raw data set; rare cases are blurred and have a tail of bright voxels."""
    rng = np.random.default_rng(0)
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    for i in range(cases):
        label = np.zeros((24, 20, 6), dtype=np.uint8)
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"c{i:02}.nii.gz")
        for channel in range(channels):
            image = rng.normal(100, 20, (24, 20, 6)).astype(np.float32)
            if i in rare:
                image = ndimage.gaussian_filter(image, 0.7) ** 2
            nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / f"c{i:02}_{channel:04}{ending}")
    described = {"channel_names": {str(i): "MRI" for i in range(channels)}, "labels": {"background": 0, "a": 1}}
    (folder / "dataset.json").write_text(json.dumps({**described, "file_ending": ending, "numTraining": cases}))
    return folder


@pytest.mark.parametrize("channels", [1, 2])
def test_images_that_look_unlike_the_others_weigh_more(tmp_path, channels):
    data, out = data_set(tmp_path / "Dataset001_A", 30, rare={3, 17}, channels=channels), tmp_path / "w.csv"
    (data / "subgroups.csv").write_text(
        "case,subgroup,site\n" + "".join(f"c{i:02},{i in {3, 17}},s{i}\n" for i in range(30))
    )
    found = told("--images", data, "--out", out)
    weights = found["weights"]
    assert sum(weights.values()) == pytest.approx(30)
    assert {row["case"] for row in found["first"][:2]} == {"c03", "c17"}
    assert min(weights["c03"], weights["c17"]) > 3
    assert max(weights[case] for case in weights if case not in ("c03", "c17")) < 2
    assert max(weights.values()) <= 4.0001
    assert found["effective_sample_size"] >= 0.4999
    assert [(row["group"], row["cases"]) for row in found["groups"]] == [("True", 2), ("False", 28)]
    table = rows(out)
    assert [row["case"] for row in table] == sorted(weights)
    assert float(table[3]["distance"]) == max(float(row["distance"]) for row in table if row["case"] != "c17")
    printed = run(cli.app, ["weights", "--images", str(data), "--out", str(out), "--overwrite"])
    assert "most unlike cases" in printed.output
    assert "cases by looks" in printed.output
    assert read_weights(str(out), ["c03", "c00"], print) == pytest.approx([weights["c03"], weights["c00"]], rel=1e-5)


def test_images_that_are_missing_or_too_few_are_told(tmp_path):
    few = run(cli.app, ["weights", "--images", str(data_set(tmp_path / "few", 6)), "--out", str(tmp_path / "w.csv")])
    assert "6 training cases, expected 7 or more" in str(few.exception)
    data = data_set(tmp_path / "data", 8)
    (data / "imagesTr" / "c05_0000.nii.gz").unlink()
    gone = run(cli.app, ["weights", "--images", str(data), "--out", str(tmp_path / "w.csv")])
    assert "1 image missing: " in str(gone.exception)
    assert "c05_0000.nii.gz" in str(gone.exception)
    (data / "imagesTr" / "c05_0000.nii.gz").write_bytes(b"no image")
    damaged = run(cli.app, ["weights", "--images", str(data), "--out", str(tmp_path / "w.csv")])
    assert "c05_0000.nii.gz" in str(damaged.exception)
    assert not (tmp_path / "w.csv").exists()


def test_copies_of_one_image_are_drawn_all_the_same(tmp_path):
    data = data_set(tmp_path / "data", 20)
    for i in range(1, 7):
        shutil.copy(data / "imagesTr" / "c00_0000.nii.gz", data / "imagesTr" / f"c{i:02}_0000.nii.gz")
    weights = told("--images", data, "--out", tmp_path / "w.csv")["weights"]
    assert weights["c00"] == pytest.approx(weights["c06"])
    assert 0.02 < weights["c00"] < 0.2
    assert read_weights(str(tmp_path / "w.csv"), sorted(weights), print)[0] > 0.02


def test_groups_are_of_the_column_and_a_case_of_other_channels_is_named(tmp_path, monkeypatch):
    data = data_set(tmp_path / "data", 8)
    (data / "subgroups.csv").write_text("case,subgroup,site\n" + "".join(f"c{i:02},g,s{i % 2}\n" for i in range(8)))
    groups = told("--images", data, "--column", "site", "--out", tmp_path / "w.csv")["groups"]
    assert sorted((row["group"], row["cases"]) for row in groups) == [("s0", 4), ("s1", 4)]
    described = json.loads((data / "dataset.json").read_text())
    with monkeypatch.context() as before_the_long_work:
        before_the_long_work.setattr("hws_nnunet.commands.case_weights.appearances", None)
        done = run(cli.app, ["weights", "--images", str(data), "--column", "scanner", "--out", str(tmp_path / "v.csv")])
        assert "expected a column scanner in the first line, found: case" in str(done.exception)
    files = {f"c{i:02}": [f"imagesTr/c{i:02}_0000.nii.gz"] * (2 if i == 5 else 1) for i in range(8)}
    listed = {case: {"images": images, "label": f"labelsTr/{case}.nii.gz"} for case, images in files.items()}
    (data / "dataset.json").write_text(json.dumps({**described, "dataset": listed}))
    done = run(cli.app, ["weights", "--images", str(data), "--out", str(tmp_path / "v.csv")])
    assert "c05 has another number of channels than c00 (28 and 14 features)" in str(done.exception)
    done = run(cli.app, ["weights", "--images", str(data), "--out", str(tmp_path / "none" / "w.csv")])
    assert isinstance(done.exception, FileNotFoundError)
    assert "none" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --validation"),
        (["--validation", "fold_0", "--balance", "table.csv"], "expected one of --validation"),
        (["--validation", "none"], "none does not exist"),
        (["--validation", "fold_0", "--validation", "fold_1"], "case 'a' was held out in fold_0, too"),
        (["--balance", "none.csv"], "none.csv does not exist"),
        (["--balance", "table.csv"], "expected two groups or more in the column subgroup, found: x"),
        (["--balance", "table.csv", "--column", "site"], "expected a column site"),
        (["--images", "fold_0"], "--images fold_0: no dataset.json there, expected a raw data set"),
        (["--images", "fold_0", "--balance", "table.csv"], "expected one of --validation"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    fold(tmp_path / "fold_0", {"a": [0.5]})
    fold(tmp_path / "fold_1", {"a": [0.5], "b": [0.5]})
    (tmp_path / "table.csv").write_text("case,subgroup\na,x\nb,x\n")
    done = run(cli.app, ["weights", *arguments])
    assert done.exit_code != 0
    assert message in str(done.exception)
    assert not (tmp_path / "weights.csv").exists()
