import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet.hosts import recorder as recorder_module
from hws_nnunet.hosts.measures import losses_alone, sums_by_structure
from hws_nnunet.hosts.recorder import LossRecorder
from tests.hosts.dice import dice_by_structure


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
    lines = []
    host, recorder = SquaredError(), recorder_of(alone=False, log=lines.append)
    (expected,) = torch.autograd.grad(host(*arguments), output)
    value = recorder(*arguments)
    (got,) = torch.autograd.grad(value, output)
    assert value.item() == host(*arguments).item()
    assert torch.equal(got, expected)
    values = recorder.take()
    assert {column.dtype for column in values} == {np.dtype(np.float64)}
    dice = dice_by_structure(output, target)
    assert values.structures == pytest.approx(dice)
    assert values.dice_present == pytest.approx(dice.mean(1))
    assert np.isnan(values.dice_ce).all(), "it is not soft Dice and cross entropy, and was not asked for"
    assert lines[0].startswith("SquaredError is not soft Dice and cross entropy: the loss of each sample (dice_ce) is")


@pytest.mark.parametrize("deep", [False, True])
def test_the_hosts_loss_of_each_sample_can_be_tracked(batch, deep):
    output, target = batch
    recorder = recorder_of()
    recorder(*(([output] * 2, [target] * 2) if deep else (output, target)))
    values = recorder.take()
    assert values.dice_ce == pytest.approx((1 + deep) * alone(output, target))
    assert values.structures == pytest.approx(dice_by_structure(output, target))


def test_class_numbers_without_a_channel_as_pytorchs_losses_take_them():
    torch.manual_seed(0)
    output, target = torch.randn(3, 4, 5, 5, requires_grad=True), torch.randint(4, (3, 5, 5))
    recorder = LossRecorder(nn.CrossEntropyLoss(), alone=True)
    assert recorder(output, target).item() == nn.CrossEntropyLoss()(output, target).item()
    values = recorder.take()
    each = nn.CrossEntropyLoss(reduction="none")(output, target).flatten(1).mean(1)
    assert values.dice_ce == pytest.approx(each.detach().numpy())
    assert values.structures == pytest.approx(dice_by_structure(output, target[:, None]))


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
    assert recorder.take().structures == pytest.approx(dice_by_structure(output, target), abs=1e-6)


def test_values_arrive_from_devices_that_are_neither_cpu_nor_cuda(batch, monkeypatch):
    class Elsewhere(torch.Tensor):
        """As on mps, whose tensors give no arrays."""

        def numpy(self):
            raise TypeError("can't convert mps:0 device type tensor to numpy. Use Tensor.cpu()")

        def cpu(self):
            return self.as_subclass(torch.Tensor)

    made = recorder_module.sums_by_structure
    monkeypatch.setattr(recorder_module, "sums_by_structure", lambda *a, **o: made(*a, **o).as_subclass(Elsewhere))
    recorder = recorder_of()
    recorder(*batch)
    assert recorder.take().structures == pytest.approx(dice_by_structure(*batch))


def test_attributes_are_the_hosts(batch):
    host = nn.CrossEntropyLoss(label_smoothing=0.1)
    recorder = LossRecorder(host, alone=False)
    recorder.label_smoothing = 0.0
    assert host.label_smoothing == 0.0
    assert recorder.reduction == "mean"
    with pytest.raises(AttributeError, match="no_such_thing"):
        recorder.no_such_thing  # noqa: B018


class Standard(nn.Module):
    """Soft Dice and cross entropy of nnU-Net's names; ``other`` is added, which makes it something else."""

    def __init__(self, other=0.0):
        super().__init__()
        self.ce, self.dc, self.weight_ce, self.other = nn.CrossEntropyLoss(), Dice(), 0.5, other

    def forward(self, output, target):
        return self.weight_ce * self.ce(output, target[:, 0].long()) + self.dc(output, target) + self.other


class Dice(nn.Module):
    smooth, do_bg = 1e-5, False

    def forward(self, output, target):
        p = output.softmax(1).flatten(2)
        here = nn.functional.one_hot(target.long().flatten(1), output.shape[1]).movedim(2, 1)
        dice = (2 * (p * here).sum(2) + self.smooth) / (p.sum(2) + here.sum(2) + self.smooth)
        return -dice[:, 1:].mean()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("other", [0.0, 0.01])
def test_the_loss_of_sums_is_compared_with_the_hosts_in_the_first_step(other, alone):
    torch.manual_seed(0)
    host, lines = Standard(other), []
    recorder = LossRecorder(host, alone=alone, log=lines.append)
    for step in range(3):
        output, target = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randint(3, (2, 1, 5, 5))
        host.weight_ce = 0.5 + step
        recorder(output, target)
        expected = [host(output[i : i + 1], target[i : i + 1]).item() for i in range(2)]
        known = alone or not other
        assert recorder.take().dice_ce == pytest.approx(expected if known else [np.nan] * 2, abs=1e-6, nan_ok=True)
    assert len(lines) == (other > 0)
    if other:
        told = "it is called for each sample" if alone else "the loss of each sample (dice_ce) is not recorded"
        assert lines[0].startswith("Standard is not soft Dice and cross entropy alone: it gives [")
        assert lines[0].endswith(told)


def test_a_term_that_a_trainer_adds_by_and_by_is_found(monkeypatch):
    monkeypatch.setattr(recorder_module, "_OFTEN", 5)
    torch.manual_seed(0)
    host, lines, found = Standard(), [], []
    recorder = LossRecorder(host, alone=True, log=lines.append)
    for step in range(8):
        host.other = 0.1 * (step > 2)
        output, target = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randint(3, (2, 1, 5, 5))
        recorder(output, target)
        expected = losses_alone(host, output, target).numpy()
        found.append(np.allclose(recorder.take().dice_ce, expected, atol=1e-5))
    assert found == [True] * 3 + [False] + [True] * 4
    assert len(lines) == 1


class Sum(nn.Module):
    """Over resolutions, as nnU-Net's wrapper."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, outputs, targets):
        return sum(self.loss(*pair) for pair in zip(outputs, targets, strict=True))


class SumAndMore(Sum):
    def forward(self, outputs, targets):
        return super().forward(outputs, targets) + outputs[0].square().mean()


class More(Sum):
    def forward(self, output, target):
        return self.loss(output, target) + output.square().mean()


@pytest.mark.parametrize(("kind", "deep"), [(Sum, True), (SumAndMore, True), (More, False)])
def test_what_a_trainer_adds_to_a_standard_loss_is_part_of_its_loss(kind, deep):
    torch.manual_seed(0)
    host = kind(Standard())
    recorder = LossRecorder(host, wrapper=Sum, alone=True)
    for _ in range(2):
        output, target = torch.randn(2, 3, 6, 6, requires_grad=True), torch.randint(3, (2, 1, 6, 6))
        arguments = ([output, output[..., ::2]], [target, target[..., ::2]]) if deep else (output, target)
        recorder(*arguments)
        whole = losses_alone(Standard() if kind is Sum else host, *((output, target) if kind is Sum else arguments))
        assert recorder.take().dice_ce == pytest.approx(whole.numpy(), abs=1e-5)


def test_after_the_first_step_the_hosts_loss_is_called_once():
    output, target, calls = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randint(3, (2, 1, 5, 5)), []
    host = Standard()
    host.register_forward_hook(lambda *given: calls.append(1))
    recorder = LossRecorder(host, alone=True)
    for expected in (5, 1):  # the batch; each sample, of the whole loss and of the full resolution
        recorder(output, target)
        recorder.take()
        assert len(calls) == expected
        calls.clear()


def test_sums_that_cannot_be_compiled_are_computed_all_the_same(batch, monkeypatch):
    lines = []
    recorder = recorder_of(alone=False, log=lines.append)

    def fail(*args, **kwargs):
        raise RuntimeError("no compiler")

    recorder._compiled = fail
    for _ in range(2):
        recorder(*batch)
        assert recorder.take().structures == pytest.approx(dice_by_structure(*batch))
    assert lines[1:] == ["Losses are recorded without compiling: RuntimeError: no compiler"]


def test_sums_are_compiled_where_the_loss_is(batch, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled.append(function) or function)
    host = SquaredError()
    host._orig_mod = host.forward  # as torch.compile marks a module
    recorder = LossRecorder(host)
    recorder(*batch)
    assert compiled == [sums_by_structure]
    assert recorder.take().structures == pytest.approx(dice_by_structure(*batch))
