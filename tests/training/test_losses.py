import itertools
from functools import partial

import pytest
import torch

from hws_nnunet.training.losses import (
    _sums_by_counting,
    _sums_by_masks,
    importance_weights,
    per_sample_dice_bce,
    per_sample_dice_ce,
)

SHAPES = [(9, 11), (6, 5, 7)]
compound = pytest.importorskip("nnunetv2.training.loss.compound_losses", reason="nnU-Net v2 is not installed")
dice = pytest.importorskip("nnunetv2.training.loss.dice")


def ce_loss(ignore=None, batch_dice=False, **weights):
    options = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    return compound.DC_and_CE_loss(
        options, {}, ignore_label=ignore, dice_class=dice.MemoryEfficientSoftDiceLoss, **weights
    )


def bce_loss(ignore=False, **weights):
    options = {"batch_dice": False, "do_bg": True, "smooth": 1e-5, "ddp": False}
    return compound.DC_and_BCE_loss(
        {}, options, use_ignore_label=ignore, dice_class=dice.MemoryEfficientSoftDiceLoss, **weights
    )


def one_by_one(host, logits, target):
    return torch.stack([host(logits[i : i + 1].float(), target[i : i + 1]) for i in range(len(logits))])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize(("classes", "shape"), list(itertools.product([2, 3, 9, 40], SHAPES)))
def test_dice_ce_equals_nnunets(classes, shape, batch_dice, dtype):
    torch.manual_seed(0)
    logits = (torch.randn(3, classes, *shape) * 4).to(dtype)
    target = torch.randint(0, classes, (3, 1, *shape)).to(torch.int16)
    target[1][target[1] == classes - 1] = 0  # an absent class
    target[2] = 0  # background alone
    losses = per_sample_dice_ce(logits, target)
    assert losses.loss == pytest.approx(one_by_one(ce_loss(batch_dice=batch_dice), logits, target), abs=1e-5)
    assert losses.loss.shape == losses.dice_present.shape == (3,)
    assert losses.loss.dtype == torch.float32


@pytest.mark.parametrize(("classes", "shape"), list(itertools.product([2, 5], SHAPES)))
def test_dice_ce_with_ignored_voxels_equals_nnunets(classes, shape):
    torch.manual_seed(1)
    logits = torch.randn(4, classes, *shape) * 4
    target = torch.randint(0, classes, (4, 1, *shape)).to(torch.int16)
    target[torch.rand(target.shape) < 0.4] = classes
    target[3] = classes  # nothing annotated
    losses = per_sample_dice_ce(logits, target, ignore_label=classes)
    assert losses.loss == pytest.approx(one_by_one(ce_loss(ignore=classes), logits, target), abs=1e-5)
    assert torch.isnan(losses.dice_present).tolist() == [False, False, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("as_bool", [False, True])
@pytest.mark.parametrize(("regions", "shape"), list(itertools.product([1, 3, 20], SHAPES)))
def test_dice_bce_equals_nnunets(regions, shape, as_bool, ignore, dtype):
    torch.manual_seed(2)
    logits = (torch.randn(3, regions, *shape) * 4).to(dtype)
    target = torch.rand(3, regions + ignore, *shape) < 0.3
    target[1, 0] = False
    if ignore:
        target[2, -1] = True
    target = target if as_bool else target.to(torch.int16)
    losses = per_sample_dice_bce(logits, target, has_ignore=ignore)
    assert losses.loss == pytest.approx(one_by_one(bce_loss(ignore), logits, target), abs=1e-5)


def test_weights_are_the_hosts():
    torch.manual_seed(3)
    logits, target = torch.randn(2, 3, 8, 8), torch.randint(0, 3, (2, 1, 8, 8))
    weights = {"weight_ce": 0.3, "weight_dice": 2.0}
    expected = one_by_one(ce_loss(**weights), logits, target)
    assert per_sample_dice_ce(logits, target, **weights).loss == pytest.approx(expected, abs=1e-5)
    regions = torch.rand(2, 3, 8, 8) < 0.5
    expected = one_by_one(bce_loss(**weights), logits, regions)
    assert per_sample_dice_bce(logits, regions, **weights).loss == pytest.approx(expected, abs=1e-5)


def test_dice_over_present_classes():
    torch.manual_seed(4)
    logits = torch.randn(3, 4, 6, 6)
    target = torch.randint(0, 4, (3, 1, 6, 6))
    target[1][target[1] == 2] = 0
    target[2] = 0
    p = logits.softmax(1)
    expected = []
    for sample, reference in zip(p, target[:, 0], strict=True):
        scores = []
        for label in (1, 2, 3):
            here = (reference == label).float()
            if here.any():
                scores.append((2 * (sample[label] * here).sum() + 1e-5) / (sample[label].sum() + here.sum() + 1e-5))
        expected.append(1 - torch.stack(scores).mean() if scores else torch.tensor(float("nan")))
    got = per_sample_dice_ce(logits, target[:, 0]).dice_present  # without a channel axis, too
    assert got == pytest.approx(torch.stack(expected), abs=1e-6, nan_ok=True)
    assert torch.isnan(got[2])
    perfect = torch.nn.functional.one_hot(target[:2, 0], 4).movedim(-1, 1) * 50.0
    assert per_sample_dice_ce(perfect, target[:2]).dice_present == pytest.approx(torch.zeros(2), abs=1e-6)


def test_dice_by_structure():
    torch.manual_seed(6)
    logits = torch.randn(3, 4, 6, 6)
    target = torch.randint(0, 4, (3, 1, 6, 6))
    target[1][target[1] == 2] = 0
    target[2] = 0
    of_classes = per_sample_dice_ce(logits, target)
    regions = torch.cat([target == label for label in (1, 2, 3)], dim=1)
    of_regions = per_sample_dice_bce(logits[:, 1:], regions)
    for losses, p in ((of_classes, logits.softmax(1)[:, 1:]), (of_regions, logits[:, 1:].sigmoid())):
        found = losses.dice_by_structure
        assert found.isnan().tolist() == [[False] * 3, [False, True, False], [True] * 3]
        expected = [
            float(1 - 2 * (p[i, k] * regions[i, k]).sum() / (p[i, k].sum() + regions[i, k].sum()))
            for i, k in ((0, 1), (1, 2))
        ]
        assert [found[0, 1].item(), found[1, 2].item()] == pytest.approx(expected, abs=1e-5)
        assert losses.dice_present == pytest.approx(found.nanmean(1), nan_ok=True)
        columns = losses.stacked()
        assert columns.shape == (3, 5)
        assert columns[:, 0].tolist() == losses.loss.tolist()
        assert columns[:2, 1].tolist() == losses.dice_present[:2].tolist()


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (128, 128, 70)])
def test_probabilities_that_are_known_change_nothing(shape, ignore):
    torch.manual_seed(7)
    logits = torch.randn(2, 3, *shape) * 4
    target = torch.randint(0, 3 + ignore, (2, 1, *shape)).to(torch.int16)
    label = 3 if ignore else None
    before = logits.softmax(1)
    given = per_sample_dice_ce(logits, target, ignore_label=label, probabilities=before)
    assert given.stacked() == pytest.approx(per_sample_dice_ce(logits, target, ignore_label=label).stacked(), abs=1e-5)
    assert torch.equal(before, logits.softmax(1)), "they are the host's"
    regions = torch.cat([target == number for number in range(3 + ignore)], dim=1)
    before = logits.sigmoid()
    given = per_sample_dice_bce(logits, regions, has_ignore=ignore, probabilities=before)
    assert given.stacked() == pytest.approx(per_sample_dice_bce(logits, regions, has_ignore=ignore).stacked(), abs=1e-5)
    assert torch.equal(before, logits.sigmoid()), "they are the host's"


def test_no_gradient_is_kept_and_inputs_stay():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 8, 8))
    before = logits.detach().clone(), target.clone()
    losses = per_sample_dice_ce(logits, target)
    per_sample_dice_bce(logits, torch.rand(2, 3, 8, 8) < 0.5)
    assert not losses.loss.requires_grad
    assert torch.equal(before[0], logits.detach())
    assert torch.equal(before[1], target)


def test_a_class_that_is_ruled_out_is_no_nan():
    logits, target = torch.randn(1, 3, 6, 6), torch.zeros(1, 1, 6, 6)
    logits[:, 2] = -torch.inf
    assert per_sample_dice_ce(logits, target).loss == pytest.approx(one_by_one(ce_loss(), logits, target), abs=1e-5)


def test_empty_batch():
    losses = per_sample_dice_ce(torch.zeros(0, 3, 4, 4), torch.zeros(0, 1, 4, 4))
    assert losses.loss.shape == (0,)
    assert losses.stacked().shape == (0, 4)


def test_sums_by_class_of_either_kind_of_device():
    torch.manual_seed(5)
    labels, values = torch.randint(0, 5, (1, 6, 7, 8)), torch.rand(1, 6, 7, 8)
    labels[labels == 3] = 4
    expected = [float(values[labels == number].sum()) for number in range(6)]
    for sums in (_sums_by_counting, _sums_by_masks):
        ones, found = sums(labels, 6, values)
        assert found.tolist() == pytest.approx(expected, rel=1e-6)
        assert ones.tolist() == torch.bincount(labels.flatten(), minlength=6).tolist()


@pytest.mark.parametrize(("half", "ignore"), [(False, False), (True, True)])
@pytest.mark.parametrize(("classes", "shape"), [(2, (63, 128, 128)), (16, (64, 64, 64))])
def test_extra_memory_stays_below_two_samples(classes, shape, half, ignore):
    """Counted as the sum of what is alive, by torch's own profiler."""
    logits = torch.randn(2, classes, *shape)
    logits = logits.half() if half else logits
    target = torch.randint(0, classes + ignore, (2, 1, *shape)).to(torch.int16)
    regions = torch.rand(2, classes + ignore, *shape) < 0.5
    allowed = max(2 * 4 * logits[0].numel(), 24 * 2**20)
    ignore_label = classes if ignore else None
    assert 0 < peak_memory(lambda: per_sample_dice_ce(logits, target, ignore_label=ignore_label)) <= allowed * 1.01
    assert 0 < peak_memory(lambda: per_sample_dice_bce(logits, regions, has_ignore=ignore)) <= allowed * 1.01
    p, given = logits.float().softmax(1), logits.float().sigmoid()
    call = partial(per_sample_dice_ce, logits, target, ignore_label=ignore_label, probabilities=p)
    assert 0 < peak_memory(call) <= allowed * 1.01
    call = partial(per_sample_dice_bce, logits, regions, has_ignore=ignore, probabilities=given)
    assert 0 < peak_memory(call) <= allowed * 1.01


def peak_memory(call):
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    alive = peak = 0
    memory = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(memory, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def test_bad_shapes():
    with pytest.raises(ValueError, match=r"target has shape \(2, 1, 4, 5\), expected \(2, 1, 4, 4\) \(class numbers\)"):
        per_sample_dice_ce(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 5))
    with pytest.raises(ValueError, match=r"expected \(2, 4, 4, 4\) \(regions and an ignore mask\)"):
        per_sample_dice_bce(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4), has_ignore=True)


def test_importance_weights():
    values = torch.tensor([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0], [-9.0, 0.0], [float("nan"), 0.0], [1.0, 0.0]])
    tracked = torch.tensor([1.0, 1.5, 0.0, 0.0, 0.0, float("nan")])
    weights = importance_weights(values, column=0, tracked=tracked, beta=2.0, smoothing=0.25)
    expected = [1.0, float(torch.exp(torch.tensor(2.0 * 0.75 * 0.5))), 10.0, 0.1, 1.0, 1.0]
    assert weights.tolist() == pytest.approx(expected)
