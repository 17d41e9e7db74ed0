"""Trainings through nnU-Net v2's own command, each in a process forked once its imports are done."""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.workspaces import left_of_session

TRAINER, STEPS = "ShortHardnessWeighted", 10
LATEST, FINAL = "checkpoint_latest.pth", "checkpoint_final.pth"
GOES_ON = "Hardness weighted sampling goes on after"
FORK = multiprocessing.get_context("fork")
PATIENCE = 600
"""Seconds that a training may take to say something."""


class Training:
    """One run of ``nnUNetv2_train``, in a session of its own."""

    def __init__(self, space, *more, fold=0, trainer=TRAINER, **env):
        self._log = Path(tempfile.mkstemp(prefix="training", suffix=".log", dir=space.root)[1])
        arguments = [1, "3d_small", fold, "-tr", trainer, "-device", "cpu", *more]
        env = {"SHORT_EPOCHS": "1000", "SHORT_STEPS": str(STEPS), **env}
        self.process = FORK.Process(target=_train, args=([str(a) for a in arguments], env, self._log))
        self.process.start()

    @property
    def said(self):
        """All that it has written to its log."""
        return self._log.read_text(errors="replace")

    def wait_for(self, happened, *, poll=0.02):
        """Wait until something holds, or the log says something; return False where the training ended before."""
        end = time.monotonic() + PATIENCE
        while not (happened in self.said if isinstance(happened, str) else happened()):
            if not self.process.is_alive() or time.monotonic() > end:
                return happened in self.said if isinstance(happened, str) else bool(happened())
            time.sleep(poll)
        return True

    def reach(self, word):
        """Wait until the log says something.

        Raises:
            RuntimeError: it never does.
        """
        if not self.wait_for(word):
            self.kill()
            raise RuntimeError(f"the training never said {word!r}: {self.said[-2000:]}")

    def kill(self):
        """Kill its process without warning; return what of it stayed behind, "" where nothing did."""
        if self.process.exitcode is None:
            os.kill(self.process.pid, signal.SIGKILL)
        left = left_of_session(self.process.pid, patience=30)
        for one in left:
            os.kill(one, signal.SIGKILL)
        self.process.join()
        return f"{len(left)} processes stayed behind" if left else ""

    def trains_to_its_end(self):
        """Wait until it has trained, or failed; return whether it has. Validation, which follows, is left out."""
        done = self.wait_for("Training done.")
        self.kill()
        return done

    def end(self):
        """Wait for its end; return its exit code, None where it had to be killed."""
        end = time.monotonic() + PATIENCE
        while (code := self.process.exitcode) is None and time.monotonic() < end:
            time.sleep(0.05)
        self.kill()
        return code


def _train(arguments, env, log):
    os.setsid()
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - for as long as the process lives
    os.environ.update(env)
    sys.argv = ["nnUNetv2_train", *arguments]
    from nnunetv2.run.run_training import run_training_entry

    run_training_entry()


def read_checkpoint(file):
    """Return a checkpoint of nnU-Net's; raise where it is not whole."""
    import torch

    return torch.load(file, weights_only=False, map_location="cpu")


def wrong_with(checkpoint):
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


def goes_on(space, fold=0, trainer=TRAINER):
    """Resume a training for one more epoch; return what was wrong."""
    folder = space.fold(1, trainer, fold=fold)
    checkpoint = read_checkpoint(folder / LATEST)
    epoch = checkpoint["current_epoch"]
    training = Training(space, "--c", fold=fold, trainer=trainer, SHORT_EPOCHS=str(epoch + 1))
    wrong = wrong_with(checkpoint)
    if not training.trains_to_its_end() or f"{GOES_ON} {STEPS * epoch} steps" not in training.said:
        wrong.append(f"resumed: {training.said[-300:]}")
    wrong += [f"{path.name} was left" for path in folder.glob("*.partial")]
    return wrong or wrong_with(read_checkpoint(folder / FINAL))
