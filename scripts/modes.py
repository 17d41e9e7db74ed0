"""Train in every mode that nnU-Net has, through its own commands, on made-up data; write what was seen as JSON.

    python scripts/modes.py OUT.json --host v2 [--parts modes trainers tests] [--quick] [--device cuda]

Parts: ``modes``, each a command or several, with what is checked afterwards; ``trainers``, the mixin on every trainer
that this nnU-Net has; ``tests``, those of the host's adapter that need no command. ``--quick`` runs a few modes: train,
go on, validate, predict. What OUT.json holds of the same machine stays, unless it is run again.
``scripts/compatibility.py`` makes the table, ``noxfile.py`` runs both for many versions.

The trainer is ``HardnessWeightedTrainer`` with an epoch of a few steps, the network is small, the data are made up.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modes_common import run

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PARTS = ("modes", "trainers", "tests")
PACKAGES = (
    "nnunetv2",
    "nnunet",
    "torch",
    "numpy",
    "batchgenerators",
    "batchgeneratorsv2",
    "blosc2",
    "pydantic",
    "typer",
)


def started_by(method: str, command: str, *arguments: str) -> None:
    """Run a host's training command in this process, whose processes start by a method of Python's."""
    multiprocessing.set_start_method(method)
    sys.argv = [command, *arguments]
    if command == "nnUNetv2_train":
        from nnunetv2.run.run_training import run_training_entry as main
    else:
        from nnunet.run.run_training import main
    main()


@contextmanager
def workspace(host: str, root: Path) -> Iterator[object]:
    """Make the host's folders, and have it find the short trainers while the block runs."""
    if host == "v1":
        from tests.conftest import finder_of_short_trainers
        from tests.nnunetv1.conftest import TRAINERS, WorkspaceV1

        space, finder = WorkspaceV1(root), finder_of_short_trainers()
        shutil.copyfile(TRAINERS / "finder.py", finder)
    else:
        from hws_nnunet.facts.versions import V2
        from hws_nnunet.registration import needs_registering
        from tests.nnunetv2.conftest import WorkspaceV2

        space, finder = WorkspaceV2(root), None
        space.env["PYTHONPATH"] = os.pathsep.join([space.env["nnUNet_extTrainer"], str(ROOT)])
        if needs_registering():
            finder = V2.trainer_folder() / "hws_nnunet_short_trainers_of_modes.py"
            finder.write_text("from short_trainers import *\n")
    try:
        yield space
    finally:
        if finder:
            finder.unlink()


def run_tests(*arguments: str, quick: bool) -> dict:
    """Run tests, unless ``quick`` those that take minutes, too; return their row, with reasons for what was skipped."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", f"--junitxml={file}", *arguments]
        env = {**os.environ, **({} if quick else {"HWS_LONG_TESTS": "1"})}
        code = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
        cases = list(ET.parse(file).getroot().iter("testcase")) if file.is_file() else []
    reasons = {}
    for kind in ("skipped", "failure", "error"):
        found = {case.get("name"): case.find(kind) for case in cases if case.find(kind) is not None}
        reasons[kind] = {name: _elsewhere(element.get("message") or "") for name, element in found.items()}
    skipped = reasons["skipped"]
    failed = {name: text.split("\n")[0][:200] for name, text in (reasons["failure"] | reasons["error"]).items()}
    passed = len(cases) - len(skipped) - len(failed)
    problem = f"pytest ended with {code}" if code and not failed else None
    return {
        "command": " ".join(["pytest", *arguments]),
        "passed": passed,
        "skipped": skipped,
        "failed": failed,
        "problem": problem,
        "seconds": round(time.monotonic() - begin),
    }


def _elsewhere(text: str) -> str:
    """Return a message as it reads on any machine: where this checkout lies is nobody's business."""
    return text.replace(str(ROOT.parent), "..")


def machine() -> dict[str, object]:
    """Return what the rows were seen on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"system": platform.system(), "cores": os.cpu_count(), "python": platform.python_version(), **versions}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--host", choices=("v1", "v2"), required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="MODE", help="modes whose name holds one of these")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--work", type=Path, help="keep nnU-Net's folders here; used again if they are there")
    args = parser.parse_args()
    result = {"host": args.host, "machine": machine() | {"device": args.device}}
    before = json.loads(args.out.read_text()) if args.out.exists() else {}
    same = {key: before.get(key) for key in result} == result
    result |= {key: before[key] if same else {} for key in ("modes", "tests")}

    def save(key: str, name: str, row: dict) -> None:
        result[key][name] = row
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")

    if "modes" in args.parts:
        modes = importlib.import_module(f"modes_{args.host}")
        with (
            tempfile.TemporaryDirectory() as folder,
            workspace(args.host, args.work or Path(folder) / "nnunet") as space,
        ):
            if not (space.root / "ready").exists():
                modes.prepare(space, quick=args.quick)
                (space.root / "ready").touch()
            for mode in modes.modes(space, args.device):
                if (mode.quick or not args.quick) and (not args.only or any(part in mode.name for part in args.only)):
                    save("modes", mode.name, run(mode, space))
    tests = f"tests/nnunet{args.host}"
    if "trainers" in args.parts:
        save("tests", "every trainer", run_tests(f"{tests}/test_every_trainer.py", quick=args.quick))
    if "tests" in args.parts:
        options = ["-m", "not slow", f"--ignore={tests}/test_every_trainer.py"]
        save("tests", "other tests", run_tests(tests, *options, quick=args.quick))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--started-by"]:
        started_by(*sys.argv[2:])
    else:
        sys.exit(main())
