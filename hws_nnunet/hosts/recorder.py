"""Wraps a host's loss and keeps the per-sample values of the last training step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hws_nnunet.hosts.measures import (
    DiceAndEntropy,
    Sums,
    check_shapes,
    is_compiled,
    losses_alone,
    read_sums,
    room_for_sums,
    sums_by_structure,
    watched_probabilities,
)
from hws_nnunet.loop.alone import Resolutions

_TOLERANCE, _HALF = 2e-4, 5e-3  # of a loss from sums against the host's own; where its sigmoid has half precision
_OFTEN = 250  # steps after which they are compared again: a trainer may add a term later


class SampleValues(NamedTuple):
    """What a training step recorded of its samples, float64.

    Attributes:
        dice_present: ``(B,)``, 1 - soft Dice, mean of the structures that a sample's reference has; NaN where it has
            none.
        dice_ce: ``(B,)``, the host's loss of each sample alone; NaN where it is not known.
        structures: ``(B, K)``, 1 - soft Dice of each foreground class or region, NaN where a sample lacks it.
    """

    dice_present: np.ndarray
    dice_ce: np.ndarray
    structures: np.ndarray


class _Step(NamedTuple):
    """A step's values on their way to the host's memory."""

    sums: Tensor
    of_regions: bool
    voxels: int
    host_losses: Tensor | None
    """What the host's loss gives for each sample, at all resolutions."""
    expected: Tensor | None
    """And at the full one; of some steps, to compare what the sums give."""
    tolerance: float
    arrived: torch.cuda.Event | None


class LossRecorder(nn.Module):
    """Calls the host's loss, returns its value with its gradient, and records per-sample values beside it.

    Only while gradients are enabled: validation records nothing. Values go to the host's memory without waiting for
    the device; whatever makes the training step wait for its loss makes them available too. The host's loss keeps its
    attributes: they are read and set through this.

    Where the host's loss is soft Dice and cross entropy, as nnU-Net's standard ones are, the loss of each sample alone
    comes of the same sums as its Dice: that of the full resolution. In the first step, and in one of 250, it is
    compared with what the host's loss gives for each sample; once they differ, and for any other loss, it is known on
    request only: the whole loss is called for each sample.

    Args:
        host_loss: any loss of ``(output, target)``; both may be lists by resolution, the full one first.
        wrapper: the host's class that sums a loss, its ``loss``, over resolutions; None for none.
        softmax: the function with which the host's losses make probabilities of classes; what it gave is not computed
            again. For regions that is ``torch.sigmoid``.
        ignore_label: of the host's class numbers.
        alone: whether the host's loss of each sample is needed, whatever it takes.
        log: writes a line to the host's log.
    """

    def __init__(
        self,
        host_loss: nn.Module,
        *,
        wrapper: type[nn.Module] | None = None,
        softmax: Callable | None = None,
        ignore_label: int | None = None,
        alone: bool = False,
        log: Callable[[str], object] = lambda line: None,
    ):
        super().__init__()
        self._softmax, self._ignore_label, self._alone, self._log = softmax, ignore_label, alone, log
        # Whatever else has a loss may add to it, or change it.
        is_sum = wrapper is not None and isinstance(host_loss, wrapper) and type(host_loss).forward is wrapper.forward
        full: Any = host_loss.loss if is_sum else host_loss
        self._is_sum, self._full = is_sum, (full,)  # in a tuple, as it is no part
        self._standard, self._compared = DiceAndEntropy.of(self._full[0]) is not None, False
        if not (self._standard or alone):
            log(
                f"{type(self._full[0]).__name__} is not soft Dice and cross entropy: the loss of each sample (dice_ce) "
                "is not recorded; with draw_by: dice_ce it is"
            )
        self._compiled = torch.compile(sums_by_structure, dynamic=False) if is_compiled(host_loss) else None
        self._waiting: list[_Step] = []  # at most one; a list, since modules take long to set an attribute
        self._steps = [0]
        self._pinned: dict[torch.Size, Tensor] = {}
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
        logits, reference = _full_resolution(output), _full_resolution(target)
        host_losses = expected = None
        self._steps[0] += 1
        compare = self._standard and (not self._compared or self._steps[0] % _OFTEN == 0)
        if self._alone and (compare or not self._standard):
            host_losses = losses_alone(self.host_loss, output, target)
        if compare:
            expected = losses_alone(self._full[0], *((logits, reference) if self._is_sum else (output, target)))
        if reference.ndim == logits.ndim - 1:  # class numbers without a channel, as PyTorch's own losses take them
            reference = reference[:, None]
        of_regions = check_shapes(logits, reference)
        with watched_probabilities(self.host_loss, torch.sigmoid if of_regions else self._softmax, logits) as kept:
            loss = self.host_loss(output, target)
        options = {"probabilities": next(iter(kept), None), "ignore_label": self._ignore_label}
        sums, arrived = self._to_host(self._sum_up(logits.detach(), reference, options))
        tolerance = _HALF if of_regions and logits.dtype != torch.float32 else _TOLERANCE
        self._waiting[:] = [
            _Step(sums, of_regions, math.prod(logits.shape[2:]), host_losses, expected, tolerance, arrived)
        ]
        return loss

    def _sum_up(self, logits: Tensor, reference: Tensor, options: dict[str, Any]) -> Tensor:
        if self._compiled is not None:
            try:
                return self._compiled(logits, reference, **options)
            except Exception as error:  # the compiler's, of many kinds
                self._compiled = None
                self._log(f"Losses are recorded without compiling: {type(error).__name__}: {error}")
        return sums_by_structure(logits, reference, **options, out=room_for_sums(logits, reference))

    def _to_host(self, sums: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        if not sums.is_cuda:
            return sums.cpu(), None
        if sums.shape not in self._pinned:
            self._pinned[sums.shape] = torch.empty(sums.shape, dtype=sums.dtype, pin_memory=True)
        room = self._pinned[sums.shape].copy_(sums, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()
        return room, arrived

    def take(self) -> SampleValues:
        """Return the last step's values, and forget them.

        Raises:
            RuntimeError: nothing was recorded since the last call.
        """
        if not self._waiting:
            raise RuntimeError(
                "no loss was computed with gradients since the values were last taken: hardness weighted sampling "
                "needs a training step that calls the trainer's loss"
            )
        step = self._waiting.pop()
        if step.arrived is not None:
            step.arrived.synchronize()  # passed already where the step waited for its own loss
        sums = read_sums(step.sums, of_regions=step.of_regions, voxels=step.voxels)
        dice = sums.dice() if step.of_regions else sums.dice()[:, 1:]
        return SampleValues(_mean_of_known(dice), self._host_losses(step, sums), dice)

    def _host_losses(self, step: _Step, sums: Sums) -> np.ndarray:
        """Return the host's loss of each sample, by the sums if that is what they give."""
        formula = DiceAndEntropy.of(self._full[0]) if self._standard else None
        if formula is not None:
            losses = formula.of_samples(sums)
            expected = np.empty(0) if step.expected is None else step.expected.cpu().double().numpy()
            if not (usable := np.isfinite(expected)).any():
                return losses
            self._compared = True
            if np.allclose(losses[usable], expected[usable], rtol=step.tolerance, atol=step.tolerance):
                return losses
            self._standard = False
            told = (
                "it is called for each sample" if self._alone else "the loss of each sample (dice_ce) is not recorded"
            )
            self._log(
                f"{type(self._full[0]).__name__} is not soft Dice and cross entropy alone: it gives "
                f"{expected.round(4)} for a step's samples, these would be {losses.round(4)}; {told}"
            )
        if step.host_losses is None:
            return np.full(len(sums.present), np.nan)
        return step.host_losses.cpu().double().numpy()


def _mean_of_known(dice: np.ndarray) -> np.ndarray:
    finite = np.isfinite(dice)
    with np.errstate(invalid="ignore"):
        return np.where(finite, dice, 0.0).sum(1) / finite.sum(1)


def _full_resolution(value: Resolutions) -> Tensor:
    return value if isinstance(value, Tensor) else value[0]
