"""Subgroups of cases, from the ``subgroups.csv`` that ``hws-nnunet prepare`` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hws_nnunet.datasets.case_table import UNNAMED, CaseTableError, read_case_groups
from hws_nnunet.report.read.results import ResultError, short_list


def read_groups(path: Path, cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the cases of each subgroup, subgroups and cases sorted.

    Args:
        path: CSV with the columns ``case`` and ``subgroup``; an empty subgroup is called ``(none)``.
        cases: those of the results; other rows of the file are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ResultError: a column is missing, a case is there twice, or a case of the results is not there.
    """
    try:
        group_of = read_case_groups(path, "subgroup")
    except CaseTableError as error:
        raise ResultError(path, error.problems) from None
    wanted = sorted(set(cases))
    if unknown := [case for case in wanted if case not in group_of]:
        raise ResultError(path, [f"lacks {len(unknown)} of {len(wanted)} cases of the results: {short_list(unknown)}"])
    return cases_by_group(group_of, wanted)


def cases_by_group(group_of: Mapping[str, str], cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the cases of each subgroup, subgroups and cases sorted; ``(none)`` are those that have none."""
    named = {case: group_of.get(case) or UNNAMED for case in sorted(set(cases))}
    return {group: tuple(case for case in named if named[case] == group) for group in sorted(set(named.values()))}
