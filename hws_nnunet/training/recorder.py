"""Wraps a host's loss and keeps the per-sample values of the last training step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Measure = Callable[[Tensor, Tensor], Tensor]
Weigh = Callable[[Tensor], Tensor]


class LossRecorder(nn.Module):
    """Calls the host's loss, returns its value with its gradient, and records per-sample values beside it.

    Only while gradients are enabled: validation records nothing. Values go to the host's memory without waiting for
    the device; whatever makes the training step wait for its loss makes them available too.

    Args:
        host_loss: any loss of ``(output, target)``; both may be lists by resolution, the full one first.
        measure: from full-resolution output ``(B, C, *spatial)`` and target to values ``(B, measures)``, no gradient.
    """

    def __init__(self, host_loss: nn.Module, measure: Measure):
        super().__init__()
        self.host_loss = host_loss
        self._measure = measure
        self._weigh: Weigh | None = None
        self._values: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def forward(self, output: Tensor | list[Tensor], target: Tensor | list[Tensor]) -> Tensor:
        """Return the host's loss of a batch; a weighted mean of its loss of each sample after :meth:`weigh_next`."""
        if not torch.is_grad_enabled():
            return self.host_loss(output, target)
        values = self._measure(_full_resolution(output).detach(), _full_resolution(target))
        self._keep(values)
        if self._weigh is None:
            return self.host_loss(output, target)
        weights = self._weigh(values)
        losses = [self.host_loss(_sample(output, i), _sample(target, i)) for i in range(len(weights))]
        return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).mean()

    def weigh_next(self, weigh: Weigh | None) -> None:
        """Have the following batches' samples weighed by ``weigh(values) -> (B,)``; None is the host's own loss."""
        self._weigh = weigh

    def _keep(self, values: Tensor) -> None:
        self._copied = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._values = values

    def take(self) -> np.ndarray:
        """Return the last step's values, ``(B, measures)`` float64, and forget them.

        Raises:
            RuntimeError: nothing was recorded since the last call.
        """
        if self._values is None:
            raise RuntimeError("no loss was computed with gradients since the values were last taken")
        if self._copied is not None:
            self._copied.synchronize()  # passed already where the step waited for its own loss
        values = self._values.cpu().numpy().astype(np.float64)
        self._values = self._copied = None
        return values


def _full_resolution(value: Tensor | list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return value[0] if isinstance(value, list | tuple) else value


def _sample(value: Tensor | list[Tensor] | tuple[Tensor, ...], index: int) -> Tensor | list[Tensor]:
    if isinstance(value, list | tuple):
        return [part[index : index + 1] for part in value]
    return value[index : index + 1]
