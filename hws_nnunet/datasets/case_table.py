"""Tables that people keep of their cases: CSV files with a column ``case`` and others."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from hws_nnunet.facts.spellings import case_names, is_missing, one_spelling
from hws_nnunet.messages import ProblemsError, some_of

UNNAMED = "(none)"
"""Group of the cases that have none."""


class CaseTableError(ProblemsError):
    """A table that cannot be used; the message lists every problem."""


def read_column(path: str | Path, column: str) -> dict[str, str]:
    """Return a column of a table by case; the rest is as in :func:`read_rows`."""
    return {case: row[column] for case, row in read_rows(path, column).items()}


def read_rows(path: str | Path, column: str) -> dict[str, dict[str, str]]:
    """Return a table's rows by case, in its order, fields without spaces around; cases without files' endings.

    Args:
        path: of the table.
        column: that it has to have, beside ``case``.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: it is not text, lacks one of the columns or a field, or has a case twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a table with the columns case and {column}")
    row_of_case: dict[str, dict[str, str]] = {}
    lines: list[tuple[int, dict[str, str]]] = []
    problems = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            heading = file.readline()
            file.seek(0)
            rows = csv.DictReader(file, delimiter=max(",;\t", key=heading.count))
            names = rows.fieldnames or []
            if missing := [name for name in ("case", column) if name not in names]:
                there = ", ".join(names) or "nothing"
                text = f"expected a column {' and '.join(missing)} in the first line, found: {there}"
                raise CaseTableError(path, [text])
            for row in rows:
                if None in row or None in row.values():
                    fields = sum(value is not None for key, value in row.items() if key) + len(row.get(None, ()))
                    problems.append(f"line {rows.line_num}: {fields} of {len(names)} fields")
                    continue
                lines.append((rows.line_num, {name: field.strip() for name, field in row.items()}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CaseTableError(path, [f"is not a table: {error}"]) from None
    named = case_names(row["case"] for _, row in lines)
    for line, row in lines:
        case = named[row["case"]]
        if case in row_of_case:
            problems.append(f"line {line}: case {case!r} is there twice, expected once")
        row_of_case[case] = row
    if problems:
        raise CaseTableError(path, problems)
    return row_of_case


def read_groups(path: str | Path, *, column: str = "subgroup", cases: Collection[str] = ()) -> dict[str, str]:
    """Return the group of each case, ``(none)`` where the field is empty or says that the group is not known.

    Groups that differ by case of letters alone are one.

    Args:
        path: of a table, such as the ``subgroups.csv`` that ``hws-nnunet prepare`` writes.
        column: with the groups.
        cases: that have to be in it; it may hold others.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: as in :func:`read_rows`, or one of the cases is not there.
    """
    groups = {case: "" if is_missing(group) else group for case, group in read_column(path, column).items()}
    if problems := missing_cases(groups, cases):
        raise CaseTableError(path, problems)
    spelling = one_spelling(groups.values())
    return {case: spelling[group] or UNNAMED for case, group in groups.items()}


def missing_cases(table: Collection[str], cases: Collection[str]) -> list[str]:
    """Return what to say of cases that a table lacks, nothing where it has all."""
    missing = [case for case in cases if case not in table]
    if not missing:
        return []
    return [f"lacks {len(missing)} of {len(cases)} cases: {some_of(missing)}; it has {some_of(table)}"]
