"""What is recorded of each sample under every loss that nnU-Net v2 comes with."""

import importlib
import pkgutil
import weakref
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
from nnunetv2.training.loss import compound_losses, dice, robust_ce_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants import loss as variants
from nnunetv2.utilities.helpers import softmax_helper_dim1
from torch import nn

from hws_nnunet.nnunetv2.losses import host_losses
from hws_nnunet.training.weighting import recorded

CLASSES = 4  # or regions


def trainers():
    yield nnUNetTrainer
    for found in pkgutil.iter_modules(variants.__path__, variants.__name__ + "."):
        module = importlib.import_module(found.name)
        yield from (cls for cls in vars(module).values() if "_build_loss" in getattr(cls, "__dict__", {}))


TRAINERS = sorted({cls for cls in trainers() if isinstance(cls, type)}, key=lambda cls: cls.__name__)
KNOWN = ("nnUNetTrainer", "nnUNetTrainerDiceCELoss_noSmooth")


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


def at_one_resolution(loss):
    return loss.loss if isinstance(loss, DeepSupervisionWrapper) else loss


def alone(loss, output, target):
    with torch.no_grad():
        return [float(loss(output[i : i + 1], target[i : i + 1])) for i in range(len(output))]


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ignore", [None, CLASSES])
@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda cls: cls.__name__)
def test_what_is_recorded_is_the_hosts_loss_of_each_sample(trainer, regions, ignore, deep, batch_dice):
    options = {"regions": regions, "ignore": ignore}
    host = build(trainer, **options, batch_dice=batch_dice, deep=deep)
    losses = host_losses(regions=regions, ignore_label=ignore)
    recorder = recorded(host, losses)
    assert (losses.known(at_one_resolution(host)) is not None) == (trainer.__name__ in KNOWN)
    outputs, targets = batch(**options)
    given = (outputs, targets) if deep else (outputs[0], targets[0])
    if trainer.__name__ == "nnUNetTrainerDiceLoss" and ignore is not None and not regions:
        with pytest.raises(RuntimeError, match="the loss MemoryEfficientSoftDiceLoss fails with one sample alone"):
            recorder(*given)
        return
    host(*given).backward()
    expected = [output.grad for output in outputs]
    for output in outputs:
        output.grad = None
    value = recorder(*given)
    value.backward()
    assert value.item() == host(*given).item()
    for output, gradient in zip(outputs, expected, strict=True):
        assert (output.grad is None and gradient is None) or torch.equal(output.grad, gradient)
    values = recorder.take()
    assert values.shape == (3, 2 + (CLASSES if regions else CLASSES - 1))
    assert values[:, 0].tolist() == pytest.approx(alone(at_one_resolution(host), outputs[0], targets[0]), abs=1e-5)
    missing = torch.from_numpy(values[:, 2:]).isnan()
    assert missing.nonzero().tolist() == [[2, 2 if regions else 1]]
    own = losses.per_sample(outputs[0].detach(), targets[0])
    assert values[:, 1].tolist() == pytest.approx(own.dice_present.tolist(), abs=1e-4)


def dice_ce(**changes):
    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False, **changes.pop("dice", {})}
    ce = changes.pop("ce", {})
    return compound_losses.DC_and_CE_loss(options, ce, dice_class=dice.MemoryEfficientSoftDiceLoss, **changes)


class Doubled(compound_losses.DC_and_CE_loss):
    def forward(self, net_output, target):
        return 2 * super().forward(net_output, target)


def hooked():
    loss = dice_ce()
    loss.ce.register_forward_hook(lambda module, given, value: 2 * value)
    return loss


def other_nonlinearity():
    loss = dice_ce()
    loss.dc.apply_nonlin = lambda x: torch.softmax(2 * x, 1)
    return loss


OTHERS = {
    "background in Dice": lambda: dice_ce(dice={"do_bg": True}),
    "class weights": lambda: dice_ce(ce={"weight": torch.tensor([0.1, 1.0, 2.0, 3.0])}),
    "label smoothing": lambda: dice_ce(ce={"label_smoothing": 0.1}),
    "an index to ignore": lambda: dice_ce(ce={"ignore_index": 1}),
    "a sum": lambda: dice_ce(ce={"reduction": "sum"}),
    "a class of its own": lambda: Doubled({"do_bg": False, "ddp": False}, {}),
    "hook": hooked,
    "nonlinearity": other_nonlinearity,
    "clipped": lambda: compound_losses.DC_and_CE_loss({"do_bg": False, "ddp": False, "clip_tp": 50.0}, {}),
    "focal": lambda: Focal(),
    "function": lambda: lambda output, target: robust_ce_loss.RobustCrossEntropyLoss()(output, target),
}


class Focal(nn.Module):
    def forward(self, output, target):
        p = output.softmax(1).gather(1, target.long())
        return (-((1 - p) ** 2) * p.log()).mean()


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS.keys())
def test_whatever_differs_is_computed_by_the_host(make):
    host, losses = make(), host_losses(regions=False, ignore_label=None)
    assert losses.known(host) is None
    outputs, targets = batch()
    recorder = recorded(host, losses)
    recorder(outputs[0], targets[0])
    assert recorder.take()[:, 0].tolist() == pytest.approx(alone(host, outputs[0], targets[0]), abs=1e-5)


@pytest.mark.parametrize(
    "host",
    [
        dice_ce(weight_ce=0.3, weight_dice=2.0),
        dice_ce(weight_dice=0),
        dice_ce(weight_ce=0, dice={"smooth": 1.0}),
        compound_losses.DC_and_CE_loss({"do_bg": False, "ddp": False, "batch_dice": True}, {}),
    ],
)
def test_known_options_are_the_hosts(host):
    losses = host_losses(regions=False, ignore_label=None)
    assert losses.known(host) is not None
    outputs, targets = batch()
    recorder = recorded(host, losses)
    recorder(outputs[0], targets[0])
    assert recorder.take()[:, 0].tolist() == pytest.approx(alone(host, outputs[0], targets[0]), abs=1e-5)


def test_a_weight_that_changes_takes_effect_in_both():
    host, (outputs, targets) = build(nnUNetTrainer), batch()
    recorder = recorded(host, host_losses(regions=False, ignore_label=None))
    recorder(outputs, targets)
    recorder.loss.weight_ce = 0.1
    recorder.weight_factors = (2.0, 0.0, 0.0)
    assert host.weight_factors == (2.0, 0.0, 0.0)
    assert recorder(outputs, targets).item() == pytest.approx(2 * host.loss(outputs[0], targets[0]).item())
    assert recorder.take()[:, 0].tolist() == pytest.approx(alone(host.loss, outputs[0], targets[0]), abs=1e-5)


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("ignore", [None, CLASSES])
def test_probabilities_are_the_hosts_own(monkeypatch, regions, ignore):
    host = build(nnUNetTrainer, regions=regions, ignore=ignore)
    losses = host_losses(regions=regions, ignore_label=ignore)
    outputs, targets = batch(regions=regions, ignore=ignore)
    recorder, before = recorded(host, losses), host.loss.dc.apply_nonlin
    expected = losses.per_sample(outputs[0].detach(), targets[0]).stacked()
    given = []

    def watched(*args):
        given.append(args[2])
        return measure(*args)

    measure = recorder._measure
    monkeypatch.setattr(recorder, "_measure", watched)
    recorder(outputs, targets)
    assert host.loss.dc.apply_nonlin is before
    nonlinearity = torch.sigmoid if regions else softmax_helper_dim1
    assert torch.equal(given[0], nonlinearity(outputs[0]))
    assert not given[0].requires_grad
    assert recorder.take() == pytest.approx(expected.numpy(), abs=1e-5, nan_ok=True)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_under_autocast_and_nothing_is_kept(device, regions):
    """As a training step goes: the network's output has half the precision, the losses are float32."""
    host = build(nnUNetTrainer, regions=regions)
    losses = host_losses(regions=regions, ignore_label=None)
    recorder = recorded(host, losses)
    outputs, targets = batch(regions=regions)
    half = torch.bfloat16 if device == "cpu" else torch.float16
    outputs = [output.detach().to(device, half).requires_grad_() for output in outputs]
    targets = [target.to(device) for target in targets]
    kept, measure = [], recorder._measure

    def watched(*given):
        kept.extend(weakref.ref(tensor) for tensor in given if tensor is not None)
        return measure(*given)

    recorder._measure = watched
    with torch.autocast(device, dtype=half):
        expected = host(outputs, targets).item()
        value = recorder(outputs, targets)
        own = losses.per_sample(outputs[0].detach().float(), targets[0]).stacked()
    value.backward()
    assert value.item() == expected
    assert recorder.take() == pytest.approx(own.cpu().numpy(), abs=1e-4, nan_ok=True)
    used = device == "cuda" and not regions  # elsewhere autocast leaves probabilities in half precision
    assert len(kept) == 2 + used
    del outputs, targets, value
    assert all(reference() is None for reference in kept)


def test_the_hosts_function_is_put_back_after_an_error():
    host = dice_ce()
    before = host.dc.apply_nonlin
    outputs, _ = batch()
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        recorded(host, host_losses(regions=False, ignore_label=None))(outputs[0], torch.zeros(1, 1))
    assert host.dc.apply_nonlin is before


@pytest.mark.parametrize("what", ["dice", "all"])
def test_a_compiled_loss_is_known_and_left_alone(what):
    host = dice_ce()
    losses = host_losses(regions=False, ignore_label=None)
    if what == "dice":
        host.dc = torch.compile(host.dc, backend="eager")
        loss = DeepSupervisionWrapper(host, [1.0, 0.0, 0.0])
    else:
        loss = torch.compile(DeepSupervisionWrapper(host, [1.0, 0.0, 0.0]), backend="eager")
    outputs, targets = batch()
    recorder = recorded(loss, losses)
    assert recorder._dice_of(outputs) is None
    assert losses.known(host) is not None
    recorder(outputs, targets)
    assert recorder.take()[:, 0].tolist() == pytest.approx(alone(dice_ce(), outputs[0], targets[0]), abs=1e-5)


class Several(nn.Module):
    def forward(self, outputs, targets):
        return sum((output**2).mean() for output in outputs)


class PerClass(nn.Module):
    def forward(self, output, target):
        return output.flatten(2).mean(2)


def test_what_cannot_be_told_is_refused_by_name():
    losses = host_losses(regions=False, ignore_label=None)
    outputs, targets = batch()
    with pytest.raises(NotImplementedError, match="the loss Several takes the network's output at several resolutions"):
        recorded(Several(), losses)(outputs, targets)
    with pytest.raises(TypeError, match=r"the loss PerClass gives a tensor of shape \(1, 4\) for one sample"):
        recorded(PerClass(), losses)(outputs[0], targets[0])
