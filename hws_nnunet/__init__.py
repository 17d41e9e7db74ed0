"""Hardness weighted sampling for nnU-Net: train for the worst cases, not only the mean."""

from typing import TYPE_CHECKING

from hws_nnunet._lazy import lazy
from hws_nnunet._version import __version__

if TYPE_CHECKING:
    from hws_nnunet.config import Settings, find_settings, parse_settings, read_settings
    from hws_nnunet.core import HardnessTable, HardnessWeightedSampler
    from hws_nnunet.loop.batch_sampler import HardnessWeightedBatchSampler
    from hws_nnunet.loop.per_sample import per_sample

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

__getattr__, __dir__ = lazy(
    __name__,
    {
        **dict.fromkeys(("Settings", "find_settings", "parse_settings", "read_settings"), "hws_nnunet.config"),
        **dict.fromkeys(("HardnessTable", "HardnessWeightedSampler"), "hws_nnunet.core"),
        "HardnessWeightedBatchSampler": "hws_nnunet.loop.batch_sampler",
        "per_sample": "hws_nnunet.loop.per_sample",
    },
)
