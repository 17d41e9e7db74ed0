import numpy as np
import pytest

from hws_nnunet import HardnessWeightedBatchSampler
from hws_nnunet.core.draws import draw_looking_at_all
from hws_nnunet.core.shares import batch_shares
from tests.core import naive


def four_of_weight_4(batch_size, **options):
    weights = np.where(np.arange(40) < 4, 4.0, 1.0)
    sampler = HardnessWeightedBatchSampler(40, batch_size, seed=0, beta=0.0, weights=weights, **options)
    for batch in sampler:
        sampler.update([0.5] * len(batch), batch)
    assert sampler.sampler.table.weighted
    return sampler


@pytest.mark.filterwarnings("ignore:.*with_replacement")
@pytest.mark.parametrize(
    ("batch_size", "replacement", "told"),
    [(1, False, 0.308), (2, False, 0.301), (16, False, 0.205), (40, False, 0.1), (50, False, 0.142), (16, True, 0.308)],
)
def test_the_shares_that_are_told_are_those_of_the_draws(batch_size, replacement, told):
    sampler = four_of_weight_4(batch_size, with_replacement=replacement)
    shares = sampler.shares()
    assert shares.sum() == pytest.approx(1)
    assert shares[:4].sum() == pytest.approx(told, abs=5.1e-4), "as docs/howto/weights.md says"
    drawn = np.concatenate([sampler._draw() for _ in range(40_000 // batch_size)])
    assert np.isin(drawn, range(4)).mean() == pytest.approx(told, abs=0.008)


def test_small_cases_against_all_orders():
    p = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    for size in (1, 2, 3, 5):
        assert batch_shares(p, size) == pytest.approx(naive.inclusion(p, size), abs=0.01)
    assert batch_shares(p, 6) == pytest.approx(np.full(6, 1 / 6))
    skewed = np.array([0.9111, 1e-6, 0.0889, 2e-6])
    for size in (2, 3):
        assert batch_shares(skewed, size) == pytest.approx(naive.inclusion(skewed / skewed.sum(), size), abs=0.01)
    assert batch_shares(np.array([0.0, 2.0, 2.0]), 2).tolist() == [0.0, 0.5, 0.5]
    assert batch_shares(np.array([1e-300, 1.0, 1.0]), 2) == pytest.approx([0.0, 0.5, 0.5])


def test_where_the_likely_cases_are_too_few_for_a_batch_the_others_come_as_in_draws():
    p, rng = np.array([0.0, 0.75, 0.25, 0.0, 0.0]), np.random.default_rng(0)
    for size in (2, 3, 5, 8):
        batches = [draw_looking_at_all(p, size, rng, replacement=False) for _ in range(4000)]
        drawn = np.bincount(np.concatenate(batches), minlength=5) / (4000 * size)
        assert batch_shares(p, size) == pytest.approx(drawn, abs=0.01)
