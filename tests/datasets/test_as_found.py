"""Data as people have them: scans without labels, cases that lack a file, labels on another grid."""

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from hws_nnunet.commands import main as cli
from hws_nnunet.datasets import DatasetError, Reading, read_brats, read_fetal_brain, write_raw
from hws_nnunet.facts.versions import HOSTS
from tests.datasets.trees import AFFINE, atlas_case, contents, feta_scan, image, load, new_case, old_case, save

run = CliRunner().invoke
FAMILIES = {
    "brats": (read_brats, lambda root, i: new_case(root, f"BraTS-GLI-0000{i}-000"), "*-seg.nii.gz"),
    "feta": (lambda s, how: read_fetal_brain(s, how=how), lambda r, i: feta_scan(r, f"sub-00{i}"), "*_dseg.nii.gz"),
    "fetal": (lambda s, how: read_fetal_brain(s, how=how), lambda r, i: atlas_case(r, f"case{i}"), "parcell*.nii.gz"),
}
family = pytest.mark.parametrize(("read", "make", "labels"), FAMILIES.values(), ids=list(FAMILIES))


@pytest.fixture
def raw(tmp_path, monkeypatch):
    (tmp_path / "raw").mkdir()
    for name in ("nnUNet_raw", "nnUNet_raw_data_base"):
        monkeypatch.setenv(name, str(tmp_path / "raw"))
    return tmp_path / "raw"


def data_set(raw, version, channels):
    folder = raw / ("Dataset007_X" if version == "v2" else "nnUNet_raw_data/Task007_X")
    folder.mkdir(parents=True)
    key = "channel_names" if version == "v2" else "modality"
    (folder / "dataset.json").write_text(json.dumps({key: {str(i): name for i, name in enumerate(channels)}}))
    return folder


def prepare(kind, source, *arguments):
    return run(cli.app, ["prepare", kind, str(source), "--dataset-id", "7", *arguments])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_scans_have_the_channels_of_the_data_set_in_its_order(tmp_path, raw, version):
    old_case(tmp_path / "scans", "hospital_7")
    new_case(tmp_path / "scans", "of another clinic")
    for segmentation in (tmp_path / "scans").rglob("*seg.nii.gz"):
        segmentation.unlink()
    folder = data_set(raw, version, ["t2-FLAIR", "T1Gd", "t1"])
    options = ("--images", "--nnunet", version)
    dry = prepare("brats", tmp_path / "scans", *options, "--dry-run")
    assert "2 scans; would be written to" in dry.output
    assert not (folder / "imagesTs").exists()
    result = prepare("brats", tmp_path / "scans", *options)
    assert result.exit_code == 0, result.output
    written = {path.name: load(path) for path in (folder / "imagesTs").iterdir()}
    for name, sources in (
        ("hospital_7", ("_flair", "_t1ce", "_t1")),
        ("of another clinic", ("-t2f", "-t1c", "-t1n")),
    ):
        for channel, ending in enumerate(sources):
            source = load(tmp_path / "scans" / name / f"{name}{ending}.nii.gz")
            assert np.array_equal(written.pop(f"{name}_{channel:04d}.nii.gz"), source)
    assert not written
    command = (
        "nnUNetv2_predict -i {} -o predictions -d 7" if version == "v2" else "nnUNet_predict -i {} -o predictions -t 7"
    )
    assert f"next: {command.format(folder / 'imagesTs')}" in result.output.replace("'", "")
    again = prepare("brats", tmp_path / "scans", *options)
    assert "imagesTs holds files: --overwrite replaces all of them, --out names" in str(again.exception)
    elsewhere = prepare("brats", tmp_path / "scans", *options, "--out", str(tmp_path / "there"))
    assert len(list((tmp_path / "there").iterdir())) == 6, elsewhere.output


def test_what_is_replaced_holds_scans_for_nnunet_alone(tmp_path, raw):
    """The scans themselves, or a data set for training, are never what --overwrite does away with."""
    new_case(tmp_path / "scans", "BraTS-GLI-00001-000")
    folder = data_set(raw, "v2", ["T1"])
    before = contents(tmp_path)
    for place in (tmp_path / "scans", tmp_path / "scans" / "BraTS-GLI-00001-000", folder):
        result = prepare("brats", tmp_path / "scans", "--images", "--overwrite", "--out", str(place))
        assert f"{place} holds more than scans for nnU-Net, as " in str(result.exception)
    save(image(), folder / "imagesTr" / "case_0000.nii.gz")
    before = contents(tmp_path)
    for place in ("imagesTr", "labelsTr"):
        result = prepare("brats", tmp_path / "scans", "--images", "--overwrite", "--out", str(folder / place))
        assert f"{place} lies in a data set, where scans go to imagesTs: leave out --out" in str(result.exception)
    result = prepare("brats", tmp_path / "scans", "--images", "--out", str(folder / "dataset.json"))
    assert "dataset.json is a file, expected a folder" in str(result.exception)
    assert "checking" not in result.output, "before the scans are read"
    assert contents(tmp_path) == before
    for _ in range(2):
        result = prepare("brats", tmp_path / "scans", "--images", "--overwrite")
        assert result.exit_code == 0, result.output
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["BraTS-GLI-00001-000_0000.nii.gz"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_data_set_does_not_take_the_place_of_what_it_is_made_from(tmp_path, raw, version):
    folder = raw / ("Dataset007_X" if version == "v2" else "nnUNet_raw_data/Task007_X")
    for i in range(6):
        new_case(folder / "download", f"BraTS-GLI-0000{i}-000")
    (tmp_path / "link").symlink_to(folder / "download")
    before = contents(folder)
    for source in (folder, tmp_path / "link"):
        result = prepare("brats", source, "--name", "X", "--nnunet", version, "--overwrite", "--link")
        assert f"{folder} holds what is to be read, as {source}" in str(result.exception)
    options = {"dataset_id": 7, "name": "X", "overwrite": True, "host": HOSTS[version]}
    with pytest.raises(FileExistsError, match="holds what is to be read"):
        write_raw(read_brats([folder]), raw, **options)
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["brats", "fetal"])
def test_options_that_would_do_nothing_are_told(tmp_path, raw, kind):
    make = new_case if kind == "brats" else feta_scan
    make(tmp_path / "scans", "BraTS-GLI-00001-000" if kind == "brats" else "sub-001")
    data_set(raw, "v2", ["T1"])
    options = ("--merge", "--spread", "--hold-out", "site", "--image-grid")
    result = prepare(kind, tmp_path / "scans", "--images", "--dry-run", *options)
    assert "note: without effect beside --images: --merge, --spread, --hold-out, --image-grid\n" in result.output
    assert "without effect" not in prepare(kind, tmp_path / "scans", "--images", "--dry-run").output
    result = prepare(kind, tmp_path / "scans", "--out", str(tmp_path / "there"))
    assert "--out is for --images" in str(result.exception)
    assert "checking" not in result.output


@pytest.mark.parametrize("layout", ["feta", "fetal"])
def test_fetal_scans_of_one_channel_whatever_its_name(tmp_path, raw, layout):
    _, make, labels = FAMILIES[layout]
    make(tmp_path / "scans", 1)
    for path in [*(tmp_path / "scans").rglob(labels), *(tmp_path / "scans").rglob("mask*")]:
        path.unlink()
    folder = data_set(raw, "v2", ["MRI"])
    result = prepare("fetal", tmp_path / "scans", "--images", "--link")
    assert result.exit_code == 0, result.output
    (written,) = (folder / "imagesTs").iterdir()
    assert written.name in ("sub-001_rec-mial_0000.nii.gz", "case1_0000.nii.gz")
    assert written.is_symlink()


def test_scans_of_a_data_set_that_is_not_there_or_has_other_channels(tmp_path, raw):
    new_case(tmp_path / "scans", "BraTS-GLI-00001-000")
    result = prepare("brats", tmp_path / "scans", "--images")
    assert f"{raw} has no folder Dataset007_...: prepare the training data first" in str(result.exception)
    folder = data_set(raw, "v2", ["T1", "CT"])
    result = prepare("brats", tmp_path / "scans", "--images")
    assert "Dataset007_X has the channels T1, CT; these scans have T1, T1ce, T2, FLAIR" in str(result.exception)
    (folder / "dataset.json").write_text('{"channel_names": {"a": "T1"}}')
    result = prepare("brats", tmp_path / "scans", "--images")
    assert "expected channel_names, or modality, by number" in str(result.exception)
    (folder / "dataset.json").unlink()
    result = prepare("brats", tmp_path / "scans", "--images")
    assert "dataset.json does not exist" in str(result.exception)


@family
def test_cases_that_lack_a_file_or_have_a_damaged_one_are_left_out_if_asked(tmp_path, read, make, labels):
    for i in range(4):
        make(tmp_path, i)
    lacking, damaged = sorted(tmp_path.rglob(labels))[:2]
    lacking.unlink()
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(DatasetError, match=r"\(--skip-incomplete leaves out 2 such cases\)") as error:
        read([tmp_path], how=Reading())
    assert len(error.value.problems) == 2
    found = read([tmp_path], how=Reading(skip_incomplete=True))
    assert len(found.cases) == 2
    told = [warning for warning in found.warnings if warning.startswith("left out: ")]
    assert "missing" in told[0]
    assert "damaged" in told[1]
    for path in tmp_path.rglob(labels):
        path.unlink()
    with pytest.raises(DatasetError) as error:
        read([tmp_path], how=Reading(skip_incomplete=True))
    assert len(error.value.problems) == 4


@family
def test_labels_that_lie_elsewhere_take_their_images_grid_if_asked(tmp_path, raw, read, make, labels):
    make(tmp_path / "data", 1)
    (path,) = (tmp_path / "data").rglob(labels)
    shifted = AFFINE.copy()
    shifted[:2] *= -1
    before = load(path)
    save(before, path, shifted)
    with pytest.raises(DatasetError, match=r"the shapes are equal: .* --image-grid takes the image's grid"):
        read([tmp_path / "data"], how=Reading())
    kind = "brats" if read is read_brats else "fetal"
    result = prepare(kind, tmp_path / "data", "--image-grid", "--link")
    assert result.exit_code == 0, result.output
    assert "1 label file of another grid got the image's: " in result.output
    (written,) = (next(raw.iterdir()) / "labelsTr").iterdir()
    assert np.array_equal(load(written), before)
    assert np.allclose(nib.load(written).affine, AFFINE)
    save(before[:-1], path, shifted)
    with pytest.raises(DatasetError, match=r"shapes .* differ"):
        read([tmp_path / "data"], how=Reading(image_grid=True))


def test_moved_labels_on_an_empty_place_of_the_image_are_told(tmp_path):
    new_case(tmp_path, "BraTS-GLI-00001-000")
    folder = tmp_path / "BraTS-GLI-00001-000"
    scan, segmentation = image(), load(folder / "BraTS-GLI-00001-000-seg.nii.gz")
    scan[segmentation == 3] = 0
    save(scan, folder / "BraTS-GLI-00001-000-t1n.nii.gz")
    assert not read_brats([tmp_path]).warnings
    save(segmentation, folder / "BraTS-GLI-00001-000-seg.nii.gz", np.eye(4))
    told = read_brats([tmp_path], how=Reading(image_grid=True)).warnings
    assert "10 labelled voxels lie outside what BraTS-GLI-00001-000-t1n.nii.gz shows (other than 0)" in told[0]


def test_moved_labels_of_other_voxel_sizes_are_written_with_their_images(tmp_path, raw):
    new_case(tmp_path / "data", "BraTS-GLI-00001-000")
    (path,) = (tmp_path / "data").rglob("*-seg.nii.gz")
    label = nib.load(path)
    label = nib.Nifti1Image(load(path), label.affine, label.header)
    label.header["pixdim"][1:4] = 2, 3, 4  # the sform stays as it is
    nib.save(label, path)
    assert np.allclose(nib.load(path).affine, AFFINE)
    with pytest.raises(DatasetError, match=r"voxel sizes .* mm differ, by which nnU-Net goes; the shapes are equal: "):
        read_brats([tmp_path / "data"])
    result = prepare("brats", tmp_path / "data", "--image-grid")
    assert result.exit_code == 0, result.output
    (written,) = (next(raw.iterdir()) / "labelsTr").iterdir()
    assert nib.load(written).header.get_zooms() == nib.load(next(path.parent.glob("*-t1n*"))).header.get_zooms()
