"""The demonstration: a phantom, nnU-Net's own commands, a table and figures."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet import registration
from hws_nnunet.datasets import make_phantom, write_raw_v2
from hws_nnunet.datasets.raw_v2 import dataset_name
from hws_nnunet.files import whole_file
from hws_nnunet.nnunetv2.host import check_version

DATASET, NAME, CONFIGURATION = 990, "Phantom", "3d_small"
_MARK = ".hws-nnunet-demo"
_HOST = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
TRAINERS = {"hardness weighted": "HardnessWeightedTrainer_demo", "uniform": "nnUNetTrainer_demo"}


class DemoError(RuntimeError):
    """The demonstration cannot start, or one of nnU-Net's commands failed."""


@dataclass(frozen=True)
class GroupDice:
    """Dice of one group of held-out cases, averaged over structures in each case; 0 to 1."""

    trainer: str
    group: str
    cases: int
    mean: float
    percentile_10: float
    worst: float


def run_demo(out: Path, *, device: str = "cpu", seed: int = 0, compare: bool = False, overwrite: bool = False) -> None:
    """Make the phantom below ``out``, train and predict by nnU-Net's commands, and print a table of Dice.

    Args:
        out: folder of the demonstration; nnU-Net's three folders are made in it.
        device: ``cpu``, ``cuda`` or ``mps``.
        seed: of the phantom.
        compare: also train with uniform sampling, for the same number of steps.
        overwrite: do away with an earlier demonstration in ``out``.

    Raises:
        DemoError: ``out`` holds an earlier demonstration, or something else; or a command failed.
    """
    begin = time.monotonic()
    check_version()
    out = Path(out).resolve()
    _make_room(out, overwrite)
    try:
        folders = _prepare(out, seed)
        rows, figures = [], []
        for label in list(TRAINERS)[: 2 if compare else 1]:
            print(f"\n# training with {label} sampling", flush=True)
            fold = _train(folders, TRAINERS[label], device)
            figures += [path for path in (fold / "hardness.png", fold / "progress.png") if path.exists()]
            rows += _score(label, folders.predictions / TRAINERS[label], folders.raw)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {out} is not complete; --overwrite does away with it and starts anew", flush=True)
        raise
    table = _table(rows)
    with whole_file(out / "dice.md") as partial:
        partial.write_text(table + "\n", encoding="utf-8")
    print(f"\n# Dice of held-out cases, after {time.monotonic() - begin:.0f} s\n{table}\n")
    if compare:
        print("One short training of each shows how it works; which one is better takes several of each.\n")
    for path in [*figures, out / "dice.md"]:
        print(path)


@dataclass(frozen=True)
class _Folders:
    """The demonstration's data set in nnU-Net's three folders, and the environment that names them."""

    raw: Path
    preprocessed: Path
    results: Path
    predictions: Path
    env: dict[str, str]


def _prepare(out: Path, seed: int) -> _Folders:
    """Make the data, plan and preprocess them."""
    env, exports = _environment(out)
    folders = [out / name / dataset_name(DATASET, NAME) for name in _HOST]
    folders = _Folders(*folders, out / "predictions", env)
    print("# nnU-Net's folders and a trainer that it finds; to repeat a command, set these first", flush=True)
    for line in exports:
        print(f"export {line}")
    if registration.needs_registering():
        print("$ hws-nnunet register", flush=True)
        registration.register(registration.V2)
    print(f"\n# a made-up data set of brains, a few of other anatomy and contrast (seed {seed})", flush=True)
    _make_data(folders.raw.parent, seed)
    _run(["nnUNetv2_plan_and_preprocess", "-d", DATASET, "-npfp", 2, "--verify_dataset_integrity", "--no_pp"], env)
    small = ["small-configuration", folders.preprocessed / "nnUNetPlans.json", "--name", CONFIGURATION]
    small += ["--coarser", "1", "--features", "8,16,32"]
    _run([sys.executable, "-m", "hws_nnunet.cli", *small], env, shown=["hws-nnunet", *small])
    _run(["nnUNetv2_preprocess", "-d", DATASET, "-c", CONFIGURATION, "-np", 2], env)
    _split(folders.preprocessed, folders.raw / "labelsTr")
    return folders


def _train(folders: _Folders, trainer: str, device: str) -> Path:
    """Train, predict the held-out cases, and return the fold's folder."""
    _run(["nnUNetv2_train", DATASET, CONFIGURATION, 0, "-tr", trainer, "-device", device], folders.env)
    predict = ["nnUNetv2_predict", "-i", folders.raw / "imagesTs", "-o", folders.predictions / trainer]
    predict += ["-d", DATASET, "-c", CONFIGURATION, "-f", 0, "-tr", trainer, "-device", device]
    _run([*predict, "-npp", 1, "-nps", 1, "--disable_tta"], folders.env)
    return folders.results / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / "fold_0"


_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_BAR = re.compile(r"\d+%\|")
_QUIET = (
    "perform_everything_on_device",
    "Please cite",
    "Isensee",
    "nnU-Net: a self",
    "####",
    "INFO: You are using the old nnU-Net default",
    "Nature methods",
    "This is the configuration",
    "Configuration name",
    "{'",
    "These are the global",
    "plot network architecture",
    "No module named 'hiddenlayer'",
    "FutureWarning",
    "warnings.warn(",
    "Searching ",
    "Inspecting module",
)
"""What nnU-Net says at length and a demonstration does without."""


def _make_room(out: Path, overwrite: bool) -> None:
    """Make nnU-Net's folders in a new or an empty folder, or in the place of an earlier demonstration.

    nnU-Net's folders have the same names everywhere: only a mark of ours tells that nothing else can be in them.
    """
    ours = (*_HOST, "predictions", "dice.md")
    there = [name for name in ours if (out / name).exists()]
    others = [path.name for path in out.iterdir() if path.name not in (*ours, _MARK)] if out.exists() else []
    if not (out / _MARK).exists() and (there or others):
        held = ", ".join(sorted([*there, *others])[:5])
        raise DemoError(f"{out} holds {held}, which no demonstration has made: name an empty or a new folder")
    if there and not overwrite:
        raise DemoError(f"{out} holds {', '.join(there)} of an earlier demonstration; --overwrite does away with them")
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARK).touch()
    for name in there:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in _HOST:
        (out / name).mkdir()


def _environment(out: Path) -> tuple[dict[str, str], list[str]]:
    """Return the environment of nnU-Net's commands, and what differs in it, for people to repeat."""
    ours = {name: str(out / name) for name in _HOST}
    ours |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    if not registration.needs_registering():
        ours["nnUNet_extTrainer"] = str(registration.V2.trainers_path())
    env = {**os.environ, **ours, "PYTHONUNBUFFERED": "1"}
    env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + env.get("PATH", "")
    env.pop("HWS_CONFIG", None)
    return env, [f"{name}={shlex.quote(value)}" for name, value in ours.items()]


def _make_data(raw_folder: Path, seed: int) -> None:
    with tempfile.TemporaryDirectory(dir=raw_folder.parent) as folder:
        collection = make_phantom(Path(folder), seed=seed, progress=True)
        target = write_raw_v2(collection, raw_folder, dataset_id=DATASET, name=NAME)
    print(
        f"{sum(not c.test for c in collection.cases)} training and {sum(c.test for c in collection.cases)} held-out "
        f"cases -> {target}",
        flush=True,
    )


def _split(folder: Path, labels: Path) -> None:
    """Keep one case for nnU-Net's own validation; the held-out ones are predicted afterwards."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in labels.glob("*.nii.gz"))
    with whole_file(folder / "splits_final.json") as partial:
        partial.write_text(json.dumps([{"train": names[:-1], "val": names[-1:]}]), encoding="utf-8")
    print(f"# wrote {folder / 'splits_final.json'}: fold 0 trains on all cases but the last")


def _run(command: list, env: dict[str, str], *, shown: list | None = None) -> None:
    """Run a command, shown so that it can be repeated, and pass on what it says.

    It runs in a process group of its own, so that an interrupt here ends its workers too.
    """
    command = [str(part) for part in command]
    print(f"$ {shlex.join([str(part) for part in shown or command])}", flush=True)
    program = shutil.which(command[0], path=env.get("PATH"))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    if program is None:
        raise DemoError(f"{command[0]} was not found: is nnU-Net v2 installed in this environment?")
    process = subprocess.Popen([program, *command[1:]], env=env, start_new_session=True, **pipes)
    threading.Thread(target=_end_with, args=(process,), daemon=True).start()
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            _show(line)
        process.wait()
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise DemoError(f"{command[0]} ended with {process.returncode}; it said last:\n{''.join(said[-15:])}")


def _show(line: str) -> None:
    """Print a line of a command; a progress bar stays on one line of a terminal, and elsewhere only its end shows."""
    line = line.rstrip("\n")
    if _BAR.search(line):
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 3
            print("\r  " + line[:width], end="\n" if "100%|" in line else "", flush=True)
        elif "100%|" in line:
            print("  " + line, flush=True)
    elif line.strip() and not any(part in line for part in _QUIET):
        print("  " + line, flush=True)


def _end(process: subprocess.Popen) -> None:
    """End a command and its workers."""
    for ending in (signal.SIGTERM, _KILL):
        _signal(process, ending)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue


def _end_with(process: subprocess.Popen) -> None:
    """Once a command has ended, end workers that outlive it: they would hold its output open for ever."""
    process.wait()
    time.sleep(5)
    _signal(process, _KILL)


def _signal(process: subprocess.Popen, ending: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # there is nobody left, or only who has ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, ending)
        else:
            process.send_signal(ending)


def _score(label: str, predictions: Path, raw: Path) -> list[GroupDice]:
    with open(raw / "subgroups.csv", newline="", encoding="utf-8") as file:
        group_of = {row["case"]: row["subgroup"] for row in csv.DictReader(file)}
    dice: dict[str, list[float]] = {}
    for path in sorted((raw / "labelsTs").glob("*.nii.gz")):
        reference = np.asanyarray(nib.load(path).dataobj)
        predicted = np.asanyarray(nib.load(predictions / path.name).dataobj)
        name = path.name.removesuffix(".nii.gz")
        dice.setdefault(group_of[name], []).append(_mean_dice(predicted, reference))
    dice["all"] = [value for values in dice.values() for value in values]
    return [
        GroupDice(label, group, len(v), float(np.mean(v)), float(np.percentile(v, 10)), min(v))
        for group, v in dice.items()
    ]


def _mean_dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Mean Dice over the structures of the reference."""
    scores = []
    for value in np.unique(reference[reference > 0]):
        one, other = predicted == value, reference == value
        scores.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    return float(np.mean(scores))


def _table(rows: list[GroupDice]) -> str:
    lines = ["| sampling | group | cases | mean | 10th percentile | worst |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = f"{row.mean:.3f} | {row.percentile_10:.3f} | {row.worst:.3f}"
        lines.append(f"| {row.trainer} | {row.group} | {row.cases} | {numbers} |")
    return "\n".join(lines)
