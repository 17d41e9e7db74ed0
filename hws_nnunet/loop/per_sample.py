"""The losses of each sample, of any criterion, with gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hws_nnunet.loop.alone import Resolutions, loss_alone, sample_of

_ELEMENTWISE = (
    nn.CrossEntropyLoss,
    nn.NLLLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
)
"""Whose mean is that of all elements, as long as they have no weights and ignore nothing."""


def per_sample(criterion: Callable, output: Resolutions, target: Resolutions) -> Tensor:
    """Return the loss of each sample, ``(B,)``, with gradient: the criterion's of a batch of that sample alone.

    PyTorch's elementwise criteria are called once, any other (MONAI's ``DiceCELoss``, one of your own) once for each
    sample.

    Args:
        criterion: called with output and target of a batch; gives a number.
        output: ``(B, ...)``, or a list of such, as with deep supervision.
        target: the same.

    Raises:
        ValueError: output and target have another number of samples.
        TypeError: the criterion does not give one number for one sample, with ``reduction="none"`` for instance.
        RuntimeError: it fails with one sample.
    """
    samples, others = (len(value if isinstance(value, Tensor) else value[0]) for value in (output, target))
    if samples != others:
        raise ValueError(f"output has {samples} samples, target {others}")
    if type(criterion) in _ELEMENTWISE and isinstance(target, Tensor) and _is_plain_mean(criterion, target):
        vars(criterion)["reduction"] = "none"
        try:
            losses = criterion(output, target)
            return losses.flatten(1).mean(1) if losses.ndim > 1 else losses
        finally:
            vars(criterion)["reduction"] = "mean"
    return torch.stack([loss_alone(criterion, sample_of(output, i), sample_of(target, i)) for i in range(samples)])


def _is_plain_mean(criterion: Callable, target: Tensor) -> bool:
    if vars(criterion)["reduction"] != "mean" or getattr(criterion, "weight", None) is not None:
        return False
    ignored = getattr(criterion, "ignore_index", None)
    return ignored is None or target.is_floating_point() or not bool((target == ignored).any())
