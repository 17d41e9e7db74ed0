"""From a downloaded data set to a report: train stock nnU-Net and ours on real fetal brains, and compare them.

    python scripts/compare_atlas.py ATLAS OUT

ATLAS is the spina bifida atlas (Zenodo record 5524312). nnU-Net v2's own commands and ours, on a CPU: prepare, plan,
train both trainers for five short epochs side by side (nine brains in training, six held out, half of them before
surgery), report by surgery status, galleries of the hardest and of the worst cases. All is below OUT; open
``report/report.html`` and ``gallery/index.html``. Took 40 minutes on two cores that others used as well. So short a
training shows that the way is open, not which sampling is better.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from hws_nnunet.files import atomic_write

NUMBER, NAME, CONFIGURATION = "501", "Dataset501_FetalBrain", "3d_small"
TRAINERS = {"uniform": "nnUNetTrainer_5epochs", "hardness weighted": "HardnessWeightedTrainer_5epochs"}
HELD_OUT = [
    *(f"fetal_SB_atlas_GA{age}_notoperated" for age in (21, 23, 25)),
    *(f"fetal_SB_atlas_GA{age}_operated" for age in (26, 29, 33)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty: name a new folder")
    env = {**os.environ, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "OMP_NUM_THREADS": "1"}
    env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + env["PATH"]
    for name in ("raw", "preprocessed", "results"):
        (out / name).mkdir(parents=True)
        env[f"nnUNet_{name}"] = str(out / name)

    def start(log: str, *command: object) -> tuple[subprocess.Popen, str]:
        words = [str(word) for word in command]
        print("$", shlex.join(words), flush=True)
        with open(out / f"{log}.log", "w") as file:
            return subprocess.Popen(words, env=env, stdout=file, stderr=subprocess.STDOUT), log

    def finish(process: subprocess.Popen, log: str) -> None:
        if process.wait():
            sys.exit(f"ended with {process.returncode}; its output is {out / log}.log")

    preprocessed = out / "preprocessed" / NAME
    finish(*start("prepare", "hws-nnunet", "prepare", "fetal", arguments.atlas, "--dataset-id", NUMBER))
    finish(*start("register", "hws-nnunet", "register"))
    finish(*start("plan", "nnUNetv2_plan_and_preprocess", "-d", NUMBER, "--verify_dataset_integrity", "--no_pp"))
    plans = preprocessed / "nnUNetPlans.json"
    finish(*start("small", "hws-nnunet", "small-configuration", plans, "--name", CONFIGURATION))
    finish(*start("preprocess", "nnUNetv2_preprocess", "-d", NUMBER, "-c", CONFIGURATION, "-np", 2))
    names = sorted(file.name.removesuffix(".nii.gz") for file in (out / "raw" / NAME / "labelsTr").glob("*.nii.gz"))
    split = {"train": [name for name in names if name not in HELD_OUT], "val": HELD_OUT}
    with atomic_write(preprocessed / "splits_final.json") as partial:
        partial.write_text(json.dumps([split]))

    begin = time.monotonic()
    train = ("nnUNetv2_train", NUMBER, CONFIGURATION, "0", "-device", "cpu", "-tr")
    running = [start(f"train_{trainer}", *train, trainer) for trainer in TRAINERS.values()]
    for training in running:
        finish(*training)
    print(f"both trainings: {time.monotonic() - begin:.0f} s")
    folds = {
        name: out / "results" / NAME / f"{trainer}__nnUNetPlans__{CONFIGURATION}" / "fold_0"
        for name, trainer in TRAINERS.items()
    }
    raw = out / "raw" / NAME
    sets = [f"{name}={fold / 'validation'}" for name, fold in folds.items()]
    options = [
        "--subgroups",
        raw / "subgroups.csv",
        "--references",
        raw / "labelsTr",
        "--dataset",
        raw / "dataset.json",
    ]
    finish(*start("report", "hws-nnunet", "report", *sets, *options, "--out", out / "report"))
    fold = folds["hardness weighted"]
    finish(*start("gallery", "hws-nnunet", "gallery", fold, "--out", out / "gallery"))
    finish(*start("gallery_worst", "hws-nnunet", "gallery", fold, "--worst", "--out", out / "gallery_worst"))
    print(f"open {out / 'report' / 'report.html'}, {out / 'gallery' / 'index.html'}")


if __name__ == "__main__":
    main()
