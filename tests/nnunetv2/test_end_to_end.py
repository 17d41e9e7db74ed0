"""The whole way through nnU-Net's own commands, on made-up data; killed where it hurts most."""

import json
import os

import nibabel as nib
import numpy as np
import pytest
import torch

from hws_nnunet.facts.versions import STATE
from tests.workspaces import DEVICE, devices_of, python_path

pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")

pytestmark = pytest.mark.slow
TRAINER = "ShortHardnessWeighted"
STEPS = 20  # of an epoch that a kill has to come into


def train_command(dataset=1, configuration="3d_small", fold=0, trainer=TRAINER, *more):
    return ["nnUNetv2_train", str(dataset), configuration, str(fold), "-tr", trainer, "-device", DEVICE, *more]


def state_of(file):
    checkpoint = torch.load(file, weights_only=False)
    return checkpoint["current_epoch"], checkpoint[STATE]


def test_train_killed_in_an_epoch_resume_validate_predict(workspace, tmp_path):
    fold = workspace.fold(1, TRAINER)
    steps = {"SHORT_EPOCHS": "3", "SHORT_STEPS": str(STEPS)}
    workspace.kill_when("Epoch 2", train_command(), **steps)
    latest = fold / "checkpoint_latest.pth"
    epoch, state = state_of(latest)
    assert 1 <= epoch <= 2
    assert state["version"] == STEPS * epoch, "one update a step"
    log = workspace.run(*train_command(1, "3d_small", 0, TRAINER, "--c"), **steps).stdout
    assert f"goes on after {STEPS * epoch} steps" in log
    assert "settings from defaults: ess: 0.8, beta: 100.0" in log
    for part in (
        "Sampling: ESS ",
        "of 6 cases (at least ",
        "Hardness: smallest ",
        "6 of 6 cases seen",
        "lag ",
        "Hardest cases: ",
    ):
        assert part in log
    epoch, state = state_of(fold / "checkpoint_final.pth")
    assert epoch == 3
    assert state["version"] == 3 * STEPS, "resume loses no step and repeats none"
    assert state["visits"].sum() == 2 * 3 * STEPS
    assert state["weighted"]
    assert devices_of(fold / "checkpoint_final.pth", "optimizer_state") == {DEVICE}
    assert json.loads((fold / "validation" / "summary.json").read_text())["metric_per_case"]
    images = workspace.folders["nnUNet_raw"] / "Dataset001_Balls" / "imagesTr"
    new = tmp_path / "new"
    new.mkdir()
    (new / "case00_0000.nii.gz").symlink_to(images / "case00_0000.nii.gz")
    predict = [
        "nnUNetv2_predict",
        "-i",
        new,
        "-o",
        tmp_path / "out",
        "-d",
        1,
        "-c",
        "3d_small",
        "-f",
        0,
        "-tr",
        TRAINER,
    ]
    workspace.run(*predict, "-device", DEVICE, "-npp", 1, "-nps", 1, "--disable_tta", real=True, **steps)
    predicted = np.asanyarray(nib.load(tmp_path / "out" / "case00.nii.gz").dataobj)
    assert predicted.any(), "the label map is empty"
    epochs = (fold / "hardness_epochs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in epochs] == ["epoch", "0", "1", "2"], "the record is cut to the checkpoint's"
    assert len((fold / "hardness.csv").read_text().splitlines()) == 7
    assert (fold / "hardness.png").stat().st_size > 20_000
    assert (fold / "hardness_structures.png").stat().st_size > 5_000
    predict_without_this_package(workspace, fold.parent, tmp_path, predicted)


def predict_without_this_package(workspace, model, tmp_path, expected):
    """Export the model, and predict where hws_nnunet cannot be imported and nnU-Net knows no trainer of ours."""
    trainers = workspace.env["nnUNet_extTrainer"]
    workspace.run("hws-nnunet", "export", model, tmp_path / "model", nnUNet_extTrainer=trainers)
    (tmp_path / "gone" / "hws_nnunet").mkdir(parents=True)
    (tmp_path / "gone" / "hws_nnunet" / "__init__.py").write_text("raise ImportError('not here')")
    command = ["nnUNetv2_predict_from_modelfolder", "-i", tmp_path / "new", "-o", tmp_path / "stock", "-f", 0]
    command += ["-m", tmp_path / "model", "-device", DEVICE, "-npp", 1, "-nps", 1, "--disable_tta"]
    workspace.run(*command, PYTHONPATH=python_path(tmp_path / "gone"), nnUNet_extTrainer=str(tmp_path))
    assert np.array_equal(np.asanyarray(nib.load(tmp_path / "stock" / "case00.nii.gz").dataobj), expected)
    again = workspace.run("hws-nnunet", "export", model, tmp_path / "model", check=False)
    assert again.returncode == 1
    assert "exists; --overwrite replaces it" in again.stdout
    nothing = workspace.run("hws-nnunet", "export", tmp_path, tmp_path / "other", check=False)
    assert "is not a trained nnU-Net v2 model: it has no plans.json" in nothing.stdout
    assert not (tmp_path / "other").exists()


def test_killed_in_the_middle_of_a_checkpoint(workspace):
    fold = workspace.fold(1, "ShortSlowToSave", fold=1)
    workspace.kill_when("HALF WRITTEN", train_command(1, "3d_small", 1, "ShortSlowToSave"), SHORT_EPOCHS="3")
    assert [path.name for path in fold.glob("*.partial")] == ["checkpoint_latest.pth.partial"]
    epoch, state = state_of(fold / "checkpoint_latest.pth")
    assert epoch == 1
    assert state["version"] == 10
    # the plain trainer goes on from there, in the same folder
    other = workspace.fold(1, TRAINER, fold=1)
    other.parent.mkdir(parents=True, exist_ok=True)
    os.rename(fold, other)
    log = workspace.run(*train_command(1, "3d_small", 1, TRAINER, "--c"), SHORT_EPOCHS="3").stdout
    assert "goes on after 10 steps" in log
    assert state_of(other / "checkpoint_final.pth")[1]["version"] == 30
    assert not list(other.glob("*.partial"))


@pytest.mark.parametrize(("dataset", "configuration"), [(2, "3d_small"), (1, "2d_small")])
def test_regions_with_ignore_label_and_2d(workspace, dataset, configuration):
    workspace.run(*train_command(dataset, configuration))
    fold = workspace.fold(dataset, TRAINER, configuration)
    _, state = state_of(fold / "checkpoint_final.pth")
    assert state["version"] == 20
    assert torch.isfinite(state["offset"][state["visits"] > 0]).all()


def test_cascade(workspace):
    for configuration in ("3d_stage_small", "3d_cascade_small"):
        workspace.run(*train_command(1, configuration, "all"), SHORT_EPOCHS="1")
        fold = workspace.fold(1, TRAINER, configuration, "all")
        assert state_of(fold / "checkpoint_final.pth")[1]["version"] == 10
