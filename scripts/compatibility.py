"""Write ``docs/compatibility.md`` from what ``scripts/modes.py`` saw; ``noxfile.py`` runs both.

    python scripts/compatibility.py [NAME ...]

Reads ``docs/compatibility/*.json``; a session among NAME that left none is told as not run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
HEAD = """# Compatibility

What was tried, and what came of it: written by `scripts/compatibility.py` from what `scripts/modes.py` saw; `nox` runs
both for all versions. Every row was run as it stands, on made-up images with a small network;
`ShortHardnessWeighted` is `HardnessWeightedTrainer` with an epoch of four steps.
"""


def rows(header: tuple[str, ...], lines: Iterable[tuple]) -> list[str]:
    """Return a table."""
    made = [header, ["---"] * len(header), *lines]
    return [f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in made]


def count(tests: dict | None) -> str:
    """Return how many of some tests passed, failed and were skipped."""
    if tests is None:
        return "–"
    parts = (f"{tests['passed']} passed", *(f"{len(tests[k])} {k}" for k in ("failed", "skipped") if tests[k]))
    return ", ".join(parts) + (f", {tests['problem']}" if tests["problem"] else "")


def session(name: str, seen: dict) -> tuple:
    """Return a session's line of the table of versions."""
    machine, modes = seen["machine"], seen["modes"].values()
    host = f"{machine['nnunet']} (v1)" if seen["host"] == "v1" else machine["nnunetv2"]
    well = f"{sum(mode['problem'] is None for mode in modes)} of {len(modes)}" if modes else "–"
    tests = (count(seen["tests"].get(which)) for which in ("every trainer", "other tests"))
    return name, machine["python"], host, machine["torch"], machine["numpy"], well, *tests


def failures(name: str, seen: dict) -> list[str]:
    """Return a line for each mode and test of a session that did not end well."""
    told = [f"- {name}, {mode}: {row['problem']}" for mode, row in seen["modes"].items() if row["problem"]]
    for tests in seen["tests"].values():
        told += [f"- {name}, test {test}: {problem}" for test, problem in tests["failed"].items()]
    return told


def modes(seen: dict) -> list[str]:
    """Return the table of a session's modes."""
    lines = []
    for name, row in seen["modes"].items():
        commands = "<br>".join(f"`{command}`" for command in row["commands"])
        what = ", ".join(row["seen"]) if row["problem"] is None else f"**{row['problem']}**"
        lines.append((name, commands, what))
    return rows(("mode", "command", "seen"), lines)


def trainers(seen: dict) -> list[str]:
    """Return what came of the mixin on each trainer, those that were not trained by reason."""
    found = seen["tests"].get("every trainer")
    if found is None:
        return ["Not run."]
    reasons: dict[str, list[str]] = {}
    for test, reason in found["skipped"].items():
        name = test.split("[")[-1].rstrip("]")
        reasons.setdefault(reason.removeprefix(name).lstrip(": "), []).append(f"`{name}`")
    told = [f"{count(found)}. Each trains three steps, and saves and loads a checkpoint. Not trained:", ""]
    return told + [f"- {', '.join(names)}: {reason}" for reason, names in sorted(reasons.items())]


def main(names: list[str]) -> None:
    """Write the table of these sessions."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted((DOCS / "compatibility").glob("*.json"))}
    found = {name: found[name] for name in [*names, *found] if name in found}
    header = ("session", "Python", "nnU-Net", "torch", "numpy", "modes that ended well", "every trainer", "other tests")
    told = [HEAD, "## Versions", "", *rows(header, [session(*item) for item in found.items()]), ""]
    machines = {f"{seen['machine']['system']}, {seen['machine']['cores']} cores" for seen in found.values()}
    told += [f"Seen on {'; '.join(sorted(machines))}.", ""]
    if missing := [name for name in names if name not in found]:
        told += [f"Not run: {', '.join(missing)}.", ""]
    if failed := [line for item in found.items() for line in failures(*item)]:
        told += ["Not well:", "", *failed, ""]
    for name, seen in found.items():
        if name.startswith("modes-"):
            told += [f"## nnU-Net {seen['host']}: modes", "", *modes(seen), ""]
            told += [f"## nnU-Net {seen['host']}: the mixin on its own trainers", "", *trainers(seen), ""]
    (DOCS / "compatibility.md").write_text("\n".join(told).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
