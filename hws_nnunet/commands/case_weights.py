"""Weights of cases for a training: by an earlier one's held-out Dice, by groups, or by what images look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hws_nnunet.core import case_distribution, effective_sample_size, solve_beta
from hws_nnunet.datasets.appearance import FEWEST, appearance, unlikeness
from hws_nnunet.datasets.case_table import UNNAMED, CaseTableError, read_groups
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.facts.versions import DATASET
from hws_nnunet.gallery.images import read_channels
from hws_nnunet.gallery.layout import RawData, read_raw_data
from hws_nnunet.messages import number, some_of
from hws_nnunet.processes import on_all_cores

_LEAST = 0.25
"""Least distance that weights follow, as a share of the median."""


def held_out_dice(folds: Sequence[Path]) -> dict[str, float]:
    """Return the mean Dice of each case's structures, 0 to 1, in the validations of several folds, cases sorted.

    A case of which no structure is in reference or prediction gets the mean of the others.

    Args:
        folds: a fold's folder of nnU-Net v2 or v1, or of its validation, or a ``summary.json``, of any trainer.

    Raises:
        FileNotFoundError: one holds no summary.
        ResultError: one cannot be used, was trained on all cases, or a case was held out in two.
        RuntimeError: the extra ``report`` is not installed.
    """
    from hws_nnunet.report import ResultError, read_results  # weights of groups need nothing of the report's extra

    dice_by_case: dict[str, float] = {}
    of: dict[str, Path] = {}
    for fold in folds:
        results = read_results(str(fold), fold)
        if results.on_training_cases:
            text = "is of a training on all cases, whose validation held none of them out: give the folds of a "
            raise ResultError(fold, [f"{text}cross-validation"])
        if twice := sorted(of.keys() & set(results.cases)):
            raise ResultError(
                results.source, [f"case {twice[0]!r} was held out in {of[twice[0]]}, too: expected one fold each"]
            )
        dice_by_case |= dict(zip(results.cases, results.values("dice")[:, -1].tolist(), strict=True))
        of |= dict.fromkeys(results.cases, fold)
    mean = float(np.nanmean(list(dice_by_case.values())))
    return {case: mean if np.isnan(dice) else dice for case, dice in sorted(dice_by_case.items())}


def weights_by_dice(dice: Mapping[str, float], *, beta: float, ess: float, cap: float) -> dict[str, float]:
    """Return weights of mean 1 that grow as ``exp(-beta Dice)``, within bounds, by case.

    Args:
        dice: of each case, 0 to 1.
        beta: at least 0; less where ``ess`` asks for it. At 10, a Dice lower by 0.1 means 2.7 times the weight.
        ess: smallest effective sample size, as a share of the cases, 0 to 1.
        cap: largest weight, at least 1.
    """
    return _softly(dict(dice), -np.array(list(dice.values())), beta, ess, cap)


def weights_by_group(groups: Mapping[str, str], *, ess: float, cap: float) -> dict[str, float]:
    """Return weights of mean 1 that give each group the same share, or as nearly as the bounds allow, by case.

    Cases of no group, or of one that is not known, keep the weight 1.

    Args:
        groups: each case's.
        ess: as in :func:`weights_by_dice`.
        cap: as in :func:`weights_by_dice`.
    """
    group_of = {case: group for case, group in groups.items() if not is_missing(group)}
    sizes = Counter(group_of.values())
    rarity = -np.log([sizes[group] for group in group_of.values()])
    return dict.fromkeys(groups, 1.0) | _softly(group_of, rarity, 1.0, ess, cap)


def data_set(folder: Path) -> RawData:
    """Return a raw data set's description.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it is not what nnU-Net expects.
    """
    if not (folder / DATASET).is_file():
        raise FileNotFoundError(f"--images {folder}: no {DATASET} there, expected a raw data set of nnU-Net")
    return read_raw_data(folder)


def appearances(data: RawData, *, progress: bool = False) -> dict[str, np.ndarray]:
    """Return what each training case's image looks like, by case, sorted; reads all images, on all cores.

    Args:
        data: a raw data set of nnU-Net.
        progress: show a bar on standard error.

    Raises:
        FileNotFoundError: images are missing.
        ImageFileError: one cannot be read.
        ValueError: there are too few cases.
    """
    cases = data.cases()
    if len(cases) < FEWEST:
        raise ValueError(f"{data.folder}: {number(len(cases), 'training case')}, expected {FEWEST} or more to compare")
    images = [data.images(case) for case in cases]
    if missing := [str(file) for files in images for file in files if not file.is_file()]:
        raise FileNotFoundError(f"{number(len(missing), 'image')} missing: {some_of(missing)}")
    looks = on_all_cores(_appearance, images, desc="reading", progress=progress)
    other = next((i for i, one in enumerate(looks) if len(one) != len(looks[0])), None)
    if other is not None:
        raise ValueError(
            f"{data.folder}: {cases[other]} has another number of channels than {cases[0]} ({len(looks[other])} and "
            f"{len(looks[0])} features): expected the same of all"
        )
    return dict(zip(cases, looks, strict=True))


def _appearance(images: Sequence[Path]) -> np.ndarray:
    return appearance(channel.T for channel in read_channels(images))  # in-plane axes come first in a file


def weights_by_unlikeness(
    looks: Mapping[str, np.ndarray], *, ess: float, cap: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return weights of mean 1 that grow as the square of how unlike the others an image looks, and that, by case.

    Args:
        looks: of each case, from :func:`appearances`.
        ess: as in :func:`weights_by_dice`.
        cap: as in :func:`weights_by_dice`.
    """
    distances = unlikeness(np.array(list(looks.values())))
    # Copies of one image, more of them than there are neighbours, lie at no distance; they are drawn all the same.
    lowest = _LEAST * np.median(distances[distances > 0]) if distances.any() else 1.0
    weights = _softly(dict(looks), np.log(np.maximum(distances, lowest)), 2.0, ess, cap)
    return weights, dict(zip(looks, distances.tolist(), strict=True))


def groups_of_cases(path: Path, column: str) -> dict[str, str]:
    """Return the group of each case of a table; ``(none)`` where the field is empty.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: it cannot be used, or has fewer than two groups.
    """
    groups = read_groups(path, column=column)
    if len(named := set(groups.values()) - {UNNAMED}) < 2:
        names = ", ".join(named) or "none"
        raise CaseTableError(path, [f"expected two groups or more in the column {column}, found: {names}"])
    return groups


def _softly(cases: dict, rank: np.ndarray, beta: float, ess: float, cap: float) -> dict[str, float]:
    largest_beta = solve_beta(rank, beta, ess * len(rank), cap=cap)
    weights = len(rank) * case_distribution(rank, largest_beta, cap=cap)
    return dict(zip(cases, weights.tolist(), strict=True))


def spread(weights: Mapping[str, float]) -> float:
    """Return the effective sample size of draws by weights of mean 1, as a share of the cases."""
    p = np.array(list(weights.values())) / len(weights)
    return effective_sample_size(p) / len(p)
