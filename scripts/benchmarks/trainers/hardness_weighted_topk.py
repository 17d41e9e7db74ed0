"""A trainer of nnU-Net's own with hardness weighted sampling on top; found through ``nnUNet_extTrainer``."""

from nnunetv2.training.nnUNetTrainer.variants.loss.nnUNetTrainerTopkLoss import nnUNetTrainerDiceTopK10Loss

from hws_nnunet.nnunetv2.trainer import HardnessWeightingMixin


class HardnessWeightedDiceTopK10(HardnessWeightingMixin, nnUNetTrainerDiceTopK10Loss):
    """Draws cases by hardness; the loss is Dice + cross-entropy of the tenth of the voxels that have most of it."""
