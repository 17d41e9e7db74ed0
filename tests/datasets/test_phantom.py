import csv
import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import make_phantom, write_raw
from hws_nnunet.datasets.phantom import LABELS, make_case

run = CliRunner().invoke


def volumes(rare, count=4):
    made = [make_case(np.random.default_rng(seed), rare=rare) for seed in range(count)]
    return np.array([np.bincount(labels.ravel(), minlength=len(LABELS)) for _, labels in made])


def test_every_structure_is_there_and_the_rare_group_has_another_anatomy():
    common, rare = volumes(False), volumes(True)
    assert min(common.min(), rare.min()) > 30
    common, rare = (made / made[:, 1:].sum(1, keepdims=True) for made in (common, rare))  # brains come in all sizes
    ventricles, cerebellum = LABELS["ventricles"], LABELS["cerebellum"]
    assert rare[:, ventricles].min() > 1.5 * common[:, ventricles].max()
    assert rare[:, cerebellum].max() < 0.5 * common[:, cerebellum].min()


def test_the_rare_cerebellum_lies_lower():
    def height(rare):
        places = [
            np.argwhere(make_case(np.random.default_rng(seed), rare=rare)[1] == LABELS["cerebellum"])[:, 2].mean()
            for seed in range(4)
        ]
        return np.mean(places)

    assert height(True) > height(False) + 1


def test_image_and_labels():
    image, labels = make_case(np.random.default_rng(0), rare=False, shape=(40, 36, 33))
    assert image.shape == labels.shape == (40, 36, 33)
    assert image.dtype == np.float32
    assert labels.dtype == np.uint8
    assert np.isfinite(image).all()
    assert image[labels == LABELS["outer_csf"]].mean() > image[labels == LABELS["grey_matter"]].mean()


def test_a_seed_gives_the_same_cases_whatever_their_number(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder, cases, seed in zip(folders, (3, 5, 3), (1, 1, 2), strict=True):
        folder.mkdir()
        make_phantom(folder, cases=cases, rare=1, test_cases=1, rare_test_cases=0, shape=(20, 20, 20), seed=seed)
    one, other, third = (np.asanyarray(nib.load(f / "train002_image.nii.gz").dataobj) for f in folders)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, third)


def test_becomes_a_raw_data_set_with_held_out_cases(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "raw").mkdir()
    made = make_phantom(tmp_path / "made", cases=4, rare=1, test_cases=2, rare_test_cases=1, shape=(20, 20, 20))
    target = write_raw(made, tmp_path / "raw", dataset_id=990, name="Phantom")
    assert {f: len(list((target / f).iterdir())) for f in ("imagesTr", "labelsTr", "imagesTs", "labelsTs")} == {
        "imagesTr": 4,
        "labelsTr": 4,
        "imagesTs": 2,
        "labelsTs": 2,
    }
    assert json.loads((target / "dataset.json").read_text())["numTraining"] == 4
    rows = list(csv.DictReader((target / "subgroups.csv").open()))
    assert [row["subgroup"] for row in rows] == ["rare", "common", "common", "common", "rare", "common"]


def test_bad_numbers(tmp_path):
    with pytest.raises(ValueError, match="at least 16 voxels, given"):
        make_case(np.random.default_rng(0), rare=False, shape=(10, 20, 20))
    with pytest.raises(ValueError, match="5 rare of 4 cases"):
        make_phantom(tmp_path, cases=4, rare=5)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_raw_data_set(tmp_path):
    command = ["prepare", "phantom", "--dataset-id", "990", "--raw", str(tmp_path), "--cases", "3", "--rare", "1"]
    command += ["--test-cases", "2", "--shape", "20,24,20"]
    result = run(cli.app, [*command, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "5 cases: 3 common, 2 rare; would be written to" in result.stdout
    assert not list(tmp_path.iterdir())
    result = run(cli.app, command)
    assert result.exit_code == 0, result.output
    assert "5 cases: 3 common, 2 rare" in result.stdout
    target = tmp_path / "Dataset990_Phantom"
    assert len(list((target / "imagesTr").iterdir())) == 3
    assert len(list((target / "labelsTs").iterdir())) == 2
    before = (target / "dataset.json").stat().st_mtime_ns
    assert run(cli.app, command).exit_code != 0
    assert (target / "dataset.json").stat().st_mtime_ns == before
    assert run(cli.app, [*command, "--overwrite"]).exit_code == 0
