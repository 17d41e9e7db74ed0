"""What the modes of both hosts have in common: what a mode is, how it is run, what is checked of a training."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).with_name("modes.py")
TRAINER = "ShortHardnessWeighted"
STEPS = 4
SHORT = {"SHORT_EPOCHS": "1", "SHORT_STEPS": str(STEPS)}
METHODS = ("fork", "forkserver", "spawn")


@dataclass(frozen=True)
class Mode:
    """One way to use a host.

    Args:
        name: of the row.
        commands: run one after the other.
        check: returns what it saw of what they left, and raises an AssertionError where that is not as it has to be.
        env: variables of the commands.
        fresh: a folder that is removed before, so that what is checked is this mode's.
        quick: whether ``--quick`` runs it.
    """

    name: str
    commands: list[tuple]
    check: Callable[[], list[str]]
    env: dict[str, str] = field(default_factory=dict)
    fresh: Path | None = None
    quick: bool = False


def run(mode: Mode, space: object) -> dict:
    """Run a mode and return its row."""
    begin, problem, seen = time.monotonic(), None, []
    if mode.fresh:
        shutil.rmtree(mode.fresh, ignore_errors=True)
    for command in mode.commands:
        done = space.run(*command, check=False, real=True, **{**SHORT, **mode.env})
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if re.match(r"\w[\w.]*(Error|Exception)\b", line)]
            problem = f"{_word(command[0])} ended with {done.returncode}: {(errors or ['no error told'])[-1]}"
            (space.root / "failed.log").write_text(done.stdout)
            break
    else:
        try:
            seen = mode.check()
        except (AssertionError, OSError, KeyError) as error:
            problem = f"not as it has to be: {type(error).__name__}: {error}"
    seconds = round(time.monotonic() - begin)
    env = [f"{name}={value}" for name, value in mode.env.items() if name not in SHORT]
    told = [" ".join([*env, *map(_word, command)]) for command in mode.commands]
    print(f"{mode.name}: {problem or 'well'}, {seconds} s", flush=True)
    return {"commands": told, "seen": seen, "problem": problem, "seconds": seconds}


def _word(part: object) -> str:
    """Return a command's part as a table shows it: of files the name alone."""
    return Path(part).name if isinstance(part, Path) or os.sep in str(part) else str(part)


def checked(folder: Path, checkpoint: Path | None, *, steps: int, batch: int = 2) -> list[str]:
    """Check a trained fold: its record, and that each step's draws are tracked in its checkpoint."""
    import torch

    for name in ("hardness.csv", "hardness_epochs.csv", "hardness.png"):
        assert (folder / name).is_file(), f"{name} is missing"
    if checkpoint is None:
        assert not list(folder.glob("*checkpoint*")), "there is a checkpoint"
        return ["record", "no checkpoint"]
    state = torch.load(checkpoint, weights_only=False)["hardness_weighted_sampling"]  # the host's, just made
    visits = int(state["visits"].sum())
    assert state["version"] == steps, f"{state['version']} updates, expected {steps}"
    assert visits == steps * batch, f"{visits} samples tracked, expected {steps * batch}"
    assert torch.isfinite(state["offset"][state["answers"] > 0]).all(), "a tracked value is not finite"
    return ["record", f"{visits} draws tracked"]


def started_by(method: str, command: tuple) -> tuple:
    """Return a host's training command whose processes start by a method of Python's."""
    return (sys.executable, SCRIPT, "--started-by", method, *command)


def predicted(space: object) -> list[str]:
    """Check what the host predicted of the first case."""
    import nibabel as nib

    shape = nib.load(space.root / "out" / "case00.nii.gz").shape
    assert shape == (32, 32, 32), f"shape {shape}, the image's is (32, 32, 32)"
    return ["label map of the image's shape"]


def new_case(space: object, images: Path) -> Path:
    """Return a folder with one image to predict."""
    new = space.root / "new"
    new.mkdir(exist_ok=True)
    shutil.copyfile(images / "case00_0000.nii.gz", new / "case00_0000.nii.gz")
    return new
