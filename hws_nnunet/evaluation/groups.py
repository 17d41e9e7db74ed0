"""Subgroups of cases, from the ``subgroups.csv`` that ``hws-nnunet prepare`` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from hws_nnunet.evaluation.results import ResultError, short_list

UNNAMED = "(none)"


def read_groups(path: Path, cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the cases of each subgroup, subgroups and cases sorted.

    Args:
        path: CSV with the columns ``case`` and ``subgroup``; an empty subgroup is called ``(none)``.
        cases: those of the results; other rows of the file are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ResultError: a column is missing, a case is there twice, or a case of the results is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a table with the columns case and subgroup")
    group_of: dict[str, str] = {}
    problems = []
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := [column for column in ("case", "subgroup") if column not in (rows.fieldnames or [])]:
            found = ", ".join(rows.fieldnames or []) or "nothing"
            raise ResultError(path, [f"expected a column {' and '.join(missing)} in the first line, found: {found}"])
        for row in rows:
            if row["case"] in group_of:
                problems.append(f"line {rows.line_num}: case {row['case']!r} is there twice, expected once")
            group_of[row["case"]] = (row["subgroup"] or "").strip() or UNNAMED
    wanted = sorted(set(cases))
    if unknown := [case for case in wanted if case not in group_of]:
        problems.append(f"lacks {len(unknown)} of {len(wanted)} cases of the results: {short_list(unknown)}")
    if problems:
        raise ResultError(path, problems)
    groups: dict[str, list[str]] = {}
    for case in wanted:
        groups.setdefault(group_of[case], []).append(case)
    return {group: tuple(groups[group]) for group in sorted(groups)}
