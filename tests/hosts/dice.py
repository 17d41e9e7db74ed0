"""Soft Dice of each structure of a batch, by way of the sums that trainers record."""

import math

from hws_nnunet.hosts.measures import check_shapes, read_sums, sums_by_structure


def dice_by_structure(logits, target, *, probabilities=None, ignore_label=None):
    """Return 1 - soft Dice of each foreground class or region of each sample, ``(B, K)``; NaN where it is absent."""
    of_regions = check_shapes(logits, target)
    values = sums_by_structure(logits, target, probabilities=probabilities, ignore_label=ignore_label)
    dice = read_sums(values.cpu(), of_regions=of_regions, voxels=math.prod(logits.shape[2:])).dice()
    return dice if of_regions else dice[:, 1:]
