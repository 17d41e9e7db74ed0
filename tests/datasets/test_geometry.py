"""Files in which sform, qform and voxel sizes disagree, as many public ones are."""

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet.datasets import geometry as module
from hws_nnunet.datasets.cases import Case
from hws_nnunet.datasets.checks import check_case, label_values
from hws_nnunet.datasets.geometry import geometry, same_grid
from hws_nnunet.datasets.images import open_image
from hws_nnunet.facts.dataset import LabelTable
from hws_nnunet.report.read.segmentations import evaluate, find_pairs


def sheared(voxels):
    """As cardiac and T1 data have it: sizes and qform say 1.3 x 1.3 x 10 mm, the sform has a scale of 1."""
    header = nib.Nifti1Image(voxels, np.diag([-1.3, -1.3, 10.0, 1.0])).header
    header["qform_code"] = header["sform_code"] = 1
    header["srow_x"], header["srow_y"], header["srow_z"] = [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0]
    header["pixdim"][1:4] = 1.3, 1.3, 10.0
    return nib.Nifti1Image(voxels, None, header)


def save(image, path):
    path.parent.mkdir(exist_ok=True)
    nib.save(image, path)
    return path


@pytest.fixture
def pair(tmp_path):
    reference = np.zeros((24, 24, 10), np.uint8)
    reference[6:16, 6:16, 3:7] = 1
    predicted = reference.copy()
    predicted[6:16, 6:16, 7] = 1  # one slice too many: 10 mm
    save(sheared(reference), tmp_path / "r" / "a.nii.gz")
    save(nib.Nifti1Image(predicted, nib.load(tmp_path / "r" / "a.nii.gz").affine), tmp_path / "p" / "a.nii.gz")
    return tmp_path


@pytest.mark.parametrize("itk", [True, False])
def test_distances_go_by_the_references_voxel_sizes(pair, monkeypatch, itk):
    pytest.importorskip("monai", reason="the extra 'report' is not installed")
    if not itk:
        monkeypatch.setattr(module, "_itk", lambda name: None)
    found = evaluate(find_pairs("x", pair / "p", pair / "r"), LabelTable({"one": (1,)}))
    assert found.hd95[0, 0] == pytest.approx(10, rel=1e-5)
    assert found.nsd[0, 0] == pytest.approx(0.717, abs=1e-3)
    assert any("voxels of 1 x 1 x 1 mm, its reference 1.3 x 1.3 x 10, which count" in note for note in found.notes)


def test_what_simpleitk_puts_on_one_grid_is_on_one(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    reference = save(sheared(np.ones((5, 6, 4), np.uint8)), tmp_path / "r" / "a.nii.gz")
    image = sitk.ReadImage(str(reference))
    (tmp_path / "p").mkdir()
    sitk.WriteImage(image, str(tmp_path / "p" / "a.nii.gz"))  # as nnU-Net writes predictions
    one, two = (geometry(open_image(tmp_path / part / "a.nii.gz")) for part in "rp")
    assert np.abs(one.affine - two.affine).max() > 1, "by nibabel they are not"
    different, oddities = same_grid(one, two)
    assert different == ""
    assert any("by SimpleITK alone" in text for text in oddities)


def test_a_label_of_other_voxel_sizes_is_not_prepared(tmp_path):
    image = save(sheared(np.ones((5, 6, 4), np.float32)), tmp_path / "x" / "image.nii.gz")
    label = save(nib.Nifti1Image(np.ones((5, 6, 4), np.uint8), nib.load(image).affine), tmp_path / "x" / "label.nii.gz")
    (problem,) = check_case(Case("a", (image,), label)).problems
    assert "voxel sizes 1.3 x 1.3 x 10 and 1 x 1 x 1 mm differ" in problem


def test_a_fourth_axis_of_one_volume(tmp_path):
    voxels = np.zeros((6, 6, 6, 1), np.uint8)
    voxels[2:4, 2:4, 2:4] = 1
    for part in "pr":
        save(nib.Nifti1Image(voxels if part == "p" else voxels[..., 0], np.eye(4)), tmp_path / part / "a.nii.gz")
    pytest.importorskip("monai", reason="the extra 'report' is not installed")
    found = evaluate(find_pairs("x", tmp_path / "p", tmp_path / "r"), LabelTable({"one": (1,)}))
    assert found.dice.tolist() == [[1]]
    save(nib.Nifti1Image(np.repeat(voxels, 2, 3), np.eye(4)), tmp_path / "p" / "a.nii.gz")
    with pytest.raises(ValueError, match=r"p/a.nii.gz has shape \(6, 6, 6, 2\), expected three dimensions"):
        find_pairs("x", tmp_path / "p", tmp_path / "r")


def test_voxels_of_no_size(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    path = save(image, tmp_path / "x" / "a.nii")
    raw = bytearray(path.read_bytes())
    raw[84:88] = np.float32(np.nan).tobytes()  # pixdim[2]
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="expected sizes above 0"):
        geometry(open_image(path))


def test_sizes_in_other_units(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.diag([500, 500, 2000, 1]))
    image.header.set_xyzt_units("micron")
    assert geometry(open_image(save(image, tmp_path / "x" / "a.nii"))).sizes == (0.5, 0.5, 2.0)


@pytest.mark.parametrize(
    ("value", "whole"), [(0.99999, True), (1.00001, True), (0.999, False), (1.4, False), (0.5, False)]
)
def test_labels_that_single_precision_keeps_beside_whole_numbers(tmp_path, value, whole):
    image = open_image(
        save(nib.Nifti1Image(np.full((3, 3, 3), value, np.float32), np.eye(4)), tmp_path / "x" / "a.nii")
    )
    if whole:
        assert (label_values(image) == 1).all()
    else:
        with pytest.raises(ValueError, match="labels have to be whole numbers"):
            label_values(image)


def test_labels_in_a_file_of_scaled_integers(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    voxels = np.arange(27.0).reshape(3, 3, 3) % 8
    image = open_image(save(nib.Nifti1Image(voxels, np.eye(4), header), tmp_path / "x" / "a.nii"))
    assert (label_values(image) == voxels).all()
    header.set_data_dtype(np.uint8)
    image = open_image(save(nib.Nifti1Image(voxels / 8, np.eye(4), header), tmp_path / "x" / "b.nii"))
    with pytest.raises(ValueError, match="labels have to be whole numbers"):
        label_values(image)
