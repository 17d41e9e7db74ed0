"""How the report's figures are made, in the words that it prints."""

from __future__ import annotations

from hws_nnunet.report.stats.analysis import Analysis
from hws_nnunet.report.stats.comparison import EXACT, LEVEL, PERMUTATIONS, RESAMPLES, SEED


def rules(analysis: Analysis, *, tolerance: float) -> tuple[str, ...]:
    """Return the rules, a paragraph each.

    Args:
        analysis: what the report says.
        tolerance: of the normalised surface Dice where it was computed, in millimetres.
    """
    lines = [
        "Empty structures: where reference and prediction are both empty there is nothing to measure; the case is left "
        "out of that label's figures (column 'left out') and of the case's average. Where only the prediction is empty "
        "the structure is missed, where only the reference is it is invented: Dice is 0, and counts.",
        "Average: the mean of a case's labels, each of the same weight, over the labels that have a value. A case with "
        "an invented structure has one label more in its average.",
        f"Failed: Dice below {analysis.threshold:g}, or the structure missed; for the average of a case's labels, that "
        "average below it, or any structure missed.",
        "Statistics are over cases. SD divides by n - 1; percentiles interpolate linearly; IQR is the 75th less the "
        "25th percentile; CVaR at 10 % is the mean of the worst tenth of the cases, the case at the border with the "
        "share that falls in it, the worst case alone where there are fewer than ten.",
    ]
    if any(one.surface_tool.startswith("MONAI") for one in analysis.sets):
        lines.append(
            "HD95 and normalised surface Dice by MONAI, of borders made of voxels (those with a neighbour by face "
            "outside the structure), in millimetres. HD95 is the larger of the two directions' 95th percentiles. "
            f"Normalised surface Dice is the share of both borders' voxels within {tolerance:g} mm of the other. "
            "For a missed or invented structure HD95 is the diagonal of the image, and normalised surface Dice 0. "
            "Other tools define borders and percentiles differently: compare figures of one tool only."
        )
    elif any(one.surface_tool for one in analysis.sets):
        lines.append(
            "HD95 and normalised surface Dice are as the sources have them, and were not computed anew. Tools define "
            "borders, percentiles and empty structures differently: compare figures of one tool only."
        )
    if analysis.groups:
        lines.append(
            "Gap: between the subgroups of the worst and of the best mean (and 10th percentile from the worse end), "
            "among those with a value; the first by name of several with the same."
        )
    if analysis.comparisons:
        lines.append(
            "Comparisons are paired, over the cases of both sets; a case without a value in either is left out. "
            f"Intervals: 95 %, percentile bootstrap over cases, {RESAMPLES} resamples (scipy.stats.bootstrap); of the "
            "difference of the figures, for instance of the two 10th percentiles. Tests, two-sided: Wilcoxon's "
            "signed-rank test (scipy.stats.wilcoxon; equal cases are left out) and the sign-flip permutation test of "
            f"the mean difference (scipy.stats.permutation_test; exact up to {EXACT} cases, "
            f"else monte_carlo_test with {PERMUTATIONS} draws of signs); p is 1 where no case differs. "
            "Holm: over all rows of a table, for each test by itself (statsmodels). The answers call sure what the "
            f"permutation test finds at {LEVEL:g} after that correction; a point is 0.01 of Dice. "
            f"Random numbers start from seed {SEED}. Intervals and tests need two cases; with few cases "
            "the intervals of percentiles are too narrow."
        )
    return tuple(lines)
