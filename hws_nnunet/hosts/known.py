"""What is known of the training cases before the training, from tables: their weights, their groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from hws_nnunet.core.sampler import of_mean_1
from hws_nnunet.datasets.case_table import UNNAMED, CaseTableError, missing_cases, read_column, read_groups
from hws_nnunet.messages import some_of


def read_weights(path: str, cases: Sequence[str], log: Callable[[str], None]) -> list[float]:
    """Return the weights of the training cases, ``(n,)``, from the columns ``case`` and ``weight``.

    Rows of other cases are left out, and told in the log: they may be held out, or unknown.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: a training case is not there, or its weight is not a finite number above 0, or hardly above.
    """
    column = read_column(path, "weight")
    problems = missing_cases(column, cases)
    weights = []
    for case in cases:
        if case in column:
            weights.append(weight := _number(column[case]))
            if not (math.isfinite(weight) and weight > 0):
                problems.append(f"case {case!r}: expected a weight above 0, found {column[case]!r}")
    if problems:
        raise CaseTableError(path, problems)
    try:
        of_mean_1(weights)
    except ValueError as error:
        raise CaseTableError(path, [str(error)]) from None
    _tell_others(path, column, cases, log)
    return weights


def training_groups(path: str, column: str, cases: Sequence[str], log: Callable[[str], None]) -> list[str]:
    """Return the name of each training case's group, ``(n,)``; empty where it is not known.

    Rows of other cases are left out, and told in the log.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: a training case is not there, or fewer than two groups are.
    """
    table = read_groups(path, column=column, cases=cases)
    groups = ["" if table[case] == UNNAMED else table[case] for case in cases]
    if len(named := sorted(set(groups) - {""})) < 2:
        there = f"the group {named[0]!r} alone" if named else "no group"
        raise CaseTableError(path, [f"column {column!r} tells of {there} in {len(cases)} training cases: expected two"])
    _tell_others(path, table, cases, log)
    return groups


def _tell_others(path: str, column: Mapping[str, str], cases: Sequence[str], log: Callable[[str], None]) -> None:
    training = set(cases)
    if others := [case for case in column if case not in training]:
        log(f"{path}: {len(others)} of its {len(column)} cases are not among the training cases: {some_of(others)}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
