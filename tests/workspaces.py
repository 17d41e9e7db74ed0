"""What the tests through nnU-Net's commands share: folders, commands, made-up images, comparisons."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from tests import forks

DEVICE = os.environ.get("HWS_DEVICE", "cpu")
"""On which nnU-Net's commands train."""


class Workspace:
    """nnU-Net's folders, an environment that names them, and its commands."""

    def __init__(self, root: Path, folders: dict[str, str], **variables: str):
        """Make the folders, ``{variable: name}``."""
        self.root = root
        self.folders = {variable: root / name for variable, name in folders.items()}
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            **os.environ,
            **{variable: str(folder) for variable, folder in self.folders.items()},
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "2",
            "OMP_NUM_THREADS": "1",  # threads that wait for each other would keep other tests waiting
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
            **variables,
        }
        self.env.pop("HWS_CONFIG", None)

    def run(self, *command, check=True, timeout=900, real=False, **env):
        """Run a command; unless it is to be a ``real`` process, in a fork of one that has imported nnU-Net."""
        command = [str(part) for part in command]
        env = {**self.env, **env}
        if real or DEVICE != "cpu" or not forks.forkable(command):  # CUDA does not survive a fork
            pipes = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            done = subprocess.run(command, env=env, timeout=timeout, check=False, **pipes)
        else:
            done = forks.run(command, env, timeout=timeout)
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    def kill_when(self, said, command, which=None, patience=300, **env):
        """Run a command until it says something, then end it without warning; return what it said.

        ``which`` returns the processes to kill in its place, from its own; the command is then to fail. All else that
        it has started has to end by itself.
        """
        log = self.root / "killed.log"
        with open(log, "w") as file:
            process = subprocess.Popen(
                command,
                env={**self.env, "PYTHONUNBUFFERED": "1", **env},
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            end = time.monotonic() + patience
            while said not in log.read_text():
                running = process.poll() is None and time.monotonic() < end
                assert running, log.read_text()[-3000:]
                time.sleep(0.1)
            for one in [process.pid] if which is None else which(process.pid):
                os.kill(one, signal.SIGKILL)
            assert process.wait(120)
            assert not left_of_session(process.pid, patience=20), "processes stayed behind"
        finally:
            for one in left_of_session(process.pid):
                os.kill(one, signal.SIGKILL)
        return log.read_text()


def left_of_session(session, patience=0.0):
    """Return the processes of a session that are there still, after so many seconds at most; none but on Linux."""
    end = time.monotonic() + patience
    while True:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                state, _, _, of, *_ = stat.read_text().rpartition(")")[2].split()
                if int(of) == session and state != "Z":
                    found.append(int(stat.parent.name))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)


def python_path(*folders):
    """Return a ``PYTHONPATH`` of these folders, then of those that this process was given."""
    return os.pathsep.join([*map(str, folders), os.environ.get("PYTHONPATH", "")])


def devices_of(checkpoint, optimizer):
    """Return the kinds of device on which a checkpoint's optimizer had its state, under that key, when it was saved."""
    state = torch.load(checkpoint, weights_only=False)[optimizer]["state"]  # the host's, just made
    return {value.device.type for of in state.values() for value in of.values() if isinstance(value, torch.Tensor)}


def ball(shape, centre, radius):
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in shape], indexing="ij"), axis=-1)
    return ((grid - np.asarray(centre)) ** 2).sum(-1) <= radius**2


def nested_balls(rng, shape=(32, 32, 32)):
    """Return an image and its labels: two nested balls somewhere in noise.

    Patches of 16 fit: of other images nnU-Net before 2.8 makes chunks smaller than their blocks, which blosc2 refuses.
    """
    centre = rng.uniform(11, 16, 3)
    outer, inner = ball(shape, centre, 8), ball(shape, centre + rng.uniform(-2, 2, 3), 4)
    image = rng.normal(100, 10, shape) + 60 * outer + 60 * inner
    return image.astype(np.float32), outer.astype(np.uint8) + inner


def first_difference(one, other):
    """Compare two trainings' batches, losses, weights and random numbers; return what differs first, or None."""
    assert all(math.isfinite(batch["loss"]) for batch in one["batches"] + other["batches"])
    for step, (a, b) in enumerate(zip(one["batches"], other["batches"], strict=True)):
        if a["keys"] != b["keys"]:
            return f"keys of step {step}"
        if not torch.equal(a["data"], b["data"]):
            return f"data of step {step}"
        if not all(torch.equal(x, y) for x, y in zip(a["target"], b["target"], strict=True)):
            return f"target of step {step}"
        if a["loss"] != b["loss"]:
            return f"loss of step {step}"
    for name, weight in one["weights"].items():
        if not torch.equal(weight, other["weights"][name]):
            return f"weights {name}"
    return None if one["random"] == other["random"] else "random numbers left"


def write_known(folder, names):
    """Write case weights, the first a hundred times the others', groups, and settings by which they alone decide.

    Returns:
        the files of weights and of settings.
    """
    weights, settings = folder / "weights.csv", folder / "settings.yaml"
    weights.write_text("case,weight\n" + "".join(f"{name},{100 if i == 0 else 1}\n" for i, name in enumerate(names)))
    groups = "".join(f"{name},{'a' if i else 'b'}\n" for i, name in enumerate(names))
    (folder / "sites.csv").write_text("case,site\n" + groups)
    lines = (
        "beta: 0",
        "with_replacement: true",
        "case_weights: weights.csv",
        "groups: sites.csv",
        "group_column: site",
    )
    settings.write_text("\n".join(lines))
    return weights, settings
