"""Versions that this package is tried with.

    nox                                  # all sessions
    nox -s "v2(nnunetv2='2.7.0')"        # one of them again
    nox -s checkout -- PATH              # a git checkout of nnU-Net v2, such as its main branch

Each session trains, goes on, validates and predicts through nnU-Net's commands (``tests/modes``), in its own
environment, runs the tests of the host's adapter that need no command, and writes ``docs/compatibility/NAME.json`` and
``docs/compatibility.md``. ``uv`` installs where it is there, pip otherwise. A session whose Python is not installed is
left out, and the page says so.
"""

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))
from tests.modes import CHECKOUT, NNUNETV2, PYTHONS

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"


def see(session: nox.Session, name: str, host: str, *packages: str, full: bool = False) -> None:
    """Install this checkout and these packages, run modes and tests; what was seen before is removed first."""
    Path("docs", "compatibility", f"{name}.json").unlink(missing_ok=True)
    session.install(*packages, "-e", f".[nnunet{host}]", "pytest>=8", "filelock>=3.12")
    if name == "modes-v2":
        session.install("--upgrade", "nnunetv2")
    tests = f"tests/nnunet{host}"
    trainers = f"{tests}/test_every_trainer.py"
    more = [] if full else [f"--ignore={trainers}"]
    env = {"HWS_COMPATIBILITY": name, **({"HWS_LONG_TESTS": "1"} if full else {})}
    command = ("python", "-m", "pytest", "-q", f"tests/modes/test_{host}.py", tests, "-m", "modes or not slow", *more)
    session.run(*command, env=env)


@nox.session(name="modes-v2", python="3.11")
def modes_v2(session: nox.Session) -> None:
    """Go through every mode of the newest nnU-Net v2 that the registry has, every trainer, and the tests."""
    see(session, "modes-v2", "v2", full=True)


@nox.session(name="modes-v1", python="3.11")
def modes_v1(session: nox.Session) -> None:
    """Go through the same for nnU-Net v1."""
    see(session, "modes-v1", "v1", full=True)


@nox.session(python=PYTHONS)
def python(session: nox.Session) -> None:
    """Try each Python with what is newest."""
    see(session, f"python-{session.python}", "v2")


@nox.session(python="3.11")
@nox.parametrize("nnunetv2", NNUNETV2)
def v2(session: nox.Session, nnunetv2: str) -> None:
    """Try each nnU-Net v2."""
    see(session, f"nnunetv2-{nnunetv2}", "v2", f"nnunetv2=={nnunetv2}")


@nox.session(python="3.11")
def checkout(session: nox.Session) -> None:
    """Try the checkout of nnU-Net v2 whose folder is given; its row takes the place of an older checkout's."""
    if not session.posargs:
        session.skip("no checkout given: nox -s checkout -- PATH")
    (path,) = session.posargs
    commit = session.run("git", "-C", path, "rev-parse", "--short", "HEAD", external=True, silent=True).strip()
    for older in Path("docs", "compatibility").glob(f"{CHECKOUT}*.json"):
        older.unlink()
    see(session, CHECKOUT + commit, "v2", path)


@nox.session(python="3.11", venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Try the oldest versions of our own dependencies that are allowed."""
    see(session, "lowest", "v2", "--resolution", "lowest-direct", "--only-binary", "scipy")
