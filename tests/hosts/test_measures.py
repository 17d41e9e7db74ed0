import itertools

import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet.hosts.measures import (
    DiceAndEntropy,
    losses_alone,
    read_sums,
    room_for_sums,
    sums_by_structure,
    watched_probabilities,
)
from scripts.benchmarks.operations import Operations
from tests.hosts.dice import dice_by_structure

SHAPES = [(9, 11), (6, 5, 7)]


def by_definition(p, reference, valid=None):
    """1 - 2 |p r| / (|p| + |r|) of each channel of one sample, over valid voxels."""
    valid = torch.ones_like(reference[0]) if valid is None else valid
    found = []
    for one, other in zip(p.double(), reference.double(), strict=True):
        one, other = one[valid > 0], other[valid > 0]
        found.append(float(1 - 2 * (one * other).sum() / (one.sum() + other.sum())) if other.any() else float("nan"))
    return found


def one_hot(labels, classes):
    return torch.stack([labels == number for number in range(1, classes)]).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize(("classes", "shape"), list(itertools.product([2, 3, 9, 40], SHAPES)))
def test_dice_of_classes(classes, shape, ignore, dtype):
    torch.manual_seed(0)
    logits = (torch.randn(4, classes, *shape) * 4).to(dtype)
    target = torch.randint(0, classes + ignore, (4, 1, *shape)).to(torch.int16)
    target[1][target[1] == classes - 1] = 0  # an absent class
    target[2] = 0  # background alone
    target[3] = classes if ignore else 0  # nothing annotated
    found = dice_by_structure(logits, target, ignore_label=classes if ignore else None)
    assert found.shape == (4, classes - 1)
    assert found.dtype == np.float64
    p = logits.float().softmax(1)[:, 1:]
    for i, labels in enumerate(target[:, 0]):
        expected = by_definition(p[i], one_hot(labels, classes), labels < classes)
        assert found[i].tolist() == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("as_bool", [False, True])
@pytest.mark.parametrize(("regions", "shape"), list(itertools.product([1, 3, 20], SHAPES)))
def test_dice_of_regions(regions, shape, as_bool, ignore):
    torch.manual_seed(2)
    logits = torch.randn(3, regions, *shape) * 4
    target = torch.rand(3, regions + ignore, *shape) < 0.3
    target[1, 0] = False
    if ignore:
        target[2, -1] = True
    found = dice_by_structure(logits, target if as_bool else target.to(torch.int16))
    assert found.shape == (3, regions)
    for i, reference in enumerate(target):
        valid = ~reference[-1] if ignore else None
        expected = by_definition(logits[i].sigmoid(), reference[:regions].float(), valid)
        assert found[i].tolist() == pytest.approx(expected, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities_that_are_known_change_nothing(shape, ignore):
    torch.manual_seed(7)
    logits = torch.randn(2, 3, *shape) * 4
    target = torch.randint(0, 3 + ignore, (2, 1, *shape)).to(torch.int16)
    label = 3 if ignore else None
    before = logits.softmax(1)
    given = dice_by_structure(logits, target, ignore_label=label, probabilities=before)
    assert given == pytest.approx(dice_by_structure(logits, target, ignore_label=label), abs=1e-6, nan_ok=True)
    assert torch.equal(before, logits.softmax(1)), "they are the host's"
    regions = torch.cat([target == number for number in range(3 + ignore)], dim=1)
    before = logits.sigmoid()
    given = dice_by_structure(logits, regions, probabilities=before)
    assert np.array_equal(given, dice_by_structure(logits, regions), equal_nan=True)
    assert torch.equal(before, logits.sigmoid()), "they are the host's"


def test_no_gradient_is_kept_and_inputs_stay():
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    target = torch.randint(0, 3, (2, 1, 8, 8))
    before = logits.detach().clone(), target.clone()
    assert not sums_by_structure(logits, target).requires_grad
    dice_by_structure(logits, torch.rand(2, 3, 8, 8) < 0.5)
    assert torch.equal(before[0], logits.detach())
    assert torch.equal(before[1], target)


def test_a_class_that_is_ruled_out_is_no_nan():
    logits, target = torch.randn(1, 3, 6, 6), torch.ones(1, 1, 6, 6)
    logits[:, 2] = -torch.inf
    assert dice_by_structure(logits, target)[0, 0] > 0


def test_empty_batch():
    assert dice_by_structure(torch.zeros(0, 3, 4, 4), torch.zeros(0, 1, 4, 4)).shape == (0, 2)
    assert dice_by_structure(torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)).shape == (0, 3)


@pytest.mark.parametrize(("half", "ignore"), [(False, False), (True, True)])
@pytest.mark.parametrize(("classes", "shape"), [(16, (48, 48, 48)), (40, (32, 32, 32))])
def test_extra_memory_stays_below_that_of_some_copies_of_the_logits(classes, shape, half, ignore):
    """Counted as the sum of what is alive, by torch's own profiler; masks take a quarter of a copy."""
    logits = torch.randn(2, classes, *shape)
    one_copy = 4 * logits.numel()
    logits = logits.half() if half else logits
    target = torch.randint(0, classes + ignore, (2, 1, *shape)).to(torch.int16)
    known = {"ignore_label": classes if ignore else None, "probabilities": logits.float().softmax(1)}
    assert 0 < peak_memory(lambda: sums_by_structure(logits, target, **known)) <= one_copy * 2.4
    del known["probabilities"]
    assert 0 < peak_memory(lambda: sums_by_structure(logits, target, **known)) <= one_copy * 3.4


def peak_memory(call):
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call()
    alive = peak = 0
    memory = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(memory, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


MOST = {("classes", False): 8, ("classes", True): 10, ("regions", False): 8, ("regions", True): 12}


@pytest.mark.parametrize(("of", "ignore"), MOST)
@pytest.mark.parametrize("shape", SHAPES)
def test_few_operations_whatever_the_number_of_samples_and_structures(of, ignore, shape):
    """Each starts a kernel on a GPU, which a small network feels; probabilities are known there."""
    logits = torch.randn(3, 5, *shape)
    if of == "classes":
        target, p = torch.randint(0, 5 + ignore, (3, 1, *shape)).to(torch.int16), logits.softmax(1)
    else:
        target, p = torch.rand(3, 5 + ignore, *shape) < 0.3, logits.sigmoid()
    known = {"probabilities": p, "ignore_label": 5 if ignore and of == "classes" else None}
    room = room_for_sums(logits, target)
    sums_by_structure(logits, target, **known, out=room)
    with Operations() as operations:
        sums_by_structure(logits, target, **known, out=room)
    assert len(operations.names) <= MOST[of, ignore], operations.names
    assert torch.equal(room[:4], sums_by_structure(logits, target, **known)[:4])


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (2, 2, 4, 4), (1, 1, 4, 4), (2, 5, 4, 4), (2, 4, 4)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match=r"expected \(2, 1, 4, 4\) \(class numbers\), or 3 or 4 channels \(regions\)"):
        dice_by_structure(torch.zeros(2, 3, 4, 4), torch.zeros(shape))


# ------------------------------------------------------------------ the host's loss


class MeanSquare(nn.Module):
    def forward(self, output, target):
        target[target == 2] = 0  # nnU-Net v1's loss with an ignored label does that
        return ((output - target) ** 2).mean()


def test_losses_of_samples_alone():
    output, target = torch.randn(3, 1, 4, 4, requires_grad=True), torch.randint(0, 3, (3, 1, 4, 4)).float()
    before = target.clone()
    found = losses_alone(MeanSquare(), output, target)
    assert torch.equal(target, before)
    assert not found.requires_grad
    expected = ((output - torch.where(target == 2, 0.0, target)) ** 2).flatten(1).mean(1)
    assert found == pytest.approx(expected.detach())
    deep = losses_alone(lambda outputs, targets: outputs[0].mean() + targets[1].mean(), [output] * 2, [target] * 2)
    assert deep == pytest.approx((output + target).flatten(1).mean(1).detach(), abs=1e-6)


@pytest.mark.parametrize("of_regions", [False, True])
def test_a_sample_of_which_no_voxel_counts_has_no_loss(of_regions):
    logits = torch.randn(2, 2, 4, 4)
    target = torch.randint(0, 2, (2, 3 if of_regions else 1, 4, 4))
    target[1] = 1 if of_regions else 2  # all to be ignored
    values = sums_by_structure(logits, target, ignore_label=None if of_regions else 2)
    losses = DiceAndEntropy(1.0, 1.0, 1e-5, False).of_samples(read_sums(values, of_regions=of_regions, voxels=16))
    assert np.isfinite(losses).tolist() == [True, False]


def test_a_loss_that_gives_no_number_for_a_sample_is_refused_by_name():
    class PerClass(nn.Module):
        def forward(self, output, target):
            return output.flatten(2).mean(2)

    output = torch.randn(2, 4, 3, 3)
    with pytest.raises(TypeError, match=r"the loss PerClass gives a tensor of shape \(1, 4\) for one sample"):
        losses_alone(PerClass(), output, output)
    with pytest.raises(TypeError, match="the loss MeanSquare gives float for one sample"):
        losses_alone(type("MeanSquare", (), {"__call__": lambda *given: 1.0})(), output, output)
    with pytest.raises(RuntimeError, match="the loss fails fails with one sample alone, of which it is"):
        losses_alone(fails, output, output)


def fails(output, target):
    raise ValueError("no")


class Dice(nn.Module):
    def __init__(self, nonlinearity):
        super().__init__()
        self.apply_nonlin = nonlinearity

    def forward(self, output):
        return self.apply_nonlin(output).mean()


def test_probabilities_are_kept_of_the_full_resolution_and_of_one_function_alone():
    logits, smaller = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(2, 3, 4, 4)
    for nonlinearity, kept in ((torch.sigmoid, 1), (lambda x: x.sigmoid(), 0), (None, 0)):
        loss = nn.Sequential(Dice(nonlinearity))
        with watched_probabilities(loss, torch.sigmoid, logits) as found:
            if nonlinearity is not None:
                loss[0](logits)
                loss[0](smaller)
        assert len(found) == kept
        assert loss[0].apply_nonlin is nonlinearity
        for probabilities in found:
            assert torch.equal(probabilities, logits.sigmoid())
            assert not probabilities.requires_grad
    half = logits.detach().half()
    with watched_probabilities(loss := Dice(torch.sigmoid), torch.sigmoid, half) as found:
        loss(half)
    assert torch.equal(found[0], half.sigmoid())


@pytest.mark.parametrize("whole", [False, True])
def test_a_compiled_loss_is_left_alone(whole):
    logits, loss = torch.randn(2, 3, 8, 8), nn.Sequential(Dice(torch.sigmoid))
    if whole:
        loss = torch.compile(loss, backend="eager")
    else:
        loss[0] = torch.compile(loss[0], backend="eager")
    with watched_probabilities(loss, torch.sigmoid, logits) as found:
        loss(logits)
    assert found == []


def test_the_hosts_function_is_put_back_after_an_error():
    loss, logits = Dice(torch.sigmoid), torch.randn(1, 1)
    with pytest.raises(ZeroDivisionError), watched_probabilities(loss, torch.sigmoid, logits):
        raise ZeroDivisionError
    assert loss.apply_nonlin is torch.sigmoid
