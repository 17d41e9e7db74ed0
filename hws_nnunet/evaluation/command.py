"""What ``hws-nnunet report`` does: takes its arguments apart, writes the report, and prints the main figures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.evaluation.analysis import ALL_CASES
from hws_nnunet.evaluation.report import HTML, write_report
from hws_nnunet.evaluation.results import AVERAGE
from hws_nnunet.record.tables import aligned


def parse_results(arguments: Sequence[str]) -> dict[str, Path]:
    """Return the paths of result sets by their names, from ``NAME=PATH``.

    Raises:
        ValueError: an argument has no name or no path, or a name is there twice.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not name.strip() or not path:
            raise ValueError(f"expected NAME=PATH, for instance uniform=fold_0/validation, given: {argument!r}")
        if name.strip() in found:
            raise ValueError(f"the name {name.strip()!r} is given to two result sets, expected one name each")
        found[name.strip()] = Path(path).expanduser()
    return found


def run_report(arguments: Sequence[str], out: Path, **options: object) -> None:
    """Write a report with progress bars and print Dice of each set and subgroup; options are ``write_report``'s."""
    folder = write_report(parse_results(arguments), out, progress=True, **options)
    with open(folder / "statistics.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "dice" and row["label"] == AVERAGE]
    names = ("set", "subgroup", "cases", "mean", "p10", "min", "cvar_10", "failed")
    lines = [("set", "subgroup", "cases", "mean", "10th perc.", "worst", "CVaR 10 %", "failed")]
    for row in rows:
        row["subgroup"] = "all cases" if row["subgroup"] == ALL_CASES else row["subgroup"]
        for key in ("mean", "p10", "min", "cvar_10"):
            row[key] = f"{float(row[key]):.3f}" if row[key] else "-"
        lines.append(tuple(row[name] for name in names))
    print("Dice, average of a case's labels")
    print("\n".join(aligned(lines, words=(0, 1))))
    print(f"wrote {folder / HTML}")
