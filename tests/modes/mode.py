"""What the modes of both hosts have in common: what a mode is, how it is run, what is checked of a training."""

import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import torch

from hws_nnunet.facts.versions import STATE

TRAINER = "ShortHardnessWeighted"
STEPS = 4
SHORT = {"SHORT_EPOCHS": "1", "SHORT_STEPS": str(STEPS)}
METHODS = ("fork", "forkserver", "spawn")
ALL = bool(os.environ.get("HWS_LONG_TESTS"))
"""Whether all modes are run, or the few that are marked quick: train, go on, validate, predict."""


@dataclass(frozen=True)
class Mode:
    """One way to use a host.

    Args:
        name: of the row.
        commands: run one after the other.
        check: returns what it saw of what they left, and raises an AssertionError where that is not as it has to be.
        env: variables of the commands.
        fresh: a folder that is removed before, so that what is checked is this mode's.
        quick: whether it is run without ``HWS_LONG_TESTS``.
    """

    name: str
    commands: list[tuple]
    check: Callable[[], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    fresh: Path | None = None
    quick: bool = False


def run_all(modes, space, host, results):
    """Run modes; fail where one did not end well, when all were run.

    Args:
        modes: of the host.
        space: its workspace.
        host: ``v1`` or ``v2``.
        results: gets a row of each; None: nobody keeps them.
    """
    problems = {}
    for mode in modes:
        if ALL or mode.quick:
            row = run(mode, space)
            if row["problem"]:
                problems[mode.name] = row["problem"]
            if results:
                results.host = host
                results.modes[mode.name] = row
                results.keep()
    assert not problems


def run(mode, space):
    """Run a mode and return its row."""
    begin, problem, seen = time.monotonic(), None, []
    if mode.fresh:
        shutil.rmtree(mode.fresh, ignore_errors=True)
    for command in mode.commands:
        done = space.run(*command, check=False, real=True, **{**SHORT, **mode.env})
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if re.match(r"\w[\w.]*(Error|Exception)\b", line)]
            problem = f"{_word(command[0])} ended with {done.returncode}: {(errors or ['no error told'])[-1]}"
            print(done.stdout)
            break
    else:
        try:
            seen = mode.check()
        except (AssertionError, OSError, KeyError) as error:
            problem = f"not as it has to be: {type(error).__name__}: {error}"
    env = [f"{name}={value}" for name, value in mode.env.items() if name not in SHORT]
    told = [" ".join([*env, *map(_word, command)]) for command in mode.commands]
    return {"commands": told, "seen": seen, "problem": problem, "seconds": round(time.monotonic() - begin)}


def _word(part):
    """Return a command's part as a table shows it: of files the name alone."""
    return Path(part).name if isinstance(part, Path) or os.sep in str(part) else str(part)


def checked(folder, checkpoint, *, steps, batch=2):
    """Check a trained fold: its record, and that each step's draws are tracked in its checkpoint."""
    for name in ("hardness.csv", "hardness_epochs.csv", "hardness.png"):
        assert (folder / name).is_file(), f"{name} is missing"
    if checkpoint is None:
        assert not list(folder.glob("*checkpoint*")), "there is a checkpoint"
        return ["record", "no checkpoint"]
    state = torch.load(checkpoint, weights_only=False)[STATE]  # the host's, just made
    visits = int(state["visits"].sum())
    assert state["version"] == steps, f"{state['version']} updates, expected {steps}"
    assert visits == steps * batch, f"{visits} samples tracked, expected {steps * batch}"
    assert torch.isfinite(state["offset"][state["answers"] > 0]).all(), "a tracked value is not finite"
    return ["record", f"{visits} draws tracked"]


def started_by(method, command):
    """Return a host's training command whose processes start by a method of Python's."""
    return (sys.executable, Path(__file__), method, *command)


def predicted(space):
    """Check what the host predicted of the first case."""
    shape = nib.load(space.root / "out" / "case00.nii.gz").shape
    assert shape == (32, 32, 32), f"shape {shape}, the image's is (32, 32, 32)"
    return ["label map of the image's shape"]


def new_case(space, images):
    """Return a folder with one image to predict."""
    new = space.root / "new"
    new.mkdir(exist_ok=True)
    shutil.copyfile(images / "case00_0000.nii.gz", new / "case00_0000.nii.gz")
    return new


if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    del sys.argv[:2]
    if sys.argv[0] == "nnUNetv2_train":
        from nnunetv2.run.run_training import run_training_entry as main
    else:
        from nnunet.run.run_training import main
    main()
