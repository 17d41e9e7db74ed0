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

What was tried, and what came of it: written by `nox` ([noxfile.py](../noxfile.py)) from what
[scripts/modes.py](../scripts/modes.py) saw. Every row was run as it stands, on made-up images with a small network;
`ShortHardnessWeighted` is `HardnessWeightedTrainer` with an epoch of four steps.
"""


def rows(header: tuple[str, ...], lines: Iterable[tuple]) -> list[str]:
    """Return a table."""
    made = [header, ["---"] * len(header), *lines]
    return [f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in made]


def count(tests: list[dict], name: str) -> str:
    """Return how many of these tests passed, failed and were skipped."""
    for found in tests:
        if found["tests"] == name:
            parts = (f"{found['passed']} passed", *(f"{len(found[k])} {k}" for k in ("failed", "skipped") if found[k]))
            return ", ".join(parts) + (f", {found['problem']}" if found["problem"] else "")
    return "–"


def session(name: str, seen: dict) -> tuple:
    """Return a session's line of the table of versions."""
    machine, modes = seen["machine"], seen["modes"]
    host = f"{machine['nnunet']} (v1)" if seen["host"] == "v1" else machine.get("nnunetv2", "–")
    well = f"{sum(mode['problem'] is None for mode in modes)} of {len(modes)}" if modes else "–"
    tests = (count(seen["tests"], which) for which in ("every trainer", "the adapter's tests"))
    return name, machine["python"], host, machine["torch"], machine["numpy"], well, *tests


def failures(name: str, seen: dict) -> list[str]:
    """Return a line for each mode and test of a session that did not end well."""
    told = [f"- {name}, {mode['mode']}: {mode['problem']}" for mode in seen["modes"] if mode["problem"]]
    for tests in seen["tests"]:
        told += [f"- {name}, test {test}: {problem}" for test, problem in tests["failed"].items()]
    return told


def modes(seen: dict) -> list[str]:
    """Return the table of a session's modes."""
    lines = []
    for mode in seen["modes"]:
        commands = "<br>".join(f"`{command}`" for command in mode["commands"])
        what = ", ".join(mode["seen"]) if mode["problem"] is None else f"**{mode['problem']}**"
        lines.append((mode["mode"], commands, what, mode["seconds"]))
    return rows(("mode", "command", "seen", "seconds"), lines)


def trainers(seen: dict) -> list[str]:
    """Return what came of the mixin on each trainer, those that were not trained by reason."""
    found = next((tests for tests in seen["tests"] if tests["tests"] == "every trainer"), None)
    if found is None:
        return ["Not run."]
    reasons: dict[str, list[str]] = {}
    for test, reason in found["skipped"].items():
        name = test.split("[")[-1].rstrip("]")
        reasons.setdefault(reason.removeprefix(name).lstrip(": "), []).append(f"`{name}`")
    told = [f"{found['passed']} tests passed: three steps, a checkpoint saved and loaded. Not trained:", ""]
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
