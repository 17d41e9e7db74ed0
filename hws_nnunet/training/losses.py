"""Per-sample Dice + cross-entropy, Dice + binary cross-entropy, and Dice over the classes present: pure functions.

Each equals nnU-Net's own compound loss called with one sample at a time (its batch Dice over one sample is the
same), in float32 whatever the logits' precision, as under nnU-Net's autocast. Samples, and parts of a large one, are
worked through one after the other: the extra memory stays below that of two samples' float32 logits, or 24 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_PARTS = 4  # of a large sample: the temporaries of one part are up to six times its float32 logits
_SMALL = 2**20  # logits; to part what is smaller would cost more in calls than it saves


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
        target: ``(B, 1, *spatial)`` or ``(B, *spatial)``, class numbers 0 to C - 1 (or ``ignore_label``), any type.
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
    for sample, reference in zip(logits, target, strict=True):
        sums = cross_entropy = 0
        for part, labels in _parts(sample, reference):
            sums_of_part, cross_entropy_of_part = _softmax_sums(part, labels, ignore_label)
            sums, cross_entropy = sums + sums_of_part, cross_entropy + cross_entropy_of_part
        dice, present = _dice(sums[:, 1:], smooth)
        cross_entropy = cross_entropy / sums[1].sum().clamp_min(1)  # voxels that count
        losses.append((weight_ce * cross_entropy - weight_dice * dice.mean(), _present_dice_loss(dice, present)))
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
        sums = cross_entropy = voxels = 0
        for part, labels in _parts(sample, reference):
            part, here = part.float(), labels[:regions].bool()
            valid = ~labels[-1:].bool() if has_ignore else None
            entropy = F.binary_cross_entropy_with_logits(part, here.float(), reduction="none")
            cross_entropy = cross_entropy + (entropy if valid is None else entropy.mul_(valid)).sum()
            del entropy
            voxels = voxels + (part.numel() if valid is None else valid.sum())
            sums = sums + _dice_sums(part.sigmoid(), here, valid)
            del part, here
        cross_entropy = cross_entropy / (voxels.clamp_min(1e-8) if has_ignore else voxels)
        dice, present = _dice(sums, smooth)
        losses.append((weight_ce * cross_entropy - weight_dice * dice.mean(), _present_dice_loss(dice, present)))
    return _collect(losses, logits)


def _check_shapes(logits: Tensor, target: Tensor, channels: int, what: str) -> None:
    expected = (logits.shape[0], channels, *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected {expected} ({what}) for logits of shape "
            f"{tuple(logits.shape)}"
        )


def _parts(sample: Tensor, reference: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the sample, ``(C, *spatial)``, and its reference, ``(K, *spatial)``, in parts along the longest axis."""
    axis = max(range(1, sample.ndim), key=lambda i: sample.shape[i])
    size = -(-sample.shape[axis] // min(_PARTS, max(1, -(-sample.numel() // _SMALL))))
    yield from zip(sample.split(size, axis), reference.split(size, axis), strict=True)


def _softmax_sums(logits: Tensor, labels: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """Return sums over voxels of p, reference and their product, ``(3, C)``, and the sum of cross-entropy."""
    ignored = None if ignore_label is None else labels == ignore_label
    labels = (labels if ignored is None else labels.masked_fill(ignored, 0)).long()
    log_p = F.log_softmax(logits, dim=0, dtype=torch.float32)
    here = log_p.gather(0, labels)  # of the class that the reference has
    counted = torch.ones_like(here)
    p, p_here = log_p.exp_(), here.exp()
    if ignored is not None:
        for values in (p, here, p_here, counted):
            values.masked_fill_(ignored, 0.0)
    # Counting is three times as fast on a CPU; a GPU would have to be waited for to do it.
    sums_by_class = _sums_by_counting if labels.device.type == "cpu" else _sums_by_masks
    return torch.stack((p.flatten(1).sum(1), *sums_by_class(labels, len(p), counted, p_here))), -here.sum()


def _sums_by_counting(labels: Tensor, classes: int, *values: Tensor) -> list[Tensor]:
    """Return sums, ``(classes,)`` float32, of each of the values by the voxels' class; all ``(1, *spatial)``."""
    return [torch.bincount(labels.flatten(), one.flatten().double(), classes).float() for one in values]


def _sums_by_masks(labels: Tensor, classes: int, *values: Tensor) -> list[Tensor]:
    """Return the same without waiting for a GPU."""
    masks = labels == torch.arange(classes, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
    return [torch.where(masks, one, 0.0).flatten(1).sum(1) for one in values]


def _dice_sums(p: Tensor, here: Tensor, valid: Tensor | None) -> Tensor:
    """Return sums over voxels of p, reference and their product, ``(3, C)``; changes p."""
    spatial = tuple(range(1, p.ndim))
    if valid is not None:
        p.mul_(valid)
        here = here & valid
    predicted, reference = p.sum(spatial), here.sum(spatial).float()
    return torch.stack((predicted, reference, p.mul_(here).sum(spatial)))


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
