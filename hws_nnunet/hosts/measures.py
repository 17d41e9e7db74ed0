"""What is recorded of each sample beside a host's loss: its Dice by structure, and that loss of the sample alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from hws_nnunet.hosts.replaced import Through, replaced
from hws_nnunet.loop.alone import Resolutions, loss_alone, sample_of
from hws_nnunet.loop.counted import uncounted


@torch.no_grad()
def dice_by_structure(
    logits: Tensor, target: Tensor, *, probabilities: Tensor | None = None, ignore_label: int | None = None
) -> Tensor:
    """Return 1 - soft Dice of each foreground class or region of each sample: 0 to 1, NaN where a sample lacks it.

    Computed in float32, sample by sample: the extra memory stays below that of two samples' float32 logits.

    Args:
        logits: ``(B, C, *spatial)``, of classes, 0 the background, or of regions; any floating type.
        target: of classes ``(B, 1, *spatial)``, numbers 0 to C - 1 (or ``ignore_label``); of regions
            ``(B, C, *spatial)`` of 0 and 1, with one more channel where voxels are to be ignored, 1 there. Any type.
        probabilities: float32 softmax or sigmoid of the logits where it is known; None computes it.
        ignore_label: voxels of this class count nowhere.

    Returns:
        ``(B, K)``, K = C - 1 classes or C regions; float32 on the logits' device.

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
    if not samples:
        return logits.new_zeros((0, classes if of_regions else classes - 1), dtype=torch.float32)

    def sums(i: int) -> Tensor:
        if of_regions:
            p = logits[i].float().sigmoid() if probabilities is None else probabilities[i]
            return torch.stack(_sums_of_regions(p, target[i]))
        p = logits[i].softmax(0, dtype=torch.float32) if probabilities is None else probabilities[i]
        return torch.stack(_sums_of_classes(p, target[i], ignore_label))

    predicted, present, common = torch.stack([sums(i) for i in range(samples)], dim=1)
    return (1.0 - 2.0 * common / (predicted + present)).masked_fill_(present == 0, torch.nan)


def _sums_of_regions(p: Tensor, reference: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sums over voxels of p, of the reference, and of their product, ``(C,)`` each."""
    here = reference[: len(p)].float()
    if len(reference) > len(p):
        valid = 1.0 - reference[-1:].float()
        p, here = p * valid, here * valid
    return _over_voxels(p), _over_voxels(here), _over_voxels(p * here)


def _sums_of_classes(p: Tensor, reference: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same of the foreground classes, ``(C - 1,)`` each."""
    labels = reference.long()
    if ignore_label is None:
        predicted = _over_voxels(p)
    else:
        predicted = p.flatten(1) @ (labels != ignore_label).flatten().float()
        labels = labels.masked_fill(labels == ignore_label, 0)  # the background, which nobody asks for
    of_class = _sums_by_counting if p.device.type == "cpu" else _sums_by_masks
    present, common = of_class(labels, len(p), p.gather(0, labels))
    return predicted[1:], present[1:], common[1:]


def _sums_by_counting(labels: Tensor, classes: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return voxels, and the sum of values, of each class, ``(classes,)`` float32; both arguments ``(1, *spatial)``.

    Several times as fast as masks on a CPU; a GPU would have to be waited for.
    """
    labels = labels.flatten()
    counts, sums = (torch.bincount(labels, each, classes).float() for each in (None, values.flatten().double()))
    return counts, sums


def _sums_by_masks(labels: Tensor, classes: int, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same without waiting for a GPU."""
    masks = labels == torch.arange(classes, device=labels.device).view(-1, *[1] * (labels.ndim - 1))
    return _over_voxels(masks).float(), _over_voxels(torch.where(masks, values, 0.0))


def _over_voxels(values: Tensor) -> Tensor:
    return values.sum(tuple(range(1, values.ndim)))


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


@contextmanager
def watched_probabilities(loss: nn.Module, nonlinearity: Callable | None, logits: Tensor) -> Iterator[list[Tensor]]:
    """Yield a list that receives what the host's loss makes of these very logits in the block, without gradient.

    nnU-Net's Dice losses hold their softmax or sigmoid as ``apply_nonlin``. A compiled loss is left alone: it would be
    compiled anew if an attribute changed.

    Args:
        loss: the host's.
        nonlinearity: the one whose float32 results are wanted; a loss with another one is left alone.
        logits: of the full resolution; calls with other ones are not kept.
    """
    found: list[Tensor] = []
    modules = list(loss.modules()) if isinstance(loss, nn.Module) else []
    compiled = any(hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) for module in modules)
    if nonlinearity is None or compiled:
        yield found
        return
    modules = [module for module in modules if vars(module).get("apply_nonlin") is nonlinearity]

    def watched(original: Callable, values: Tensor) -> Tensor:
        probabilities = original(values)
        if values is logits and probabilities.dtype == torch.float32:
            found[:] = [probabilities.detach()]
        return probabilities

    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(replaced(module, {"apply_nonlin": Through(watched)}))
        yield found
