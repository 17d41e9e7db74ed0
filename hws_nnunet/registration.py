"""Makes nnU-Net find our trainers, and checks that it does.

nnU-Net looks for trainers in a folder of its own. One small module written there leads to ours; it imports nothing
until one of our trainers is asked for. nnU-Net v2.8 and later look in the folders of ``nnUNet_extTrainer`` too.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from hws_nnunet.files import packaged, whole_file
from hws_nnunet.nnunetv2.host import check_version

TRAINER = "HardnessWeightedTrainer"
_FOLDER = ("trainers", "nnunetv2")
_MODULE = "hws_nnunet_trainers.py"
_MARK = "hws-nnunet register"  # in the module's docstring: tells ours from somebody else's file

_FIND = f"""
from hws_nnunet.nnunetv2.host import find_trainer
found = find_trainer({TRAINER!r})
print("found", found.__module__, found.__qualname__)
"""


class RegistrationError(RuntimeError):
    """The trainers could not be registered, or not removed; the message says what to do instead."""


def trainers_path() -> Path:
    """Return the folder for ``nnUNet_extTrainer``."""
    return packaged(*_FOLDER)


def needs_registering() -> bool:
    """Return whether the installed nnU-Net v2 knows no other folders of trainers than its own (before 2.8)."""
    return check_version() < Version("2.8")


def trainer_folder() -> Path:
    """Return the folder in which the installed nnU-Net v2 looks for trainers.

    Raises:
        RuntimeError: nnU-Net v2 is not installed, or too old.
    """
    check_version()
    spec = importlib.util.find_spec("nnunetv2")
    folder = Path(next(iter(spec.submodule_search_locations))) / "training" / "nnUNetTrainer"
    if not folder.is_dir():
        raise RuntimeError(f"nnU-Net's trainer folder is missing: {folder}")
    return folder


def register() -> Path:
    """Write the module that leads to our trainers into nnU-Net's folder; return its path.

    Raises:
        RegistrationError: the folder cannot be written, or a file of that name is not ours.
    """
    target = trainer_folder() / _MODULE
    text = (trainers_path() / _MODULE).read_text(encoding="utf-8")
    if target.exists() and _MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise RegistrationError(f"{target} exists and is not ours: nothing was changed")
    try:
        with whole_file(target) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RegistrationError(
            f"nnU-Net's trainer folder cannot be written ({error}). With nnunetv2 2.8 or later nothing has to be: set\n"
            "  export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)"
        ) from error
    return target


def unregister() -> Path | None:
    """Remove that module; return its path, or None where there was none.

    Raises:
        RegistrationError: the file is not ours, or cannot be removed.
    """
    target = trainer_folder() / _MODULE
    if not target.exists():
        return None
    if _MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise RegistrationError(f"{target} is not ours: nothing was removed")
    try:
        target.unlink()
    except OSError as error:
        raise RegistrationError(f"{target} cannot be removed: {error}") from error
    return target


def find() -> str:
    """Ask nnU-Net's own finder for our trainer, in a fresh process; return where it found it.

    Raises:
        RegistrationError: it did not, with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-c", _FIND], capture_output=True, text=True, env=os.environ, check=False, timeout=600
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RegistrationError(f"nnU-Net does not find {TRAINER}: {said[-1] if said else 'no reason given'}")
    module, name = lines[-1].split()[1:]
    return f"{module}.{name}"
