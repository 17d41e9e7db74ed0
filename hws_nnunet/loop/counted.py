"""Samples of which a loss says nothing: none of their voxels is annotated, or only classes of weight 0 are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hws_nnunet.loop.alone import Batch, changed, loss_alone, sample_of, tensors_of

_PARTS = 8  # of 1: such constants are what a loss of nothing comes to, also where resolutions are weighted
_NEAR = 1e-5


@torch.no_grad()
def uncounted(loss: Callable, output: Batch, target: Batch, values: Tensor) -> list[int]:
    """Return the samples whose loss is the same whatever the output is: NaN, or a constant such as 0 or -1.

    Looked at are only losses that may be such a constant; of those, other outputs are tried: what is right, as logits
    and as probabilities, and two that rise and fall from one voxel to the next.

    Args:
        loss: called with output and target of one sample.
        output: the batch's.
        target: the batch's.
        values: ``(B,)``, its samples' losses.
    """
    parts = values.detach().float() * _PARTS
    doubtful = (parts.isnan() | ((parts - parts.round()).abs() < _NEAR * _PARTS)).nonzero().flatten().tolist()
    return [i for i in doubtful if _is_constant(loss, sample_of(output, i), sample_of(target, i), float(values[i]))]


def _is_constant(loss: Callable, output: Any, target: Any, value: float) -> bool:
    tried = 0
    for low, high, right in ((-50.0, 50.0, True), (0.0, 1.0, True), (0.1, 0.9, False), (0.8, 0.2, False)):
        answers = _answers(output, target, low, high) if right else _ramps(output, low, high)
        try:
            other_value = float(loss_alone(loss, _replaced(output, answers), changed(target, torch.clone)))
        except RuntimeError:  # it takes no logits, or no probabilities
            continue
        if other_value != value and (other_value == other_value or value == value):
            return False
        tried += 1
    return tried > 1


def _replaced(output: Any, tensors: Iterator[Tensor]) -> Any:
    return changed(output, lambda _: next(tensors))


def _ramps(output: Any, low: float, high: float) -> Iterator[Tensor]:
    for tensor in tensors_of(output):
        ramp = torch.linspace(low, high, tensor.numel(), device=tensor.device)
        yield ramp.to(tensor.dtype).view(tensor.shape) if tensor.is_floating_point() else tensor


def _answers(output: Any, target: Any, low: float, high: float) -> Iterator[Tensor]:
    """Yield for each tensor of the output what would be right, of two values; as it is where that is not known."""
    outputs, targets = list(tensors_of(output)), list(tensors_of(target))
    for i, tensor in enumerate(outputs):
        wanted = targets[i if len(targets) == len(outputs) else 0]
        if wanted.numel() != tensor.numel():
            if tensor.ndim < 2 or wanted.numel() * tensor.shape[1] != tensor.numel():
                yield tensor
                continue
            classes = wanted.reshape(len(tensor), *tensor.shape[2:]).long().clamp(0, tensor.shape[1] - 1)
            wanted = torch.nn.functional.one_hot(classes, tensor.shape[1]).movedim(-1, 1)
        yield low + (high - low) * wanted.reshape(tensor.shape).to(tensor.dtype)


def nothing(output: Batch, index: int) -> Tensor:
    """Return NaN, a scalar, whose gradient with respect to one sample's output is 0."""
    parts = [part[index].sum() * 0.0 for part in tensors_of(output) if part.requires_grad]
    return torch.stack(parts).sum() + torch.nan if parts else next(tensors_of(output)).new_tensor(torch.nan)


class SampleLosses(Tensor):
    """Losses ``(B,)`` that are NaN where a sample has nothing to count, which ``mean()`` and ``sum()`` leave out.

    So has what is computed from them, element by element. The mean of none is 0.
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Sequence[type], args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute means and sums over all samples of those that count; anything else as ever."""
        if func not in _MEANS | _SUMS or len(args) != 1 or kwargs:
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        with torch._C.DisableTorchFunctionSubclass():
            counted = ~args[0].isnan()
            total = torch.where(counted, args[0], 0.0).sum()
            return (total / counted.sum().clamp(min=1) if func in _MEANS else total).as_subclass(Tensor)


_MEANS = {Tensor.mean, torch.mean}
_SUMS = {Tensor.sum, torch.sum}
