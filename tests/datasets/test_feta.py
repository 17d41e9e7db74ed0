import json

import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import DatasetError, read_feta, read_fetal_brain
from tests.datasets.trees import (
    AFFINE,
    SHAPE,
    atlas_case,
    contents,
    feta_scan,
    feta_table,
    image,
    labels,
    load,
    save,
    subgroups,
    verify,
)

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _no_nnunet_folders(monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "Fötal 2.2" / "feta_2.2"
    for subject, method in (("sub-001", "mial"), ("sub-041", "irtk"), ("sub-101", "nmic")):
        feta_scan(root, subject, method)
    rows = [("sub-001", "Pathological", "26.9", ""), ("sub-041", "Neurotypical", "22.6", ""), ("sub-101", "", "30", "")]
    feta_table(root, rows)
    return root.parent


def prepare(*arguments):
    return run(cli.app, ["prepare", "fetal", *map(str, arguments), "--dataset-id", "7"])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_writes_what_nnunet_expects(source, raw, version, monkeypatch):
    before = contents(source)
    result = prepare(source, "--raw", raw, "--nnunet", version)
    assert result.exit_code == 0, result.output
    assert "3 cases of 3 subjects: 1 neurotypical, 1 pathological, 1 unknown" in result.output
    target = raw / ("Dataset007_FetalBrain" if version == "v2" else "nnUNet_raw_data/Task007_FetalBrain")
    verify(target, monkeypatch)
    values = json.loads((target / "dataset.json").read_text())["labels"]
    assert values["3" if version == "v1" else "white_matter"] == ("white_matter" if version == "v1" else 3)
    assert subgroups(target)["sub-041_rec-irtk"] == {
        "subject": "sub-041",
        "subgroup": "neurotypical",
        "gestational_age": "22.6",
        "reconstruction": "irtk",
    }
    assert not list(target.glob("splits_final*"))  # nnU-Net's own folds do
    assert contents(source) == before


def test_every_problem_at_once(source, raw):
    root = source / "feta_2.2"
    (root / "sub-001/anat/sub-001_rec-mial_T2w.nii.gz").unlink()
    shifted = AFFINE.copy()
    shifted[2, 3] += 2
    save(labels(range(8)), root / "sub-041/anat/sub-041_rec-irtk_dseg.nii.gz", shifted)
    feta_scan(root, "sub-201", seg=np.zeros(SHAPE, np.uint8))
    feta_scan(root, "sub-202", seg=labels([8]))
    feta_scan(root, "sub-203", seg=np.full(SHAPE, 0.5, np.float32))
    feta_scan(root, "sub-204")
    feta_scan(root, "sub-204", ending=".nii")
    feta_scan(source / "again", "sub-101", "nmic")
    feta_table(source / "again", [("sub-101", "Pathological", "30", "")])
    with (root / "participants.tsv").open("a") as file:
        file.write("\tPathological\t20\t\n")
    result = prepare(source, "--raw", raw)
    text = str(result.exception)
    assert isinstance(result.exception, DatasetError)
    for part in (
        "10 problems, nothing was written",
        "sub-001_rec-mial: missing sub-001_rec-mial_T2w.nii.gz in ",
        "sub-041_rec-irtk: sub-041_rec-irtk_T2w.nii.gz and sub-041_rec-irtk_dseg.nii.gz are not on one grid: "
        "affines differ by up to 2 mm",
        "sub-201_rec-mial_dseg.nii.gz has no foreground",
        "sub-202_rec-mial_dseg.nii.gz holds [8], expected labels 0 to 7",
        "sub-203_rec-mial: sub-203_rec-mial_dseg.nii.gz: labels have to be whole numbers, found 0.5",
        "sub-204_rec-mial: sub-204_rec-mial_T2w.nii and sub-204_rec-mial_T2w.nii.gz in ",
        "sub-204_rec-mial: sub-204_rec-mial_dseg.nii and sub-204_rec-mial_dseg.nii.gz in ",
        "sub-101_rec-nmic: found 2 times: ",
        "a row without participant_id: ",
        "sub-101 is described twice: ",
    ):
        assert part in text, text
    assert not list(raw.iterdir())


def test_without_a_table_the_subgroup_is_unknown(tmp_path):
    feta_scan(tmp_path, "sub-001")
    found = read_feta(tmp_path)
    assert found.cases[0].subgroup == {"subgroup": "unknown", "reconstruction": "mial"}
    assert found.warnings == (
        f"no participants.tsv in {tmp_path}, which names each subject's pathology: all are of subgroup 'unknown'",
    )


def test_a_table_with_other_headings_is_told_once(tmp_path):
    for name in ("sub-001", "sub-002"):
        feta_scan(tmp_path, name)
    rows = [("sub-001", "Pathological"), ("sub-002", "Neurotypical")]
    feta_table(tmp_path, rows, "subject\tdiagnosis")
    with pytest.raises(DatasetError) as error:
        read_feta(tmp_path)
    assert error.value.problems == [
        f"{tmp_path / 'participants.tsv'}: expected a column participant_id; its columns, parted by tabs: "
        "subject, diagnosis"
    ]
    feta_table(tmp_path, rows, "participant_id\tdiagnosis")
    (told,) = read_feta(tmp_path).warnings
    assert "has no column pathology, so all are of subgroup 'unknown'; its columns, parted by tabs: " in told


def test_tables_as_spreadsheets_leave_them(tmp_path):
    feta_scan(tmp_path, "sub-001")
    rows = [("001", " Pathological ", "26.9", "1.5 T"), ("002", "Neurotypical", "20", ""), ("", "", "", "")]
    feta_table(tmp_path, rows, "\ufeffparticipant_id\tPathology\tGestational_age\tField strength")
    found = read_feta(tmp_path)
    assert found.warnings == ("in participants.tsv, but without a scan: sub-002",)
    assert found.cases[0].subgroup == {
        "subgroup": "pathological",
        "gestational_age": "26.9",
        "field_strength": "1.5 T",
        "reconstruction": "mial",
    }


def test_both_layouts_become_one_only_if_asked(source, raw, tmp_path, monkeypatch):
    atlas = tmp_path / "atlas"
    atlas_case(atlas, "GA21_operated")
    result = prepare(source, atlas, "--raw", raw)
    assert "the sources have different labels" in str(result.exception)
    assert "--merge" in str(result.exception)
    assert not list(raw.iterdir())
    result = prepare(source, atlas, "--raw", raw, "--merge", "--link")
    assert result.exit_code == 0, result.output
    assert "8 corpus_callosum -> 3 white_matter" in result.output
    assert "4 cases of 4 subjects: " in result.output
    assert "note: 4 cases for training, but nnU-Net makes five folds" in result.output
    target = raw / "Dataset007_FetalBrain"
    verify(target, monkeypatch)
    expected = np.array([0, 3, 4, 5, 1, 2, 6, 7, 3])[load(atlas / "GA21_operated/parcellation.nii.gz")]
    assert np.array_equal(load(target / "labelsTr/GA21_operated.nii.gz"), expected)
    assert not (target / "labelsTr/GA21_operated.nii.gz").is_symlink()
    assert (target / "labelsTr/sub-001_rec-mial.nii.gz").is_symlink()
    assert subgroups(target)["GA21_operated"]["source"] == "atlas"
    assert subgroups(target)["GA21_operated"]["subject"] == ""


def test_problems_of_all_sources_at_once(source, tmp_path):
    atlas_case(tmp_path / "atlas", "one")
    (tmp_path / "atlas/one/mask.nii.gz").unlink()
    (source / "feta_2.2/sub-001/anat/sub-001_rec-mial_dseg.nii.gz").unlink()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError) as error:
        read_fetal_brain([source, tmp_path / "atlas", tmp_path / "nothing", tmp_path / "nowhere"], merge=True)
    assert len(error.value.problems) == 4
    assert "expected a folder of cases, found nothing" in error.value.problems[3]
    atlas_case(source, "mixed")
    with pytest.raises(DatasetError, match="holds both layouts"):
        read_fetal_brain([source])


def test_several_scans_of_a_subject_stay_in_one_fold(tmp_path, raw):
    for i in range(6):
        feta_scan(tmp_path / "feta", f"sub-{i:03d}")
    save(image(), tmp_path / "feta/sub-000/anat/sub-000_ses-2_rec-mial_T2w.nii.gz")
    save(labels(range(8), np.float32), tmp_path / "feta/sub-000/anat/sub-000_ses-2_rec-mial_dseg.nii.gz")
    assert prepare(tmp_path / "feta", "--raw", raw).exit_code == 0
    folds = json.loads((raw / "Dataset007_FetalBrain/splits_final.json").read_text())
    assert len(folds) == 5
    both = {"sub-000_rec-mial", "sub-000_ses-2_rec-mial"}
    assert all(both <= set(fold["train"]) or both <= set(fold["val"]) for fold in folds)


def test_a_dry_run_writes_nothing_and_finds_what_the_run_finds(source, raw):
    result = prepare(source, "--raw", raw, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would be written to" in result.output
    assert not list(raw.iterdir())
    assert prepare(source, "--raw", raw).exit_code == 0
    assert "--overwrite replaces it" in str(prepare(source, "--raw", raw, "--dry-run").exception)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_label_whose_grid_was_rounded_goes_on_the_image_s(tmp_path, raw, version, monkeypatch):
    feta_scan(tmp_path / "feta", "sub-001")
    rounded = AFFINE.copy()
    rounded[:3, 3] += 9e-4
    save(labels(range(8), np.float64), tmp_path / "feta/sub-001/anat/sub-001_rec-mial_dseg.nii.gz", rounded)
    assert prepare(tmp_path / "feta", "--raw", raw, "--nnunet", version, "--link").exit_code == 0
    target = raw / ("Dataset007_FetalBrain" if version == "v2" else "nnUNet_raw_data/Task007_FetalBrain")
    verify(target, monkeypatch)
    assert np.array_equal(load(target / "labelsTr/sub-001_rec-mial.nii.gz"), labels(range(8)))
