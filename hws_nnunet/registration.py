"""Makes nnU-Net find our trainers, and checks that it does.

nnU-Net looks for trainers in a folder of its own. One small module written there leads to ours; it imports nothing
until one of our trainers is asked for. nnU-Net v2.8 and later look in the folders of ``nnUNet_extTrainer`` too.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from packaging.version import Version

from hws_nnunet.facts.versions import TRAINER, V2, Host
from hws_nnunet.files import atomic_write

_MODULE = "hws_nnunet_trainers.py"
_MARK = "hws-nnunet register"  # in the module's docstring: tells ours from somebody else's file

_FIND = """
from hws_nnunet.nnunet{version}.host import find_trainer
found = find_trainer({trainer!r})
print("found", found.__module__, found.__qualname__)
"""


class RegistrationError(RuntimeError):
    """The trainers could not be registered, or not removed; the message says what to do instead."""


def needs_registering() -> bool:
    """Return whether the installed nnU-Net v2 knows no other folders of trainers than its own (before 2.8)."""
    return V2.check_version() < Version("2.8")


def looked_for_elsewhere(host: Host) -> bool:
    """Return whether there are other folders of trainers, and a command of nnU-Net's that does not look there.

    That is ``nnUNetv2_train_pretrained``, which came after 2.8.1.
    """
    command = importlib.metadata.entry_points(group="console_scripts", name="nnUNetv2_train_pretrained")
    return host is V2 and bool(command) and bool(os.environ.get("nnUNet_extTrainer"))


def register(host: Host) -> Path:
    """Write the module that leads to our trainers into nnU-Net's folder; return its path.

    Raises:
        RegistrationError: the folder cannot be written, or a file of that name is not ours.
    """
    target = host.trainer_folder() / _MODULE
    text = (host.trainers_path() / _MODULE).read_text(encoding="utf-8")
    if target.exists() and _MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise RegistrationError(f"{target} exists and is not ours: nothing was changed")
    try:
        with atomic_write(target) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        instead = (
            "With nnunetv2 2.8 or later nothing has to be: set\n"
            "  export nnUNet_extTrainer=$(hws-nnunet trainers-path v2)"
            if host is V2
            else "nnU-Net v1 looks nowhere else: install it in an environment of your own"
        )
        raise RegistrationError(f"nnU-Net's trainer folder cannot be written ({error}). {instead}") from error
    return target


def unregister(host: Host) -> Path | None:
    """Remove that module; return its path, or None where there was none.

    Raises:
        RegistrationError: the file is not ours, or cannot be removed.
    """
    target = host.trainer_folder() / _MODULE
    if not target.exists():
        return None
    if _MARK not in target.read_text(encoding="utf-8", errors="replace"):
        raise RegistrationError(f"{target} is not ours: nothing was removed")
    try:
        target.unlink()
    except OSError as error:
        raise RegistrationError(f"{target} cannot be removed: {error}") from error
    return target


def find(host: Host) -> str:
    """Ask nnU-Net's own finder for our trainer, in a fresh process; return where it found it.

    Raises:
        RegistrationError: it did not, with what it said.
    """
    command = [sys.executable, "-c", _FIND.format(version=host.version, trainer=TRAINER)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RegistrationError(
            f"nnU-Net {host.version} does not find {TRAINER}: {said[-1] if said else 'no reason given'}"
        )
    module, name = lines[-1].split()[1:]
    return f"{module}.{name}"
