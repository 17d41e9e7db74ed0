"""What ``hws-nnunet report`` does: takes its arguments apart, writes the report, and prints the main figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hws_nnunet.record.links import REPORT
from hws_nnunet.record.tables import aligned
from hws_nnunet.report.read.results import AVERAGE
from hws_nnunet.report.read.tables import ENDINGS, open_table, parse_columns
from hws_nnunet.report.write import HTML, JSON, write_report


def parse_results(arguments: Sequence[str], *, columns: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Return the paths of result sets by their names, from ``NAME=PATH``, or ``PATH`` of a fold or table.

    A fold is called by its trainer; a table with a column of sets has several.

    Args:
        arguments: one a set or table.
        columns: what the columns of tables are, by their headings.

    Raises:
        ResultError: a table cannot be used.
        FileNotFoundError: an argument without a name is not a path of anything.
        ValueError: an argument has no name or no path, or a name is there twice.
    """
    paths: dict[str, Path] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if "=" not in argument and Path(argument).expanduser().exists():
            path = argument
            names = _names(Path(path).expanduser(), columns)
        elif name.strip() and path:
            names = [name.strip()]
        else:
            expected = "expected NAME=PATH, for instance uniform=fold_0/validation, or the PATH of a fold or table"
            if "=" not in argument:
                raise FileNotFoundError(f"{argument} does not exist: {expected}")
            raise ValueError(f"{expected}, given: {argument!r}")
        for name in names:
            if name in paths:
                raise ValueError(f"the name {name!r} is given to two result sets, expected one name each: NAME=PATH")
            paths[name] = Path(path).expanduser()
    return paths


def _names(path: Path, columns: Mapping[str, str] | None) -> list[str]:
    if path.suffix.lower() in ENDINGS:
        return open_table(path, columns=columns).sets or [path.stem]
    fold = next((p for p in (path, *path.resolve().parents) if p.name.startswith("fold_")), None)
    return [path.stem if fold is None else fold.resolve().parent.name.split("__")[0]]


def run_report(
    arguments: Sequence[str], out: Path | None, *, columns: str | None = None, as_json: bool = False, **options: Any
) -> None:
    """Write a report with progress bars and print Dice of each set and subgroup; options are ``write_report``'s.

    Without ``out`` it goes into the fold's folder where one alone is given, else into the current one. ``columns`` are
    as :func:`~hws_nnunet.report.read.tables.parse_columns` takes them. With ``as_json`` the report's JSON is printed.
    """
    named = None if columns is None else parse_columns(columns)
    results = parse_results(arguments, columns=named)
    if out is None:
        paths = [path for path in results.values() if path.name.startswith("fold_")]
        out = (paths[0] if len(paths) == len(results) == 1 else Path()) / REPORT
    folder = write_report(results, out, progress=True, columns=named, **options)
    if as_json:
        print((folder / JSON).read_text(encoding="utf-8"), end="")
        return
    with open(folder / "statistics.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "dice" and row["label"] == AVERAGE]
    heads = {key: key for key in ("set", "subgroup", "cases", "mean")}
    heads |= {"p10": "10th perc.", "min": "worst", "cvar_10": "CVaR 10 %", "failed": "failed"}
    lines = [list(heads.values())]
    for row in rows:
        row["subgroup"] = row["subgroup"] or "all cases"
        row |= {key: f"{float(row[key]):.3f}" if row[key] else "-" for key in ("mean", "p10", "min", "cvar_10")}
        lines.append([row[key] for key in heads])
    print("Dice, average of a case's labels")
    print("\n".join(aligned(lines, words=(0, 1))))
    for one in json.loads((folder / JSON).read_text(encoding="utf-8"))["sets"]:
        if (mean := one["told_foreground_mean"]) is not None:
            print(f"{one['name']}: nnU-Net's foreground_mean is {mean:.3f}, the mean of its labels' means")
    print(f"wrote {folder / HTML}")
