"""Disks and folders that fail while record, figure and checkpoint are written; without nnU-Net's trainers."""

import csv
import math
import multiprocessing
import os
import signal
import time

import matplotlib.image
import numpy as np
import torch

from hws_nnunet import Settings
from hws_nnunet.facts.versions import STATE
from hws_nnunet.hosts.checkpoints import extended_checkpoint
from hws_nnunet.hosts.weighting import Weighting
from tests.faults.disks import fill, remount, small_disk
from tests.faults.rows import LONG_AND_SHORT, Counted

CASES, STRUCTURES = 30, ("a", "b")
CHECKPOINT = "checkpoint_latest.pth"
WEIGHTS = 200_000
"""Numbers in a checkpoint: 0.8 MB."""

FORK = multiprocessing.get_context("fork")


class Training:
    """What of a training writes into its folder, with a number for what state it is in."""

    def __init__(self, folder, seed=0, *, figures=True):
        self._figures = figures
        self.folder, self.log, self.number, self._rng = folder, [], 0, np.random.default_rng(seed)
        self.weighting = Weighting(
            [f"case{i}" for i in range(CASES)], Settings(), self.log.append, structures=STRUCTURES
        )
        if not figures:
            self.weighting._writer._plot_again = math.inf

    def go_on(self):
        """Train an epoch."""
        losses = self._rng.random((CASES, 2))
        self.weighting.sampler.update(range(CASES), losses[:, 0], structures=losses, version=self.number)
        self.weighting.end_epoch(self.number)
        self.weighting.start_epoch()
        self.number += 1

    def write_record(self):
        """Write tables and figures; return what the log says of it."""
        del self.log[:]
        self.weighting.write_record(self.folder, last=self._figures)
        return " ".join(self.log)

    def write_checkpoint(self):
        """Write the checkpoint; return the error."""
        state = self.weighting.state_dict()
        weights = torch.full((WEIGHTS,), float(state["version"]))
        try:
            with extended_checkpoint("weights", {STATE: state}):
                torch.save({"weights": weights}, str(self.folder / CHECKPOINT))
        except (OSError, RuntimeError) as error:  # PyTorch's writer has its own
            return f"{type(error).__name__}: {error}"
        return ""


def wrong_files(folder):
    """Return what is wrong with the files of a folder: each has to be whole, and temporary ones none."""
    wrong = [f"{file.name} was left" for file in folder.glob("*.partial")]
    for file in folder.iterdir():
        try:
            if file.suffix == ".csv":
                _read_table(file)
            elif file.suffix == ".png":
                matplotlib.image.imread(file)
            elif file.suffix == ".pth":
                read_checkpoint(file)
        except Exception as error:  # of whatever kind, the file is not whole
            wrong.append(f"{file.name}: {type(error).__name__}: {error}")
    return wrong


def _read_table(file):
    with open(file, newline="", encoding="utf-8") as opened:
        header, *rows = csv.reader(opened)
    if not rows or any(len(row) != len(header) for row in rows) or ("case" in header and len(rows) != CASES):
        raise ValueError(f"{len(rows)} rows")


def read_checkpoint(file):
    """Return the number of updates at which a checkpoint was written; raise unless it is of one state and whole."""
    checkpoint = torch.load(file, weights_only=True)
    version = checkpoint[STATE]["version"]
    if not (checkpoint["weights"] == version).all() or len(checkpoint["weights"]) != WEIGHTS:
        raise ValueError("the sampler's state is of another step than the weights")
    return version


@LONG_AND_SHORT
def test_disk_full(long, told):
    """Write with less room than it takes, at random; then with room again."""
    rng, rows = np.random.default_rng(0), []
    with small_disk(4096) as folder:
        training = Training(folder, figures=long)
        training.go_on()
        training.write_record(), training.write_checkpoint()
        sizes = {"record and figures": 60_000 if long else 4_000, "checkpoint": 4 * WEIGHTS}
        for what, write in (("record and figures", training.write_record), ("checkpoint", training.write_checkpoint)):
            counted = Counted()
            for _ in range(15 if long else 1):
                training.go_on()
                before = {file.name for file in folder.iterdir()}
                fill(folder, int(rng.integers(0, sizes[what])))
                said = write()
                (folder / "ballast").unlink()
                wrong = wrong_files(folder) + ([] if before == {file.name for file in folder.iterdir()} else ["names"])
                wrong += [] if said else ["it was not told"]
                wrong += [f"with room again: {said}"] if (said := write()) else []
                counted.add(wrong + wrong_files(folder))
            outcome = {
                "record and figures": "A warning in the log, the training goes on; files are the old ones or the new "
                "ones, each whole; the next epoch writes them.",
                "checkpoint": "The error ends the training, as nnU-Net's own does; the old checkpoint is whole, and "
                "it is written once there is room.",
            }[what]
            rows.append(counted.row(f"the disk is full in the middle of writing the {what}", outcome))
    told(*rows)


@LONG_AND_SHORT
def test_read_only(long, told):
    """Write into a folder that has become read-only; then into one that can be written again."""
    record, checkpoint = Counted(), Counted()
    with small_disk(4096) as folder:
        training = Training(folder, figures=long)
        training.go_on()
        training.write_record(), training.write_checkpoint()
        for _ in range(5 if long else 1):
            before = {file: file.read_bytes() for file in folder.iterdir()}
            training.go_on()
            remount(folder, "ro")
            said = training.write_record(), training.write_checkpoint()
            after = {file: file.read_bytes() for file in folder.iterdir()}
            remount(folder, "rw")
            for counted, text, write in zip(
                (record, checkpoint), said, (training.write_record, training.write_checkpoint), strict=True
            ):
                wrong = [] if "Read-only" in text or "may not be written" in text else [f"said: {text}"]
                wrong += ["files changed"] if before != after else []
                counted.add(wrong + [write()] * bool(write()) + wrong_files(folder))
    told(
        record.row("the folder is read-only when the record is written", "A warning in the log, the training goes on."),
        checkpoint.row(
            "the same, a checkpoint", "The error ends the training, as nnU-Net's own does; files are whole."
        ),
    )


def _write_on(folder, seed, stop):
    training = Training(folder, seed)
    if seed:  # states of the two are told apart by the number of updates: even and odd
        training.go_on()
    while not stop.is_set():
        training.go_on(), training.go_on()
        training.weighting.record.write(folder, training.weighting.sampler)
        if wrong := training.write_checkpoint():
            raise RuntimeError(wrong)


@LONG_AND_SHORT
def test_shared_folder(long, told, tmp_path):
    """Have two trainings write into one folder, one of them killed now and then, and look at the files meanwhile."""
    looks, counted, left, written, killed = 600 if long else 6, Counted(), Counted(), set(), 0
    rng, stop = np.random.default_rng(0), FORK.Event()
    folder, end = tmp_path, time.monotonic() + 600
    one, other = (FORK.Process(target=_write_on, args=(folder, seed, stop)) for seed in (0, 1))
    one.start(), other.start()
    while (counted.tried < looks or written != {0, 1}) and time.monotonic() < end:
        if not (folder / CHECKPOINT).exists():
            time.sleep(0.01)
            continue
        try:
            written.add(read_checkpoint(folder / CHECKPOINT) % 2)
            counted.add([wrong for wrong in wrong_files(folder) if not wrong.endswith(" was left")])
        except Exception as error:  # of whatever kind, the file is not whole
            counted.add(f"{type(error).__name__}: {error}")
        if 1 in written and rng.random() < 0.1:
            os.kill(other.pid, signal.SIGKILL)
            other.join()
            other, killed = FORK.Process(target=_write_on, args=(folder, 1, stop)), killed + 1
            other.start()
    stop.set()
    one.join(), other.join()
    counted.add("" if written == {0, 1} and one.exitcode == other.exitcode == 0 else f"{written}, {one}, {other}")
    names = sorted(file.name for file in folder.glob("*.partial"))
    left.add("" if len(names) <= 6 else f"left: {names}")
    told(
        counted.row(
            "two trainings write into one folder, whose files are looked at meanwhile",
            "Each file is whole, and of one of the two, sampler and network of the same step.",
        ),
        left.row(f"the same, one of them killed {killed} times", "At most two temporary names a file are left."),
    )
