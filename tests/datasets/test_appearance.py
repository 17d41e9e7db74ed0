"""What images look like, and how unlike the others each of them is."""

import numpy as np
import pytest

from hws_nnunet.datasets.appearance import BANDS, FEWEST, PERCENTILES, appearance, unlikeness


def noise(seed, shape=(6, 40, 40)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_features_of_white_noise():
    features = appearance([noise(0, (20, 64, 64))])
    assert len(features) == len(PERCENTILES) + len(BANDS) - 1
    assert features[: len(PERCENTILES)] == pytest.approx(
        [-2.326, -1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645, 2.326], abs=0.03
    )
    assert features[len(PERCENTILES) :] == pytest.approx(np.log(64 * 64), abs=0.05), "the same power at each frequency"


def test_scale_and_offset_of_intensities_do_not_count_and_channels_follow_each_other():
    one, other = noise(1), noise(2)
    both = appearance([one, other])
    assert both == pytest.approx(np.concatenate([appearance([one]), appearance([other])]))
    assert appearance([300 * one + 1000, 0.01 * other]) == pytest.approx(both, abs=1e-3)


def test_voxels_outside_do_not_count():
    inside = noise(3) + 5
    padded = np.zeros((6, 60, 60), dtype=np.float32)
    padded[:, 10:50, 10:50] = inside
    assert appearance([padded])[: len(PERCENTILES)] == pytest.approx(appearance([inside])[: len(PERCENTILES)], abs=1e-4)


@pytest.mark.parametrize("image", [np.zeros((3, 8, 8)), np.full((8, 8), 7.0), noise(4, (1, 1, 5)), noise(5, (9, 9))])
def test_flat_and_tiny_images_have_finite_features(image):
    assert np.isfinite(appearance([image])).all()


@pytest.mark.parametrize("rare", [1, 3])
@pytest.mark.parametrize("n", [30, 200])
def test_a_few_that_look_alike_and_unlike_the_others_are_far(n, rare):
    features = np.random.default_rng(n).normal(size=(n, 14))
    features[:rare] = features[0] * 0.1 + 6
    distances = unlikeness(features)
    assert distances.shape == (n,)
    assert distances[:rare].min() > 1.5 * distances[rare:].max()


def test_a_large_group_is_no_rare_one():
    features = np.random.default_rng(0).normal(size=(100, 14))
    features[:30] += 6
    distances = unlikeness(features)
    assert distances[:30].mean() == pytest.approx(distances[30:].mean(), rel=0.15)


def test_images_that_are_all_alike_are_at_no_distance():
    assert unlikeness(np.ones((9, 14))) == pytest.approx(np.zeros(9), abs=1e-6)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="6 images: expected 7 or more"):
        unlikeness(np.zeros((FEWEST - 1, 14)))
