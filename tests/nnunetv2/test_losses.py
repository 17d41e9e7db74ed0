"""What is recorded of each sample under every loss that nnU-Net v2 comes with."""

import importlib
import pkgutil
import weakref
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants import loss as variants
from nnunetv2.utilities.helpers import softmax_helper_dim1

from hws_nnunet.hosts import recorder as module
from hws_nnunet.hosts.measures import sums_by_structure
from hws_nnunet.hosts.recorder import LossRecorder
from scripts.benchmarks.operations import Operations
from tests.hosts.dice import dice_by_structure

recorded = partial(LossRecorder, wrapper=DeepSupervisionWrapper, softmax=softmax_helper_dim1)

CLASSES = 4  # or regions


def trainers():
    yield nnUNetTrainer
    for found in pkgutil.iter_modules(variants.__path__, variants.__name__ + "."):
        module = importlib.import_module(found.name)
        yield from (cls for cls in vars(module).values() if "_build_loss" in getattr(cls, "__dict__", {}))


TRAINERS = sorted({cls for cls in trainers() if isinstance(cls, type)}, key=lambda cls: cls.__name__)


STANDARD = [cls for cls in TRAINERS if cls.__name__ in ("nnUNetTrainer", "nnUNetTrainerDiceCELoss_noSmooth")]
"""Whose loss is soft Dice and cross entropy: that of each sample is known without being asked for."""


def build(trainer, *, regions=False, ignore=None, batch_dice=False, deep=True):
    """Build a trainer's loss from what it asks of itself; skip where it refuses such labels."""
    labels = SimpleNamespace(has_regions=regions, ignore_label=ignore, has_ignore_label=ignore is not None)
    asked = SimpleNamespace(
        label_manager=labels,
        configuration_manager=SimpleNamespace(batch_dice=batch_dice),
        is_ddp=False,
        enable_deep_supervision=deep,
        _get_deep_supervision_scales=lambda: [[1, 1, 1], [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]],
        _do_i_compile=lambda: False,
    )
    try:
        return trainer._build_loss(asked)
    except AssertionError as error:
        pytest.skip(str(error))


def batch(*, regions=False, ignore=None, samples=3):
    """Return outputs and targets of three resolutions; the last sample lacks a structure."""
    torch.manual_seed(0)
    outputs, targets = [], []
    for size in (12, 6, 3):
        outputs.append((3 * torch.randn(samples, CLASSES, size, size, size)).requires_grad_())
        target = torch.randint(0, CLASSES, (samples, 1, size, size, size))
        target[-1][target[-1] == 2] = 0
        if ignore is not None:
            target[torch.rand(target.shape) < 0.3] = ignore
        if regions:
            channels = [target >= number for number in range(CLASSES)]
            channels[2][-1] = False
            if ignore is not None:
                channels = [channel & (target != ignore) for channel in channels] + [target == ignore]
            target = torch.cat(channels, dim=1)
        targets.append(target if regions else target.to(torch.int16))
    return outputs, targets


def alone(loss, output, target):
    """Return the loss of each sample alone; both arguments are tensors or lists of them."""

    def sample(value, i):
        return [sample(part, i) for part in value] if isinstance(value, list) else value[i : i + 1].clone()

    with torch.no_grad():
        return [float(loss(sample(output, i), sample(target, i))) for i in range(3)]


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ignore", [None, CLASSES])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda cls: cls.__name__)
def test_what_is_recorded_of_each_sample(trainer, regions, ignore, deep, batch_dice):
    if trainer.__name__ == "nnUNetTrainerDiceLoss" and ignore is not None and not regions:
        pytest.skip("nnU-Net's own loss fails there")
    host = build(trainer, regions=regions, ignore=ignore, batch_dice=batch_dice, deep=deep)
    outputs, targets = batch(regions=regions, ignore=ignore)
    given = (outputs, targets) if deep else (outputs[0], targets[0])
    host(*given).backward()
    expected = [output.grad for output in outputs]
    dice = dice_by_structure(outputs[0], targets[0], ignore_label=ignore)
    full = host.loss if deep else host
    for one in (False, True):
        for output in outputs:
            output.grad = None
        recorder = recorded(host, ignore_label=ignore, alone=one)
        value = recorder(*given)
        value.backward()
        assert value.item() == host(*given).item()
        for output, gradient in zip(outputs, expected, strict=True):
            assert (output.grad is None and gradient is None) or torch.equal(output.grad, gradient)
        values = recorder.take()
        assert values.structures.shape == (3, CLASSES if regions else CLASSES - 1)
        assert values.structures == pytest.approx(dice, abs=1e-6, nan_ok=True)
        assert np.argwhere(np.isnan(values.structures)).tolist() == [[2, 2 if regions else 1]]
        assert values.dice_present == pytest.approx(np.nanmean(values.structures, axis=1))
        standard = trainer in STANDARD
        known = alone(full, outputs[0], targets[0]) if standard else alone(host, *given) if one else [np.nan] * 3
        for _ in range(2):  # of the first step, in which they are compared, and of another
            assert values.dice_ce.tolist() == pytest.approx(known, abs=1e-5, nan_ok=True)
            recorder(*given)
            values = recorder.take()


@pytest.mark.parametrize(("regions", "ignore", "most"), [(False, None, 8), (True, None, 7), (False, CLASSES, 10)])
@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("batch_dice", [False, True])
def test_few_operations_more_than_stock(regions, ignore, most, one, batch_dice):
    """What a step takes on a GPU where nothing is compiled: each operation starts a kernel there."""
    host = build(nnUNetTrainer, regions=regions, ignore=ignore, batch_dice=batch_dice)
    recorder = recorded(host, ignore_label=ignore, alone=one)
    outputs, targets = batch(regions=regions, ignore=ignore)
    recorder(outputs, targets)
    recorder.take()  # once, they are compared with the host's
    counts = []
    for loss in (host, recorder):
        with Operations() as operations:
            torch.autograd.grad(loss(outputs, targets), outputs, allow_unused=True)
        counts.append(len(operations.names))
    assert counts[1] - counts[0] <= most


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("ignore", [None, CLASSES])
def test_probabilities_are_the_hosts_own(monkeypatch, regions, ignore):
    host = build(nnUNetTrainer, regions=regions, ignore=ignore)
    outputs, targets = batch(regions=regions, ignore=ignore)
    before, given = host.loss.dc.apply_nonlin, []

    def watched(logits, target, *, probabilities, **options):
        given.append(probabilities)
        return sums_by_structure(logits, target, probabilities=probabilities, **options)

    monkeypatch.setattr(module, "sums_by_structure", watched)
    recorded(host, ignore_label=ignore, alone=False)(outputs, targets)
    assert host.loss.dc.apply_nonlin is before
    nonlinearity = torch.sigmoid if regions else softmax_helper_dim1
    assert torch.equal(given[0], nonlinearity(outputs[0]))
    assert not given[0].requires_grad


def test_a_weight_that_changes_takes_effect_in_both():
    host, (outputs, targets) = build(nnUNetTrainer), batch()
    recorder = recorded(host, alone=True)
    recorder(outputs, targets)
    recorder.loss.weight_ce = 0.1
    recorder.weight_factors = (2.0, 0.0, 0.0)
    assert host.weight_factors == (2.0, 0.0, 0.0)
    assert recorder(outputs, targets).item() == pytest.approx(2 * host.loss(outputs[0], targets[0]).item())
    assert recorder.take().dice_ce.tolist() == pytest.approx(alone(host.loss, outputs[0], targets[0]), abs=1e-5)


CUDA = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_under_autocast_and_nothing_is_kept(monkeypatch, device, regions):
    """As a training step goes: the network's output has half the precision, the losses are float32."""
    host = build(nnUNetTrainer, regions=regions)
    recorder = recorded(host, alone=False)
    outputs, targets = batch(regions=regions)
    half = torch.bfloat16 if device == "cpu" else torch.float16
    outputs = [output.detach().to(device, half).requires_grad_() for output in outputs]
    targets = [target.to(device) for target in targets]
    kept = []

    def watched(logits, target, *, probabilities, **options):
        kept.extend(weakref.ref(tensor) for tensor in (logits, target, probabilities) if tensor is not None)
        return sums_by_structure(logits, target, probabilities=probabilities, **options)

    monkeypatch.setattr(module, "sums_by_structure", watched)
    with torch.autocast(device, dtype=half):
        expected = host(outputs, targets).item()
        value = recorder(outputs, targets)
        own = dice_by_structure(outputs[0].detach().float(), targets[0])
    value.backward()
    assert value.item() == expected
    assert recorder.take().structures == pytest.approx(own, abs=1e-4, nan_ok=True)
    assert len(kept) == 3, "the host's probabilities are used, of half precision or not"
    del outputs, targets, value
    assert all(reference() is None for reference in kept)


def test_a_region_that_is_absent_is_no_other_loss_in_half_precision_late_in_a_training(monkeypatch):
    """The host's sigmoid is 0 below the smallest half, of which Dice of an absent region is 1, and less above."""
    monkeypatch.setattr(module, "_OFTEN", 2)
    lines = []
    recorder = recorded(build(nnUNetTrainer, regions=True, deep=False), softmax=torch.sigmoid, log=lines.append)
    target = torch.zeros(2, CLASSES, 8, 8, 8)
    target[:, :2, 2:6, 2:6, 2:6] = 1
    for confidence in (1.0, 19.0):
        recorder((confidence * (2 * target - 1)).half().requires_grad_(), target)
        loss = recorder.take().dice_ce
    assert lines == []
    assert loss == pytest.approx(-1.0, abs=1e-3)


@pytest.mark.parametrize("regions", [False, True])
def test_a_sample_without_annotation_does_not_put_off_the_comparison(regions):
    host, lines = build(nnUNetTrainer, regions=regions, ignore=CLASSES, deep=False), []
    (outputs, *_), (targets, *_) = batch(regions=regions, ignore=CLASSES)
    if regions:
        targets[0] = False
        targets[0, -1] = True
    else:
        targets[0] = CLASSES
    calls = []
    host.register_forward_hook(lambda *given: calls.append(1))
    softmax = torch.sigmoid if regions else softmax_helper_dim1
    recorder = recorded(host, softmax=softmax, ignore_label=CLASSES, log=lines.append)
    for _ in range(3):
        calls.clear()
        recorder(outputs, targets)
        assert np.isnan(recorder.take().dice_ce).tolist() == [True, False, False]
    assert calls == [1]
    assert lines == []
