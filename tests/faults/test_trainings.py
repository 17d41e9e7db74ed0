"""Trainings through nnU-Net v2 that are killed, starved, or share what they should not."""

import contextlib
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.disks import fill, remount, small_disk
from tests.faults.rows import Counted
from tests.faults.trainings import (
    FINAL,
    GOES_ON,
    LATEST,
    STEPS,
    TRAINER,
    Training,
    goes_on,
    read_checkpoint,
    wrong_with,
)
from tests.workspaces import left_of_session

pytestmark = pytest.mark.faults
KILLS = 30
LONG_WAIT = 60.0


def shared_memory_of(processes):
    """Return the names of what lies in shared memory of these processes: PyTorch and Python put their number in."""
    names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
    return [name for name in names if {int(number) for number in re.findall(r"\d+", name)} & set(processes)]


def test_kill(space, told):
    """Kill one training at random moments, a third of them while it writes a checkpoint; resume it each time."""
    rng, writing, expected = np.random.default_rng(0), 0, None
    resumed, whole, clean, temporary = Counted(), Counted(), Counted(), Counted()
    fold = space.fold(1, TRAINER)
    for number in range(KILLS + 1):
        last = number == KILLS
        more = {"SHORT_EPOCHS": str((expected or 0) // STEPS + 2)} if last else {}
        training = Training(space, "--c", **more)
        word = f"{GOES_ON} {expected} steps" if expected else "Epoch 0"
        said = training.wait_for(word)
        if number:
            resumed.add("" if said else f"it did not go on after {expected} steps: {training.said[-300:]}")
        if last:
            code = training.end()
            resumed.add("" if code == 0 and (fold / FINAL).exists() else f"exit code {code}: {training.said[-300:]}")
        else:
            partial = fold / f"{LATEST}.partial"
            before = _identity(partial)
            _wait_for_a_moment(training, fold, rng, number, (expected or 0) // STEPS)
            session = left_of_session(training.process.pid)
            left = training.kill()
            memory = shared_memory_of(session)
            clean.add([left] * bool(left) + [f"left in shared memory: {memory}"] * bool(memory))
            writing += _identity(partial) not in (None, before)
        file = next((fold / name for name in (FINAL, LATEST) if (fold / name).exists()), None)
        if file is None:
            continue
        try:
            checkpoint = read_checkpoint(file)
            whole.add(wrong_with(checkpoint))
            expected = checkpoint["hardness_weighted_sampling"]["version"]
        except Exception as error:  # of whatever kind, it is not whole
            whole.add(f"{type(error).__name__}: {error}")
        names = [path.name for path in fold.iterdir() if "partial" in path.name]
        most = 0 if last else 5
        temporary.add(f"{names}" if len(names) > most or any(name.count(".") != 2 for name in names) else "")
    told(
        resumed.row(
            f"SIGKILL at {KILLS} random moments of a training, {writing} of them while a checkpoint was written; "
            "resumed with `--c` each time",
            f"It goes on at the checkpoint's step, and in the end to its own end, after {expected} steps.",
        ),
        whole.row("the checkpoint after each", "Whole; sampler, record and network are of the same epoch."),
        temporary.row("the folder after each", "At most one temporary file a name, none when the training has ended."),
        clean.row("the machine after each", "No process is left after some seconds, nothing in shared memory."),
    )


def _wait_for_a_moment(training, fold, rng, number, epoch):
    """Wait until it is time to kill: any time in the next epochs, every third time while a checkpoint is written."""
    if number % 3:
        begin = time.monotonic()
        training.wait_for(f"Epoch {epoch + 1}")
        seconds = time.monotonic() - begin  # that an epoch takes
        if number % 3 == 2:
            training.wait_for(f"Epoch {epoch + int(rng.integers(1, 3))}")
        time.sleep(rng.uniform(0, seconds))
        return
    partial = fold / f"{LATEST}.partial"
    before = _identity(partial)
    training.wait_for(lambda: _identity(partial) not in (None, before), poll=0)
    time.sleep(rng.uniform(0, 0.02))


def _identity(file):
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def test_worker(space, told):
    """Kill a data-loading worker of a training that runs."""
    counted = Counted()
    for fold in range(5):
        training = Training(space, fold=fold)
        training.reach("Epoch 1")
        pid = training.process.pid
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(workers[fold % len(workers)]), signal.SIGKILL)
        begin = time.monotonic()
        code = training.end()
        wrong = [] if code and time.monotonic() - begin < LONG_WAIT else [f"exit code {code}: {training.said[-300:]}"]
        wrong += [] if "no longer alive" in training.said else ["the log does not tell"]
        counted.add(wrong + goes_on(space, fold))
    told(
        counted.row(
            "a data-loading worker is killed",
            "nnU-Net tells that a worker is gone and ends, it does not hang; `--c` goes on from the last checkpoint.",
        )
    )


def test_disk(space, told):
    """Fill the disk of a training's results while it trains, or make it read-only; give it back, and resume."""
    rows = []
    for what in ("full", "read-only"):
        counted = Counted()
        with small_disk(8192) as small:
            results = space.folders["nnUNet_results"]
            results.rmdir()
            results.symlink_to(small)
            try:
                for fold in range(4):
                    training = Training(space, fold=fold)
                    training.reach("Epoch 1")
                    fill(small, 4096 * fold) if what == "full" else _read_only(small)
                    code = training.end()
                    remount(small, "rw")
                    with contextlib.suppress(FileNotFoundError):
                        (small / "ballast").unlink()
                    counted.add(["it trained on"] * (code == 0) + goes_on(space, fold))
            finally:
                results.unlink()
                results.mkdir()
        how = "becomes full" if what == "full" else "becomes read-only"
        rows.append(
            counted.row(
                f"the disk of the results {how} in a training",
                "nnU-Net ends with an error, its own or the checkpoint's; once it can be written again, `--c` goes on "
                "from the last checkpoint, which is whole.",
            )
        )
    told(*rows)


def _read_only(folder):
    """Make a disk read-only at a moment at which nobody writes to it."""
    end = time.monotonic() + 60
    while True:
        try:
            remount(folder, "ro")
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
        else:
            return


def test_shared(space, told):
    """Run two trainings of one fold at a time, then go on with what is there."""
    counted = Counted()
    for _ in range(3):
        fold = space.fold(1, TRAINER)
        shutil.rmtree(fold, ignore_errors=True)
        pair = [Training(space), Training(space)]
        wrong = [t.said[-300:] for t in pair if not t.wait_for("Epoch 3")]
        wrong += [left for t in pair if (left := t.kill())]
        counted.add(wrong + goes_on(space))
    told(
        counted.row(
            "two trainings of one fold at a time, both killed",
            "Each writes whole files, the last one's stay; `--c` goes on from the one that saved last.",
        )
    )


def test_clock(space, told):
    """Train while the clock jumps back an hour an epoch, and resume."""
    counted = Counted()
    training = Training(space, trainer="ShortClockJumps", SHORT_EPOCHS="5")
    training.reach("Epoch 3")
    training.kill()
    wrong = goes_on(space, trainer="ShortClockJumps")
    fold = space.fold(1, "ShortClockJumps")
    wrong += [f"no {name}" for name in ("hardness.csv", "hardness.png") if not (fold / name).exists()]
    counted.add(wrong)
    outcome = "It trains, is killed and resumed, and writes its record."
    told(counted.row("the clock jumps back an hour in each epoch", outcome))
