import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet.training.recorder import LossRecorder


class SquaredError(nn.Module):
    def forward(self, output, target):
        outputs, targets = (output, target) if isinstance(output, list) else ([output], [target])
        return sum(((o - t) ** 2).mean() for o, t in zip(outputs, targets, strict=True))


def measure(logits, target, probabilities=None):
    error = ((logits - target) ** 2).flatten(1).mean(1)
    return torch.stack((error, 2 * error), dim=1)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(3, 2, 4, 4, requires_grad=True), torch.randn(3, 2, 4, 4)


@pytest.mark.parametrize("deep", [False, True])
def test_value_and_gradient_pass_through_untouched(batch, deep):
    output, target = batch
    arguments = ([output, output[..., ::2]], [target, target[..., ::2]]) if deep else (output, target)
    host, recorder = SquaredError(), LossRecorder(SquaredError(), measure)
    (expected,) = torch.autograd.grad(host(*arguments), output)
    value = recorder(*arguments)
    (got,) = torch.autograd.grad(value, output)
    assert value.item() == host(*arguments).item()
    assert torch.equal(got, expected)
    values = recorder.take()
    assert values.dtype == np.float64
    assert values == pytest.approx(measure(output, target).detach().numpy())


def test_records_only_while_gradients_are_enabled(batch):
    recorder = LossRecorder(SquaredError(), measure)
    with torch.no_grad():
        recorder(*batch)
    with pytest.raises(RuntimeError, match="no loss was computed with gradients"):
        recorder.take()
    recorder(*batch)
    recorder.take()
    with pytest.raises(RuntimeError, match="no loss was computed with gradients"):
        recorder.take()


def test_samples_can_be_weighed(batch):
    output, target = batch
    recorder = LossRecorder(SquaredError(), measure)
    weights = torch.tensor([0.1, 1.0, 10.0])
    recorder.weigh_next(lambda values: weights)
    value = recorder(output, target)
    assert value.item() == pytest.approx((weights * measure(output, target)[:, 0]).mean().item())
    recorder.weigh_next(lambda values: torch.ones(3))
    assert recorder([output], [target]).item() == pytest.approx(SquaredError()(output, target).item())
    recorder.weigh_next(None)
    assert recorder(output, target).item() == SquaredError()(output, target).item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_arrive_from_a_cuda_device(batch):
    output, target = (tensor.detach().cuda().requires_grad_() for tensor in batch)
    recorder = LossRecorder(SquaredError(), measure)
    recorder(output, target)
    assert recorder.take() == pytest.approx(measure(output, target).detach().cpu().numpy())
