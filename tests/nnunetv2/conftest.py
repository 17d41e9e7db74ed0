"""A small made-up data set, planned and preprocessed once by nnU-Net's own commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from hws_nnunet.nnunetv2.small_configuration import add_small_configuration

SMALL = "3d_small"


class Workspace:
    """nnU-Net's folders, an environment that names them, and its commands."""

    def __init__(self, root: Path):
        self.root = root
        self.folders = {name: root / name for name in ("raw", "preprocessed", "results")}
        for folder in self.folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            **os.environ,
            **{f"nnUNet_{name}": str(folder) for name, folder in self.folders.items()},
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "2",
            "nnUNet_extTrainer": str(Path(__file__).parent / "trainers"),
            "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"],
        }
        self.env.pop("HWS_CONFIG", None)

    def run(self, *command, check=True, timeout=900, **env):
        done = subprocess.run(
            [str(part) for part in command],
            env={**self.env, **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    def preprocessed(self, dataset):
        return next(self.folders["preprocessed"].glob(f"Dataset{dataset:03d}_*"))

    def fold(self, dataset, trainer, configuration=SMALL, fold=0):
        name = self.preprocessed(dataset).name
        return self.folders["results"] / name / f"{trainer}__nnUNetPlans__{configuration}" / f"fold_{fold}"


def ball(shape, centre, radius):
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in shape], indexing="ij"), axis=-1)
    return ((grid - np.asarray(centre)) ** 2).sum(-1) <= radius**2


def write_raw(folder: Path, cases: int, labels: dict, *, ignore: int | None = None, shape=(30, 28, 26)):
    """Two nested balls somewhere in noise: ``imagesTr``, ``labelsTr`` and ``dataset.json``."""
    rng = np.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for case in range(cases):
        centre = rng.uniform(11, 16, 3)
        outer, inner = ball(shape, centre, 8), ball(shape, centre + rng.uniform(-2, 2, 3), 4)
        label = outer.astype(np.uint8) + inner
        image = rng.normal(100, 10, shape) + 60 * outer + 60 * inner
        if ignore is not None:
            label[:, :5] = ignore
        name = f"case{case:02d}"
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), folder / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"{name}.nii.gz")
    description = {"channel_names": {"0": "T2w"}, "numTraining": cases, "file_ending": ".nii.gz", **labels}
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Data set 1: plain labels. Data set 2: regions and an ignore label. Planned once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "nnunet"
    with FileLock(f"{root}.lock"):
        space = Workspace(root)
        if not (root / "ready").exists():
            plan(space)
            (root / "ready").touch()
    return space


def plan(space: Workspace):
    raw = space.folders["raw"]
    write_raw(raw / "Dataset001_Balls", 8, {"labels": {"background": 0, "outer": 1, "inner": 2}})
    regions = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    write_raw(raw / "Dataset002_Regions", 6, {"labels": regions, "regions_class_order": [1, 2]}, ignore=3)
    space.run("nnUNetv2_plan_and_preprocess", "-d", 1, 2, "-npfp", 1, "--verify_dataset_integrity", "--no_pp")
    for dataset in (1, 2):
        plans_file = space.preprocessed(dataset) / "nnUNetPlans.json"
        options = {"features": (4, 8, 8), "coarser": 1.0}
        add_small_configuration(plans_file, name=SMALL, patch_size=(16, 16, 16), **options)
        add_small_configuration(plans_file, name="2d_small", base="2d", patch_size=(16, 16), **options)
        plans = json.loads(plans_file.read_text())
        plans["configurations"]["3d_stage_small"] = {"inherits_from": SMALL, "next_stage": "3d_cascade_small"}
        plans["configurations"]["3d_cascade_small"] = {"inherits_from": SMALL, "previous_stage": "3d_stage_small"}
        plans_file.write_text(json.dumps(plans))
    space.run("nnUNetv2_preprocess", "-d", 1, 2, "-c", SMALL, "2d_small", "-np", 1, 1)
