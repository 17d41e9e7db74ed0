"""The picture of structures."""

import matplotlib.image
import numpy as np
import pytest

from hws_nnunet.record.structure_figure import _plot, plot_structures


def made_up(n, k):
    rng = np.random.default_rng(0)
    values = rng.uniform(0.05, 0.6, (n, k))
    values[rng.random((n, k)) < 0.1] = np.nan
    return [f"case{i:04d}" for i in range(n)], rng.uniform(0, 1, n), [f"structure {i}" for i in range(k)], values


@pytest.mark.parametrize(("n", "k"), [(1, 1), (10, 8), (10, 2), (1000, 4), (60, 30)])
def test_any_number_of_cases_and_structures(tmp_path, n, k):
    plot_structures(*made_up(n, k), tmp_path / "a.png")
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert max(picture.shape) < 2000
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_hardest_cases_stand_on_top_and_the_mean_is_that_of_all():
    names, hardness, structures, values = made_up(100, 3)
    hardness[7], hardness[8] = 2.0, np.nan
    mean, cases, bar = (figure := _plot(names, hardness, structures, values)).axes
    labels = [label.get_text() for label in cases.get_yticklabels()]
    assert labels[0] == "case0007  2.000"
    assert len(labels) == 40
    assert "the hardest 40 of 100 cases" in figure.get_suptitle()
    shown = cases.images[0].get_array()
    assert np.array_equal(shown[0].filled(np.nan), values[7], equal_nan=True)
    assert mean.images[0].get_array()[0].filled(np.nan) == pytest.approx(np.nanmean(values, axis=0))
    assert [label.get_text() for label in mean.get_xticklabels()] == structures
    assert "high: hard" in bar.get_ylabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no patch has shown it yet"]
    assert "of 40" not in _plot(names[:40], hardness[:40], structures, values[:40]).get_suptitle()


def test_numbers_stand_where_there_is_room():
    assert _plot(*made_up(3, 4)).axes[1].texts
    assert not _plot(*made_up(3, 30)).axes[1].texts


def test_nothing_known_yet(tmp_path):
    plot_structures(["a", "b"], np.full(2, np.nan), ["x", "$_$"], np.full((2, 2), np.nan), tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_no_structures_no_picture(tmp_path):
    plot_structures(["a"], np.zeros(1), (), np.empty((1, 0)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_host_may_do_what_it_likes_to_the_style(tmp_path):
    plot_structures(*made_up(5, 3), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 40, "axes.facecolor": "red", "image.cmap": "jet"}):
        plot_structures(*made_up(5, 3), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
