"""What has to hold of a sampler at any time: what does not is returned, "" where all does."""

import numpy as np

from hws_nnunet.core import weights as module


def fault_of(sampler):
    table, settings, n = sampler.table, sampler.settings, len(sampler.table)
    if (fault := table.check_valid()) or not table.weighted:
        return fault
    squares = float(np.dot(table.weight, table.weight / sampler.prior))
    if abs(squares - (tracked := sampler._updates.weights.squares)) > 1e-6 * tracked:
        return f"sum of squared weights is {squares}, tracked as {tracked}"
    ess, bound = sampler.effective_sample_size(), sampler.smallest_effective_sample_size
    if ess < bound * (1 - module.SHORTFALL) - 1e-6:
        return f"effective sample size {ess} is below {bound}"
    if not settings.ess * n - 1e-6 <= bound <= n:
        return f"the bound in force is {bound}, beyond {settings.ess * n} and {n}"
    if not 0 <= table.beta_in_force <= settings.beta:
        return f"beta in force {table.beta_in_force} is not in [0, {settings.beta}]"
    if settings.cap is not None and (p := (sampler.probabilities() / sampler.prior).max()) > settings.cap / n * (
        1 + 2 * module.DRIFT
    ):
        return f"a case has probability {p} over its prior, above the cap {settings.cap / n}"
    return ""
