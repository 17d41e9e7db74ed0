"""What is recorded of each sample under every loss that nnU-Net v1's variants come with."""

import importlib
import pkgutil

import pytest
import torch

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from nnunet.training.loss_functions.deep_supervision import MultipleOutputLoss2
from nnunet.training.loss_functions.dice_loss import DC_and_BCE_loss, DC_and_CE_loss
from nnunet.training.network_training.nnUNet_variants import loss_function as variants
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2

from hws_nnunet.nnunetv1.losses import LOSSES
from hws_nnunet.training.weighting import recorded

CLASSES = 4


def trainers():
    for found in pkgutil.iter_modules(variants.__path__, variants.__name__ + "."):
        module = importlib.import_module(found.name)
        yield from (cls for cls in vars(module).values() if isinstance(cls, type))


TRAINERS = sorted({cls for cls in trainers() if issubclass(cls, nnUNetTrainerV2)}, key=lambda cls: cls.__name__)
KNOWN = ("nnUNetTrainerV2", "noSmooth", "_ForceBD", "_ForceSD", "FromCEToDice")


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
    with torch.no_grad():
        return [float(loss(output[i : i + 1], target[i : i + 1].clone())) for i in range(len(output))]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda cls: cls.__name__)
def test_what_is_recorded_is_the_hosts_loss_of_each_sample(loss_of, trainer, deep):
    host = loss_of(trainer)
    assert (LOSSES.known(host) is not None) == trainer.__name__.endswith(KNOWN)
    outputs, targets = batch()
    wrapped = MultipleOutputLoss2(host, [0.7, 0.3]) if deep else host
    given = (outputs, targets) if deep else (outputs[0], targets[0])
    wrapped(*given).backward()
    expected = [output.grad for output in outputs]
    for output in outputs:
        output.grad = None
    recorder = recorded(wrapped, LOSSES)
    value = recorder(*given)
    value.backward()
    assert value.item() == wrapped(*given).item()
    for output, gradient in zip(outputs, expected, strict=True):
        assert (output.grad is None and gradient is None) or torch.equal(output.grad, gradient)
    values = recorder.take()
    assert values[:, 0].tolist() == pytest.approx(alone(host, outputs[0], targets[0]), abs=1e-5, nan_ok=True)
    assert torch.from_numpy(values[:, 2:]).isnan().nonzero().tolist() == [[2, 1]]


def ce_loss(dice=None, **options):
    return DC_and_CE_loss({"batch_dice": False, "smooth": 1e-5, "do_bg": False, **(dice or {})}, {}, **options)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"weight_ce": 0.3, "weight_dice": 2.0}, True),
        ({"dice": {"smooth": 0.5}}, True),
        ({"dice": {"do_bg": True}}, False),
        ({"log_dice": True}, False),
        ({"square_dice": True}, False),
        ({"ignore_label": 3}, False),
    ],
)
def test_options(options, known):
    host, (outputs, targets) = ce_loss(**options), batch()
    assert (LOSSES.known(host) is not None) == known
    before = targets[0].clone()
    expected = alone(host, outputs[0], targets[0])
    recorder = recorded(host, LOSSES)
    value = recorder(outputs[0], targets[0])
    assert recorder.take()[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert value.item() == host(outputs[0], before).item()


def test_regions():
    host = DC_and_BCE_loss({}, {"batch_dice": False, "do_bg": True, "smooth": 0})
    torch.manual_seed(0)
    output, target = torch.randn(3, 3, 8, 8, requires_grad=True), (torch.rand(3, 3, 8, 8) < 0.3).float()
    target[1, 2] = 0
    recorder = recorded(host, LOSSES)
    recorder(output, target)
    values = recorder.take()
    assert values[:, 0].tolist() == pytest.approx(alone(host, output, target), abs=1e-5)
    assert torch.from_numpy(values[:, 2:]).isnan().nonzero().tolist() == [[1, 2]]
