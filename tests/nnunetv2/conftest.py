"""A small made-up data set, planned and preprocessed once by nnU-Net's own commands."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from hws_nnunet.nnunetv2.small_configuration import add_small_configuration
from tests.workspaces import Workspace, nested_balls

SMALL = "3d_small"


class WorkspaceV2(Workspace):
    def __init__(self, root: Path):
        trainers = str(Path(__file__).parent / "trainers")
        names = ("raw", "preprocessed", "results")
        super().__init__(root, {f"nnUNet_{name}": name for name in names}, nnUNet_extTrainer=trainers)

    def preprocessed(self, dataset):
        return next(self.folders["nnUNet_preprocessed"].glob(f"Dataset{dataset:03d}_*"))

    def fold(self, dataset, trainer, configuration=SMALL, fold=0):
        name = self.preprocessed(dataset).name
        return self.folders["nnUNet_results"] / name / f"{trainer}__nnUNetPlans__{configuration}" / f"fold_{fold}"


def write_raw(folder: Path, cases: int, labels: dict, *, ignore: int | None = None):
    """Two nested balls in each image: ``imagesTr``, ``labelsTr`` and ``dataset.json``."""
    rng = np.random.default_rng(0)
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for case in range(cases):
        image, label = nested_balls(rng)
        if ignore is not None:
            label[:, :5] = ignore
        name = f"case{case:02d}"
        nib.save(nib.Nifti1Image(image, np.eye(4)), folder / "imagesTr" / f"{name}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"{name}.nii.gz")
    description = {"channel_names": {"0": "T2w"}, "numTraining": cases, "file_ending": ".nii.gz", **labels}
    (folder / "dataset.json").write_text(json.dumps(description))


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Data set 1: plain labels. Data set 2: regions and an ignore label. Planned once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "nnunet"
    with FileLock(f"{root}.lock"):
        space = WorkspaceV2(root)
        if not (root / "ready").exists():
            plan(space)
            (root / "ready").touch()
    return space


def plan(space: WorkspaceV2):
    raw = space.folders["nnUNet_raw"]
    write_raw(raw / "Dataset001_Balls", 8, {"labels": {"background": 0, "outer": 1, "inner": 2}})
    regions = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    write_raw(raw / "Dataset002_Regions", 6, {"labels": regions, "regions_class_order": [1, 2]}, ignore=3)
    for dataset in (1, 2):
        options = ("-npfp", 1, "--verify_dataset_integrity", "--no_pp")
        space.run("nnUNetv2_plan_and_preprocess", "-d", dataset, *options, real=dataset == 2)
    for dataset in (1, 2):
        plans_file = space.preprocessed(dataset) / "nnUNetPlans.json"
        options = {"features": (4, 8, 8), "coarser": 1.0}
        add_small_configuration(plans_file, name=SMALL, patch_size=(16, 16, 16), **options)
        add_small_configuration(plans_file, name="2d_small", base="2d", patch_size=(16, 16), **options)
        plans = json.loads(plans_file.read_text())
        plans["configurations"]["3d_four"] = {"inherits_from": SMALL, "batch_size": 4}
        plans["configurations"]["3d_stage_small"] = {"inherits_from": SMALL, "next_stage": "3d_cascade_small"}
        plans["configurations"]["3d_cascade_small"] = {"inherits_from": SMALL, "previous_stage": "3d_stage_small"}
        plans_file.write_text(json.dumps(plans))
    space.run("nnUNetv2_preprocess", "-d", 1, 2, "-c", SMALL, "2d_small", "-np", 1, 1)
