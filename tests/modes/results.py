"""What came of modes and tests, kept as docs/compatibility/NAME.json, and the page made of all there are.

A plugin of pytest where ``HWS_COMPATIBILITY`` names the results.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from pathlib import Path

from hws_nnunet.files import atomic_write
from tests.modes import SESSIONS

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = [
    "nnunetv2",
    "nnunet",
    "torch",
    "numpy",
    "batchgenerators",
    "batchgeneratorsv2",
    "blosc2",
    "pydantic",
    "typer",
]
HEAD = """# Compatibility

What was tried, and what came of it: `nox` runs `tests/modes` and the tests of each nnU-Net for all versions, which
write this page. Every row was run as it stands, on made-up images with a small network; `ShortHardnessWeighted` is
`HardnessWeightedTrainer` with an epoch of four steps. `nnunetv2-main-COMMIT` is nnU-Net's main branch at that commit,
after the release whose number it bears: `nox -s checkout -- PATH`.
"""
TRAINERS, TESTS = "every trainer", "other tests"


class Results:
    """Keeps what it is told of modes, and what pytest tells of the tests of a host."""

    def __init__(self, name):
        self.file, self.begin = DOCS / "compatibility" / f"{name}.json", time.monotonic()
        self.modes, self.tests, self.host = {}, {}, None

    def pytest_runtest_logreport(self, report):
        folder, _, name = report.nodeid.partition("::")
        if "/nnunetv" not in folder or not (report.when == "call" or report.skipped or report.failed):
            return
        self.host = folder.split("/nnunet")[1][:2]
        kind = TRAINERS if "test_every_trainer" in folder else TESTS
        row = self.tests.setdefault(kind, {"passed": 0, "skipped": {}, "failed": {}})
        if report.passed:
            row["passed"] += 1
        elif report.skipped:
            row["skipped"][name] = _elsewhere(str(report.longrepr[2]).removeprefix("Skipped: "))
        else:
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", str(report.longrepr))
            row["failed"][name] = _elsewhere(message.split("\n")[0][:200])

    def pytest_sessionfinish(self):
        self.keep()

    def keep(self):
        """Write what there is, and the page anew."""
        found = {"host": self.host, "machine": machine(), "modes": self.modes, "tests": self.tests}
        for file, text in ((self.file, json.dumps(found, indent=1) + "\n"), (DOCS / "compatibility.md", None)):
            with atomic_write(file) as partial:
                partial.write_text(page() if text is None else text, encoding="utf-8")


def _elsewhere(text):
    """Return a message as it reads on any machine: where this checkout lies is nobody's business."""
    return text.replace(str(DOCS.parents[1]), "..")


def machine():
    """Return what the rows were seen on."""
    found = {"system": platform.system(), "cores": os.cpu_count(), "python": platform.python_version()}
    there = [name for name in PACKAGES if importlib.util.find_spec(name)]
    return found | {name: importlib.metadata.version(name) for name in there}


def table(header, lines):
    rows = [header, ["---"] * len(header), *lines]
    return [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]


def count(tests):
    """Return how many of some tests passed, failed and were skipped."""
    if tests is None:
        return "–"
    return ", ".join(
        (f"{tests['passed']} passed", *(f"{len(tests[k])} {k}" for k in ("failed", "skipped") if tests[k]))
    )


def page():
    """Return the page of all results there are."""
    files = {file.stem: file for file in (DOCS / "compatibility").glob("*.json")}
    found = {
        name: json.loads(files[name].read_text())
        for name in dict.fromkeys((*SESSIONS, *sorted(files)))
        if name in files
    }
    rows, failed = [], []
    for name, seen in found.items():
        on, modes, tests = seen["machine"], seen["modes"], seen["tests"]
        host = f"{on['nnunet']} (v1)" if seen["host"] == "v1" else on["nnunetv2"]
        well = f"{sum(mode['problem'] is None for mode in modes.values())} of {len(modes)}" if modes else "–"
        rows.append(
            (
                name,
                on["python"],
                host,
                on["torch"],
                on["numpy"],
                well,
                *(count(tests.get(k)) for k in (TRAINERS, TESTS)),
            )
        )
        failed += [f"- {name}, {mode}: {row['problem']}" for mode, row in modes.items() if row["problem"]]
        failed += [f"- {name}, test {test}: {why}" for row in tests.values() for test, why in row["failed"].items()]
    header = ("session", "Python", "nnU-Net", "torch", "numpy", "modes that ended well", TRAINERS, TESTS)
    seen_on = sorted({f"{seen['machine']['system']}, {seen['machine']['cores']} cores" for seen in found.values()})
    told = [HEAD, "## Versions", "", *table(header, rows), "", f"Seen on {'; '.join(seen_on)}.", ""]
    if missing := [name for name in SESSIONS if name not in found]:
        told += [f"Not run: {', '.join(missing)}.", ""]
    if failed:
        told += ["Not well:", "", *failed, ""]
    for name in (name for name in found if name.startswith("modes-")):
        told += _of_all_modes(found[name])
    return "\n".join(told).rstrip() + "\n"


def _of_all_modes(seen):
    """Return a host's table of modes, and what came of the mixin on each of its trainers: those skipped by reason."""
    lines = []
    for name, row in seen["modes"].items():
        commands = "<br>".join(f"`{command}`" for command in row["commands"])
        lines.append((name, commands, ", ".join(row["seen"]) if row["problem"] is None else f"**{row['problem']}**"))
    rows = ['<div class="stacked" markdown>', "", *table(("mode", "command", "seen"), lines), "", "</div>", ""]
    told = [f"## nnU-Net {seen['host']}: modes", "", *rows]
    told += [f"## nnU-Net {seen['host']}: the mixin on its own trainers", ""]
    tests = seen["tests"].get(TRAINERS)
    if tests is None:
        return [*told, "Not run.", ""]
    reasons = {}
    for test, reason in tests["skipped"].items():
        name = test.split("[")[-1].rstrip("]")
        reasons.setdefault(reason.removeprefix(name).strip(": ").replace("__", r"\_\_"), []).append(f"`{name}`")
    told += [f"{count(tests)}. Each trains three steps, and saves and loads a checkpoint. Not trained:", ""]
    return [*told, *(f"- {', '.join(names)}: {reason}" for reason, names in sorted(reasons.items())), ""]
