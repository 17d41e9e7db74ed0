"""The demonstration: a phantom, nnU-Net's own commands, a table and figures."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
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
    env, exports = _environment(out)
    print("# nnU-Net's folders and a trainer that it finds; to repeat a command, set these first", flush=True)
    for line in exports:
        print(f"export {line}")
    if registration.needs_registering():
        print("$ hws-nnunet register", flush=True)
        registration.register()
    print(f"\n# a made-up data set of brains, a few of them with another anatomy (seed {seed})", flush=True)
    _make_data(out / "nnUNet_raw", seed)
    plans = out / "nnUNet_preprocessed" / dataset_name(DATASET, NAME) / "nnUNetPlans.json"
    hws = [sys.executable, "-m", "hws_nnunet.cli"]
    _run(["nnUNetv2_extract_fingerprint", "-d", DATASET, "-np", 2], env)
    _run(["nnUNetv2_plan_experiment", "-d", DATASET], env)
    small = ["small-configuration", plans, "--name", CONFIGURATION, "--coarser", "1", "--features", "8,16,32"]
    _run([*hws, *small], env, shown=["hws-nnunet", *small])
    _run(["nnUNetv2_preprocess", "-d", DATASET, "-c", CONFIGURATION, "-np", 2], env)
    _split(plans.parent, out / "nnUNet_raw" / dataset_name(DATASET, NAME) / "labelsTr")
    rows: list[GroupDice] = []
    figures = []
    for label, trainer in TRAINERS.items():
        if label == "uniform" and not compare:
            continue
        print(f"\n# training with {label} sampling", flush=True)
        _run(["nnUNetv2_train", DATASET, CONFIGURATION, 0, "-tr", trainer, "-device", device], env, quiet=_QUIET)
        raw = out / "nnUNet_raw" / dataset_name(DATASET, NAME)
        predictions = out / "predictions" / trainer
        predict = ["nnUNetv2_predict", "-i", raw / "imagesTs", "-o", predictions, "-d", DATASET, "-c", CONFIGURATION]
        _run([*predict, "-f", 0, "-tr", trainer, "-device", device, "-npp", 1, "-nps", 1, "--disable_tta"], env)
        rows += _score(label, predictions, raw)
        results = out / "nnUNet_results" / dataset_name(DATASET, NAME)
        fold = results / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / "fold_0"
        figures += [path for path in (fold / "hardness.png", fold / "progress.png") if path.exists()]
    table = _table(rows)
    with whole_file(out / "dice.md") as partial:
        partial.write_text(table + "\n", encoding="utf-8")
    print(f"\n# Dice of held-out cases, after {time.monotonic() - begin:.0f} s\n{table}\n")
    if compare:
        print("One short training of each says how it works, not which is better: seeds differ by as much.\n")
    for path in [*figures, out / "dice.md"]:
        print(path)


_QUIET = (
    "perform_everything_on_device",
    "Please cite",
    "Isensee",
    "nnU-Net: a self",
    "####",
    "INFO: You are using the old nnU-Net default plans",
    "Nature methods",
    "This is the configuration",
    "Configuration name",
    " {'",
    "These are the global",
    "plot network architecture",
    "No module named 'hiddenlayer'",
)


def _make_room(out: Path, overwrite: bool) -> None:
    ours = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "predictions", "dice.md")
    there = [name for name in ours if (out / name).exists()]
    if there and not overwrite:
        raise DemoError(f"{out} holds {', '.join(there)} of an earlier demonstration; --overwrite does away with them")
    others = [path.name for path in out.iterdir() if path.name not in ours] if out.exists() else []
    if others and not there:
        raise DemoError(f"{out} is not empty (it holds {', '.join(sorted(others)[:5])}): name an empty or a new folder")
    for name in there:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ours[:3]:
        (out / name).mkdir(parents=True)


def _environment(out: Path) -> tuple[dict[str, str], list[str]]:
    """Return the environment of nnU-Net's commands, and what differs in it, for people to repeat."""
    processes = str(min(2, os.cpu_count() or 1))
    ours = {name: str(out / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    ours |= {"nnUNet_n_proc_DA": processes, "nnUNet_def_n_proc": "1"}
    if not registration.needs_registering():
        ours["nnUNet_extTrainer"] = str(registration.trainers_path())
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
    """Keep two cases for nnU-Net's own validation; the held-out ones are predicted afterwards."""
    names = sorted(path.name.removesuffix(".nii.gz") for path in labels.glob("*.nii.gz"))
    with whole_file(folder / "splits_final.json") as partial:
        partial.write_text(json.dumps([{"train": names[:-2], "val": names[-2:]}]), encoding="utf-8")
    print(f"# wrote {folder / 'splits_final.json'}: fold 0 trains on all cases but the last two")


def _run(command: list, env: dict[str, str], *, shown: list | None = None, quiet: tuple[str, ...] = ()) -> None:
    """Run a command, shown so that it can be repeated, and pass on what it says."""
    command = [str(part) for part in command]
    print(f"$ {shlex.join([str(part) for part in shown or command])}", flush=True)
    try:
        process = subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise DemoError(f"{command[0]} was not found: is nnU-Net v2 installed in this environment?") from None
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.strip() and not any(part in line for part in quiet):
                print("  " + line.rstrip("\n"), flush=True)
    except BaseException:
        process.terminate()
        raise
    finally:
        code = process.wait()
    if code:
        raise DemoError(f"{command[0]} ended with {code}; it said last:\n{''.join(said[-15:])}")


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
