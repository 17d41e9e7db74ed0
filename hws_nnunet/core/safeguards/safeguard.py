"""What a safeguard is."""

from __future__ import annotations

import numpy as np

from hws_nnunet.config import Settings
from hws_nnunet.core.table import HardnessTable


class Safeguard:
    """Holds cases: they are drawn with the probability of their prior, and the others share the rest.

    A subclass defines :attr:`title`, :attr:`reason` and :meth:`hold`; :meth:`learn` only where what it goes by changes
    with the losses. A held case costs nothing until :meth:`learn` says that all weights have to be computed anew.

    Args:
        table: what is tracked.
        settings: the sampler's.

    Attributes:
        title: what a held case is called, for the log.
        reason: why cases are held, and what people can do, for the log.
        held: ids of the cases that are held now.
    """

    title = "Held"
    reason = ""

    def __init__(self, table: HardnessTable, settings: Settings):
        self.table, self.settings = table, settings
        self.held: frozenset[int] = frozenset()

    def hold(self, offset: np.ndarray) -> np.ndarray:
        """Return which cases to hold, ``(n,)`` of bool; called whenever all weights are computed.

        Args:
            offset: ``(n,)``, tracked losses from the level of all, finite.
        """
        raise NotImplementedError

    def learn(self, cases: np.ndarray, losses: np.ndarray, levels: np.ndarray) -> bool:
        """Take in finite losses that have just been tracked; return whether other cases are to be held from now on.

        Args:
            cases: ``(B,)`` ids, each once.
            losses: ``(B,)``.
            levels: ``(B,)``, what all losses had in common when each came.
        """
        return False

    def learn_one(self, case: int, loss: float, level: float) -> bool:
        """Take in one loss, as :meth:`learn` does; small batches come one by one."""
        return self.learn(np.array([case]), np.array([loss]), np.array([level]))

    @property
    def learns(self) -> bool:
        """Whether losses change what is held."""
        return type(self).learn is not Safeguard.learn
