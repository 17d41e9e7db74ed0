import pytest
import torch
from torch import nn

from hws_nnunet import per_sample


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
