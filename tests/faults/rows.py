"""Rows on faults: counted, kept as JSON, and the page made of all there are."""

import json
import os
import platform
from pathlib import Path

import pytest

from hws_nnunet.files import atomic_write

DOCS = Path(__file__).parents[2] / "docs"
TITLES = {
    "kill": "A training is killed at random moments",
    "worker": "A data-loading worker of a training dies",
    "disk": "The disk of a training's results fails",
    "shared": "Two trainings of one fold",
    "clock": "The clock jumps back",
    "changed": "The training has changed since its checkpoint",
    "disk-full": "The disk is full",
    "read-only": "The output folder becomes read-only",
    "shared-folder": "Two trainings share an output folder",
    "readers": "Readers hammer the table while it is written",
    "workers-die": "A worker dies in the middle of a draw",
    "writer-dies": "The training process dies in the middle of a write",
    "numbers": "Losses that are not finite, activations that explode",
    "many-cases": "Ten thousand cases",
    "prepare": "A data set of BraTS' size",
}
"""Of each fault, in the page's order; its test is named after it."""

HEAD = """# Faults

What goes wrong in a week on a cluster, done on purpose; `python -m pytest -m faults` writes this page (`-k` chooses
among them; some need root, to mount a small disk). A try *survived* if it ended as the last column says and nothing
was lost; all others are *lost*.

"""
LONG_AND_SHORT = pytest.mark.parametrize(
    "long",
    [pytest.param(False, marks=pytest.mark.slow, id="short"), pytest.param(True, marks=pytest.mark.faults, id="long")],
)
"""For what needs no nnU-Net: all tests have the short form."""


class Counted:
    """Counts tries, and keeps what was wrong with the first that failed."""

    def __init__(self):
        self.tried, self.survived, self.first_wrong = 0, 0, ""

    def add(self, wrong="", times=1):
        """Count tries; they survived where nothing was wrong. ``wrong``: a text, or several."""
        told = wrong if isinstance(wrong, str) else "; ".join(wrong)
        self.tried += times
        self.survived += 0 if told else times
        self.first_wrong = self.first_wrong or told

    def row(self, fault, outcome):
        """Return the row; the first failure is told where there is one."""
        lost = f" LOST: {self.first_wrong}" if self.first_wrong else ""
        return {"fault": fault, "tried": self.tried, "survived": self.survived, "outcome": outcome + lost}


def keep(name, rows, seconds):
    """Write a fault's rows as JSON, and the page anew."""
    where = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    found = {"seconds": round(seconds, 1), "where": where, "rows": rows}
    for file, text in ((f"faults/{name}.json", json.dumps(found, indent=2) + "\n"), ("faults.md", None)):
        with atomic_write(DOCS / file) as partial:
            partial.write_text(page() if text is None else text, encoding="utf-8")


def page():
    """Return the page of all results there are."""
    parts = []
    for name, title in TITLES.items():
        file = DOCS / "faults" / f"{name}.json"
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            parts += [f"## {title}", "", f"`{name}`: {found['seconds']:.0f} s on {found['where']}.", ""]
            parts += ["| fault | tried | survived | lost | what came of it |", "|---|--:|--:|--:|---|"]
            for row in found["rows"]:
                told = (row["fault"], row["tried"], row["survived"], row["tried"] - row["survived"], row["outcome"])
                parts.append(f"| {' | '.join(map(str, told))} |")
            parts.append("")
    return HEAD + "\n".join(parts)
