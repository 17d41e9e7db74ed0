import multiprocessing
import warnings

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from hws_nnunet import HardnessWeightedBatchSampler, Settings
from hws_nnunet.config import SettingsError
from tests.core import naive

SIZE = 40


class Indices(Dataset):
    """Gives the index itself."""

    def __len__(self):
        return SIZE

    def __getitem__(self, index):
        return index


def loss_of(indices):
    """Return the losses that samples always have; what is tracked moves by less than half of their distances."""
    return torch.as_tensor(indices).double() / SIZE


def hardness(sampler):
    return sampler.sampler.table.hardness


def test_losses_of_other_samples_are_seen_by_the_tests_below():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0)
    late = None
    for batch, index in DataLoader(sampler.indexed(Indices()), batch_sampler=sampler):
        sampler.update(loss_of(batch if late is None else late), index)
        late = batch
    assert (np.abs(hardness(sampler) - np.arange(SIZE) / SIZE) > 0.0125).sum() > SIZE / 2


WORKERS = [(0, None), (2, "fork"), (4, "fork")]
WORKERS += [pytest.param(2, method, marks=pytest.mark.slow) for method in ("spawn", "forkserver")]


@pytest.mark.parametrize(("workers", "method"), WORKERS)
def test_answers_reach_the_right_samples(workers, method):
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0)
    loader = DataLoader(
        sampler.indexed(Indices()),
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context=method and multiprocessing.get_context(method),
        persistent_workers=workers > 0,
    )
    assert len(loader) == 5
    seen = 0
    for _ in range(3):
        for batch, index in loader:
            sampler.update(loss_of(batch).requires_grad_(), index)
            seen += len(batch)
        assert seen == sampler.sampler.table.visits.sum()
    assert hardness(sampler) == pytest.approx(np.arange(SIZE) / SIZE, abs=0.01)
    assert sampler.sampler.table.weighted


def test_parts_of_batches_can_be_answered_in_any_order_and_again():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0, steps_per_epoch=30)
    waiting = []
    for _, index in DataLoader(sampler.indexed(Indices()), batch_sampler=sampler, num_workers=2):
        waiting.append(index)
        if len(waiting) == 4:
            sampler.update(loss_of(waiting[3][:5]), waiting[3][:5])
            sampler.update(loss_of(waiting[0]), waiting[0].tolist())
            sampler.update(loss_of(waiting[0]), waiting[0].numpy().astype(np.uint8))
            waiting = []
    sampler.update([], [])
    sampler.update(torch.tensor(0.5), 20)
    known = hardness(sampler)
    assert sampler.sampler.table.visits.sum() == 7 * (5 + 8 + 8) + 1
    assert known[np.isfinite(known)] == pytest.approx((np.arange(SIZE) / SIZE)[np.isfinite(known)], abs=0.01)


def test_the_lag_is_that_of_the_batch():
    """Also where a sample of it has been drawn again since."""
    sampler = HardnessWeightedBatchSampler(4, 3, seed=0, steps_per_epoch=1)
    for _ in range(7):
        (batch,) = sampler
        sampler.update([0.5] * 3, batch)
    before = sampler.sampler.table.lag
    sampler._drawn_at[:] = [5, 7, 6, 7]
    sampler.update([0.5] * 3, [1, 2, 3])
    assert sampler.sampler.table.lag == pytest.approx(before + 0.05 * (7 - 6 - before))


def test_the_first_pass_sees_all_and_then_draws_follow_the_closed_form():
    settings = Settings(ess=0.3, smoothing=0.0)
    sampler = HardnessWeightedBatchSampler(10, 1, seed=1, settings=settings)
    first = []
    for (index,) in sampler:
        first.append(index)
        sampler.update([0.1 * index], [index])
    assert sorted(first) == list(range(10))
    for _ in range(60):
        for (index,) in sampler:
            sampler.update([0.1 * index], [index])
    drawn, p = [], sampler.sampler.probabilities()
    for _ in range(400):
        drawn += [index for (index,) in sampler]  # none is answered, so that nothing moves
    assert naive.close(np.bincount(drawn, minlength=10), p)
    assert p.max() > 0.2


def test_beta_0_draws_uniformly_and_tracks():
    sampler = HardnessWeightedBatchSampler(10, 5, seed=0, beta=0.0, steps_per_epoch=2000)
    counts = np.zeros(10, dtype=int)
    for batch in sampler:
        assert len(set(batch)) == 5
        counts[batch] += 1
        sampler.update(np.array(batch) / 10, batch)
    assert naive.total_variation(counts / counts.sum(), np.full(10, 0.1)) < 0.02
    assert hardness(sampler).argmax() == 9


def test_a_resumed_training_equals_one_that_went_on(tmp_path):
    def train(sampler, passes):
        drawn = []
        for _ in range(passes):
            for batch in sampler:
                drawn.append(batch)
                sampler.update(loss_of(batch) + 0.01 * torch.arange(len(batch)), batch)
        return drawn

    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=3)
    train(sampler, 10)
    torch.save(sampler.learnt.state_dict(), tmp_path / "state")
    resumed = HardnessWeightedBatchSampler(SIZE, 8)
    resumed.learnt.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert train(resumed, 10) == train(sampler, 10)
    assert np.array_equal(hardness(resumed), hardness(sampler))


def test_importance_weights():
    sampler = HardnessWeightedBatchSampler(4, 4, seed=0, ess=0.0, beta=2.0, cap=None, smoothing=0.5)
    (ids,) = sampler
    assert sampler.importance_weights(torch.tensor([1.0, 2.0, 3.0, 4.0]), ids).tolist() == [1.0] * 4
    sampler.update([0.5] * 4, ids)
    sampler.sampler.refresh()
    assert sampler.sampler.table.beta_in_force == 2.0
    weights = sampler.importance_weights(torch.tensor([0.5, 0.7, 9.0, float("nan")], requires_grad=True), ids)
    assert weights.tolist() == pytest.approx([1.0, np.exp(2 * 0.5 * 0.2), 10.0, 1.0])
    assert not weights.requires_grad


def test_bad_input():
    for options, message in (
        ({"size": 0}, "size has to be a whole number, at least 1, given: 0"),
        ({"batch_size": 0}, "batch_size has to be a whole number"),
        ({"batch_size": 2.0}, "batch_size has to be a whole number"),
        ({"steps_per_epoch": 0}, "steps_per_epoch has to be a whole number"),
        ({"draw_by": "dice_ce"}, "draw_by has no meaning outside of nnU-Net"),
        ({"settings": Settings(structure_beta=2.0)}, "structure_beta has no meaning outside of nnU-Net"),
        ({"settings": Settings(), "ess": 0.5}, "give one of both"),
    ):
        with pytest.raises(ValueError, match=message):
            HardnessWeightedBatchSampler(**{"size": 4, "batch_size": 2, **options})
    with pytest.raises(SettingsError, match="did you mean 'ess'"):
        HardnessWeightedBatchSampler(4, 2, es=0.5)
    with pytest.raises(ValueError, match="the saved state is of 4 samples, the data set has 5"):
        HardnessWeightedBatchSampler(5, 2).learnt.load_state_dict(
            HardnessWeightedBatchSampler(4, 2).learnt.state_dict()
        )


def test_answers_that_cannot_be_right_change_nothing():
    sampler = HardnessWeightedBatchSampler(8, 2, seed=0)
    ids = next(iter(sampler))
    other = next(i for i in range(8) if i not in ids)
    for error, message, losses, indices in (
        (TypeError, r"no indices given: .* DataLoader\(sampler.indexed\(dataset\)", [1.0, 2.0], None),
        (TypeError, "indices are float64, expected whole numbers", [1.0, 2.0], [0.5, 1.0]),
        (TypeError, "indices are bool, expected whole numbers", [1.0, 2.0], torch.tensor([True, False])),
        (ValueError, r"losses of shape \(3,\) and indices of \(2,\) given", [1.0, 2.0, 3.0], ids),
        (ValueError, r"losses of shape \(1, 2\) and indices of \(1, 2\) given", [[1.0, 2.0]], [ids]),
        (ValueError, "indices from 0 to 8 given; there are 8 samples", [1.0, 2.0], [0, 8]),
        (ValueError, "indices from -1 to 3 given; there are 8 samples", [1.0, 2.0], [3, -1]),
        (RuntimeError, f"sample {other} was never drawn", [1.0, 2.0], [ids[0], other]),
    ):
        with pytest.raises(error, match=message):
            sampler.update(losses, indices)
    with pytest.raises(TypeError, match="no indices given"):
        sampler.importance_weights(torch.ones(2), None)
    assert sampler.sampler.table.visits.sum() == 0


def test_no_loader_finds_a_state():
    sampler = HardnessWeightedBatchSampler(4, 2)
    assert not hasattr(sampler, "load_state_dict")
    with pytest.raises(AttributeError, match=r"no attribute 'state_dict': loaders .* use sampler.learnt's"):
        sampler.state_dict()
    with pytest.raises(AttributeError, match=r"no attribute 'skip'$"):
        sampler.skip()


def test_losses_that_are_never_finite_are_told_once():
    sampler = HardnessWeightedBatchSampler(8, 4, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler.update([np.nan] * 4, next(iter(sampler)))
        for _ in range(24):
            sampler.update([np.nan, 1.0, np.nan, np.nan], next(iter(sampler)))
            sampler.update([np.inf] * 4, next(iter(sampler)))
            sampler.update([], [])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(60):
            sampler.update([np.nan] * 4, next(iter(sampler)))
    assert [str(one.message).split(":")[0] for one in told] == ["none of the last 100 losses was finite"]


def test_pytorchs_seed_is_enough():
    def drawn():
        torch.manual_seed(5)
        return list(HardnessWeightedBatchSampler(SIZE, 8))

    assert drawn() == drawn()


@pytest.mark.filterwarnings("error")  # of settings without effect: with weights and groups these have one
def test_weights_and_groups_of_samples():
    weights = np.arange(1, 21)
    sampler = HardnessWeightedBatchSampler(20, 4, seed=0, beta=0.0, with_replacement=True, weights=weights)
    for batch in sampler:
        sampler.update([0.5] * len(batch), batch)
    drawn = np.concatenate([batch for _ in range(400) for batch in sampler])
    assert np.abs(np.bincount(drawn) / len(drawn) - weights / weights.sum()).sum() / 2 < 0.05
    groups = HardnessWeightedBatchSampler(4, 2, groups=["a", "a", "b", "b"], group_pooling=1.0).sampler.groups
    assert groups.names == ("a", "b")
    with pytest.raises(ValueError, match="3 weights given; there are 4 cases"):
        HardnessWeightedBatchSampler(4, 2, weights=[1, 2, 3])
    with pytest.raises(ValueError, match="case_weights has no meaning outside of nnU-Net: give weights"):
        HardnessWeightedBatchSampler(4, 2, case_weights="weights.csv")
