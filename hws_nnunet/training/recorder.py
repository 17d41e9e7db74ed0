"""Wraps a host's loss and keeps the per-sample values of the last training step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hws_nnunet.training.measures import watched_probabilities

Measure = Callable[[Tensor, Tensor, Tensor | None], Tensor]
DiceOf = Callable[[Tensor | list[Tensor]], nn.Module | None]
Weigh = Callable[[Tensor], Tensor]


class LossRecorder(nn.Module):
    """Calls the host's loss, returns its value with its gradient, and records per-sample values beside it.

    Only while gradients are enabled: validation records nothing. Values go to the host's memory without waiting for
    the device; whatever makes the training step wait for its loss makes them available too. The host's loss keeps its
    attributes: they are read and set through this.

    Args:
        host_loss: any loss of ``(output, target)``; both may be lists by resolution, the full one first.
        measure: from full-resolution output ``(B, C, *spatial)``, target, and the output's probabilities or None, to
            values ``(B, measures)``, no gradient.
        dice_of: from the output to the host's Dice module that makes those probabilities, or None. Where there is one,
            ``measure`` is called after the host's loss, otherwise before it.
    """

    def __init__(self, host_loss: nn.Module, measure: Measure, *, dice_of: DiceOf = lambda output: None):
        super().__init__()
        self._measure, self._dice_of = measure, dice_of
        self._weigh: Weigh | None = None
        self._values: Tensor | None = None
        self._copied: torch.cuda.Event | None = None
        self.host_loss = host_loss  # from here on, its attributes come before new ones of this

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "host_loss":
                raise
            return getattr(self.host_loss, name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute that the host's loss has there: a weight that a trainer changes must take effect."""
        host_loss = vars(self).get("_modules", {}).get("host_loss", vars(self).get("host_loss"))
        if host_loss is None or name in vars(self) or not hasattr(host_loss, name):
            super().__setattr__(name, value)
        else:
            setattr(host_loss, name, value)

    def forward(self, output: Tensor | list[Tensor], target: Tensor | list[Tensor]) -> Tensor:
        """Return the host's loss of a batch; a weighted mean of its loss of each sample after :meth:`weigh_next`."""
        if not torch.is_grad_enabled():
            return self.host_loss(output, target)
        dice, logits, reference = self._dice_of(output), _full_resolution(output), _full_resolution(target)
        if dice is not None and self._weigh is None:
            with watched_probabilities(dice, logits) as probabilities:
                loss = self.host_loss(output, target)
            self._keep(self._measure(logits.detach(), reference, next(iter(probabilities), None)))
            return loss
        values = self._measure(logits.detach(), reference, None)
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
            raise RuntimeError(
                "no loss was computed with gradients since the values were last taken: hardness weighted sampling "
                "needs a training step that calls the trainer's loss"
            )
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
