"""The gallery's parts: where slices go, how images are turned, what a picture shows."""

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet.gallery import picture, slices
from hws_nnunet.gallery.images import Grid, box_of, read_case
from hws_nnunet.gallery.slices import ERROR, HARDEST, MIDDLE, STRUCTURES, choose_place, wrong_voxels

AXES = [(order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


def volume():
    """Structure 1 is large, 2 and 3 are small and lie in different slices but for one."""
    labels = np.zeros((20, 24, 12), int)
    labels[4:16, 4:20, 2:10] = 1
    labels[5:9, 6:8, 3:5] = 2
    labels[8:12, 7:11, 4:8] = 3
    return labels


def test_slices_go_through_the_deepest_error():
    labels = volume()
    wrong = np.zeros(labels.shape, bool)
    wrong[4, 4:20, 2:10] = True  # many voxels, but thin
    wrong[13:18, 14:19, 5:10] = True
    place = choose_place(labels, wrong=wrong, hardest=labels == 3)
    assert place == type(place)((15, 16, 7), ERROR)
    at_border = np.zeros(labels.shape, bool)
    at_border[:5, :5, :5] = True
    assert choose_place(labels, wrong=at_border).voxel == (2, 2, 2), "what lies beyond the image is outside"
    flat = np.zeros((20, 20, 1), bool)
    flat[2:9, 11:16, 0] = True
    place = choose_place(flat.astype(int), wrong=flat)
    assert place.voxel[1:] == (13, 0)
    assert place.voxel[0] in (4, 5, 6)


def test_slices_go_by_distance_in_millimetres():
    wrong = np.zeros((30, 30, 30), bool)
    wrong[2:11, 2:11, 2:5] = True  # 9 x 9 x 3 voxels, of 1 x 1 x 10 mm
    wrong[15:22, 15:22, 15:22] = True
    assert choose_place(wrong.astype(int), wrong=wrong, spacing=(1, 1, 10)).voxel[:2] == (6, 6)
    assert choose_place(wrong.astype(int), wrong=wrong).voxel == (18, 18, 18)


def test_slices_go_through_the_hardest_structure_or_the_most_structures():
    labels = volume()
    none = np.zeros(labels.shape, bool)
    hardest = none.copy()
    hardest[3, 2:8, 1:9] = True  # across each axis, the largest cross-section
    hardest[3:14, 5, 4] = True
    assert choose_place(labels, wrong=none, hardest=hardest) == type(choose_place(labels))((3, 5, 4), HARDEST)
    assert choose_place(labels, hardest=none) == choose_place(labels), "a structure that the reference lacks"
    radius = np.linalg.norm(np.indices((21, 21, 21)) - 10, axis=0)
    shell = (radius > 6) & (radius < 8.5)
    across = [slices._best(area, area) for area in slices._areas(shell)]
    assert not shell[tuple(across)], "the largest cross-sections of a shell meet outside of it"
    assert shell[choose_place(shell * 4, hardest=shell).voxel], "slices cross in the structure itself"
    place = choose_place(labels)
    assert place.rule == STRUCTURES
    for axis in range(3):
        assert set(np.unique(np.take(labels, place.voxel[axis], axis))) >= {1, 2, 3}
    assert choose_place(labels * 0, hardest=none) == type(place)((10, 12, 6), MIDDLE)
    assert choose_place(np.where(labels, 5, 0), ignore=5).rule == MIDDLE


def test_voxels_to_be_ignored_are_never_wrong():
    reference, prediction = np.array([0, 1, 5, 5]), np.array([1, 1, 0, 1])
    assert wrong_voxels(reference, prediction, ignore=5).tolist() == [True, False, False, False]
    assert wrong_voxels(reference, prediction).tolist() == [True, False, True, True]


@pytest.mark.parametrize(("order", "signs"), AXES)
def test_images_are_turned_to_right_front_and_top(order, signs):
    spacing, shape = np.array([1.0, 2.0, 3.0]), np.array([4, 5, 6])
    affine = np.eye(4)
    affine[:3, :3] = 0
    affine[order, range(3)] = np.array(signs) * spacing
    grid = Grid(tuple(shape.tolist()), affine)
    voxels = np.arange(120).reshape(shape)
    turned = grid.turn(voxels)
    assert grid.turn_sizes(grid.file_spacing) == pytest.approx(spacing[np.argsort(order)])
    rng = np.random.default_rng(0)
    for voxel in rng.integers(0, shape, (5, 3)):
        place = np.argwhere(turned == voxels[tuple(voxel)])[0]
        assert grid.file_voxel(place) == tuple(voxel)
        assert [grid.file_slice(place, axis) for axis in order] == voxel.tolist(), "as people count it in the file"
        assert turned.shape == tuple(grid.turn_sizes(shape).astype(int))
    one, other = np.array([1, 1, 1]), np.array([2, 3, 4])  # the turned axes grow with the world's
    world = affine[:3, :3] @ np.subtract(grid.file_voxel(other), grid.file_voxel(one))
    assert (world > 0).all()


@pytest.mark.parametrize("affine", [None, np.diag([1.0, 1.0, 0.0, 1.0]), np.full((4, 4), np.nan)])
def test_an_image_that_tells_no_orientation_stays_as_it_is(affine):
    grid = Grid((2, 3, 4), affine)
    assert grid.orientation is None
    assert grid.file_spacing.tolist() == [1, 1, 1]
    assert grid.turn(np.arange(24).reshape(2, 3, 4))[1, 2, 3] == 23
    assert grid.file_voxel((1, 2, 3)) == (1, 2, 3)


@pytest.fixture
def figure(tmp_path, monkeypatch):
    """Returns what draws a case and returns its figure."""

    def draw(affine, shape=(12, 16, 10), prediction=True, names=None, many=0, subtitle=""):
        labels = np.zeros(shape, np.uint8)
        labels[2:6, 3:9, slice(1, 8) if shape[2] > 1 else 0] = 3
        if many:
            labels[:many, 3] = np.arange(1, many + 1)[:, None]
        image = labels.astype(np.float32) + 1
        files = []
        for name, voxels in (("image", image), ("label", labels), ("prediction", labels)):
            files.append(tmp_path / f"{name}.nii.gz")
            nib.save(nib.Nifti1Image(voxels, affine), files[-1])
        case = read_case(files[:1], files[1], files[2] if prediction else None)
        kept = []
        monkeypatch.setattr(picture.Figure, "savefig", lambda self, *_, **__: kept.append(self))
        voxel = tuple(int(v) for v in np.median(np.argwhere(case.image), axis=0))
        style = picture.Style(names or {3: "_$x$"})
        wrong = wrong_voxels(case.reference, case.prediction) if prediction else None
        picture.draw_case(case, voxel, Path("unused"), style=style, title="$t$", subtitle=subtitle, wrong=wrong)
        return kept[0], case

    return draw


@pytest.mark.parametrize("many", [0, 10, 100])
def test_what_is_known_of_a_case_takes_two_lines_at_most_and_touches_no_panel(figure, many):
    known = ", ".join(["hardness 0.7297", *(f"column{i} sub-{i:03d}" for i in range(many)), "reconstruction mial"])
    drawn, _ = figure(np.eye(4), subtitle=known)
    (text,) = (text for text in drawn.texts if "hardness" in text.get_text())
    lines = text.get_text().split("\n")
    assert len(lines) == (2 if many else 1)
    assert " ".join(lines) == known or (many == 100 and "…" in lines[1] and lines[1].endswith("reconstruction mial"))
    renderer = drawn.canvas.get_renderer()
    box = text.get_window_extent(renderer)
    assert box.x1 < drawn.bbox.width
    assert box.y0 > max(axes.title.get_window_extent(renderer).y1 for axes in drawn.axes[:3])


def test_panels_have_the_right_proportions_and_letters(figure):
    drawn, case = figure(np.array([[0, 0, 3.0, 0], [-1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]))
    assert len(drawn.axes) == 9
    width, height = drawn.get_size_inches()
    scales = []
    for axes, (right, up) in zip(drawn.axes, [(1, 2), (0, 2), (0, 1)] * 3, strict=True):
        box, spans = axes.get_position(), [abs(np.diff(limits)[0]) for limits in (axes.get_xlim(), axes.get_ylim())]
        scales.append(box.width * width / (spans[0] * case.spacing[right]))
        scales.append(box.height * height / (spans[1] * case.spacing[up]))
    assert scales == pytest.approx([scales[0]] * 18), "one scale in all directions of all panels"
    for axes, (right, up), letters in zip(drawn.axes, [(1, 2), (0, 2), (0, 1)], ["APIS", "RLIS", "RLPA"], strict=False):
        assert "".join(t.get_text() for t in axes.texts if len(t.get_text()) == 1) == letters
        towards_right = np.eye(3)[right]
        x = [axes.transData.transform(np.array([p[right], p[up]]))[0] for p in (np.zeros(3), towards_right)]
        assert x[1] < x[0], "the patient's right and front are on the left"


def test_names_are_shown_as_they_are(figure):
    drawn, _ = figure(np.eye(4))
    texts = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert texts == ["_$x$", "differs from reference"]
    assert not any(text.get_parse_math() for text in [*drawn.legends[0].get_texts(), drawn.texts[-1]])
    assert not drawn.texts[-1].get_text() or drawn.texts[-1].get_text() == "$t$"


@pytest.mark.parametrize("shape", [(12, 16, 10), (40, 40, 1)])
@pytest.mark.parametrize(
    "name", ["whole_tumor without tumor_core and enhancing_tumor", "W" * 60, "white matter of the left hemisphere " * 4]
)
def test_the_legend_is_never_cut(figure, name, shape):
    drawn, _ = figure(np.eye(4), shape=shape, names={3: name})
    box = drawn.legends[0].get_window_extent()
    assert 0 < box.x0 < box.x1 <= drawn.bbox.x1
    assert 0 <= box.y0 < box.y1 <= drawn.bbox.y1


def test_more_structures_than_fit_are_counted(figure):
    drawn, _ = figure(np.eye(4), shape=(32, 16, 10), many=30)
    texts = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert texts[:3] == ["label 1", "label 2", "_$x$"]
    assert texts[-2:] == ["... and 12 more", "differs from reference"]


def test_a_flat_image_is_one_panel_a_row(figure):
    drawn, _ = figure(np.eye(4), shape=(12, 16, 1), prediction=False)
    assert len(drawn.axes) == 2


def test_colours_are_the_structures_own():
    style = picture.Style({1: "one", 7: "seven"})
    assert style.colour(1) != style.colour(7)
    assert style.name(3) == "label 3"
    assert picture.short("a" * 50, 20) == "a" * 9 + "…" + "a" * 10
    assert picture.short("a" * 20, 20) == "a" * 20


def test_the_box_of_a_mask():
    mask = np.zeros((4, 5, 6), bool)
    assert box_of(mask).tolist() == [[0, 4], [0, 5], [0, 6]]
    mask[1:3, 4, 2:5] = True
    assert box_of(mask).tolist() == [[1, 3], [4, 5], [2, 5]]
