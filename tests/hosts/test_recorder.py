import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet.hosts.measures import dice_by_structure
from hws_nnunet.hosts.recorder import LossRecorder


class SquaredError(nn.Module):
    def forward(self, output, target):
        outputs, targets = (output, target) if isinstance(output, list) else ([output], [target])
        return sum(((o - t) ** 2).mean() for o, t in zip(outputs, targets, strict=True))


def recorder_of(**options):
    return LossRecorder(SquaredError(), **{"alone": True, **options})


def alone(output, target):
    return ((output - target) ** 2).flatten(1).mean(1).detach().numpy()


@pytest.fixture
def batch():
    """Two regions."""
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 4, requires_grad=True), (torch.rand(3, 2, 4, 4) < 0.5).float()


@pytest.mark.parametrize("deep", [False, True])
def test_value_and_gradient_pass_through_untouched(batch, deep):
    output, target = batch
    arguments = ([output, output[..., ::2]], [target, target[..., ::2]]) if deep else (output, target)
    host, recorder = SquaredError(), recorder_of(alone=False)
    (expected,) = torch.autograd.grad(host(*arguments), output)
    value = recorder(*arguments)
    (got,) = torch.autograd.grad(value, output)
    assert value.item() == host(*arguments).item()
    assert torch.equal(got, expected)
    values = recorder.take()
    assert values.dtype == np.float64
    dice = dice_by_structure(output, target)
    assert values[:, 1:] == pytest.approx(dice.numpy())
    assert values[:, 0] == pytest.approx(dice.mean(1).numpy())


@pytest.mark.parametrize("deep", [False, True])
def test_the_hosts_loss_of_each_sample_can_be_tracked(batch, deep):
    output, target = batch
    recorder = recorder_of()
    recorder(*(([output] * 2, [target] * 2) if deep else (output, target)))
    values = recorder.take()
    assert values[:, 0] == pytest.approx((1 + deep) * alone(output, target))
    assert values[:, 1:] == pytest.approx(dice_by_structure(output, target).numpy())


def test_class_numbers_without_a_channel_as_pytorchs_losses_take_them():
    torch.manual_seed(0)
    output, target = torch.randn(3, 4, 5, 5, requires_grad=True), torch.randint(4, (3, 5, 5))
    recorder = LossRecorder(nn.CrossEntropyLoss(), alone=True)
    assert recorder(output, target).item() == nn.CrossEntropyLoss()(output, target).item()
    values = recorder.take()
    each = nn.CrossEntropyLoss(reduction="none")(output, target).flatten(1).mean(1)
    assert values[:, 0] == pytest.approx(each.detach().numpy())
    assert values[:, 1:] == pytest.approx(dice_by_structure(output, target[:, None]).numpy())


def test_records_only_while_gradients_are_enabled(batch):
    recorder = recorder_of()
    with torch.no_grad():
        recorder(*batch)
    with pytest.raises(RuntimeError, match="no loss was computed with gradients"):
        recorder.take()
    recorder(*batch)
    recorder.take()
    with pytest.raises(RuntimeError, match="no loss was computed with gradients"):
        recorder.take()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_arrive_from_a_cuda_device(batch):
    output, target = (tensor.detach().cuda().requires_grad_() for tensor in batch)
    recorder = recorder_of()
    recorder(output, target)
    expected = dice_by_structure(output, target).cpu().numpy()
    assert recorder.take()[:, 1:] == pytest.approx(expected, abs=1e-6)


def test_attributes_are_the_hosts(batch):
    host = nn.CrossEntropyLoss(label_smoothing=0.1)
    recorder = LossRecorder(host, alone=False)
    recorder.label_smoothing = 0.0
    assert host.label_smoothing == 0.0
    assert recorder.reduction == "mean"
    with pytest.raises(AttributeError, match="no_such_thing"):
        recorder.no_such_thing  # noqa: B018
