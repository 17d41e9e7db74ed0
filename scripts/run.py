"""Set up what is needed and run the demonstration or the tests: one command on a fresh machine with Python and git.

    python3 scripts/run.py demo [options of hws-nnunet demo]
    python3 scripts/run.py test [--quick] [--coverage] [options of pytest]
    python3 scripts/run.py lint
    python3 scripts/run.py docs [options of mkdocs build]
    python3 scripts/run.py setup

Outside a virtual environment, one is made in .venv; inside one, that is used. Installing is skipped while
pyproject.toml and the environment stay what they were.

--quick: no more than a minute of tests, none of which runs a command of nnU-Net's.
--coverage: tell the lines of the package that no test reaches, whichever process runs it; too many are a fault.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "nnunetv1,nnunetv2,dev"


def python() -> Path:
    """Return the interpreter of the environment to use; make one where there is none."""
    if sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX"):
        return Path(sys.executable)
    folder = ROOT / ".venv"
    executable = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not executable.exists():
        print(f"making a virtual environment in {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=folder.exists())
    return executable


def install(interpreter: Path, extras: str) -> None:
    """Install this checkout, editable, with both versions of nnU-Net and the tools that the extras name."""
    prefix = subprocess.run(
        [interpreter, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    stamp = Path(prefix) / f".hws-nnunet-installed-{extras.replace(',', '-')}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("installing hws-nnunet with nnU-Net v1 and v2 (some minutes: PyTorch is large)", flush=True)
    subprocess.run(
        [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f".[{extras}]"],
        cwd=ROOT,
        check=True,
    )
    stamp.write_text(wanted)


def tests(options: list[str]) -> list[list[str]]:
    """Return the commands that run the tests: in two processes, which take whole files, in the order of conftest.py."""
    command = ["-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    command += [option for option in options if option != "--coverage"]
    if "--coverage" not in options:
        return [command]
    coverage = ["-m", "coverage"]
    return [[*coverage, "run", *command], [*coverage, "combine", "--quiet"], [*coverage, "report"]]


def main() -> int:
    commands = {
        "setup": [],
        "demo": [["-m", "hws_nnunet.commands.main", "demo", *sys.argv[2:]]],
        "test": tests(sys.argv[2:]),
        "docs": [["-m", "mkdocs", "build", "--strict", *sys.argv[2:]]],
        "lint": [["-m", "ruff", "check", "."], ["-m", "ruff", "format", "--check", "."], ["-m", "mypy"]],
    }
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        print(__doc__)
        return 2
    if sys.version_info < (3, 10):  # noqa: UP036 - this file runs before anything is installed
        print(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
        return 2
    interpreter = python()
    install(interpreter, EXTRAS + (",docs" if sys.argv[1] == "docs" else ""))
    for command in commands[sys.argv[1]]:
        if code := wait_for(subprocess.Popen([interpreter, *command], cwd=ROOT)):
            return code
    return 0


def wait_for(process: subprocess.Popen) -> int:
    """Return a command's exit code. Ctrl-C reaches it as well: it tidies up in its own time, and is not killed."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main())
