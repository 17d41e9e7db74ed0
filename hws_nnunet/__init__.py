"""Hardness weighted sampling for nnU-Net: train for the worst cases, not only the mean."""

from hws_nnunet._version import __version__
from hws_nnunet.config import Settings, find_settings, parse_settings, read_settings
from hws_nnunet.sampling import HardnessTable, HardnessWeightedSampler
from hws_nnunet.training.batch_sampler import HardnessWeightedBatchSampler
from hws_nnunet.training.per_sample import per_sample

__all__ = [
    "HardnessTable",
    "HardnessWeightedBatchSampler",
    "HardnessWeightedSampler",
    "Settings",
    "__version__",
    "find_settings",
    "parse_settings",
    "per_sample",
    "read_settings",
]
