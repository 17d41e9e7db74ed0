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


WORKERS = [(0, None), (2, "fork"), (4, "fork")]
WORKERS += [pytest.param(2, method, marks=pytest.mark.slow) for method in ("spawn", "forkserver")]


@pytest.mark.parametrize(("workers", "method"), WORKERS)
def test_answers_reach_the_right_samples(workers, method):
    """Were they shifted by one batch, hardly any tracked loss would be its sample's."""
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0)
    loader = DataLoader(
        Indices(),
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context=method and multiprocessing.get_context(method),
        persistent_workers=workers > 0,
    )
    assert len(loader) == 5
    seen = 0
    for _ in range(3):
        for batch in loader:
            sampler.update(loss_of(batch).requires_grad_())
            seen += len(batch)
        assert seen == sampler.sampler.table.visits.sum()
    assert hardness(sampler) == pytest.approx(np.arange(SIZE) / SIZE, abs=0.01)
    assert sampler.sampler.table.weighted


def test_shifted_answers_are_seen_by_the_test_above():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0)
    late = None
    for batch in DataLoader(Indices(), batch_sampler=sampler):
        sampler.update(loss_of(batch if late is None else late))
        late = batch
    assert (np.abs(hardness(sampler) - np.arange(SIZE) / SIZE) > 0.0125).sum() > SIZE / 2


def test_a_break_shifts_nothing():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0, steps_per_epoch=20)
    loader = DataLoader(Indices(), batch_sampler=sampler, num_workers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            for step, batch in enumerate(loader):
                if step == 3:
                    break  # this one, and all that are out
                sampler.update(loss_of(batch))
    known = hardness(sampler)
    assert np.isfinite(known).sum() > SIZE / 2
    assert known[np.isfinite(known)] == pytest.approx((np.arange(SIZE) / SIZE)[np.isfinite(known)], abs=0.01)


def test_with_indices_batches_may_be_dropped_and_answered_out_of_order():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0, steps_per_epoch=30)
    waiting = None
    for step, batch in enumerate(DataLoader(Indices(), batch_sampler=sampler, num_workers=2)):
        if step % 3 == 0:
            waiting = batch
        elif step % 3 == 2:
            sampler.update(loss_of(batch), batch)
            sampler.update(loss_of(waiting), waiting.tolist())
    known = hardness(sampler)
    assert known[np.isfinite(known)] == pytest.approx((np.arange(SIZE) / SIZE)[np.isfinite(known)], abs=0.01)
    with pytest.warns(UserWarning, match="10 of the last pass's 30 batches were not answered"):
        next(iter(sampler))


def test_a_batch_can_be_skipped_and_an_earlier_pass_has_ended():
    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=0, smoothing=0.0, steps_per_epoch=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step, batch in enumerate(DataLoader(Indices(), batch_sampler=sampler, num_workers=2)):
            if step % 3 == 1:
                sampler.skip()
            else:
                sampler.update(loss_of(batch))
        old, _ = iter(sampler), iter(sampler)
    known = hardness(sampler)
    assert known[np.isfinite(known)] == pytest.approx((np.arange(SIZE) / SIZE)[np.isfinite(known)], abs=0.01)
    with pytest.raises(RuntimeError, match="another pass has begun since"):
        next(old)
    with pytest.raises(RuntimeError, match="no batch is out"):
        sampler.skip()


def test_the_first_pass_sees_all_and_then_draws_follow_the_closed_form():
    settings = Settings(ess=0.3, smoothing=0.0)
    sampler = HardnessWeightedBatchSampler(10, 1, seed=1, settings=settings)
    first = []
    for (index,) in sampler:
        first.append(index)
        sampler.update([0.1 * index])
    assert sorted(first) == list(range(10))
    for _ in range(60):
        for (index,) in sampler:
            sampler.update([0.1 * index])
    drawn, p = [], sampler.sampler.probabilities()
    for _ in range(400):
        drawn += [index for (index,) in sampler]  # none is answered, so that nothing moves
        sampler._out.clear()
    assert naive.close(np.bincount(drawn, minlength=10), p)
    assert p.max() > 0.2


def test_beta_0_draws_uniformly_and_tracks():
    sampler = HardnessWeightedBatchSampler(10, 5, seed=0, beta=0.0, steps_per_epoch=2000)
    counts = np.zeros(10, dtype=int)
    for batch in sampler:
        assert len(set(batch)) == 5
        counts[batch] += 1
        sampler.update(np.array(batch) / 10)
    assert naive.total_variation(counts / counts.sum(), np.full(10, 0.1)) < 0.02
    assert hardness(sampler).argmax() == 9


def test_a_resumed_training_equals_one_that_went_on(tmp_path):
    def train(sampler, passes):
        drawn = []
        for _ in range(passes):
            for batch in sampler:
                drawn.append(batch)
                sampler.update(loss_of(batch) + 0.01 * torch.arange(len(batch)))
        return drawn

    sampler = HardnessWeightedBatchSampler(SIZE, 8, seed=3)
    train(sampler, 10)
    torch.save(sampler.state_dict(), tmp_path / "state")
    resumed = HardnessWeightedBatchSampler(SIZE, 8)
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert train(resumed, 10) == train(sampler, 10)
    assert np.array_equal(hardness(resumed), hardness(sampler))


def test_importance_weights():
    sampler = HardnessWeightedBatchSampler(4, 4, seed=0, ess=0.0, beta=2.0, cap=None, smoothing=0.5)
    passes = iter(sampler)
    ids = next(passes)
    assert sampler.importance_weights(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1.0] * 4
    sampler.update([0.5] * 4)
    sampler.sampler.refresh()
    next(iter(sampler))
    beta = sampler.sampler.table.beta
    weights = sampler.importance_weights(torch.tensor([0.5, 0.7, 9.0, float("nan")], requires_grad=True))
    assert beta == 2.0
    assert weights.tolist() == pytest.approx([1.0, np.exp(2 * 0.5 * 0.2), 10.0, 1.0])
    assert not weights.requires_grad
    assert len(ids) == 4


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
    sampler = HardnessWeightedBatchSampler(4, 2)
    with pytest.raises(RuntimeError, match="no batch is out"):
        sampler.update([1.0, 2.0])
    passes = iter(sampler)
    ids = next(passes)
    with pytest.raises(ValueError, match=r"losses of shape \(3,\) given, expected one for each of 2 samples"):
        sampler.update([1.0, 2.0, 3.0])
    with pytest.raises(RuntimeError, match=r"no batch with the indices \[7, 8\] is out; 1 others are"):
        sampler.update([1.0, 2.0], [7, 8])
    sampler.update([1.0, 2.0], ids)
    assert sampler.sampler.table.visits.sum() == 2
    with pytest.raises(ValueError, match="the saved state is of 4 samples, the data set has 5"):
        HardnessWeightedBatchSampler(5, 2).load_state_dict(sampler.state_dict())


def test_pytorchs_seed_is_enough():
    def drawn():
        torch.manual_seed(5)
        return list(HardnessWeightedBatchSampler(SIZE, 8))

    assert drawn() == drawn()


def test_weights_and_groups_of_samples():
    weights = np.arange(1, 21)
    sampler = HardnessWeightedBatchSampler(20, 4, seed=0, beta=0.0, with_replacement=True, weights=weights)
    for batch in sampler:
        sampler.update([0.5] * len(batch))
    drawn = np.concatenate([batch for _ in range(400) for batch in sampler])
    assert np.abs(np.bincount(drawn) / len(drawn) - weights / weights.sum()).sum() / 2 < 0.05
    groups = HardnessWeightedBatchSampler(4, 2, groups=["a", "a", "b", "b"], group_pooling=1.0).sampler.groups
    assert groups.names == ("a", "b")
    with pytest.raises(ValueError, match="3 weights given; there are 4 cases"):
        HardnessWeightedBatchSampler(4, 2, weights=[1, 2, 3])
    with pytest.raises(ValueError, match="case_weights has no meaning outside of nnU-Net: give weights"):
        HardnessWeightedBatchSampler(4, 2, case_weights="weights.csv")
