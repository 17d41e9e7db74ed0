"""Ten thousand cases; a data set of BraTS' real size: time, memory, cores."""

from __future__ import annotations

import gzip
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from faults.rows import Counted, Row
from hws_nnunet import HardnessWeightedSampler
from tests.valid import fault_of

CASES, STEPS, LAG = 10_000, 5_000, 25
MADE, SUBJECTS, SHAPE = 25, 1251, (240, 240, 155)
KINDS = ("t1", "t1ce", "t2", "flair", "seg")


def memory() -> float:
    """Return what this process holds now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def sampler(quick: bool) -> list[Row]:
    """Draw and update with 10,000 cases; processor time and memory by fifths of the steps."""
    n, steps = (1000, 1000) if quick else (CASES, STEPS)
    rng, waiting = np.random.default_rng(0), []
    truth = rng.normal(0.5, 0.1, n)
    made = HardnessWeightedSampler([f"case{i}" for i in range(n)], structures=["a", "b", "c"], rng=rng)
    made.update(range(n), truth + rng.normal(0, 0.15, n))  # every case has been seen: the costly part begins
    times, held = [], []
    for part in tqdm(np.array_split(np.arange(steps), 5), "10,000 cases", leave=False):
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
    told = ", ".join(f"{value:.2f}" for value in times)
    return [
        counted.row(
            f"{n:,} cases, {steps:,} steps of two",
            f"A step takes {told} ms of the processor in each fifth of the steps; from the first fifth on memory grew "
            f"by {max(grown, 0):.1f} MB; the table takes {made.table.nbytes / 1e6:.1f} MB and is valid.",
        )
    ]


def make_subjects(folder: Path, made: int, subjects: int, shape: tuple[int, ...]) -> None:
    """Make up subjects like BraTS 2020's, and link to them from as many as it has."""
    import nibabel as nib

    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    radius = np.sqrt((grid**2).sum(0))
    for number in tqdm(range(made), "making subjects", leave=False):
        rng = np.random.default_rng(number)
        brain, label = radius < rng.uniform(0.6, 0.8), np.zeros(shape, dtype=np.uint8)
        distance = np.sqrt(((grid - rng.uniform(-0.2, 0.2, (3, 1, 1, 1))) ** 2).sum(0))
        for value, size in ((2, 0.3), (4, 0.2), (1, 0.1)):
            label[distance < size] = value
        for kind in KINDS:
            voxels = label if kind == "seg" else (rng.integers(100, 900, shape) * brain).astype(np.int16)
            nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / f"made{number}_{kind}.nii.gz")
    for number in range(subjects):
        name = f"BraTS20_Training_{number + 1:03d}"
        (folder / "data" / name).mkdir(parents=True)
        for kind in KINDS:
            link = folder / "data" / name / f"{name}_{kind}.nii.gz"
            link.symlink_to(folder / f"made{number % made}_{kind}.nii.gz")


def _prepare(source: Path, out: Path, cores: int) -> tuple[float, list[float], str]:
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


def _memory_of_session(session: int) -> float:
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * resource.getpagesize()
        except OSError:  # it has ended meanwhile
            continue
    return total / 1e6


def _read(folder: Path, made: int) -> float:
    """Return the seconds that it takes one core to read and unpack a subject's files."""
    begin = time.monotonic()
    for number in range(made):
        for kind in KINDS:
            with gzip.open(folder / f"made{number}_{kind}.nii.gz") as file:
                while file.read(1 << 20):
                    pass
    return (time.monotonic() - begin) / made


def prepare(quick: bool) -> list[Row]:
    """Prepare a data set of BraTS' size on all cores, a part of it on one, and read the files alone."""
    made, subjects, alone = (2, 20, 20) if quick else (MADE, int(os.environ.get("HWS_FAULTS_SUBJECTS", SUBJECTS)), 50)
    shape = (48, 48, 31) if quick else SHAPE
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        make_subjects(folder, made, subjects, shape)
        reading = _read(folder, min(made, 5))
        part = folder / "part"
        part.mkdir()
        for source in sorted((folder / "data").iterdir())[:alone]:
            (part / source.name).symlink_to(source)
        one, _, _ = _prepare(part, folder / "one", 1)
        all_cores, held, said = _prepare(folder / "data", folder / "all", cores)
        found = len(list((folder / "all").glob("Dataset520_BraTS/labelsTr/*.nii.gz")))
    late = held[len(held) // 4 :] or held
    wrong = [] if found == subjects else [f"{found} subjects were written"]
    wrong += [] if f"{subjects}/{subjects}" in said else ["it did not say how far it was"]
    wrong += [f"memory went up to {max(late):.0f} MB"] if max(late) > 1.5 * np.median(late) + 100 else []
    counted = Counted()
    counted.add(wrong)
    shown = " x ".join(map(str, shape))
    return [
        counted.row(
            f"`hws-nnunet prepare brats --link` of {subjects:,} subjects, {shown}, five files each",
            f"{all_cores / subjects:.2f} s a subject on {cores} core(s), {one / alone:.2f} s on one (of {alone}); "
            f"to read and unpack its files alone takes one core {reading:.2f} s. Memory of all its processes in the "
            f"last three quarters: {np.median(late):.0f} MB (median), {max(late):.0f} MB (largest). Bars say how far "
            "it is.",
        )
    ]


FAULTS: dict[str, tuple[str, Callable[[bool], list[Row]]]] = {
    "many-cases": ("Ten thousand cases", sampler),
    "prepare": ("A data set of BraTS' size", prepare),
}
