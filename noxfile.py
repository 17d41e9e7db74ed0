"""Versions that this package is tried with: one command writes ``docs/compatibility.md``.

    nox                                  # all sessions, then the table
    nox -s "v2(nnunetv2='2.7.0')" table  # one of them again

Each session trains, goes on, validates and predicts through nnU-Net's commands (``scripts/modes.py``), in its own
environment, and leaves ``docs/compatibility/NAME.json``. ``uv`` installs where it is there, pip otherwise. A session
whose Python is not installed is left out, and the table says so.
"""

from pathlib import Path

import nox

PYTHONS = ("3.10", "3.12", "3.13")  # the other sessions have 3.11
NNUNETV2 = ("2.6.0", "2.6.4", "2.7.0", "2.8.1")
NAMES = (
    "modes-v2",
    "modes-v1",
    *(f"python-{version}" for version in PYTHONS),
    *(f"nnunetv2-{version}" for version in NNUNETV2),
    "lowest",
)

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"


def see(session: nox.Session, name: str, host: str, *packages: str, quick: bool = True) -> None:
    """Install this checkout and these packages, and write what is seen; what was seen before is removed first."""
    file = Path("docs", "compatibility", f"{name}.json")
    file.unlink(missing_ok=True)
    session.install(*packages, "-e", f".[{host}]", "pytest>=8", "filelock>=3.12")
    if name == "modes-v2":
        session.install("--upgrade", "nnunetv2")
    options = ["--quick", "--parts", "modes", "tests"] if quick else []
    session.run("python", "scripts/modes.py", str(file), "--host", host, *options)


@nox.session(name="modes-v2", python="3.11")
def modes_v2(session: nox.Session) -> None:
    """Go through every mode of the newest nnU-Net v2 that the registry has, every trainer, and the tests."""
    see(session, "modes-v2", "v2", quick=False)


@nox.session(name="modes-v1", python="3.11")
def modes_v1(session: nox.Session) -> None:
    """Go through the same for nnU-Net v1."""
    see(session, "modes-v1", "v1", quick=False)


@nox.session(python=PYTHONS)
def python(session: nox.Session) -> None:
    """Try each Python with what is newest."""
    see(session, f"python-{session.python}", "v2")


@nox.session(python="3.11")
@nox.parametrize("nnunetv2", NNUNETV2)
def v2(session: nox.Session, nnunetv2: str) -> None:
    """Try each nnU-Net v2."""
    see(session, f"nnunetv2-{nnunetv2}", "v2", f"nnunetv2=={nnunetv2}")


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Try the oldest versions of our own dependencies that are allowed."""
    see(session, "lowest", "v2", "--resolution", "lowest-direct", "--only-binary", "scipy")


@nox.session(python=False)
def table(session: nox.Session) -> None:
    """Write the table."""
    session.run("python", "scripts/compatibility.py", *NAMES)
