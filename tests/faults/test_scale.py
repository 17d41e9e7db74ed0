"""Ten thousand cases; a data set of BraTS' real size: time, memory, cores."""

import gzip
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet import HardnessWeightedSampler, messages
from tests.faults.rows import Counted
from tests.valid import fault_of

pytestmark = pytest.mark.faults

CASES, STEPS, LAG = 10_000, 5_000, 25
MADE, SUBJECTS, ALONE, SHAPE = 25, 1251, 50, (240, 240, 155)
KINDS = ("t1", "t1ce", "t2", "flair", "seg")


def memory():
    """Return what this process holds now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_many_cases(told):
    """Draw and update with 10,000 cases; processor time and memory by fifths of the steps."""
    rng, waiting = np.random.default_rng(0), []
    truth = rng.normal(0.5, 0.1, CASES)
    made = HardnessWeightedSampler([f"case{i}" for i in range(CASES)], structures=["a", "b", "c"], rng=rng)
    made.update(range(CASES), truth + rng.normal(0, 0.15, CASES))  # every case has been seen: the costly part begins
    times, held = [], []
    for part in np.array_split(np.arange(STEPS), 5):
        begin = time.process_time()
        for _ in part:
            waiting.append(made.draw_cases(2, rng))
            if len(waiting) > LAG:
                drawn = waiting.pop(0)
                losses = truth[drawn.ids] + rng.normal(0, 0.15, 2)
                made.update(drawn.ids, losses, structures=rng.random((2, 3)), version=drawn.version)
        times.append(1e3 * (time.process_time() - begin) / len(part))
        held.append(memory())
    counted = Counted()
    grown = held[-1] - held[0]
    wrong = [fault] if (fault := fault_of(made)) else []
    wrong += [f"memory grew by {grown:.1f} MB"] if grown > 5 else []
    wrong += [f"a step took {times[-1]:.2f} ms at the end"] if times[-1] > 2 * max(times[:2]) else []
    counted.add(wrong)
    each = ", ".join(f"{value:.2f}" for value in times)
    told(
        counted.row(
            f"{CASES:,} cases, {STEPS:,} steps of two",
            f"A step takes {each} ms of the processor in each fifth of the steps; from the first fifth on memory grew "
            f"by {max(grown, 0):.1f} MB; the table takes {made.table.nbytes / 1e6:.1f} MB and is valid.",
        )
    )


def make_subjects(folder, subjects):
    """Make up subjects like BraTS 2020's, and link to them from as many as it has."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    for number in range(MADE):
        rng = np.random.default_rng(number)
        brain, label = radius < rng.uniform(0.6, 0.8), np.zeros(SHAPE, dtype=np.uint8)
        distance = np.sqrt(((grid - rng.uniform(-0.2, 0.2, (3, 1, 1, 1))) ** 2).sum(0))
        for value, size in ((2, 0.3), (4, 0.2), (1, 0.1)):
            label[distance < size] = value
        for kind in KINDS:
            voxels = label if kind == "seg" else (rng.integers(100, 900, SHAPE) * brain).astype(np.int16)
            nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / f"made{number}_{kind}.nii.gz")
    for number in range(subjects):
        name = f"BraTS20_Training_{number + 1:03d}"
        (folder / "data" / name).mkdir(parents=True)
        for kind in KINDS:
            link = folder / "data" / name / f"{name}_{kind}.nii.gz"
            link.symlink_to(folder / f"made{number % MADE}_{kind}.nii.gz")


def _prepare(source, out, cores):
    """Run ``hws-nnunet prepare brats``; return seconds, MB of all its processes over time, and what it said."""
    out.mkdir()
    command = [sys.executable, "-m", "hws_nnunet.commands.main", "prepare", "brats", str(source), "--dataset-id", "520"]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    held, said = [], []
    begin = time.monotonic()
    with subprocess.Popen(
        [*command, "--raw", str(out), "--link"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    ) as process:
        reader = threading.Thread(target=lambda: said.append(process.stdout.read().decode()))
        reader.start()
        while process.poll() is None:
            held.append(_memory_of_session(process.pid))
            time.sleep(1.0)
        reader.join()
    if process.returncode:
        raise RuntimeError(said[0][-2000:])
    return time.monotonic() - begin, held, said[0]


def _memory_of_session(session):
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * resource.getpagesize()
        except OSError:  # it has ended meanwhile
            continue
    return total / 1e6


def _read(folder, made):
    """Return the seconds that it takes one core to read and unpack a subject's files."""
    begin = time.monotonic()
    for number in range(made):
        for kind in KINDS:
            with gzip.open(folder / f"made{number}_{kind}.nii.gz") as file:
                while file.read(1 << 20):
                    pass
    return (time.monotonic() - begin) / made


def test_prepare(told, tmp_path):
    """Prepare a data set of BraTS' size on all cores, a part of it on one, and read the files alone."""
    subjects = int(os.environ.get("HWS_FAULTS_SUBJECTS", SUBJECTS))
    cores, part = len(os.sched_getaffinity(0)), tmp_path / "part"
    make_subjects(tmp_path, subjects)
    reading = _read(tmp_path, 5)
    part.mkdir()
    for source in sorted((tmp_path / "data").iterdir())[:ALONE]:
        (part / source.name).symlink_to(source)
    one, _, _ = _prepare(part, tmp_path / "one", 1)
    all_cores, held, said = _prepare(tmp_path / "data", tmp_path / "all", cores)
    found = len(list((tmp_path / "all").glob("Dataset520_BraTS/labelsTr/*.nii.gz")))
    late = held[len(held) // 4 :] or held
    wrong = [] if found == subjects else [f"{found} subjects were written"]
    wrong += [] if f"{subjects}/{subjects}" in said else ["it did not say how far it was"]
    wrong += [f"memory went up to {max(late):.0f} MB"] if max(late) > 1.5 * np.median(late) + 100 else []
    counted = Counted()
    counted.add(wrong)
    shown = " x ".join(map(str, SHAPE))
    told(
        counted.row(
            f"`hws-nnunet prepare brats --link` of {subjects:,} subjects, {shown}, five files each",
            f"{all_cores / subjects:.2f} s a subject on {messages.number(cores, 'core')}, {one / ALONE:.2f} s on one "
            f"(of {ALONE}); to read and unpack its files alone takes one core {reading:.2f} s. Memory of all its "
            f"processes in the last three quarters: {np.median(late):.0f} MB (median), {max(late):.0f} MB (largest). "
            "Bars say how far it is.",
        )
    )
