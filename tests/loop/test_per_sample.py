from collections import OrderedDict
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from hws_nnunet import HardnessWeightedBatchSampler, per_sample


def alone(criterion, output, target):
    return torch.stack([criterion(output[i : i + 1], target[i : i + 1]) for i in range(len(output))])


def classes(shape=(4, 3, 6, 5)):
    torch.manual_seed(0)
    return torch.randn(shape, requires_grad=True), torch.randint(0, shape[1], (shape[0], *shape[2:]))


def values(shape=(4, 3, 6)):
    torch.manual_seed(0)
    return torch.rand(shape, requires_grad=True), torch.rand(shape)


CASES = {
    "cross-entropy of voxels": (nn.CrossEntropyLoss, classes),
    "cross-entropy of images": (nn.CrossEntropyLoss, lambda: classes((4, 3))),
    "class weights": (lambda: nn.CrossEntropyLoss(weight=torch.tensor([0.1, 1.0, 5.0])), classes),
    "an index to ignore": (lambda: nn.CrossEntropyLoss(ignore_index=1), classes),
    "label smoothing": (lambda: nn.CrossEntropyLoss(label_smoothing=0.1), classes),
    "a sum": (lambda: nn.CrossEntropyLoss(reduction="sum"), classes),
    "binary": (lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])), values),
    "squares": (nn.MSELoss, values),
    "squares of numbers": (nn.MSELoss, lambda: values((4,))),
    "one of your own": (lambda: lambda output, target: (output - target).abs().max(), values),
}


@pytest.mark.parametrize(("make", "data"), CASES.values(), ids=CASES)
def test_is_the_criterion_of_each_sample_alone_with_its_gradient(make, data):
    criterion, (output, target) = make(), data()
    found = per_sample(criterion, output, target)
    expected = alone(criterion, output, target)
    assert found.shape == (4,)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    (got,) = torch.autograd.grad((weights * found).sum(), output)
    (wanted,) = torch.autograd.grad((weights * expected).sum(), output)
    assert torch.allclose(got, wanted, atol=1e-6)
    assert getattr(criterion, "reduction", "mean") in ("mean", "sum"), "it is put back"


def test_several_resolutions():
    output, target = values()
    found = per_sample(lambda o, t: (o[0] - t[0]).square().mean() + o[1].mean(), [output, 2 * output], [target, target])
    assert torch.allclose(found, (output - target).square().flatten(1).mean(1) + 2 * output.flatten(1).mean(1))


@pytest.mark.parametrize("name", ["DiceLoss", "DiceCELoss", "DiceFocalLoss", "TverskyLoss"])
def test_monais(name):
    losses = pytest.importorskip("monai.losses", reason="MONAI is not installed")
    criterion = getattr(losses, name)(softmax=True, to_onehot_y=True, include_background=name != "DiceLoss")
    output, target = classes()
    found = per_sample(criterion, output, target[:, None])
    assert found.tolist() == pytest.approx(alone(criterion, output, target[:, None]).tolist(), abs=1e-6)
    assert found.requires_grad


def masked(output, target):
    mask = target != 255
    return (nn.functional.cross_entropy(output, target.clamp(max=2), reduction="none") * mask).sum() / mask.sum()


NOTHING = {
    "an index to ignore": (nn.CrossEntropyLoss(ignore_index=255), 255),
    "class weight 0": (nn.CrossEntropyLoss(weight=torch.tensor([0.0, 1.0, 1.0])), 0),
    "a mean over a mask": (masked, 255),
}


@pytest.mark.parametrize(("criterion", "label"), NOTHING.values(), ids=NOTHING)
def test_a_sample_with_nothing_to_count_counts_for_nothing(criterion, label):
    output, _ = classes((4, 3, 8, 8))
    target = torch.randint(1, 3, (4, 8, 8))
    target[1] = label
    losses = per_sample(criterion, output, target)
    assert losses.isnan().tolist() == [False, True, False, False]
    kept = per_sample(criterion, output[[0, 2, 3]], target[[0, 2, 3]])
    for of_all, of_kept in (
        (losses.mean(), kept.mean()),
        (torch.sum(losses), kept.sum()),
        ((torch.tensor([1.0, 5.0, 2.0, 3.0]) * losses).mean(), (torch.tensor([1.0, 2.0, 3.0]) * kept).mean()),
        (losses.detach().mean(), kept.mean()),
    ):
        assert type(of_all) is torch.Tensor
        assert torch.allclose(of_all, of_kept)
        if of_all.requires_grad:
            got, wanted = (torch.autograd.grad(each, output, retain_graph=True)[0] for each in (of_all, of_kept))
            assert torch.allclose(got, wanted, atol=1e-6)
    sampler = HardnessWeightedBatchSampler(4, 4, seed=0)
    (ids,) = sampler
    sampler.update(losses, ids)
    assert np.isnan(sampler.sampler.table.hardness).nonzero()[0].tolist() == [ids[1]]


def test_pytorchs_criteria_are_called_once_however_small_the_losses_are():
    """One a sample, and four more to see whether a loss of 0 is a constant, would take a training's time in the end."""
    output, target = classes((64, 5))
    criterion, calls = nn.CrossEntropyLoss(), []
    criterion.register_forward_hook(lambda *given: calls.append(1))
    losses = per_sample(criterion, output + 100.0 * nn.functional.one_hot(target, 5), target)
    assert losses.tolist() == [0.0] * 64
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("criterion", "nothing"),
    [(nn.BCEWithLogitsLoss(pos_weight=torch.zeros(3, 1)), 1.0), (nn.CrossEntropyLoss(), 0.0)],
    ids=["positives of weight 0", "classes of probability 0"],
)
def test_pytorchs_criteria_of_a_sample_with_nothing_to_count(criterion, nothing):
    output, target = values()
    target[2] = nothing
    assert per_sample(criterion, output, target).isnan().tolist() == [False, False, True, False]


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.BCEWithLogitsLoss()], ids=["squares", "binary"])
def test_pytorchs_criteria_of_a_sample_whose_target_is_nan(criterion):
    output, target = values()
    target[2] = torch.nan
    losses = per_sample(criterion, output, target)
    assert losses.isnan().tolist() == [False, False, True, False]
    losses.mean().backward()
    assert output.grad.isfinite().all()
    assert output.grad[2].count_nonzero() == 0


def test_a_batch_with_nothing_to_count():
    output, target = classes()
    losses = per_sample(nn.CrossEntropyLoss(ignore_index=1), output, torch.ones_like(target))
    losses.mean().backward()
    assert losses.isnan().all()
    assert losses.mean() == losses.sum() == 0
    assert (output.grad == 0).all()
    plain = per_sample(nn.CrossEntropyLoss(ignore_index=1), output.detach(), torch.ones_like(target))
    assert not plain.requires_grad


def test_a_network_that_diverged_is_not_taken_for_nothing_to_count():
    output, target = classes()
    output = torch.where(torch.arange(4).view(4, 1, 1, 1) == 2, torch.nan, output)
    losses = per_sample(nn.CrossEntropyLoss(), output, target)
    assert losses.isnan().tolist() == [False, False, True, False]
    assert losses.mean().isnan()


class Named(NamedTuple):
    out: torch.Tensor
    aux: torch.Tensor | None


def test_outputs_of_any_structure():
    output, target = values()
    expected = (output - target).square().flatten(1).mean(1)
    for given, get in (
        ({"out": output, "aux": 2 * output}, lambda o: o["out"]),
        (OrderedDict(out=output), lambda o: o["out"]),
        (MappingProxyType({"out": output}), lambda o: o["out"]),
        (Named(output, None), lambda o: o.out),
        ((output, [output, {"a": output}]), lambda o: o[1][1]["a"]),
    ):
        kinds = set()

        def criterion(o, t, get=get, kinds=kinds):
            kinds.add(type(o))
            return (get(o) - get_target(t)).square().mean()

        def get_target(t):
            return t["label"]

        assert torch.allclose(per_sample(criterion, given, {"label": target}), expected)
        assert kinds == {dict if isinstance(given, MappingProxyType) else type(given)}


@pytest.mark.parametrize("kind", [nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss])
@pytest.mark.parametrize("shape", [(3, 1), (3, 1, 4, 4)])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_shapes_that_broadcast_do_not_mix_samples(kind, shape):
    output, target = torch.randn(shape), torch.randn(shape).squeeze(1)
    assert torch.allclose(per_sample(kind(), output, target), alone(kind(), output, target))


def test_errors_name_the_criterion():
    output, target = values()
    with pytest.raises(TypeError, match=r"the loss MSELoss gives a tensor of shape \(1, 3, 6\) for one sample"):
        per_sample(nn.MSELoss(reduction="none"), output, target)
    with pytest.raises(RuntimeError, match="the loss L1Loss2 fails with one sample alone"):
        per_sample(type("L1Loss2", (nn.Module,), {"forward": lambda self, a, b: 1 / 0})(), output, target)
    with pytest.raises(RuntimeError, match="the loss CrossEntropyLoss fails with one sample alone"):
        per_sample(nn.CrossEntropyLoss(), [output], [target])
    with pytest.raises(ValueError, match="output has 4 samples, target 3"):
        per_sample(nn.MSELoss(), output, target[:3])
    with pytest.raises(ValueError, match="output has 3 or 4 samples in its tensors, expected one number"):
        per_sample(nn.MSELoss(), [output, output[:3]], target)
    with pytest.raises(ValueError, match="target has no samples in its tensors"):
        per_sample(nn.MSELoss(), output, [])
    with pytest.raises(ValueError, match="output has 0 samples in its tensors"):
        per_sample(nn.MSELoss(), torch.tensor(1.0), target)
    with pytest.raises(
        TypeError, match=r"a tensor, or a list, tuple or mapping of tensors, each \(B, ...\), given: float"
    ):
        per_sample(nn.MSELoss(), {"out": 0.5}, target)
