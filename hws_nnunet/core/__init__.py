"""Sampling by hardness: the shared table, the distribution, the draws, and the sampler that joins them.

Nothing here knows nnU-Net. Cases are indices into a list of names; losses are plain numbers.
"""

from hws_nnunet.core.distribution import case_distribution, effective_sample_size, solve_beta
from hws_nnunet.core.draws import DrawnCases, Draws
from hws_nnunet.core.sampler import HardnessWeightedSampler
from hws_nnunet.core.table import HardnessTable

__all__ = [
    "DrawnCases",
    "Draws",
    "HardnessTable",
    "HardnessWeightedSampler",
    "case_distribution",
    "effective_sample_size",
    "solve_beta",
]
