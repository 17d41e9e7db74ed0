"""Small made-up tasks, planned and preprocessed once by nnU-Net v1's own commands."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from hws_nnunet.nnunetv1.small_plans import identifier, make_small_plans, next_command
from tests.conftest import finder_of_short_trainers
from tests.workspaces import DEVICE, Workspace, nested_balls, python_path

SMALL = "nnUNetPlans_pretrained_small"
TRAINERS = Path(__file__).parent / "trainers"


class WorkspaceV1(Workspace):
    def __init__(self, root: Path):
        folders = {"nnUNet_raw_data_base": "raw", "nnUNet_preprocessed": "preprocessed", "RESULTS_FOLDER": "results"}
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if DEVICE == "cpu" else {}  # nnU-Net v1 takes any GPU that it sees
        super().__init__(root, folders, PYTHONPATH=python_path(TRAINERS, Path(__file__).parents[2]), **hidden)

    def preprocessed(self, task):
        return next(self.folders["nnUNet_preprocessed"].glob(f"Task{task:03d}_*"))

    def fold(self, task, trainer, configuration="3d_fullres", plans=SMALL, fold="fold_0"):
        results = self.folders["RESULTS_FOLDER"] / "nnUNet" / configuration
        return results / self.preprocessed(task).name / f"{trainer}__{plans}" / fold


def write_raw(folder: Path, cases: int):
    """Two nested balls in each image."""
    rng = np.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    names = [f"case{i:02d}" for i in range(cases)]
    for name in names:
        image, label = nested_balls(rng)
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"{name}.nii.gz")
    description = {
        "name": "Balls",
        "description": "made up",
        "tensorImageSize": "4D",
        "modality": {"0": "T2w"},
        "labels": {"0": "background", "1": "outer", "2": "inner"},
        "numTraining": cases,
        "numTest": 0,
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Task 1, planned once for all test processes: 2D as nnU-Net plans it, small plans, and those of a cascade."""
    pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "nnunetv1"
    with FileLock(f"{root}.lock"):
        space = WorkspaceV1(root)
        if not (root / "ready").exists():
            plan(space)
            (root / "ready").touch()
        shutil.copyfile(TRAINERS / "finder.py", finder_of_short_trainers())
    return space


def plan(space: WorkspaceV1):
    write_raw(space.folders["nnUNet_raw_data_base"] / "nnUNet_raw_data" / "Task001_Balls", 8)
    threads = ("-tl", 1, "-tf", 1)
    space.run("nnUNet_plan_and_preprocess", "-t", 1, "--verify_dataset_integrity", "-no_pp", *threads, real=True)
    plans_file = space.preprocessed(1) / "nnUNetPlansv2.1_plans_3D.pkl"
    options = {"features": 4, "coarser": 1.0, "patch_size": (16, 16, 16)}
    for name, lowres in (("small", False), ("cascade", True)):
        made = make_small_plans(plans_file, name=name, lowres=lowres, **options)
        assert identifier(made) == f"nnUNetPlans_pretrained_{name}"
        space.run(*next_command(made, 1), *threads)
    small_2d(space)


def small_2d(space: WorkspaceV1):
    """nnU-Net plans batches of hundreds of so small slices."""
    from batchgenerators.utilities.file_and_folder_operations import load_pickle, save_pickle

    space.run("nnUNet_plan_and_preprocess", "-t", 1, "-pl3d", "None", "-tl", 1, "-tf", 1)
    file = str(space.preprocessed(1) / "nnUNetPlansv2.1_plans_2D.pkl")
    plans = load_pickle(file)
    plans["plans_per_stage"][0]["batch_size"] = 4
    plans["base_num_features"] = 4
    save_pickle(plans, file)
