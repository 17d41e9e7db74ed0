import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist, dice

from hws_nnunet.facts.dataset import LabelTable
from hws_nnunet.report import ResultError
from hws_nnunet.report.read.segmentations import evaluate, find_labels, find_pairs, measure

pytest.importorskip("monai", reason="the extra 'report' is not installed")

LABELS = LabelTable({"one": (1,), "two": (2,)})


def blob(rng, shape):
    return ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.02


def border(mask):
    """Voxels with a neighbour by face outside the mask; outside the image counts as outside."""
    padded = np.pad(mask, 1)
    inside = padded.copy()
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis)
    return np.argwhere(padded & ~inside) - 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measures_against_all_distances(seed, spacing):
    rng = np.random.default_rng(seed)
    predicted, reference = blob(rng, (18, 16, 14)), blob(rng, (18, 16, 14))
    found = measure(predicted, reference, spacing, tolerance=2.0)
    distances = cdist(border(predicted) * spacing, border(reference) * spacing)
    there, back = distances.min(axis=1), distances.min(axis=0)
    assert found["dice"] == pytest.approx(1 - dice(predicted.ravel(), reference.ravel()))
    assert found["hd95"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-5)
    within = (there <= 2.0).sum() + (back <= 2.0).sum()
    assert found["nsd"] == pytest.approx(within / (len(there) + len(back)), rel=1e-5)
    assert (found["reference_size"], found["predicted_size"]) == (reference.sum(), predicted.sum())


def test_empty_structures():
    nothing, something = np.zeros((4, 5, 6), bool), np.zeros((4, 5, 6), bool)
    something[1:3, 1:3, 1:3] = True
    both = measure(nothing, nothing, (1, 1, 1))
    assert all(np.isnan(both[key]) for key in ("dice", "hd95", "nsd"))
    for pair in ((nothing, something), (something, nothing)):
        found = measure(*pair, (1, 2, 3))
        assert (found["dice"], found["nsd"]) == (0, 0)
        assert found["hd95"] == pytest.approx(np.sqrt(4**2 + 10**2 + 18**2))
    same = measure(something, something, (1, 1, 1))
    assert (same["dice"], same["hd95"], same["nsd"]) == (1, 0, 1)
    far = nothing.copy()
    far[3, 4, 5] = True
    assert measure(far, something, (1, 2, 3))["hd95"] < measure(nothing, something, (1, 2, 3))["hd95"]


def save(folder, case, voxels, *, affine=None, ending=".nii.gz"):
    folder.mkdir(exist_ok=True)
    nib.save(
        nib.Nifti1Image(voxels.astype(np.uint8), np.eye(4) if affine is None else affine), folder / f"{case}{ending}"
    )


def cube(value=1, *, low=2, other=None):
    voxels = np.zeros((8, 8, 8), np.uint8)
    voxels[low : low + 4, 2:6, 2:6] = value
    if other is not None:
        voxels[0, 0, :3] = other
    return voxels


def test_folders(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    save(predictions, "b", cube())
    save(references, "b", cube(low=3))
    save(predictions, "ä <x>", cube(other=2), ending=".nii")
    save(references, "ä <x>", cube())
    save(references, "more", cube())
    pairs = find_pairs("mine", predictions, references)
    assert pairs.cases == ("b", "ä <x>")
    assert pairs.without_prediction == ("more",)
    assert find_labels([pairs]).regions == {"1": (1,), "2": (2,)}
    found = evaluate(pairs, LABELS)
    assert found.dice[0, 0] == pytest.approx(0.75)
    assert np.isnan(found.dice[0, 1])
    assert found.dice[1].tolist() == [1, 0]
    assert found.invented.tolist() == [[False, False], [False, True]]
    assert found.surface_tool.startswith("MONAI ")


def test_regions_and_the_ignored_value(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    reference = cube(2)
    reference[2, 2:6, 2:6] = 1
    ignored = reference.copy()
    ignored[5, 2:6, 2:6] = 9  # a quarter of what was predicted
    save(predictions, "a", reference)
    save(references, "a", ignored)
    pairs = find_pairs("mine", predictions, references)
    found = evaluate(pairs, LabelTable({"whole": (1, 2), "core": (2,)}, 9))
    assert found.dice.tolist() == [[1, 1]]
    assert found.reference_size.tolist() == [[48, 32]]
    with pytest.raises(ResultError, match=r"a.nii.gz holds \[9\], expected \[0, 1, 2\]"):
        evaluate(pairs, LABELS)


def test_folders_with_faults(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    with pytest.raises(ResultError, match="expected a folder of label maps, found nothing"):
        find_pairs("x", predictions, references)
    predictions.mkdir()
    references.mkdir()
    with pytest.raises(ResultError, match=r"expected predictions that end in .nii.gz or .nii, found none"):
        find_pairs("x", predictions, references)
    save(predictions, "a", cube())
    save(predictions, "b", cube())
    save(predictions, "b", cube(), ending=".nii")
    save(predictions, "c", cube())
    save(references, "c", cube(), affine=np.diag([2, 1, 1, 1]))
    (references / "b.nii.gz").write_bytes(b"no image")
    with pytest.raises(ResultError) as error:
        find_pairs("x", predictions, references)
    text = str(error.value)
    assert "case 'a': no reference in" in text
    assert "case 'b' is there twice" in text
    assert "case 'c': prediction and reference are not on one grid: affines differ by up to 1 mm" in text
    assert sum("case 'b':" in problem for problem in error.value.problems) == 1, "the file that is no image"


def test_nothing_but_background(tmp_path):
    for part in ("p", "r"):
        save(tmp_path / part, "a", np.zeros((4, 4, 4)))
    with pytest.raises(ResultError, match="found nothing but zeros"):
        find_labels([find_pairs("x", tmp_path / "p", tmp_path / "r")])


def test_images_in_the_place_of_label_maps(tmp_path):
    """Each of thousands of values would be measured as a structure."""
    for part in ("p", "r"):
        (tmp_path / part).mkdir()
        image = nib.Nifti1Image(np.arange(11**3, dtype=np.int16).reshape(11, 11, 11), np.eye(4))
        nib.save(image, tmp_path / part / "a.nii.gz")
    with pytest.raises(ResultError, match=r"a\.nii\.gz.*\n  - expected a label map, found 1331 values, as in an image"):
        find_labels([find_pairs("x", tmp_path / "p", tmp_path / "r")])


def test_labels_that_no_reference_holds(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    save(predictions, "a", cube(255))
    save(references, "a", cube())
    pairs = find_pairs("x", predictions, references)
    with pytest.raises(ResultError, match="predictions hold the labels 255, references 1: expected the same"):
        evaluate(pairs, find_labels([pairs]))
    save(predictions, "a", cube(other=7))
    (note,) = evaluate(pairs, find_labels([pairs])).notes
    assert note == "x: no reference holds the labels '7', some predictions do"
    save(predictions, "a", np.zeros((8, 8, 8)))
    assert evaluate(pairs, find_labels([pairs])).dice.tolist() == [[0]]


def test_files_that_hold_no_whole_numbers_or_another_checksum(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    many = np.tile(cube(), (4, 4, 4))  # more than what is read to know the kind of file
    save(predictions, "a", many)
    save(references, "a", many)
    path = predictions / "a.nii.gz"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResultError, match=r"a.nii.gz is truncated or damaged: CRC check failed"):
        evaluate(find_pairs("x", predictions, references), LABELS)
    colours = np.zeros(many.shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for voxels in (colours, np.zeros(many.shape, np.complex64)):
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
        with pytest.raises(ResultError, match=r"a.nii.gz.*\n.*whole numbers, found voxels of type"):
            evaluate(find_pairs("x", predictions, references), LABELS)
