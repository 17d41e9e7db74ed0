"""Which of nnU-Net v1's losses our own functions compute, and with which options."""

from __future__ import annotations

from nnunet.training.loss_functions.crossentropy import RobustCrossEntropyLoss
from nnunet.training.loss_functions.deep_supervision import MultipleOutputLoss2
from nnunet.training.loss_functions.dice_loss import DC_and_CE_loss, SoftDiceLoss
from nnunet.utilities.nd_softmax import softmax_helper
from torch import Tensor, nn

from hws_nnunet.training.losses import SampleLosses, per_sample_dice_bce, per_sample_dice_ce
from hws_nnunet.training.measures import HostLosses, KnownLoss, matches


def per_sample(logits: Tensor, target: Tensor, **options: object) -> SampleLosses:
    """Return the losses of class numbers, or of regions where the target has a channel for each of the network's."""
    regions = target.shape[1] == logits.shape[1]
    return (per_sample_dice_bce if regions else per_sample_dice_ce)(logits, target, **options)


def known(loss: nn.Module) -> KnownLoss | None:
    """Return what our function has to be given to equal one of v1's losses; None where it cannot."""
    if (
        matches(loss, DC_and_CE_loss, aggregate="sum", log_dice=False, ignore_label=None)
        and matches(
            loss.ce, RobustCrossEntropyLoss, weight=None, reduction="mean", label_smoothing=0.0, ignore_index=-100
        )
        and matches(loss.dc, SoftDiceLoss, do_bg=False, apply_nonlin=softmax_helper)
    ):
        options = {"weight_ce": loss.weight_ce, "weight_dice": loss.weight_dice, "smooth": loss.dc.smooth}
        return KnownLoss(options, loss.dc)
    return None


LOSSES = HostLosses(per_sample, known, MultipleOutputLoss2)
