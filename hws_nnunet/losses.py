"""Per-sample Dice + cross-entropy, Dice + binary cross-entropy, and Dice over the classes present: pure functions.

Each equals nnU-Net's own compound loss called with one sample at a time (its batch Dice over one sample is the same),
in float32 whatever the logits' precision, as under nnU-Net's autocast. Samples and blocks of classes are worked through
one after the other: the extra memory stays below that of two samples' float32 logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_CLASSES_AT_ONCE = 16


class SampleLosses(NamedTuple):
    """Losses of each sample: ``(B,)`` float32 each, on the logits' device."""

    loss: Tensor
    """Weighted sum of Dice and (binary) cross-entropy loss."""

    dice_present: Tensor
    """1 - soft Dice, averaged over the foreground classes that the sample's reference contains: 0 to 1, NaN where it
    contains none."""


@torch.no_grad()
def per_sample_dice_ce(
    logits: Tensor,
    target: Tensor,
    *,
    ignore_label: int | None = None,
    weight_ce: float = 1.0,
    weight_dice: float = 1.0,
    smooth: float = 1e-5,
) -> SampleLosses:
    """Dice + cross-entropy of each sample, as nnU-Net's ``DC_and_CE_loss`` has it (foreground Dice, softmax).

    Args:
        logits: ``(B, C, *spatial)``, C at least 2, class 0 the background; any floating type.
        target: ``(B, 1, *spatial)`` or ``(B, *spatial)``, class numbers in any type.
        ignore_label: voxels of this value count nowhere. A sample that has no others has cross-entropy 0.
        weight_ce: of the cross-entropy, as a mean over voxels.
        weight_dice: of the soft Dice, as a mean over foreground classes; the loss subtracts it.
        smooth: added to numerator and denominator of Dice.

    Raises:
        ValueError: for shapes that do not belong together.
    """
    if target.ndim == logits.ndim - 1:
        target = target[:, None]
    _check_shapes(logits, target, 1, "class numbers")
    losses = []
    for sample, reference in zip(logits, target[:, 0], strict=True):
        log_p = F.log_softmax(sample, dim=0, dtype=torch.float32)
        valid = None if ignore_label is None else reference != ignore_label
        sums, cross_entropy = [], log_p.new_zeros(())
        for block in _blocks(len(log_p)):
            classes = torch.arange(block.start, block.stop, device=log_p.device).view(-1, *[1] * reference.ndim)
            here = reference[None] == classes
            part = log_p[block]
            cross_entropy = cross_entropy - part.masked_fill(~here, 0.0).sum()
            sums.append(_dice_sums(part.exp(), here, valid))
            del here, part
        voxels = reference.numel() if valid is None else valid.sum()
        cross_entropy = cross_entropy / (voxels if valid is None else voxels.clamp_min(1))
        dice, present = _dice(torch.cat(sums, dim=1)[:, 1:], smooth)
        losses.append((weight_ce * cross_entropy - weight_dice * dice.mean(), _present_dice_loss(dice, present)))
        del log_p
    return _collect(losses, logits)


@torch.no_grad()
def per_sample_dice_bce(
    logits: Tensor,
    target: Tensor,
    *,
    has_ignore: bool = False,
    weight_ce: float = 1.0,
    weight_dice: float = 1.0,
    smooth: float = 1e-5,
) -> SampleLosses:
    """Dice + binary cross-entropy of each sample, as nnU-Net's ``DC_and_BCE_loss`` has it (regions, sigmoid).

    Args:
        logits: ``(B, R, *spatial)``, one channel a region; any floating type.
        target: ``(B, R, *spatial)`` of 0 and 1, in any type; with ``has_ignore`` one more channel, 1 where ignored.
        has_ignore: whether the last channel of the target is the ignore mask.
        weight_ce: of the binary cross-entropy. Without a mask it is a mean over voxels and regions; with one, nnU-Net
            divides the sum over regions by the number of voxels, and so does this.
        weight_dice: of the soft Dice, as a mean over regions; the loss subtracts it.
        smooth: added to numerator and denominator of Dice.

    Raises:
        ValueError: for shapes that do not belong together.
    """
    regions = logits.shape[1]
    _check_shapes(logits, target, regions + has_ignore, "regions" + (" and an ignore mask" if has_ignore else ""))
    losses = []
    for sample, reference in zip(logits, target, strict=True):
        valid = ~reference[-1].bool() if has_ignore else None
        sums, cross_entropy = [], torch.zeros((), device=logits.device)
        for block in _blocks(regions):
            part, here = sample[block].float(), reference[block].bool()
            entropy = F.binary_cross_entropy_with_logits(part, here.float(), reduction="none")
            cross_entropy = cross_entropy + (entropy if valid is None else entropy.masked_fill_(~valid, 0.0)).sum()
            del entropy
            sums.append(_dice_sums(part.sigmoid(), here, valid))
            del part, here
        count = sample.numel() if valid is None else valid.sum().clamp_min(1e-8)
        dice, present = _dice(torch.cat(sums, dim=1), smooth)
        losses.append(
            (weight_ce * cross_entropy / count - weight_dice * dice.mean(), _present_dice_loss(dice, present))
        )
    return _collect(losses, logits)


def _check_shapes(logits: Tensor, target: Tensor, channels: int, what: str) -> None:
    expected = (logits.shape[0], channels, *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected {expected} ({what}) for logits of shape "
            f"{tuple(logits.shape)}"
        )


def _blocks(classes: int) -> Iterator[slice]:
    """Two blocks at least, so that a block's temporaries are half a sample's logits."""
    size = max(1, min(_CLASSES_AT_ONCE, classes // 2))
    return (slice(start, min(start + size, classes)) for start in range(0, classes, size))


def _dice_sums(p: Tensor, here: Tensor, valid: Tensor | None) -> Tensor:
    """Return sums over voxels of p, reference and their product, ``(3, block)``; changes p."""
    spatial = tuple(range(1, p.ndim))
    if valid is not None:
        p.masked_fill_(~valid, 0.0)
        here = here & valid
    predicted, reference = p.sum(spatial), here.sum(spatial).float()
    return torch.stack((predicted, reference, p.masked_fill_(~here, 0.0).sum(spatial)))


def _dice(sums: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    predicted, reference, common = sums
    return (2 * common + smooth) / (reference + predicted + smooth).clamp_min(1e-8), reference > 0


def _present_dice_loss(dice: Tensor, present: Tensor) -> Tensor:
    # 0 / 0 is the NaN that says: no class is present
    return 1.0 - dice.masked_fill(~present, 0.0).sum() / present.sum()


def _collect(losses: list[tuple[Tensor, Tensor]], logits: Tensor) -> SampleLosses:
    if not losses:
        empty = torch.zeros(0, device=logits.device)
        return SampleLosses(empty, empty.clone())
    first, second = zip(*losses, strict=True)
    return SampleLosses(torch.stack(first), torch.stack(second))


def importance_weights(values: Tensor, *, column: int, tracked: Tensor, beta: float, smoothing: float) -> Tensor:
    """Return each sample's weight, ``exp(beta (1 - m) (new - tracked))`` in ``[0.1, 10]``, ``(B,)``.

    A draw used the tracked loss; had it used the new one, smoothed as it will be, the sample's probability would be
    larger by this factor (Fidon et al., arXiv 2001.02658, section 3.3).

    Args:
        values: ``(B, measures)``, new losses.
        column: the measure that draws go by.
        tracked: ``(B,)``, NaN where nothing is tracked, which weighs 1, as does a new value that is NaN.
        beta: in force.
        smoothing: m.
    """
    gap = values[:, column] - tracked.to(values)
    return torch.exp(beta * (1.0 - smoothing) * gap.nan_to_num(0.0)).clamp(0.1, 10.0)
