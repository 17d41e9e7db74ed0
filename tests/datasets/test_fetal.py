import csv
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import DatasetError, read_fetal, read_fetal_brain, write_raw

ATLAS = Path(os.environ.get("HWS_ATLAS", Path(__file__).parents[3] / "shared/data/fetal_spina_bifida_atlas"))
NAMES = ("srr.nii.gz", "mask.nii.gz", "parcellation.nii.gz")
run = CliRunner().invoke


def save(array, path, affine=None):
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def write_case(folder, *, shape=(8, 9, 7), seed=0):
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    save(rng.random(shape).astype(np.float32), folder / NAMES[0])
    save(np.ones(shape, dtype=np.uint8), folder / NAMES[1])
    save(rng.integers(0, 9, shape).astype(np.uint16), folder / NAMES[2])
    return folder


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "quelle mit Leerzeichen und Ümlaut"
    for i, name in enumerate(("fetus_GA21_notoperated", "fetus_GA25.5_operated", "control")):
        write_case(root / name, seed=i)
    (root / "README").write_text("not a case")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("link", [False, True])
def test_writes_what_nnunet_expects(source, raw, link):
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    target = write_raw(read_fetal(source), raw, dataset_id=7, name="Fetal", link=link)
    assert target == raw / "Dataset007_Fetal"
    description = json.loads((target / "dataset.json").read_text())
    assert description["numTraining"] == 3
    assert description["labels"]["corpus_callosum"] == 8
    assert description["channel_names"] == {"0": "T2w"}
    assert len(list((target / "imagesTr").iterdir())) == len(list((target / "labelsTr").iterdir())) == 3
    image = target / "imagesTr" / "control_0000.nii.gz"
    assert image.is_symlink() == link
    assert image.read_bytes() == (source / "control" / NAMES[0]).read_bytes()
    rows = list(csv.DictReader((target / "subgroups.csv").open()))
    assert [(r["case"], r["subgroup"], r["gestational_age"]) for r in rows] == [
        ("control", "all", ""),
        ("fetus_GA21_notoperated", "notoperated", "21"),
        ("fetus_GA25.5_operated", "operated", "25.5"),
    ]
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before
    assert [path.name for path in raw.iterdir()] == ["Dataset007_Fetal"]


def test_a_group_that_only_others_have_is_unknown(source, tmp_path):
    groups = [case.subgroup["subgroup"] for case in read_fetal_brain([source]).cases]
    assert groups == ["unknown", "notoperated", "operated"]
    shutil.copytree(source / "control", tmp_path / "alone" / "control")
    assert read_fetal_brain([tmp_path / "alone"]).cases[0].subgroup["subgroup"] == "all"


def test_every_problem_at_once_and_nothing_written(source, raw):
    (source / "control" / NAMES[2]).unlink()
    shifted = np.eye(4)
    shifted[0, 3] = 0.5
    save(np.zeros((8, 9, 7), dtype=np.uint8), write_case(source / "shifted") / NAMES[2], shifted)
    save(np.zeros((8, 9, 6), dtype=np.uint8), write_case(source / "cut") / NAMES[1])
    save(np.full((8, 9, 7), 9, dtype=np.uint8), write_case(source / "unknown") / NAMES[2])
    save(np.full((8, 9, 7), 1.5, dtype=np.float32), write_case(source / "fractions") / NAMES[2])
    save(np.full((8, 9, 7), np.nan, dtype=np.float32), write_case(source / "nan") / NAMES[0])
    save(np.zeros((8, 9, 7, 2), dtype=np.float32), write_case(source / "channels") / NAMES[0])
    save(np.ones((8, 9, 7, 2), dtype=np.uint8), write_case(source / "twice") / NAMES[1])
    lost = np.eye(4)
    lost[1, 3] = np.nan
    save(np.ones((8, 9, 7), dtype=np.uint8), write_case(source / "lost") / NAMES[2], lost)
    (write_case(source / "broken") / NAMES[0]).write_bytes(b"no image")
    result = run(cli.app, ["prepare", "fetal", str(source), "--dataset-id", "7", "--raw", str(raw)])
    text = str(result.exception)
    assert isinstance(result.exception, DatasetError)
    for part in (
        "11 problems, nothing was written",
        "control: missing parcellation.nii.gz",
        "shifted: srr.nii.gz and parcellation.nii.gz are not on one grid: affines differ by up to 0.5 mm",
        "shifted: parcellation.nii.gz has no foreground",
        "cut: srr.nii.gz and mask.nii.gz are not on one grid: shapes (8, 9, 7) and (8, 9, 6) differ",
        "unknown: parcellation.nii.gz holds [9], expected labels 0 to 8",
        "fractions: parcellation.nii.gz: labels have to be whole numbers, found",
        "nan: srr.nii.gz holds values that are not finite",
        "broken: ",
        "channels: srr.nii.gz has shape (8, 9, 7, 2), expected three dimensions",
        "twice: ",
        "lost: ",
    ):
        assert part in text
    assert not list(raw.iterdir())


def test_labels_stored_as_floats_are_fine(source):
    save(np.ones((8, 9, 7), dtype=np.float64), source / "control" / NAMES[2])
    assert len(read_fetal(source).cases) == 3


def test_labels_outside_the_mask_are_told(source):
    save(np.zeros((8, 9, 7), dtype=np.uint8), source / "control" / NAMES[1])
    (warning,) = read_fetal(source).warnings
    assert warning.startswith("control: ")
    assert warning.endswith("labelled voxels lie outside mask.nii.gz")


def test_sources_that_are_none(tmp_path):
    with pytest.raises(DatasetError, match="expected a folder of cases, found nothing"):
        read_fetal(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="expected a folder of cases, found a file"):
        read_fetal(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"expected sub-folders that hold srr\.nii\.gz"):
        read_fetal(tmp_path)


def test_nothing_is_overwritten_unasked(source, raw):
    collection = read_fetal(source)
    target = write_raw(collection, raw, dataset_id=7, name="Fetal")
    (target / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="--overwrite replaces it"):
        write_raw(collection, raw, dataset_id=7, name="Fetal")
    with pytest.raises(FileExistsError, match="number 7 is taken by Dataset007_Fetal"):
        write_raw(collection, raw, dataset_id=7, name="Other")
    assert (target / "mine.txt").exists()
    write_raw(collection, raw, dataset_id=7, name="Fetal", overwrite=True)
    assert not (target / "mine.txt").exists()
    assert [path.name for path in raw.iterdir()] == ["Dataset007_Fetal"]


def test_a_write_cut_off_leaves_what_was_there(source, raw, monkeypatch):
    collection = read_fetal(source)
    target = write_raw(collection, raw, dataset_id=7, name="Fetal")
    before = listing(raw)
    import shutil

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="no space"):
        write_raw(collection, raw, dataset_id=7, name="Fetal", overwrite=True)
    with pytest.raises(OSError, match="no space"):
        write_raw(collection, raw, dataset_id=8, name="Fetal")
    assert listing(raw) == before
    assert target.is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset_id": 0, "name": "A"}, "between 1 and 999, given: 0"),
        ({"dataset_id": 1, "name": "a b"}, "letters, digits, '-' and '_', given: 'a b'"),
    ],
)
def test_bad_names(source, raw, options, message):
    with pytest.raises(ValueError, match=message):
        write_raw(read_fetal(source), raw, **options)


def test_missing_nnunet_folders(source, tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    command = ["prepare", "fetal", str(source), "--dataset-id", "7"]
    assert "nnUNet_raw is not set" in str(run(cli.app, command).exception)
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "nowhere"))
    assert "nnUNet_raw does not exist" in str(run(cli.app, command).exception)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not ATLAS.is_dir(), reason=f"the spina bifida atlas is not at {ATLAS} (HWS_ATLAS names another place)"
)
def test_the_real_atlas(raw):
    result = run(cli.app, ["prepare", "fetal", str(ATLAS), "--dataset-id", "501", "--raw", str(raw)])
    assert result.exit_code == 0, result.output
    assert "15 cases: 5 notoperated, 10 operated" in result.output
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    verify_dataset_integrity(str(raw / "Dataset501_FetalBrain"), 1)
