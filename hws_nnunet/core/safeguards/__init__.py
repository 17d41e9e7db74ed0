"""Safeguards: each holds some cases, which are then drawn as under uniform sampling, and says why.

A safeguard is one file in this folder and one line in :data:`SAFEGUARDS`.
"""

from hws_nnunet.core.safeguards.safeguard import Safeguard
from hws_nnunet.core.safeguards.stall_limit import StallLimit

SAFEGUARDS: tuple[type[Safeguard], ...] = (StallLimit,)
"""All of them; a case is held where any of them holds it."""

__all__ = ["SAFEGUARDS", "Safeguard", "StallLimit"]
