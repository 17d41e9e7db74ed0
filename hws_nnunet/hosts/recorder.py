"""Wraps a host's loss and keeps the per-sample values of the last training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hws_nnunet.hosts.measures import dice_by_structure, losses_alone, watched_probabilities
from hws_nnunet.loop.alone import Resolutions


class LossRecorder(nn.Module):
    """Calls the host's loss, returns its value with its gradient, and records per-sample values beside it.

    Only while gradients are enabled: validation records nothing. Values go to the host's memory without waiting for
    the device; whatever makes the training step wait for its loss makes them available too. The host's loss keeps its
    attributes: they are read and set through this.

    Recorded are of each sample ``1 + K`` values: the loss to track, then 1 - soft Dice of each of K structures. The
    loss to track is the mean of those that are present (``dice_present``) or, where ``alone``, the host's loss of that
    sample alone (``dice_ce``).

    Args:
        host_loss: any loss of ``(output, target)``; both may be lists by resolution, the full one first.
        softmax: the function with which the host's losses make probabilities of classes; what it gave is not computed
            again. For regions that is ``torch.sigmoid``.
        ignore_label: of the host's class numbers.
        alone: whether to track the host's loss.
    """

    def __init__(
        self, host_loss: nn.Module, *, softmax: Callable | None = None, ignore_label: int | None = None, alone: bool
    ):
        super().__init__()
        self._softmax, self._ignore_label, self._alone = softmax, ignore_label, alone
        self._values: Tensor | None = None
        self._copied: torch.cuda.Event | None = None
        self.host_loss = host_loss  # from here on, its attributes come before new ones of this

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "host_loss":
                raise
            return getattr(self.host_loss, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute that the host's loss has there: a weight that a trainer changes must take effect."""
        host_loss = vars(self).get("_modules", {}).get("host_loss", vars(self).get("host_loss"))
        if host_loss is None or name in vars(self) or not hasattr(host_loss, name):
            super().__setattr__(name, value)
        else:
            setattr(host_loss, name, value)

    def forward(self, output: Resolutions, target: Resolutions) -> Tensor:
        """Return the host's loss of a batch."""
        if not torch.is_grad_enabled():
            return self.host_loss(output, target)
        tracked = losses_alone(self.host_loss, output, target) if self._alone else None
        logits, reference = _full_resolution(output), _full_resolution(target)
        if reference.ndim == logits.ndim - 1:  # class numbers without a channel, as PyTorch's own losses take them
            reference = reference[:, None]
        nonlinearity = self._softmax if reference.shape[1] == 1 else torch.sigmoid
        with watched_probabilities(self.host_loss, nonlinearity, logits) as probabilities:
            loss = self.host_loss(output, target)
        self._record(logits.detach(), reference, next(iter(probabilities), None), tracked)
        return loss

    def _record(self, logits: Tensor, reference: Tensor, probabilities: Tensor | None, tracked: Tensor | None) -> None:
        dice = dice_by_structure(logits, reference, probabilities=probabilities, ignore_label=self._ignore_label)
        values = torch.cat(((dice.nanmean(1) if tracked is None else tracked)[:, None], dice), dim=1)
        self._copied = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._values = values

    def take(self) -> np.ndarray:
        """Return the last step's values, ``(B, 1 + K)`` float64, and forget them.

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


def _full_resolution(value: Resolutions) -> Tensor:
    return value if isinstance(value, Tensor) else value[0]
