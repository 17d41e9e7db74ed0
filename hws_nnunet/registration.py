"""Makes nnU-Net find our trainers, and checks that it does.

nnU-Net looks for trainers in a folder of its own. One small module written there leads to ours; it imports nothing
until one of our trainers is asked for. nnU-Net v2.8 and later look in the folders of ``nnUNet_extTrainer`` too.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from hws_nnunet.files import atomic_write, packaged

TRAINER = "HardnessWeightedTrainer"
_MODULE = "hws_nnunet_trainers.py"
_MARK = "hws-nnunet register"  # in the module's docstring: tells ours from somebody else's file

_FIND = """
from hws_nnunet.nnunet{version}.host import find_trainer
found = find_trainer({trainer!r})
print("found", found.__module__, found.__qualname__)
"""


class RegistrationError(RuntimeError):
    """The trainers could not be registered, or not removed; the message says what to do instead."""


@dataclass(frozen=True)
class Host:
    """A version of nnU-Net, and where it looks for trainers."""

    version: str
    """``v1`` or ``v2``."""
    package: str
    folder: tuple[str, ...]
    """Of trainers, within the package."""
    train: str
    """Its command, as people would type it."""
    oldest: str
    """Version with whose data loaders and losses ours work."""

    def check_version(self) -> Version:
        """Return the installed version.

        Raises:
            RuntimeError: none is installed, or one that is too old.
        """
        install = f"pip install -U 'hws-nnunet[{self.version}]'"
        try:
            found = Version(importlib.metadata.version(self.package))
        except importlib.metadata.PackageNotFoundError:
            raise RuntimeError(f"nnU-Net {self.version} is not installed: {install}") from None
        if found < Version(self.oldest):
            raise RuntimeError(
                f"{self.package} {found} is installed, hardness weighted sampling needs {self.oldest} or newer: "
                f"{install}"
            )
        return found

    def trainers_path(self) -> Path:
        """Return the folder of the module that leads to our trainers."""
        return packaged("trainers", f"nnunet{self.version}")

    def trainer_folder(self) -> Path:
        """Return the folder in which the installed nnU-Net looks for trainers.

        Raises:
            RuntimeError: it is not installed, or too old.
        """
        self.check_version()
        spec = importlib.util.find_spec(self.package)
        places = () if spec is None else spec.submodule_search_locations or ()
        folder = Path(next(iter(places))).joinpath(*self.folder)
        if not folder.is_dir():
            raise RuntimeError(f"nnU-Net's trainer folder is missing: {folder}")
        return folder

    def find_command(self, trainer: str = TRAINER) -> list[str]:
        """Return a command that asks nnU-Net's own finder for a trainer."""
        return [sys.executable, "-c", _FIND.format(version=self.version, trainer=trainer)]


V1 = Host("v1", "nnunet", ("training", "network_training"), f"nnUNet_train CONFIGURATION {TRAINER} TASK FOLD", "1.7.1")
V2 = Host(
    "v2", "nnunetv2", ("training", "nnUNetTrainer"), f"nnUNetv2_train DATASET CONFIGURATION FOLD -tr {TRAINER}", "2.6"
)
HOSTS = {host.version: host for host in (V1, V2)}


def installed() -> list[Host]:
    """Return the versions of nnU-Net that are installed, whatever their age."""
    return [host for host in HOSTS.values() if importlib.util.find_spec(host.package) is not None]


def needs_registering() -> bool:
    """Return whether the installed nnU-Net v2 knows no other folders of trainers than its own (before 2.8)."""
    return V2.check_version() < Version("2.8")


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
    done = subprocess.run(host.find_command(), capture_output=True, text=True, env=os.environ, check=False, timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RegistrationError(
            f"nnU-Net {host.version} does not find {TRAINER}: {said[-1] if said else 'no reason given'}"
        )
    module, name = lines[-1].split()[1:]
    return f"{module}.{name}"
