"""Tables that people keep of their cases: CSV files with a column ``case`` and others."""

from __future__ import annotations

import csv
from pathlib import Path

from hws_nnunet.facts.spellings import case_names, is_missing, one_spelling
from hws_nnunet.messages import ProblemsError

UNNAMED = "(none)"
"""Group of the cases that have none."""


class CaseTableError(ProblemsError):
    """A table that cannot be used; the message lists every problem."""


def read_column(path: str | Path, column: str) -> dict[str, str]:
    """Return a column of a table by case, in the table's order, without spaces around; cases without files' endings.

    Raises:
        FileNotFoundError: there is no such file.
        CaseTableError: it is not text, lacks one of the columns or a field, or has a case twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a table with the columns case and {column}")
    found: dict[str, str] = {}
    lines: list[tuple[int, str, str]] = []
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
                case = row["case"].strip()
                lines.append((rows.line_num, case, row[column].strip()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise CaseTableError(path, [f"is not a table: {error}"]) from None
    named = case_names(case for _, case, _ in lines)
    for line, case, value in lines:
        if named[case] in found:
            problems.append(f"line {line}: case {named[case]!r} is there twice, expected once")
        found[named[case]] = value
    if problems:
        raise CaseTableError(path, problems)
    return found


def read_case_groups(path: str | Path, column: str) -> dict[str, str]:
    """Return the group of each case, ``(none)`` where the field is empty or says that the group is not known.

    Groups that differ by case of letters alone are one. Errors are those of :func:`read_column`.
    """
    groups = {case: "" if is_missing(group) else group for case, group in read_column(path, column).items()}
    spelling = one_spelling(groups.values())
    return {case: spelling[group] or UNNAMED for case, group in groups.items()}
