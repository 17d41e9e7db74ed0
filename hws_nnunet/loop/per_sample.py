"""The losses of each sample, of any criterion, with gradient."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hws_nnunet.loop.alone import Batch, loss_alone, name_of, sample_of, samples_in
from hws_nnunet.loop.counted import SampleLosses, nothing, uncounted

_OF_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss)
_OF_VALUES = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def per_sample(criterion: Callable, output: Batch, target: Batch) -> Tensor:
    """Return the loss of each sample, ``(B,)``, with gradient: the criterion's of a batch of that sample alone.

    PyTorch's elementwise criteria are called once where that gives the same, any other (MONAI's ``DiceCELoss``, one of
    your own) once for each sample.

    A sample of which the criterion says nothing (no voxel is annotated, say: it gives NaN, or the same number whatever
    the network does) is NaN without gradient; ``mean()`` and ``sum()`` leave it out, and ``update`` changes nothing.
    Dice, Jaccard and Tversky of segmentation-models-pytorch are 0 for an image without the structure, however much of
    it the network finds there: no such image can be hard by them, and a warning tells where one is met.

    Args:
        criterion: called with output and target of a batch; gives a number.
        output: ``(B, ...)``, or a list, tuple or mapping of such, as with deep supervision.
        target: the same.

    Raises:
        ValueError: output and target have other numbers of samples, or none.
        TypeError: they are something else; the criterion does not give one number for one sample, with
            ``reduction="none"`` for instance.
        RuntimeError: it fails with one sample.
    """
    samples, others = samples_in("output", output), samples_in("target", target)
    if samples != others:
        raise ValueError(f"output has {samples} samples, target {others}")
    if (at_once := _at_once(criterion, output, target)) is not None:
        return at_once.as_subclass(Tensor)
    alone = [loss_alone(criterion, sample_of(output, i), sample_of(target, i)) for i in range(samples)]
    losses = torch.stack(alone).as_subclass(Tensor)
    empty = uncounted(criterion, output, target, losses)
    if not empty:
        return losses
    if constants := sorted({f"{value:g}" for value in losses[empty].tolist() if value == value}):
        warnings.warn(
            f"the loss {name_of(criterion)} is {', '.join(constants)} for a sample whatever the network gives, as "
            "segmentation-models-pytorch's Dice, Jaccard and Tversky are for an image without the structure: such "
            "samples are left out, and are never found hard",
            stacklevel=2,
        )
    kept = [nothing(output, i) if i in empty else loss for i, loss in enumerate(alone)]
    return torch.stack([value.as_subclass(Tensor) for value in kept]).as_subclass(SampleLosses)


def _at_once(criterion: Any, output: Batch, target: Batch) -> Tensor | None:
    """Return the losses of all samples by one call, None where they might be other ones, or say nothing of a sample."""
    if not (isinstance(output, Tensor) and isinstance(target, Tensor) and _is_plain_mean(criterion, output, target)):
        return None
    vars(criterion)["reduction"] = "none"
    try:
        losses = criterion(output, target)
    finally:
        vars(criterion)["reduction"] = "mean"
    losses = losses.flatten(1).mean(1) if losses.ndim > 1 else losses
    return None if bool(losses.isnan().any()) else losses  # a target may be NaN where nothing is annotated


def _is_plain_mean(criterion: Any, output: Tensor, target: Tensor) -> bool:
    """Whether a criterion's mean is that of all elements, each made from one of output and target, and of weight."""
    kind = type(criterion)
    if kind not in _OF_CLASSES + _OF_VALUES or vars(criterion)["reduction"] != "mean" or output.ndim < 1:
        return False
    scale = getattr(criterion, "pos_weight", None)
    if getattr(criterion, "weight", None) is not None:
        return False
    if scale is not None and (scale.ndim >= output.ndim or bool((scale == 0).any())):
        return False
    if kind in _OF_VALUES:
        return output.shape == target.shape
    if kind is nn.CrossEntropyLoss and target.is_floating_point():
        return output.ndim > 1 and output.shape == target.shape and bool(target.flatten(1).any(1).all())
    ignored = criterion.ignore_index
    of_classes = output.ndim > 1 and target.shape == (len(output), *output.shape[2:])
    return of_classes and not bool((target == ignored).any())
