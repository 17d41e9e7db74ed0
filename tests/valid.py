"""What has to hold of a table and of a sampler at any time; each function returns what does not, "" where all does."""

import numpy as np

from hws_nnunet.core import sampler as module


def fault_of_table(table):
    if table.words["_integers_array"][0] & 1:
        return "a write is under way or was cut off"
    if np.isinf(table.offset).any() or np.isinf(table.structure_hardness).any() or not np.isfinite(table.level):
        return "an infinite loss entered the table"
    if int((table.visits == 0).sum()) != table.unseen:
        return f"unseen is {table.unseen}, {(table.visits == 0).sum()} cases have no visit"
    if np.isfinite(table.offset[table.visits == 0]).any():
        return "a case without a visit has a loss"
    if not np.array_equal(np.sort(table.order), np.arange(len(table))):
        return "the sweep's order is no permutation"
    weights = table.tree.weights
    if not np.isfinite(weights).all() or (weights < 0).any() or not table.tree.total > 0:
        return "draw weights have to be finite, not negative, and not all 0"
    if abs(weights.sum() - table.tree.total) > 1e-9 * table.tree.total:
        return f"the tree's total is {table.tree.total}, its weights sum to {weights.sum()}"
    return ""


def fault_of(sampler):
    table, settings, n = sampler.table, sampler.settings, len(sampler.table)
    if (fault := fault_of_table(table)) or not table.weighted:
        return fault
    squares = float(np.dot(table.tree.weights, table.tree.weights / sampler.prior))
    if abs(squares - sampler._squares) > 1e-6 * sampler._squares:
        return f"sum of squared weights is {squares}, tracked as {sampler._squares}"
    ess, bound = sampler.effective_sample_size(), sampler.smallest_ess
    if ess < bound * (1 - module._SHORTFALL) - 1e-6:
        return f"effective sample size {ess} is below {bound}"
    if not settings.ess * n - 1e-6 <= bound <= n:
        return f"the bound in force is {bound}, beyond {settings.ess * n} and {n}"
    if not 0 <= table.beta <= settings.beta:
        return f"beta in force {table.beta} is not in [0, {settings.beta}]"
    if settings.cap is not None and (p := (sampler.probabilities() / sampler.prior).max()) > settings.cap / n * (
        1 + 2 * module._DRIFT
    ):
        return f"a case has probability {p} over its prior, above the cap {settings.cap / n}"
    return ""
