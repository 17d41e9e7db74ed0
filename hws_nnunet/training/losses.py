"""Per-sample Dice + cross-entropy, Dice + binary cross-entropy, and Dice of each structure: pure functions.

Each equals nnU-Net's own compound loss called with one sample at a time (its batch Dice over one sample is the
same), in float32 whatever the logits' precision, as under nnU-Net's autocast. Samples, and parts of a large one, are
worked through one after the other: the extra memory stays below that of two samples' float32 logits, or 24 MiB.

Probabilities that nnU-Net's loss has computed already can be handed in, which saves most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

_PARTS = 4  # of a large sample: the temporaries of one part are up to six times its float32 logits
_SMALL = 2**20  # logits; to part what is smaller would cost more in calls than it saves
_TINY = torch.finfo(torch.float32).tiny


class SampleLosses(NamedTuple):
    """Losses of each sample, float32 on the logits' device."""

    loss: Tensor
    """``(B,)``, weighted sum of Dice and (binary) cross-entropy loss."""

    dice_present: Tensor
    """``(B,)``, mean of ``dice_by_structure`` over the structures that are present: 0 to 1, NaN where none is."""

    dice_by_structure: Tensor
    """``(B, K)``, 1 - soft Dice of each foreground class (K = C - 1) or region (K = R): 0 to 1, NaN where the sample's
    reference lacks it."""

    def stacked(self) -> Tensor:
        """Return all of it as columns, ``(B, 2 + K)``."""
        return torch.cat((self.loss[:, None], self.dice_present[:, None], self.dice_by_structure), dim=1)


@torch.no_grad()
def per_sample_dice_ce(
    logits: Tensor,
    target: Tensor,
    *,
    probabilities: Tensor | None = None,
    ignore_label: int | None = None,
    weight_ce: float = 1.0,
    weight_dice: float = 1.0,
    smooth: float = 1e-5,
) -> SampleLosses:
    """Dice + cross-entropy of each sample, as nnU-Net's ``DC_and_CE_loss`` has it (foreground Dice, softmax).

    Args:
        logits: ``(B, C, *spatial)``, C at least 2, class 0 the background; any floating type.
        target: ``(B, 1, *spatial)`` or ``(B, *spatial)``, class numbers 0 to C - 1 (or ``ignore_label``), any type.
        probabilities: float32 softmax of the logits where it is known; None computes it. Cross-entropy of a voxel is
            at most 87, where float32 probabilities end.
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
    sums, cross_entropy = [], []
    for sample, reference in zip(logits if probabilities is None else probabilities, target, strict=True):
        whole = entropy = voxels = 0
        for part, labels in _parts(sample, reference):
            p = part if probabilities is not None else part.softmax(0, dtype=torch.float32)
            sums_of_part, entropy_of_part, voxels_of_part = _softmax_sums(p, labels, ignore_label)
            whole, entropy, voxels = whole + sums_of_part, entropy + entropy_of_part, voxels + voxels_of_part
            del p
        sums.append(whole)
        cross_entropy.append(entropy / (voxels if ignore_label is None else voxels.clamp_min(1)))
    return _losses(sums, cross_entropy, logits, logits.shape[1] - 1, (weight_ce, weight_dice, smooth))


@torch.no_grad()
def per_sample_dice_bce(
    logits: Tensor,
    target: Tensor,
    *,
    probabilities: Tensor | None = None,
    has_ignore: bool = False,
    weight_ce: float = 1.0,
    weight_dice: float = 1.0,
    smooth: float = 1e-5,
) -> SampleLosses:
    """Dice + binary cross-entropy of each sample, as nnU-Net's ``DC_and_BCE_loss`` has it (regions, sigmoid).

    Args:
        logits: ``(B, R, *spatial)``, one channel a region; any floating type.
        target: ``(B, R, *spatial)`` of 0 and 1, in any type; with ``has_ignore`` one more channel, 1 where ignored.
        probabilities: float32 sigmoid of the logits where it is known; None computes it.
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
    sums, cross_entropy = [], []
    for i, (sample, reference) in enumerate(zip(logits, target, strict=True)):
        whole = entropy = voxels = 0
        known = () if probabilities is None else (probabilities[i],)
        for part, labels, *p in _parts(sample, reference, *known):
            here, valid = labels[:regions].float(), 1 - labels[-1:].float() if has_ignore else None
            sums_of_part, entropy_of_part = _sigmoid_sums(part.float(), p[0] if p else None, here, valid)
            whole, entropy = whole + sums_of_part, entropy + entropy_of_part
            voxels = voxels + (part.numel() if valid is None else valid.sum())
            del here, valid
        sums.append(whole)
        cross_entropy.append(entropy / (voxels.clamp_min(1e-8) if has_ignore else voxels))
    return _losses(sums, cross_entropy, logits, regions, (weight_ce, weight_dice, smooth))


def _check_shapes(logits: Tensor, target: Tensor, channels: int, what: str) -> None:
    expected = (logits.shape[0], channels, *logits.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, expected {expected} ({what}) for logits of shape "
            f"{tuple(logits.shape)}"
        )


def _parts(sample: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield a sample, ``(C, *spatial)``, and what belongs to it, ``(K, *spatial)``, in parts along the longest axis."""
    axis = max(range(1, sample.ndim), key=lambda i: sample.shape[i])
    size = -(-sample.shape[axis] // min(_PARTS, max(1, -(-sample.numel() // _SMALL))))
    yield from zip(*(tensor.split(size, axis) for tensor in (sample, *others)), strict=True)


def _softmax_sums(p: Tensor, labels: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor, Tensor | int]:
    """Return sums over voxels of p, reference and their product, ``(3, C - 1)``, that of cross-entropy, and voxels."""
    ignored = None if ignore_label is None else labels == ignore_label
    labels = (labels if ignored is None else labels.masked_fill(ignored, 0)).long()
    here = p.gather(0, labels).clamp_min_(_TINY)  # p of the class that the reference has
    voxels = labels.numel()
    if ignored is not None:  # their log is 0; among the sums by class they are background, which nobody asks for
        here.masked_fill_(ignored, 1.0)
        p = p.masked_fill(ignored, 0.0)
        voxels = voxels - ignored.sum()
    predicted = _over_voxels(p)
    # On a CPU counting is several times as fast as masks, and logs are what takes longest. A GPU would have to be
    # waited for to count.
    if p.device.type == "cpu":
        here = here.double()
        entropy, sums_by_class = -_sum_of_logs(here, 8).float(), _sums_by_counting
    else:
        entropy, sums_by_class = -here.log().sum(), _sums_by_masks
    reference, common = sums_by_class(labels, len(p), here)
    return torch.stack((predicted, reference, common))[:, 1:], entropy, voxels


def _sums_by_counting(labels: Tensor, classes: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return voxels, and the sum of values, of each class, ``(classes,)`` float32; both arguments ``(1, *spatial)``."""
    labels = labels.flatten()
    return tuple(torch.bincount(labels, one, classes).float() for one in (None, values.flatten()))


def _sums_by_masks(labels: Tensor, classes: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same without waiting for a GPU."""
    masks = labels == torch.arange(classes, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
    return _over_voxels(masks).float(), _over_voxels(torch.where(masks, values, 0.0))


def _sigmoid_sums(logits: Tensor, p: Tensor | None, here: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return sums over voxels of p, reference and their product, ``(3, R)``, and that of binary cross-entropy."""
    # -log p or -log(1 - p), whichever is smaller, is all that exceeds a straight line: many of them in one product
    line = logits.clamp_min(0) if valid is None else logits.clamp_min(0).mul_(valid)
    entropy = line.sum()
    del line
    here = here if valid is None else here.mul_(valid)
    entropy = entropy - (logits * here).sum()
    p = logits.sigmoid() if p is None else p
    larger = (p - 0.5).abs_().add_(0.5)
    if valid is not None:
        larger.masked_fill_(valid == 0, 1.0)
    entropy = entropy - _sum_of_logs(larger, 32)
    del larger
    p = p if valid is None else p * valid
    return torch.stack((_over_voxels(p), _over_voxels(here), _over_voxels(p * here))), entropy


def _over_voxels(values: Tensor) -> Tensor:
    return values.sum(tuple(range(1, values.ndim)))


def _sum_of_logs(values: Tensor, at_once: int) -> Tensor:
    """Return the sum of the logarithms, of ``at_once`` values' product at a time: logarithms are slow on a CPU."""
    values = values.flatten()
    groups = len(values) // at_once
    grouped, rest = values[: groups * at_once].view(at_once, groups), values[groups * at_once :]
    total = grouped.prod(0).log().sum()
    return total + rest.log().sum() if len(rest) else total


def _losses(
    sums: list[Tensor], cross_entropy: list[Tensor], logits: Tensor, structures: int, options: tuple[float, ...]
) -> SampleLosses:
    if not sums:
        empty = torch.zeros(0, device=logits.device)
        return SampleLosses(empty, empty.clone(), empty.new_zeros(0, structures))
    weight_ce, weight_dice, smooth = options
    predicted, reference, common = torch.stack(sums, dim=1)
    dice = (2 * common + smooth) / (reference + predicted + smooth).clamp_min(1e-8)
    by_structure = (1.0 - dice).masked_fill_(reference == 0, torch.nan)
    loss = weight_ce * torch.stack(cross_entropy) - weight_dice * dice.mean(1)
    return SampleLosses(loss, by_structure.nanmean(1), by_structure)


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
