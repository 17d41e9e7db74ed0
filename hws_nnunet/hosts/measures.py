"""What is recorded of each sample beside a host's loss: sums over its voxels, and what follows from them.

Everything comes from four sums for each sample and structure, of which the device computes all samples' at once:

- ``predicted``: of the probabilities;
- ``present``: voxels of the reference;
- ``common``: of the probabilities where the reference has the structure;
- ``entropy``: of the cross entropy there; for regions of the binary cross entropy, of all voxels.

The rest is arithmetic on a few numbers, done in the host's memory: every kernel that the device need not start counts
with a small network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hws_nnunet.hosts.replaced import Through, replaced
from hws_nnunet.loop.alone import Resolutions, loss_alone, sample_of
from hws_nnunet.loop.counted import uncounted


class Sums(NamedTuple):
    """Sums over the voxels of each sample, ``(B, C)`` each: of classes, the background first, or of regions.

    ``counted``, ``(B,)``, are a sample's voxels that count.
    """

    predicted: np.ndarray
    present: np.ndarray
    common: np.ndarray
    entropy: np.ndarray
    counted: np.ndarray

    def dice(self) -> np.ndarray:
        """Return 1 - soft Dice of each class or region, ``(B, C)``: 0 to 1, NaN where a sample lacks it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            dice = 1.0 - 2.0 * self.common / (self.predicted + self.present)
        dice[self.present == 0.0] = np.nan
        return dice


def check_shapes(logits: Tensor, target: Tensor) -> bool:
    """Return whether the target is of regions, False: of classes.

    Raises:
        ValueError: for shapes that do not belong together.
    """
    (samples, classes), channels = logits.shape[:2], target.shape[1] if target.ndim > 1 else 0
    of_regions = channels in (classes, classes + 1)
    if not (of_regions or channels == 1) or target.shape != (samples, channels, *logits.shape[2:]):
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected {(samples, 1, *logits.shape[2:])} (class numbers), or "
            f"{classes} or {classes + 1} channels (regions), for logits of shape {tuple(logits.shape)}"
        )
    return of_regions


@torch.no_grad()
def sums_by_structure(
    logits: Tensor,
    target: Tensor,
    *,
    probabilities: Tensor | None = None,
    ignore_label: int | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Return the four sums of :class:`Sums`, float32 on the logits' device, to be read by :func:`read_sums`.

    Args:
        logits: ``(B, C, *spatial)``, of classes, 0 the background, or of regions; any floating type.
        target: of classes ``(B, 1, *spatial)``, numbers 0 to C - 1 (or ``ignore_label``); of regions
            ``(B, C, *spatial)`` of 0 and 1, with one more channel where voxels are to be ignored, 1 there. Any type.
        probabilities: softmax or sigmoid of the logits where it is known; None computes it, as float32.
        ignore_label: voxels of this class count nowhere.
        out: as :func:`room_for_sums` returns it, to write them to; saves a kernel that puts them together.

    Raises:
        ValueError: for shapes that do not belong together.
    """
    of_regions = check_shapes(logits, target)
    over, classes = tuple(range(2, logits.ndim)), logits.shape[1]
    sums: dict[int, Tensor] = {}

    def total(row: int, values: Tensor) -> None:
        into = None if out is None else out[row, :, : values.shape[1]]
        sums[row] = torch.sum(values, over, dtype=torch.float32, out=into)

    if of_regions:
        logits, valid = logits.float(), None
        p = logits.sigmoid() if probabilities is None else probabilities
        here = target[:, :classes]
        entropy = functional.softplus(logits).addcmul_(logits, here, value=-1)
        if target.shape[1] > classes:
            valid = target[:, classes:] == 0
            here, entropy = here * valid, entropy.mul_(valid)
            total(4, valid)
    else:
        entropy = logits.log_softmax(1, dtype=torch.float32)
        p = entropy.exp() if probabilities is None else probabilities
        numbers, zero = _constants(classes, logits.ndim, logits.device)
        here = target == numbers
        valid = None if ignore_label is None else target != ignore_label
        entropy = torch.where(here, entropy, zero)  # its sign follows where it costs nothing
    total(3, entropy)
    del entropy  # as large as the logits
    total(0, p if valid is None else p * valid)
    total(1, here)
    total(2, p * here)
    if out is None:
        out = torch.stack([sums[row].expand(-1, classes) for row in sorted(sums)])
    return out


@lru_cache
def _constants(classes: int, dimensions: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the class numbers, ``(1, C, 1, ...)``, and 0, made once."""
    numbers = torch.arange(classes, device=device).view(1, -1, *[1] * (dimensions - 2))
    return numbers, torch.zeros((), device=device)


def room_for_sums(logits: Tensor, target: Tensor) -> Tensor:
    """Return an empty tensor for the sums, one row more where a region's voxels may be ignored."""
    samples, classes = logits.shape[:2]
    rows = 5 if target.shape[1] > classes else 4
    return torch.empty((rows, samples, classes), dtype=torch.float32, device=logits.device)


def read_sums(values: Tensor, *, of_regions: bool, voxels: int) -> Sums:
    """Return what :func:`sums_by_structure` gave, once it is in the host's memory, as float64.

    Args:
        values: the sums.
        of_regions: whether the target is of regions.
        voxels: of a sample.
    """
    predicted, present, common, entropy, *ignoring = values.numpy().astype(np.float64)
    if not of_regions:
        return Sums(predicted, present, common, -entropy, present.sum(1))
    counted = ignoring[0][:, 0] if ignoring else np.full(len(present), float(voxels * present.shape[1]))
    return Sums(predicted, present, common, entropy, counted)


class DiceAndEntropy(NamedTuple):
    """A loss that is the sum of soft Dice and cross entropy (of regions: binary), as nnU-Net's standard losses are."""

    weight_dice: float
    weight_entropy: float
    smooth: float
    background: bool
    """Whether Dice counts the first class."""

    @classmethod
    def of(cls, loss: object) -> DiceAndEntropy | None:
        """Return a loss module's parts, which nnU-Net calls ``dc`` and ``ce``; None where it has other ones."""
        dice, entropy = getattr(loss, "dc", None), getattr(loss, "ce", None)
        smooth, background = getattr(dice, "smooth", None), getattr(dice, "do_bg", None)
        if entropy is None or smooth is None or background is None:
            return None
        weight_dice, weight_entropy = (float(getattr(loss, name, 1.0)) for name in ("weight_dice", "weight_ce"))
        return cls(weight_dice, weight_entropy, float(smooth), bool(background))

    def of_samples(self, sums: Sums) -> np.ndarray:
        """Return the loss of each sample alone, ``(B,)``; NaN where no voxel counts, as in :func:`losses_alone`."""
        dice = (2.0 * sums.common + self.smooth) / np.maximum(sums.predicted + sums.present + self.smooth, 1e-8)
        dice = dice if self.background else dice[:, 1:]
        with np.errstate(invalid="ignore"):
            entropy = sums.entropy.sum(1) / sums.counted
        return self.weight_entropy * entropy - (self.weight_dice / dice.shape[1]) * dice.sum(1)


@torch.no_grad()
def losses_alone(loss: Callable, output: Resolutions, target: Resolutions) -> Tensor:
    """Return a host's loss of each sample alone, ``(B,)`` float32; takes about as long again as the host's own call.

    nnU-Net's batch Dice gathers over ranks within the loss: not here, where one sample is meant. A sample whose labels
    are all to be ignored is NaN, where nnU-Net's loss is the best there is.

    Raises:
        TypeError: the loss does not give one number for one sample.
        RuntimeError: it fails with one sample.
    """
    samples = range(len(output if isinstance(output, Tensor) else output[0]))
    gathering = [m for m in (loss.modules() if isinstance(loss, nn.Module) else ()) if vars(m).get("ddp") is True]
    with ExitStack() as stack:
        for module in gathering:
            stack.enter_context(replaced(module, {"ddp": False}))
        losses = torch.stack([loss_alone(loss, sample_of(output, i), sample_of(target, i)) for i in samples]).float()
        losses[uncounted(loss, output, target, losses)] = torch.nan
        return losses


def is_compiled(loss: object) -> bool:
    """Return whether a loss, or a part of it, is compiled: it would be compiled anew if an attribute changed."""
    modules = loss.modules() if isinstance(loss, nn.Module) else ()
    return any(hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) for module in modules)


@contextmanager
def watched_probabilities(loss: nn.Module, nonlinearity: Callable | None, logits: Tensor) -> Iterator[list[Tensor]]:
    """Yield a list that receives what the host's loss makes of these very logits in the block, without gradient.

    nnU-Net's Dice losses hold their softmax or sigmoid as ``apply_nonlin``. A compiled loss is left alone.

    Args:
        loss: the host's.
        nonlinearity: the one whose results are wanted, in half precision, too: what it rounds to 0 there changes the
            Dice of an absent structure. A loss with another one is left alone.
        logits: of the full resolution; calls with other ones are not kept.
    """
    kept: list[Tensor] = []
    if nonlinearity is None or not isinstance(loss, nn.Module) or is_compiled(loss):
        yield kept
        return

    def watched(original: Callable, values: Tensor) -> Tensor:
        probabilities = original(values)
        if values is logits:
            kept[:] = [probabilities.detach()]
        return probabilities

    with ExitStack() as stack:
        for module in loss.modules():
            if vars(module).get("apply_nonlin") is nonlinearity:
                stack.enter_context(replaced(module, {"apply_nonlin": Through(watched)}))
        yield kept
