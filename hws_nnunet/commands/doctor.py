"""The command ``hws-nnunet doctor``: checks of an installation, one line each, and what is still to be done."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet import registration
from hws_nnunet.commands.options import NnUNet
from hws_nnunet.facts import versions


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``, or a ``remedy``. Only ``required`` ones count for the exit code."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    required: bool = True

    def line(self) -> str:
        """Return the finding as a line for people."""
        mark = "ok  " if self.ok else "todo" if self.required else "note"
        remedy = f"\n      remedy: {self.remedy}" if self.remedy and mark == "note" else ""
        return f"{mark}  {self.name}: {self.found}{remedy}"


def doctor(
    nnunet: Annotated[NnUNet | None, typer.Option("--nnunet", help="Check for this one alone; default: both.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check the installation, and list the commands that are still to be given, in order.

    Ends with exit code 0 only if all that is required holds. Where both versions of nnU-Net are installed, the one
    whose folders are not set is not required; if neither's are set, v1 is not.

    \b
    Examples:
      hws-nnunet doctor
      hws-nnunet doctor --nnunet v2
    """
    checks = examine(nnunet.value if nnunet else None)
    failed = [check for check in checks if check.required and not check.ok]
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print("\n".join(check.line() for check in checks))
        print(_to_do(failed) if failed else "all that is required holds")
    raise typer.Exit(1 if failed else 0)


def _to_do(failed: Sequence[Check]) -> str:
    """Return what is to be done, in order, to be pasted: commands, and what is not one as a comment."""
    programs = ("export", "hws-nnunet", "mkdir", "pip")
    lines = [
        check.remedy if check.remedy.startswith(programs) else f"# {check.name}: {check.remedy}" for check in failed
    ]
    if any(line.startswith("export") for line in lines):
        lines.append("# the exports last if they stand in ~/.bashrc, too")
    return "\n  ".join(["\nto do, in this order:", *lines, "hws-nnunet doctor"])


def examine(version: str | None = None) -> list[Check]:
    """Run all checks; none of them raises.

    Args:
        version: of nnU-Net, ``v1`` or ``v2``, to check for; None: both. Then nothing is required of a version none of
            whose own folders is set, if the other's are, or of v1 if none is.
    """
    asked = [host for host in versions.HOSTS.values() if version in (None, host.version)]
    hosts = [host for host in versions.installed() if host in asked]
    used = [host for host in hosts if any(map(os.environ.get, _own_folders(host)))] or hosts[-1:]
    checks = [_python(), _torch()]
    if not hosts:
        missing = "neither v2 nor v1 is installed" if version is None else f"{version} is not installed"
        checks.append(Check("nnU-Net", False, missing, versions.HOSTS[version or "v2"].install))
    for host in asked if version is None else hosts:
        of_host = _host(host) if host in hosts else [_absent(host)]
        checks += of_host if host in used else [replace(check, required=False) for check in of_host]
    folders = {name: kind for host in used for name, kind in zip(host.variables, _KINDS, strict=True)}
    checks += [_folder(name, kind) for name, kind in folders.items()]
    checks += [_unused(host) for host in hosts if host not in used]
    return [
        *checks,
        _device(),
        _guarded("shared memory", _shared_memory),
        _start_method(),
        _guarded("settings", _settings),
    ]


def _own_folders(host: versions.Host) -> list[str]:
    """Return the variables of a version that the other has not."""
    others = {name for other in versions.HOSTS.values() if other != host for name in other.variables}
    return [name for name in host.variables if name not in others]


def _guarded(name: str, check: Callable[[], Check], remedy: str | None = None) -> Check:
    try:
        return check()
    except Exception as error:
        return Check(name, False, str(error) or type(error).__name__, _REMEDIES[name] if remedy is None else remedy)


_KINDS = ("raw", "preprocessed", "results")
"""Of nnU-Net's folders, in the order of ``Host.variables``."""
_REMEDIES = {
    "shared memory": "give this machine or container more shared memory (docker run --shm-size=1g) or free some space",
    "settings": "correct that file, or unset HWS_CONFIG",
}


def _python() -> Check:
    version = platform.python_version_tuple()
    fits = (3, 10) <= (int(version[0]), int(version[1])) < (3, 14)
    return Check("Python", fits, platform.python_version(), "use Python 3.10 to 3.13")


def _torch() -> Check:
    import torch

    return Check("torch", True, torch.__version__)


def _host(host: versions.Host) -> list[Check]:
    """Return the checks of an nnU-Net that is installed: its version, and whether it finds the trainer."""
    name = f"nnU-Net {host.version}"
    version = _guarded(name, lambda: Check(name, True, str(host.check_version())), host.install)
    if not version.ok:
        return [version]
    name = f"discovery {host.version}"
    checks = [version, _guarded(name, lambda: Check(name, True, registration.find(host)), "hws-nnunet register")]
    if checks[-1].ok and registration.looked_for_elsewhere(host):
        told = "looks for trainers in nnU-Net's own folder alone, not in those of nnUNet_extTrainer"
        remedy = f"to fine-tune, put a trainer of the mixin and PretrainedTrainer into {host.trainer_folder()}"
        checks.append(Check("nnUNetv2_train_pretrained", False, told, remedy, required=False))
    return checks


def _absent(host: versions.Host) -> Check:
    return Check(f"nnU-Net {host.version}", True, "not installed; either version will do", required=False)


def _unused(host: versions.Host) -> Check:
    names = _own_folders(host)
    unset = f"neither {' nor '.join(names)} is set, so nnU-Net {host.version} is not in use"
    remedy = f"to use it: {' '.join(f'export {name}=FOLDER;' for name in names)}"
    return Check(f"folders {host.version}", False, unset, remedy, required=False)


def _folder(name: str, kind: str) -> Check:
    value, choose = os.environ.get(name), f"export {name}=~/nnunet/{kind}; mkdir -p ${name}"
    if not value:
        return Check(name, False, "is not set", choose)
    path = Path(value)
    if path.exists() and not path.is_dir():
        return Check(name, False, f"{path} is a file, expected a folder", choose)
    if not path.is_dir():
        return Check(name, False, f"{path} does not exist", f"mkdir -p {shlex.quote(value)}")
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return Check(name, False, f"{path} cannot be written ({error.strerror})", choose)
    return Check(name, True, str(path))


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        return Check("device", True, f"CUDA, {torch.cuda.get_device_name()}", required=False)
    if torch.backends.mps.is_available():
        return Check("device", True, "mps: train with -device mps", required=False)
    remedy = "install a CUDA build of PyTorch, or train small things with -device cpu"
    return Check("device", False, "no GPU that PyTorch can use", remedy, required=False)


def _shared_memory() -> Check:
    from hws_nnunet.core import HardnessTable

    try:
        HardnessTable([str(i) for i in range(1000)])
    except OSError as error:
        remedy = _REMEDIES["shared memory"]
        return Check("shared memory", False, f"a table of 1,000 cases does not fit ({error})", remedy)
    return Check("shared memory", True, "a table of 1,000 cases fits")


def _start_method() -> Check:
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return Check("start method", method in ("fork", "forkserver", "spawn"), method)


def _settings() -> Check:
    from hws_nnunet.config import find_settings

    settings, source = find_settings()
    values = ", ".join(f"{k}: {v}" for k, v in settings.model_dump().items() if k in settings.model_fields_set)
    return Check("settings", True, source + (f" ({values})" if values else ""))
