"""What is recorded of each sample under every loss that nnU-Net v1's variants come with."""

import importlib
import pkgutil
from functools import partial

import numpy as np
import pytest
import torch

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from nnunet.training.loss_functions.deep_supervision import MultipleOutputLoss2
from nnunet.training.loss_functions.dice_loss import DC_and_BCE_loss, DC_and_CE_loss
from nnunet.training.network_training.nnUNet_variants import loss_function as variants
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2
from nnunet.utilities.nd_softmax import softmax_helper

from hws_nnunet.hosts.recorder import LossRecorder
from tests.hosts.dice import dice_by_structure

recorded = partial(LossRecorder, wrapper=MultipleOutputLoss2, softmax=softmax_helper)

CLASSES = 4


def trainers():
    for found in pkgutil.iter_modules(variants.__path__, variants.__name__ + "."):
        module = importlib.import_module(found.name)
        yield from (cls for cls in vars(module).values() if isinstance(cls, type))


TRAINERS = sorted({cls for cls in trainers() if issubclass(cls, nnUNetTrainerV2)}, key=lambda cls: cls.__name__)


@pytest.fixture
def loss_of(tmp_path):
    """Make a trainer as far as it needs no data, and return its loss."""

    def make(trainer):
        folder = tmp_path / "preprocessed" / "Task001_Balls"
        output = tmp_path / "results" / "nnUNet" / "3d_fullres" / folder.name / "trainer__plans"
        return trainer("plans.pkl", 0, output_folder=str(output), dataset_directory=str(folder), stage=0).loss

    return make


def batch(samples=3):
    """Return outputs and targets of two resolutions; the last sample lacks a structure."""
    torch.manual_seed(0)
    outputs, targets = [], []
    for size in (12, 6):
        outputs.append((3 * torch.randn(samples, CLASSES, size, size, size)).requires_grad_())
        target = torch.randint(0, CLASSES, (samples, 1, size, size, size)).float()
        target[-1][target[-1] == 2] = 0
        targets.append(target)
    return outputs, targets


def alone(loss, output, target):
    """Return the loss of each sample alone; both arguments are tensors or lists of them."""

    def sample(value, i):
        return [sample(part, i) for part in value] if isinstance(value, list) else value[i : i + 1].clone()

    with torch.no_grad():
        return [float(loss(sample(output, i), sample(target, i))) for i in range(3)]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda cls: cls.__name__)
def test_what_is_recorded_of_each_sample(loss_of, trainer, deep):
    host = loss_of(trainer)
    outputs, targets = batch()
    wrapped = MultipleOutputLoss2(host, [0.7, 0.3]) if deep else host
    given = (outputs, targets) if deep else (outputs[0], targets[0])
    wrapped(*given).backward()
    expected = [output.grad for output in outputs]
    for one in (False, True):
        for output in outputs:
            output.grad = None
        recorder = recorded(wrapped, alone=one)
        value = recorder(*given)
        value.backward()
        assert value.item() == wrapped(*given).item()
        for output, gradient in zip(outputs, expected, strict=True):
            assert (output.grad is None and gradient is None) or torch.equal(output.grad, gradient)
        values = recorder.take()
        assert values.structures == pytest.approx(dice_by_structure(outputs[0], targets[0]), abs=1e-6, nan_ok=True)
        assert np.argwhere(np.isnan(values.structures)).tolist() == [[2, 1]]
        assert values.dice_present == pytest.approx(np.nanmean(values.structures, axis=1))
        standard = recorder._standard
        known = alone(host, outputs[0], targets[0]) if standard else alone(wrapped, *given) if one else [np.nan] * 3
        recorder(*given)
        values = recorder.take()
        assert values.dice_ce.tolist() == pytest.approx(known, abs=1e-5, nan_ok=True)


def test_a_loss_that_writes_into_its_target_still_gets_its_own():
    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False}
    host, (outputs, targets) = DC_and_CE_loss(options, {}, ignore_label=3), batch()
    before = targets[0].clone()
    expected = alone(host, outputs[0], targets[0])
    recorder = recorded(host, alone=True)
    value = recorder(outputs[0], targets[0])
    assert recorder.take().dice_ce.tolist() == pytest.approx(expected, abs=1e-5)
    assert value.item() == host(outputs[0], before).item()


def test_regions():
    host = DC_and_BCE_loss({}, {"batch_dice": False, "do_bg": True, "smooth": 0})
    torch.manual_seed(0)
    output, target = torch.randn(3, 3, 8, 8, requires_grad=True), (torch.rand(3, 3, 8, 8) < 0.3).float()
    target[1, 2] = 0
    recorder = recorded(host, alone=True)
    recorder(output, target)
    values = recorder.take()
    assert values.dice_ce.tolist() == pytest.approx(alone(host, output, target), abs=1e-5)
    assert np.argwhere(np.isnan(values.structures)).tolist() == [[1, 2]]
