"""What a batch sampler has learnt, for checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from hws_nnunet.core import HardnessWeightedSampler
from hws_nnunet.loop.ranks import Ranks
from hws_nnunet.loop.tensors import with_tensors


class Learnt:
    """All that a resumed training needs of a batch sampler: what it tracks, and its random numbers.

    It is an object of its own, so that no loader finds it: those that save a state themselves (torchdata's
    ``StatefulDataLoader``) ask each batch sampler for one when they ask it for a batch, and would put that older one
    over what was learnt until the checkpoint. How far a pass has gone is the loader's; here it is not saved.

    Args:
        sampler: whose state it is.
        rng: of the draws.
        ranks: each goes on with random numbers of its own where there are several.
    """

    def __init__(self, sampler: HardnessWeightedSampler, rng: np.random.Generator, ranks: Ranks):
        self._sampler, self._rng, self._ranks = sampler, rng, ranks
        ranks.share_sweep(sampler.table)

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, names and tensors, in copies; ``torch.load(..., weights_only=True)`` reads them.

        Where there are several ranks, all have to ask at the same step, even if one alone writes it: weights are
        computed anew.
        """
        return {"sampler": with_tensors(self._sampler.state_dict()), "random": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`; where there are several ranks, all at the same time.

        Raises:
            ValueError: for a data set of another size, a state of another version, or a damaged one; nothing is
                changed then.
        """
        try:
            saved, random = len(state["sampler"]["names"]), state["random"]
            type(self._rng.bit_generator)().state = random
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {error}"
            raise ValueError(f"this is not a state of a batch sampler, or a damaged one: {told}") from error
        if saved != len(self._sampler):
            raise ValueError(f"the saved state is of {saved} samples, the data set has {len(self._sampler)}")
        self._sampler.load_state_dict(state["sampler"])
        if self._ranks.count == 1:
            self._rng.bit_generator.state = random
        self._ranks.share_sweep(self._sampler.table)
