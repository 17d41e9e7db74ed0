"""What the sampler did in an epoch, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hws_nnunet.sampling import HardnessWeightedSampler


@dataclass(frozen=True)
class EpochSummary:
    """Figures of one epoch; hardness figures are NaN while nothing is known.

    ``ess`` in cases; ``lag`` in training steps; ``hardest`` pairs of name and hardness, hardest first.
    """

    cases: int
    ess: float
    beta: float
    beta_limit: float
    weighted: bool
    smallest: float
    mean: float
    largest: float
    seen: int
    visited: int
    median_lag: float
    largest_lag: float
    hardest: tuple[tuple[str, float], ...]

    def lines(self) -> list[str]:
        """Return the summary as lines for a log."""
        if self.weighted:
            drawing = f"ESS {self.ess:.1f} of {self.cases} cases, beta {self.beta:.3g} (limit {self.beta_limit:g})"
        else:
            drawing = "draws are uniform" if self.beta_limit == 0 else "first sweep, draws are not weighted yet"
        lines = [
            f"Sampling: {drawing}",
            f"Hardness: smallest {self.smallest:.4f}, mean {self.mean:.4f}, largest {self.largest:.4f}; "
            f"{self.seen} of {self.cases} cases seen, {self.visited} in this epoch; "
            f"lag {self.median_lag:.0f} (median), {self.largest_lag:.0f} (largest) steps",
        ]
        if self.hardest:
            lines.append("Hardest cases: " + ", ".join(f"{name} {value:.4f}" for name, value in self.hardest))
        return lines


def summarise(
    sampler: HardnessWeightedSampler, *, lags: Sequence[int], visits_before: np.ndarray, hardest: int = 5
) -> EpochSummary:
    """Summarise an epoch from the sampler's state at its end.

    Args:
        sampler: in the training process.
        lags: of the epoch's steps.
        visits_before: ``(n,)`` visits at the epoch's start.
        hardest: how many of the hardest cases to name.
    """
    table = sampler.table
    hardness = table.hardness[:, table.column]
    known = np.flatnonzero(np.isfinite(hardness))
    order = known[np.argsort(-hardness[known], kind="stable")][:hardest]
    values = hardness[known] if known.size else np.array([np.nan])
    weighted = table.weighted and sampler.settings.weighs_cases
    return EpochSummary(
        cases=len(table),
        ess=sampler.effective_sample_size() if weighted else float(len(table)),
        beta=table.beta if weighted else 0.0,
        beta_limit=sampler.settings.beta,
        weighted=weighted,
        smallest=float(values.min()),
        mean=float(values.mean()),
        largest=float(values.max()),
        seen=int((table.visits > 0).sum()),
        visited=int((table.visits > visits_before).sum()),
        median_lag=float(np.median(lags)) if len(lags) else float("nan"),
        largest_lag=float(max(lags, default=float("nan"))),
        hardest=tuple((table.names[i], float(hardness[i])) for i in order),
    )
