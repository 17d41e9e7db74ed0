"""What a fault gives: rows of a table, kept as JSON, and the page made of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hws_nnunet.files import atomic_write

HEAD = """# Faults

What goes wrong in a week on a cluster, done on purpose; written by `python scripts/faults.py`. A try *survived* where
what the last column tells came of it, and nothing was lost; *lost* are all others.

"""


@dataclass(frozen=True)
class Row:
    """One fault: what was done, how often, how many tries came out as they should, and what that was."""

    fault: str
    tried: int
    survived: int
    outcome: str

    @property
    def lost(self) -> int:
        """Tries that came out otherwise."""
        return self.tried - self.survived


class Counted:
    """Counts tries, and keeps what was wrong with the first that failed."""

    def __init__(self) -> None:
        self.tried, self.survived, self.first_wrong = 0, 0, ""

    def add(self, wrong: str | Iterable[str] = ()) -> None:
        """Count one try; it survived where nothing was wrong."""
        told = wrong if isinstance(wrong, str) else "; ".join(wrong)
        self.tried += 1
        self.survived += not told
        self.first_wrong = self.first_wrong or told

    def row(self, fault: str, outcome: str) -> Row:
        """Return the row; the first failure is told where there is one."""
        return Row(
            fault, self.tried, self.survived, outcome + (f" LOST: {self.first_wrong}" if self.first_wrong else "")
        )


def keep(folder: Path, name: str, rows: Sequence[Row], *, seconds: float, quick: bool) -> None:
    """Write a fault's rows as ``NAME.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"seconds": round(seconds, 1), "quick": quick, "where": _where(), "rows": [asdict(row) for row in rows]}
    with atomic_write(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _where() -> str:
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def write_page(folder: Path, page: Path, titles: dict[str, str]) -> None:
    """Write the page of all results in a folder; ``titles`` has each fault's, in the page's order."""
    parts = []
    for name, title in titles.items():
        file = folder / f"{name}.json"
        if not file.is_file():
            continue
        found = json.loads(file.read_text(encoding="utf-8"))
        small = ", in its smallest form" if found["quick"] else ""
        parts += [f"## {title}", "", f"`{name}`{small}: {found['seconds']:.0f} s on {found['where']}.", ""]
        parts += ["| fault | tried | survived | lost | what came of it |", "|---|--:|--:|--:|---|"]
        for row in (Row(**row) for row in found["rows"]):
            parts.append(f"| {row.fault} | {row.tried} | {row.survived} | {row.lost} | {row.outcome} |")
        parts.append("")
    with atomic_write(page) as partial:
        partial.write_text(HEAD + "\n".join(parts), encoding="utf-8")
