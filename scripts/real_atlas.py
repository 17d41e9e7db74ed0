"""Train, interrupt, resume, validate and predict on real fetal brains, by nnU-Net's own commands, on a CPU.

    python scripts/real_atlas.py ATLAS OUT

ATLAS is the spina bifida atlas (Zenodo record 5524312, folders of srr, mask and parcellation); everything is written
below OUT, ``real_atlas.json`` last: the commands' times, Dice of the validation cases and what was predicted. About ten
minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.files import whole_file

DATASET = "501"
NAME = f"Dataset{DATASET}_FetalBrain"
CONFIGURATION = "3d_small"
TRAINER = "HardnessWeightedTrainer_5epochs"
RESULTS = f"{TRAINER}__nnUNetPlans__{CONFIGURATION}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    env = environment(out)
    report: dict = {"trainer": TRAINER, "configuration": CONFIGURATION, "cores": os.cpu_count(), "seconds": {}}

    def run(name: str, *command: str) -> str:
        print("$", " ".join(command), flush=True)
        begin = time.monotonic()
        done = subprocess.run(
            command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        report["seconds"][name] = round(time.monotonic() - begin, 1)
        (out / f"{name}.log").write_text(done.stdout)
        if done.returncode:
            sys.exit(f"{done.stdout[-3000:]}\n{name} ended with {done.returncode}; its output is in {out / name}.log")
        return done.stdout

    run("prepare", "hws-nnunet", "prepare", "fetal", str(arguments.atlas), "--dataset-id", DATASET)
    run("register", "hws-nnunet", "register")
    run("fingerprint", "nnUNetv2_extract_fingerprint", "-d", DATASET, "--verify_dataset_integrity", "-np", "2")
    run("plan", "nnUNetv2_plan_experiment", "-d", DATASET)
    plans = out / "preprocessed" / NAME / "nnUNetPlans.json"
    run("small_configuration", "hws-nnunet", "small-configuration", str(plans), "--name", CONFIGURATION)
    run("preprocess", "nnUNetv2_preprocess", "-d", DATASET, "-c", CONFIGURATION, "-np", "2")
    train = ["nnUNetv2_train", DATASET, CONFIGURATION, "0", "-tr", TRAINER, "-device", "cpu"]
    fold = out / "results" / NAME / RESULTS / "fold_0"
    report["killed_after_epoch"] = kill_in_epoch(2, train, env, fold, out / "killed.log")
    resumed = run("train_resumed", *train, "--c")
    report["resumed"] = [line.split(": ", 1)[1] for line in resumed.splitlines() if "goes on after" in line]
    report["hardest"] = [line.split("Hardest cases: ")[1] for line in resumed.splitlines() if "Hardest" in line][-1]
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    report["validation_dice"] = {
        Path(case["prediction_file"]).name.split(".")[0]: round(
            float(np.mean([label["Dice"] for label in case["metrics"].values()])), 4
        )
        for case in summary["metric_per_case"]
    }
    report["mean_validation_dice"] = round(summary["foreground_mean"]["Dice"], 4)
    images = out / "new_images"
    images.mkdir(exist_ok=True)
    raw = out / "raw" / NAME / "imagesTr"
    for case in report["validation_dice"]:
        shutil.copy(raw / f"{case}_0000.nii.gz", images)
    predict = ["nnUNetv2_predict", "-i", str(images), "-o", str(out / "predicted"), "-d", DATASET, "-f", "0"]
    run("predict", *predict, "-c", CONFIGURATION, "-tr", TRAINER, "-device", "cpu", "-npp", "1", "-nps", "1")
    report["predicted_voxels"] = {}
    for file in sorted((out / "predicted").glob("*.nii.gz")):
        labels, counts = np.unique(np.asanyarray(nib.load(file).dataobj), return_counts=True)
        report["predicted_voxels"][file.name.split(".")[0]] = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    with whole_file(out / "real_atlas.json") as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def environment(out: Path) -> dict[str, str]:
    """Return an environment with nnU-Net's folders below ``out``, and few processes."""
    env = {**os.environ, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "2"}
    for name in ("raw", "preprocessed", "results"):
        (out / name).mkdir(parents=True, exist_ok=True)
        env[f"nnUNet_{name}"] = str(out / name)
    env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + env["PATH"]
    return env


def kill_in_epoch(epoch: int, command: list[str], env: dict[str, str], fold: Path, log: Path) -> int:
    """Start a training, and end it without warning in the middle of an epoch; return how many epochs were complete."""
    print("$", " ".join(command), f"   # killed in epoch {epoch}", flush=True)
    with open(log, "w") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        while f"Epoch {epoch}" not in log.read_text():
            time.sleep(1)
            if process.poll() is not None:
                sys.exit(f"{log.read_text()[-3000:]}\ntraining ended by itself")
        time.sleep(10)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = [path.name for path in fold.iterdir() if path.suffix == ".partial"]
    print("checkpoints:", sorted(path.name for path in fold.glob("checkpoint*")), "left over:", left)
    return log.read_text().count("Epoch time")


if __name__ == "__main__":
    main()
