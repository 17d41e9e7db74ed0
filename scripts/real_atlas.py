"""Train, interrupt, resume, validate and predict on real fetal brains, by nnU-Net's own commands, on a CPU.

    python scripts/real_atlas.py ATLAS OUT [--nnunet v1]

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
from abc import ABC, abstractmethod
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.files import atomic_write

NUMBER = "501"
TRAINER = "HardnessWeightedTrainer_5epochs"


class Chain(ABC):
    """The commands of one version of nnU-Net, on folders below ``out``."""

    folders: tuple[str, ...]
    starts: str
    """What its log says when an epoch starts, with the epoch's number to be filled in."""
    ends: str
    """What it says when one has ended."""
    resume: str

    def __init__(self, out: Path):
        self.out = out
        self.env = {**os.environ, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "2"}
        for name in self.folders:
            (out / name).mkdir(parents=True, exist_ok=True)
            self.env[name] = str(out / name)
        self.env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + self.env["PATH"]

    images: Path
    """Folder of the training images."""
    fold: Path
    train: list[str]

    @abstractmethod
    def preparing(self) -> dict[str, list[str]]:
        """Return the commands from the atlas's raw data set on, by name."""

    @abstractmethod
    def predict(self, images: Path, target: Path) -> list[str]:
        """Return the command that predicts a folder's images."""

    @abstractmethod
    def validation_dice(self) -> dict[str, float]:
        """Return the mean Dice of each validation case."""


class ChainV2(Chain):
    """nnU-Net v2, with a small configuration."""

    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    name = f"Dataset{NUMBER}_FetalBrain"
    starts, ends, resume = "Epoch {}", "Epoch time", "--c"

    def __init__(self, out: Path):
        super().__init__(out)
        self.images = out / "nnUNet_raw" / self.name / "imagesTr"
        self.fold = out / "nnUNet_results" / self.name / f"{TRAINER}__nnUNetPlans__3d_small" / "fold_0"
        self.train = ["nnUNetv2_train", NUMBER, "3d_small", "0", "-tr", TRAINER, "-device", "cpu"]

    def preparing(self) -> dict[str, list[str]]:
        plans = self.out / "nnUNet_preprocessed" / self.name / "nnUNetPlans.json"
        return {
            "fingerprint": ["nnUNetv2_extract_fingerprint", "-d", NUMBER, "--verify_dataset_integrity", "-np", "2"],
            "plan": ["nnUNetv2_plan_experiment", "-d", NUMBER],
            "small_configuration": ["hws-nnunet", "small-configuration", str(plans), "--name", "3d_small"],
            "preprocess": ["nnUNetv2_preprocess", "-d", NUMBER, "-c", "3d_small", "-np", "2"],
        }

    def predict(self, images: Path, target: Path) -> list[str]:
        command = ["nnUNetv2_predict", "-i", str(images), "-o", str(target), "-d", NUMBER, "-f", "0", "-c", "3d_small"]
        return [*command, "-tr", TRAINER, "-device", "cpu", "-npp", "1", "-nps", "1"]

    def validation_dice(self) -> dict[str, float]:
        summary = json.loads((self.fold / "validation" / "summary.json").read_text())
        return {
            Path(case["prediction_file"]).name.split(".")[0]: mean([part["Dice"] for part in case["metrics"].values()])
            for case in summary["metric_per_case"]
        }


class ChainV1(Chain):
    """nnU-Net v1, with small plans."""

    folders = ("nnUNet_raw_data_base", "nnUNet_preprocessed", "RESULTS_FOLDER")
    name = f"Task{NUMBER}_FetalBrain"
    starts, ends, resume = "epoch:  {}", "This epoch took", "-c"
    plans = "nnUNetPlans_pretrained_small"

    def __init__(self, out: Path):
        super().__init__(out)
        self.env["CUDA_VISIBLE_DEVICES"] = ""
        self.images = out / "nnUNet_raw_data_base" / "nnUNet_raw_data" / self.name / "imagesTr"
        results = out / "RESULTS_FOLDER" / "nnUNet" / "3d_fullres" / self.name
        self.fold = results / f"{TRAINER}__{self.plans}" / "fold_0"
        self.train = ["nnUNet_train", "3d_fullres", TRAINER, self.name, "0", "-p", self.plans]

    def preparing(self) -> dict[str, list[str]]:
        from hws_nnunet.nnunetv1.small_plans import next_command

        folder = self.out / "nnUNet_preprocessed" / self.name
        plan = ["nnUNet_plan_and_preprocess", "-t", NUMBER, "--verify_dataset_integrity", "-no_pp"]
        return {
            "plan": [*plan, "-tl", "1", "-tf", "2"],
            "small_plans": ["hws-nnunet", "small-plans", str(folder / "nnUNetPlansv2.1_plans_3D.pkl")],
            "preprocess": [*next_command(folder / "small.pkl", NUMBER), "-tl", "1", "-tf", "2"],
        }

    def predict(self, images: Path, target: Path) -> list[str]:
        command = ["nnUNet_predict", "-i", str(images), "-o", str(target), "-t", NUMBER, "-f", "0", "-m", "3d_fullres"]
        command += ["-tr", TRAINER, "-p", self.plans]
        return [*command, "--num_threads_preprocessing", "1", "--num_threads_nifti_save", "1"]

    def validation_dice(self) -> dict[str, float]:
        summary = json.loads((self.fold / "validation_raw" / "summary.json").read_text())
        return {
            Path(case["reference"]).name.split(".")[0]: mean(
                [part["Dice"] for part in case.values() if isinstance(part, dict)][1:]  # the background comes first
            )
            for case in summary["results"]["all"]
        }


def mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--nnunet", choices=["v1", "v2"], default="v2")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    chain = {"v1": ChainV1, "v2": ChainV2}[arguments.nnunet](out)
    report: dict = {"nnunet": arguments.nnunet, "trainer": TRAINER, "cores": os.cpu_count(), "seconds": {}}

    def run(name: str, command: list[str]) -> str:
        print("$", " ".join(command), flush=True)
        begin = time.monotonic()
        done = subprocess.run(
            command, env=chain.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        report["seconds"][name] = round(time.monotonic() - begin, 1)
        (out / f"{name}.log").write_text(done.stdout)
        if done.returncode:
            sys.exit(f"{done.stdout[-3000:]}\n{name} ended with {done.returncode}; its output is in {out / name}.log")
        return done.stdout

    prepare = ["hws-nnunet", "prepare", "fetal", str(arguments.atlas), "--dataset-id", NUMBER]
    run("prepare", [*prepare, "--nnunet", arguments.nnunet])
    run("register", ["hws-nnunet", "register"])
    for name, command in chain.preparing().items():
        run(name, command)
    report["killed_after_epoch"] = kill_in_epoch(2, chain, out / "killed.log")
    resumed = run("train_resumed", [*chain.train, chain.resume])
    report["resumed"] = [line.split(": ", 1)[1] for line in resumed.splitlines() if "goes on after" in line]
    report["hardest"] = [line.split("Hardest cases: ")[1] for line in resumed.splitlines() if "Hardest" in line][-1]
    report["validation_dice"] = chain.validation_dice()
    report["mean_validation_dice"] = mean(list(report["validation_dice"].values()))
    images = out / "new_images"
    images.mkdir(exist_ok=True)
    for case in report["validation_dice"]:
        shutil.copy(chain.images / f"{case}_0000.nii.gz", images)
    run("predict", chain.predict(images, out / "predicted"))
    report["predicted_voxels"] = {}
    for file in sorted((out / "predicted").glob("*.nii.gz")):
        labels, counts = np.unique(np.asanyarray(nib.load(file).dataobj), return_counts=True)
        report["predicted_voxels"][file.name.split(".")[0]] = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    with atomic_write(out / "real_atlas.json") as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def kill_in_epoch(epoch: int, chain: Chain, log: Path) -> int:
    """Start a training, and end it without warning in the middle of an epoch; return how many epochs were complete."""
    print("$", " ".join(chain.train), f"   # killed in epoch {epoch}", flush=True)
    with open(log, "w") as file:
        env = {**chain.env, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(chain.train, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        while chain.starts.format(epoch) not in log.read_text():
            time.sleep(1)
            if process.poll() is not None:
                sys.exit(f"{log.read_text()[-3000:]}\ntraining ended by itself")
        time.sleep(10)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = [path.name for path in chain.fold.iterdir() if path.suffix == ".partial"]
    kept = sorted(path.name for path in chain.fold.iterdir() if path.suffix in (".pth", ".model"))
    print("checkpoints:", kept, "left over:", left)
    return log.read_text().count(chain.ends)


if __name__ == "__main__":
    main()
