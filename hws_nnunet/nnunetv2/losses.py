"""Which of nnU-Net v2's losses our own functions compute, and with which options."""

from __future__ import annotations

from functools import partial

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss, SoftDiceLoss
from nnunetv2.training.loss.robust_ce_loss import RobustCrossEntropyLoss
from nnunetv2.utilities.helpers import softmax_helper_dim1
from torch import nn

from hws_nnunet.training.losses import per_sample_dice_bce, per_sample_dice_ce
from hws_nnunet.training.measures import HostLosses, KnownLoss, matches, uncompiled

DICE = (SoftDiceLoss, MemoryEfficientSoftDiceLoss)


def host_losses(*, regions: bool, ignore_label: int | None) -> HostLosses:
    """Return what is known of v2's losses for a data set's kind of labels."""
    if regions:
        has_ignore = ignore_label is not None
        own = partial(per_sample_dice_bce, has_ignore=has_ignore)
        return HostLosses(own, partial(_known_bce, has_ignore=has_ignore), DeepSupervisionWrapper)
    own = partial(per_sample_dice_ce, ignore_label=ignore_label)
    return HostLosses(own, partial(_known_ce, ignore_label=ignore_label), DeepSupervisionWrapper)


def _known_ce(loss: nn.Module, ignore_label: int | None) -> KnownLoss | None:
    return (
        _known(loss)
        if (
            matches(loss, DC_and_CE_loss, ignore_label=ignore_label)
            and matches(
                loss.ce,
                RobustCrossEntropyLoss,
                weight=None,
                reduction="mean",
                label_smoothing=0.0,
                ignore_index=-100 if ignore_label is None else ignore_label,
            )
            and _is_dice(loss.dc, do_bg=False, apply_nonlin=softmax_helper_dim1)
        )
        else None
    )


def _known_bce(loss: nn.Module, has_ignore: bool) -> KnownLoss | None:
    return (
        _known(loss)
        if (
            matches(loss, DC_and_BCE_loss, use_ignore_label=has_ignore)
            and matches(
                loss.ce, nn.BCEWithLogitsLoss, weight=None, pos_weight=None, reduction="none" if has_ignore else "mean"
            )
            and _is_dice(loss.dc, do_bg=True, apply_nonlin=torch.sigmoid)
        )
        else None
    )


def _is_dice(dice: nn.Module, **options: object) -> bool:
    """Tell whether it is a Dice loss whose value for one sample does not depend on how it treats batches."""
    dice = uncompiled(dice)
    return matches(dice, DICE, clip_tp=None, **options) and not (dice.ddp and dice.batch_dice)


def _known(loss: nn.Module) -> KnownLoss:
    dice = uncompiled(loss.dc)
    return KnownLoss({"weight_ce": loss.weight_ce, "weight_dice": loss.weight_dice, "smooth": dice.smooth}, dice)
