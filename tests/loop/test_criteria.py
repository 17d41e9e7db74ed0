"""Every criterion of PyTorch, MONAI and segmentation-models-pytorch that takes images: losses are each sample's own."""

import importlib
import inspect
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hws_nnunet import per_sample

SIDE, CLASSES = 12, 3


def of_classes(rng, samples, empty, *, classes=CLASSES, channel=False, ignored=0):
    """Return logits, and numbers of classes; an empty sample has one of them alone."""
    target = torch.randint(classes, (samples, SIDE, SIDE), generator=rng)
    if empty:
        target[0] = ignored
    logits = torch.randn((samples, classes, SIDE, SIDE), generator=rng)
    return logits, target[:, None] if channel else target


def of_channels(rng, samples, empty, *, classes=CLASSES):
    """Return logits, and one channel of 0 and 1 for each class."""
    logits, target = of_classes(rng, samples, empty, classes=classes)
    return logits, nn.functional.one_hot(target, classes).movedim(-1, 1).float()


def binary(rng, samples, empty):
    target = torch.randint(2, (samples, 1, SIDE, SIDE), generator=rng).float()
    if empty:
        target[0] = 0
    return torch.randn((samples, 1, SIDE, SIDE), generator=rng), target


def numbers(rng, samples, empty):
    """Return images; the target of an empty sample is 0."""
    output, target = (torch.rand((samples, 1, SIDE, SIDE), generator=rng) for _ in range(2))
    return output, target * (torch.arange(samples) > 0 if empty else torch.ones(samples)).view(-1, 1, 1, 1)


def numbers_without_channel(rng, samples, empty):
    output, target = numbers(rng, samples, empty)
    return output, target[:, 0]


def probabilities(data):
    def made(*how, **options):
        output, target = data(*how, **options)
        return output.sigmoid(), target

    return made


def log_probabilities(rng, samples, empty):
    output, target = of_classes(rng, samples, empty)
    return output.log_softmax(1), target


def signs(rng, samples, empty):
    output, target = binary(rng, samples, empty)
    return output, 2 * target - 1


def whole(rng, samples, empty):
    """Return logits and classes of whole images."""
    output, target = of_classes(rng, samples, empty)
    return output[..., 0, 0], target[..., 0, 0]


def whole_channels(rng, samples, empty):
    output, target = whole(rng, samples, empty)
    return output, nn.functional.one_hot(target, CLASSES).float()


def with_channel(*how):
    return of_classes(*how, channel=True)


def two_classes(*how):
    return of_channels(*how, classes=2)


def resolutions(rng, samples, empty):
    output, target = of_classes(rng, samples, empty, channel=True)
    return [output, output[..., ::2, ::2]], target


def made(name, **options):
    return lambda losses: getattr(losses, name)(**options)


MONAI = {"to_onehot_y": True, "softmax": True}
TORCH = {
    "CrossEntropyLoss": (made("CrossEntropyLoss"), of_classes),
    "CrossEntropyLoss of whole images": (made("CrossEntropyLoss"), whole),
    "CrossEntropyLoss of probabilities": (made("CrossEntropyLoss"), of_channels),
    "CrossEntropyLoss, weight 0": (made("CrossEntropyLoss", weight=torch.tensor([0.0, 1.0, 2.0])), of_classes),
    "CrossEntropyLoss, ignore_index": (made("CrossEntropyLoss", ignore_index=0), of_classes),
    "CrossEntropyLoss, label_smoothing": (made("CrossEntropyLoss", label_smoothing=0.1), of_classes),
    "NLLLoss": (made("NLLLoss"), log_probabilities),
    "NLLLoss, ignore_index": (made("NLLLoss", ignore_index=0), log_probabilities),
    "BCELoss": (made("BCELoss"), probabilities(binary)),
    "BCEWithLogitsLoss": (made("BCEWithLogitsLoss"), binary),
    "BCEWithLogitsLoss, pos_weight": (made("BCEWithLogitsLoss", pos_weight=torch.rand(1, SIDE, SIDE)), binary),
    "BCEWithLogitsLoss, pos_weight of a batch": (
        made("BCEWithLogitsLoss", pos_weight=torch.rand(2, 1, SIDE, SIDE)),
        binary,
    ),
    **{name: (made(name), numbers) for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss")},
    "MSELoss without channel": (made("MSELoss"), numbers_without_channel),
    "L1Loss without channel": (made("L1Loss"), numbers_without_channel),
    "SmoothL1Loss without channel": (made("SmoothL1Loss"), numbers_without_channel),
    "HuberLoss without channel": (made("HuberLoss"), numbers_without_channel),
    "MSELoss, sum": (made("MSELoss", reduction="sum"), numbers),
    "KLDivLoss": (made("KLDivLoss", reduction="batchmean"), numbers),
    "SoftMarginLoss": (made("SoftMarginLoss"), signs),
    "HingeEmbeddingLoss": (made("HingeEmbeddingLoss"), signs),
    "MultiLabelSoftMarginLoss": (made("MultiLabelSoftMarginLoss"), whole_channels),
    "MultiMarginLoss": (made("MultiMarginLoss"), whole),
}
OF_MONAI = {
    **{
        name: (made(name, **MONAI), with_channel)
        for name in ("DiceLoss", "DiceCELoss", "DiceFocalLoss", "GeneralizedDiceLoss", "TverskyLoss", "MaskedDiceLoss")
    },
    **{name: (made(name, **MONAI), with_channel) for name in ("HausdorffDTLoss", "LogHausdorffDTLoss")},
    "DiceLoss, batch": (made("DiceLoss", batch=True, include_background=False, **MONAI), with_channel),
    "GeneralizedDiceFocalLoss": (made("GeneralizedDiceFocalLoss", **MONAI), with_channel),
    "FocalLoss": (made("FocalLoss", to_onehot_y=True, use_softmax=True), with_channel),
    "MCCLoss": (made("MCCLoss", **MONAI), with_channel),
    "SoftclDiceLoss": (made("SoftclDiceLoss"), probabilities(of_channels)),
    "SoftDiceclDiceLoss": (made("SoftDiceclDiceLoss"), probabilities(of_channels)),
    "BoundaryLoss": (made("BoundaryLoss", **MONAI), with_channel),
    "NACLLoss": (made("NACLLoss", classes=CLASSES, dim=2), of_classes),
    "AsymmetricUnifiedFocalLoss": (made("AsymmetricUnifiedFocalLoss"), two_classes),
    "GeneralizedWassersteinDiceLoss": (
        made("GeneralizedWassersteinDiceLoss", dist_matrix=1 - torch.eye(CLASSES)),
        of_classes,
    ),
    "SSIMLoss": (made("SSIMLoss", spatial_dims=2, win_size=5), numbers),
    "LocalNormalizedCrossCorrelationLoss": (made("LocalNormalizedCrossCorrelationLoss", spatial_dims=2), numbers),
    "GlobalMutualInformationLoss": (made("GlobalMutualInformationLoss"), numbers),
    "JukeboxLoss": (made("JukeboxLoss", spatial_dims=2), numbers),
    "MultiScaleLoss": (lambda losses: losses.MultiScaleLoss(nn.MSELoss(), scales=[1, 2]), numbers),
    "MaskedLoss": (lambda losses: losses.MaskedLoss(nn.MSELoss), numbers),
    "DeepSupervisionLoss": (lambda losses: losses.DeepSupervisionLoss(losses.DiceCELoss(**MONAI)), resolutions),
}
SMP = {
    **{name: (made(name, mode="multiclass"), of_classes) for name in ("DiceLoss", "JaccardLoss", "TverskyLoss")},
    **{f"{name}, binary": (made(name, mode="binary"), binary) for name in ("DiceLoss", "JaccardLoss", "TverskyLoss")},
    "FocalLoss": (made("FocalLoss", mode="multiclass", ignore_index=0), of_classes),
    "FocalLoss, binary": (made("FocalLoss", mode="binary"), binary),
    "LovaszLoss": (made("LovaszLoss", mode="multiclass", per_image=True), of_classes),
    "LovaszLoss, ignore_index": (made("LovaszLoss", mode="multiclass", ignore_index=0), of_classes),
    "SoftBCEWithLogitsLoss": (made("SoftBCEWithLogitsLoss", ignore_index=0), binary),
    "SoftCrossEntropyLoss": (made("SoftCrossEntropyLoss", smooth_factor=0.1, ignore_index=0), of_classes),
    "MCCLoss": (made("MCCLoss"), probabilities(binary)),
}
LIBRARIES = {"torch.nn": TORCH, "monai.losses": OF_MONAI, "segmentation_models_pytorch.losses": SMP}
OTHERS = {
    "torch.nn": {
        "AdaptiveLogSoftmaxWithLoss": "gives more than a loss",
        "CTCLoss": "of sequences",
        "CosineEmbeddingLoss": "of pairs",
        "GaussianNLLLoss": "needs variances",
        "LinearCrossEntropyLoss": "has a layer of its own",
        "MarginRankingLoss": "of pairs",
        "MultiLabelMarginLoss": "of lists of labels",
        "NLLLoss2d": "NLLLoss by an old name",
        "TripletMarginLoss": "of triplets",
        "TripletMarginWithDistanceLoss": "of triplets",
    },
    "monai.losses": {
        "AUCMLoss": "of the order of many samples",
        "BarlowTwinsLoss": "of embeddings",
        "BendingEnergyLoss": "of deformations alone",
        "BoxGIoULoss": "of boxes",
        "ContrastiveLoss": "of embeddings",
        "DiffusionLoss": "of deformations alone",
        "PatchAdversarialLoss": "of what a discriminator says",
        "PerceptualLoss": "loads weights",
        "SURELoss": "needs the network",
    },
    "segmentation_models_pytorch.losses": {},
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_criterion_is_forgotten(library):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    there = {
        value.__name__
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and (library != "torch.nn" or "Loss" in name)
    }
    tried = {name.split(",")[0].split(" ")[0] for name in LIBRARIES[library]}
    assert there <= tried | OTHERS[library].keys(), "newer ones have to be tried, or told why not"
    assert not tried & OTHERS[library].keys()


def alone(criterion, output, target, index):
    """Return the loss of one sample's batch, or the error that it ends with."""
    part = [value[index : index + 1] for value in output] if isinstance(output, list) else output[index : index + 1]
    try:
        return criterion(part, target[index : index + 1])
    except Exception as error:
        return error


def is_constant(criterion, output, target, index):
    """Whether one sample's loss does not depend on the output, tried with other ones than the package does."""
    generator = torch.Generator().manual_seed(3)
    (value, *more) = output if isinstance(output, list) else [output]
    found = set()
    for _ in range(3):
        other = [torch.rand(each.shape, generator=generator) for each in (value, *more)]
        loss = alone(criterion, other if more else other[0], target, index)
        found.add(repr(float(loss)))
    return len(found) == 1


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize(
    ("library", "name"), [(library, name) for library, criteria in LIBRARIES.items() for name in criteria]
)
@given(seed=st.integers(0, 2**31), samples=st.integers(1, 3), empty=st.booleans())
@settings(max_examples=6, deadline=None)
def test_is_the_criterion_of_each_sample_alone(library, name, seed, samples, empty):
    pytest.importorskip(library, reason=f"{library} is not installed")
    make, data = LIBRARIES[library][name]
    criterion = make(importlib.import_module(library))
    output, target = data(torch.Generator().manual_seed(seed), samples, empty)
    leaves = output if isinstance(output, list) else [output]
    for leaf in leaves:
        leaf.requires_grad_()
    expected = [alone(criterion, output, target, i) for i in range(samples)]
    if any(isinstance(loss, Exception) or loss.numel() != 1 for loss in expected):
        with pytest.raises((RuntimeError, TypeError)):
            per_sample(criterion, output, target)
        return
    found = per_sample(criterion, output, target)
    assert found.shape == (samples,)
    counted = ~found.detach().isnan()
    for i in range(samples):
        if counted[i]:
            assert torch.allclose(found[i], expected[i].reshape(()), rtol=1e-4, atol=1e-5)
        else:
            assert expected[i].isnan() or is_constant(criterion, output, target, i)
    weights = torch.arange(1.0, samples + 1)
    got = torch.autograd.grad((weights * found).sum(), leaves, retain_graph=True)
    mean = torch.autograd.grad(found.mean(), leaves)
    for each in (*got, *mean):
        assert each.isfinite().all()
    if counted.any():
        wanted = sum(weights[i] * expected[i].reshape(()) for i in range(samples) if counted[i])
        for one, other in zip(got, torch.autograd.grad(wanted, leaves, allow_unused=True), strict=True):
            assert torch.allclose(one, torch.zeros_like(one) if other is None else other, rtol=1e-3, atol=1e-5)


def test_only_samples_with_nothing_to_count_are_left_out():
    """A loss that is a whole number by chance, or as high as it can be, is one."""
    output, target = (
        torch.zeros(3, 1, 4, requires_grad=True),
        torch.tensor([0.0, 1.0, 2.0]).view(3, 1, 1).expand(3, 1, 4),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert per_sample(nn.L1Loss(), output, target).tolist() == [0.0, 1.0, 2.0]
        assert per_sample(lambda o, t: (o - t).abs().mean().clamp(max=0.5) * 2, output, target).tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["DiceLoss", "JaccardLoss", "TverskyLoss"])
def test_a_criterion_by_which_empty_images_are_never_hard_is_told(name):
    losses = pytest.importorskip("segmentation_models_pytorch.losses", reason="it is not installed")
    target = torch.zeros(2, 1, 4, 4)
    target[1, 0, :2] = 1
    output = torch.full((2, 1, 4, 4), 5.0)  # the structure everywhere
    with pytest.warns(UserWarning, match=f"the loss {name} is 0 for a sample whatever the network gives"):
        found = per_sample(getattr(losses, name)(mode="binary"), output, target)
    assert found.isnan().tolist() == [True, False]


def test_nnunets_loss_of_a_sample_that_is_to_be_ignored():
    compound = pytest.importorskip("nnunetv2.training.loss.compound_losses", reason="nnU-Net v2 is not installed")
    dice = importlib.import_module("nnunetv2.training.loss.dice").MemoryEfficientSoftDiceLoss
    options = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    criterion = compound.DC_and_CE_loss(options, {}, ignore_label=3, dice_class=dice)
    output, target = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 1, 4, 4)).float()
    target[0] = 3
    assert criterion(output[:1], target[:1]) == -1.0
    with pytest.warns(UserWarning, match="is -1 for a sample whatever"):
        assert per_sample(criterion, output, target).isnan().tolist() == [True, False]
