"""Checks of an installation, one line each, every failure with its mend."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hws_nnunet import registration
from hws_nnunet.config import VARIABLE, find_settings
from hws_nnunet.nnunetv2.host import check_version
from hws_nnunet.sampling import HardnessTable

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, or a ``mend``. Only ``required`` ones count for the exit code."""

    name: str
    ok: bool
    found: str
    mend: str = ""
    required: bool = True

    def line(self) -> str:
        """Return the finding as a line for people."""
        mark = "ok  " if self.ok else "FAIL" if self.required else "note"
        mend = f"\n      mend: {self.mend}" if self.mend and not self.ok else ""
        return f"{mark}  {self.name}: {self.found}{mend}"


def examine() -> list[Check]:
    """Run all checks; none of them raises."""
    host = _guarded("nnunetv2", _nnunetv2)
    absent = Check("discovery", False, "there is no nnU-Net v2 to search", "install it, then: hws-nnunet register")
    checks = [_python(), _torch(), host, _nnunet(), _guarded("discovery", _discovery) if host.ok else absent]
    checks += [_folder(name) for name in FOLDERS]
    return [
        *checks,
        _device(),
        _guarded("shared memory", _shared_memory),
        _start_method(),
        _guarded("settings", _settings),
    ]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:
        return Check(name, False, str(error) or type(error).__name__, _MENDS[name])


_MENDS = {
    "nnunetv2": "pip install 'hws-nnunet[v2]'",
    "discovery": "hws-nnunet register",
    "shared memory": "give this machine or container more shared memory (docker run --shm-size=1g) or free some space",
    "settings": f"mend that file, or unset {VARIABLE}",
}


def _python() -> Check:
    version = platform.python_version_tuple()
    fits = (3, 10) <= (int(version[0]), int(version[1])) < (3, 14)
    return Check("Python", fits, platform.python_version(), "use Python 3.10 to 3.13")


def _torch() -> Check:
    return Check("torch", True, torch.__version__)


def _nnunetv2() -> Check:
    return Check("nnunetv2", True, str(check_version()))


def _nnunet() -> Check:
    try:
        version = importlib.metadata.version("nnunet")
    except importlib.metadata.PackageNotFoundError:
        return Check("nnunet (v1)", True, "not installed; not needed for v2", required=False)
    return Check(
        "nnunet (v1)", False, f"{version}; trainers for it are not there yet", "use nnU-Net v2", required=False
    )


def _discovery() -> Check:
    return Check("discovery", True, registration.find())


def _folder(name: str) -> Check:
    value = os.environ.get(name)
    if not value:
        return Check(name, False, "is not set", f"export {name}=FOLDER")
    path = Path(value)
    if not path.is_dir():
        return Check(name, False, f"{path} does not exist", f"mkdir -p {path}")
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return Check(name, False, f"{path} cannot be written ({error.strerror})", "choose a folder of your own")
    return Check(name, True, str(path))


def _device() -> Check:
    if torch.cuda.is_available():
        return Check("device", True, f"CUDA, {torch.cuda.get_device_name()}", required=False)
    if torch.backends.mps.is_available():
        return Check("device", True, "mps: train with -device mps", required=False)
    mend = "install a CUDA build of PyTorch, or train small things with -device cpu"
    return Check("device", False, "no GPU that PyTorch can use", mend, required=False)


def _shared_memory() -> Check:
    table = HardnessTable([str(i) for i in range(1000)], cells=8)
    with table.writing():
        table.set(beta=1.0)
    valid, reason = table.check_valid()
    return Check("shared memory", valid, "a table of 1,000 cases fits" if valid else reason, _MENDS["shared memory"])


def _start_method() -> Check:
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return Check("start method", method in ("fork", "forkserver", "spawn"), method)


def _settings() -> Check:
    settings, source = find_settings()
    given = ", ".join(f"{k}: {v}" for k, v in settings.model_dump().items() if k in settings.model_fields_set)
    return Check("settings", True, source + (f" ({given})" if given else ""))
