"""Trainings through nnU-Net v2's own command, each in a process forked once its imports are done."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WORKSPACE = "HWS_FAULTS_WORKSPACE"
"""Names a folder in which the made-up data stay from one run to the next."""

TRAINER, STEPS = "ShortHardnessWeighted", 10
FORK = multiprocessing.get_context("fork")
PATIENCE = 600
"""Seconds that a training may take to say something."""


class Training:
    """One run of ``nnUNetv2_train``, in a session of its own."""

    def __init__(self, space: object, *more: str, fold: int = 0, trainer: str = TRAINER, dataset: int = 1, **env: str):
        self._log = Path(tempfile.mkstemp(prefix="training", suffix=".log", dir=space.root)[1])
        arguments = [dataset, "3d_small", fold, "-tr", trainer, "-device", "cpu", *more]
        env = {"SHORT_EPOCHS": "1000", "SHORT_STEPS": str(STEPS), **env}
        self.process = FORK.Process(target=_train, args=([str(a) for a in arguments], env, self._log))
        self.process.start()

    @property
    def said(self) -> str:
        """All that it has written to its log."""
        return self._log.read_text(errors="replace")

    def wait_for(self, happened: Callable[[], object] | str, *, poll: float = 0.02) -> bool:
        """Wait until something holds, or the log says something; return False where the training ended before."""
        end = time.monotonic() + PATIENCE
        while not (happened in self.said if isinstance(happened, str) else happened()):
            if not self.process.is_alive() or time.monotonic() > end:
                return happened in self.said if isinstance(happened, str) else bool(happened())
            time.sleep(poll)
        return True

    def reach(self, word: str) -> None:
        """Wait until the log says something.

        Raises:
            RuntimeError: it never does.
        """
        if not self.wait_for(word):
            self.kill()
            raise RuntimeError(f"the training never said {word!r}: {self.said[-2000:]}")

    def kill(self) -> str:
        """Kill its process without warning; return what of it stayed behind, "" where nothing did."""
        from tests.workspaces import left_of_session

        if self.process.exitcode is None:
            os.kill(self.process.pid, signal.SIGKILL)
        left = left_of_session(self.process.pid, patience=30)
        for one in left:
            os.kill(one, signal.SIGKILL)
        self.process.join()
        return f"{len(left)} processes stayed behind" if left else ""

    def trains_to_its_end(self) -> bool:
        """Wait until it has trained, or failed; return whether it has. Validation, which follows, is left out."""
        done = self.wait_for("Training done.")
        self.kill()
        return done

    def end(self) -> int | None:
        """Wait for its end; return its exit code, None where it had to be killed."""
        end = time.monotonic() + PATIENCE
        while (code := self.process.exitcode) is None and time.monotonic() < end:
            time.sleep(0.05)
        self.kill()
        return code


def _train(arguments: list[str], env: dict[str, str], log: Path) -> None:
    os.setsid()
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - for as long as the process lives
    os.environ.update(env)
    sys.argv = ["nnUNetv2_train", *arguments]
    from nnunetv2.run.run_training import run_training_entry

    run_training_entry()


@contextlib.contextmanager
def workspace() -> Iterator[object]:
    """Yield nnU-Net's folders with made-up data, planned, and no results; nnU-Net's command is imported then."""
    from tests.nnunetv2.conftest import WorkspaceV2, plan

    kept = os.environ.get(WORKSPACE)
    root = Path(kept or tempfile.mkdtemp())
    space = WorkspaceV2(root)
    if not (root / "ready").exists():
        plan(space)
        (root / "ready").touch()
    os.environ.update(space.env)
    os.environ.pop("HWS_CONFIG", None)

    import hws_nnunet.nnunetv2.trainer  # noqa: F401 - what a training imports

    for folder in space.folders["nnUNet_results"].iterdir():
        shutil.rmtree(folder)
    try:
        yield space
    finally:
        for file in root.glob("training*.log"):
            file.unlink()
        if not kept:
            shutil.rmtree(root)


def read_checkpoint(file: Path) -> dict:
    """Return a checkpoint of nnU-Net's; raise where it is not whole."""
    import torch

    return torch.load(file, weights_only=False, map_location="cpu")


def wrong_with(checkpoint: dict) -> list[str]:
    """Return what in a checkpoint is not of one epoch."""
    epoch, state = checkpoint["current_epoch"], checkpoint["hardness_weighted_sampling"]
    wrong = []
    if state["version"] != STEPS * epoch or int(state["visits"].sum()) != 2 * STEPS * epoch:
        wrong.append(f"sampler after {state['version']} steps, network after {epoch} epochs of {STEPS}")
    if state["record"]["epochs"] != list(range(epoch)):
        wrong.append(f"record of the epochs {state['record']['epochs']}, network after {epoch}")
    if not all(weight.isfinite().all() for weight in checkpoint["network_weights"].values()):
        wrong.append("weights are not finite")
    return wrong
