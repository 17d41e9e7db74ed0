"""The whole way through nnU-Net v1's own commands, on made-up data; no variable that has torch load pickles."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch

pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
from hws_nnunet.facts.versions import STATE
from tests.nnunetv1.conftest import SMALL
from tests.workspaces import DEVICE, devices_of

pytestmark = pytest.mark.slow
TRAINER = "ShortHardnessWeighted"
STEPS = 20  # of an epoch that a kill has to come into


def train_command(configuration="3d_fullres", trainer=TRAINER, fold="0", plans=SMALL):
    return ["nnUNet_train", configuration, trainer, "1", fold, *(["-p", plans] if plans else [])]


def state_of(file):
    checkpoint = torch.load(file, weights_only=True)
    return checkpoint["epoch"], checkpoint[STATE]


def predict(workspace, tmp_path, configuration, trainer, plans, *more, fold="0", real=False):
    images = workspace.folders["nnUNet_raw_data_base"] / "nnUNet_raw_data" / "Task001_Balls" / "imagesTr"
    new = tmp_path / "new"
    new.mkdir()
    (new / "case00_0000.nii.gz").symlink_to(images / "case00_0000.nii.gz")
    command = ["nnUNet_predict", "-i", new, "-o", tmp_path / "out", "-t", 1, "-m", configuration, "-f", fold]
    command += ["-tr", trainer, "--disable_tta", "--num_threads_preprocessing", 1, "--num_threads_nifti_save", 1]
    workspace.run(*command, *(["-p", plans] if plans else []), *more, real=real)
    return np.asanyarray(nib.load(tmp_path / "out" / "case00.nii.gz").dataobj)


def test_train_killed_in_an_epoch_resume_validate_predict(workspace, tmp_path):
    fold = workspace.fold(1, TRAINER)
    steps = {"SHORT_EPOCHS": "3", "SHORT_STEPS": str(STEPS)}
    workspace.kill_when("epoch:  2", train_command(), **steps)
    epoch, state = state_of(fold / "model_latest.model")
    assert 1 <= epoch <= 2
    assert state["version"] == STEPS * epoch, "one update a step"
    log = workspace.run(*train_command(), "-c", **steps).stdout
    assert f"goes on after {STEPS * epoch} steps" in log
    for part in ("Sampling: ESS ", "of 6 cases (at least ", "6 of 6 cases seen", "lag ", "Hardest cases: "):
        assert part in log
    epoch, state = state_of(fold / "model_final_checkpoint.model")
    assert epoch == 3
    assert state["version"] == 3 * STEPS, "resume loses no step and repeats none"
    assert state["visits"].sum() == 2 * 3 * STEPS
    assert state["weighted"]
    assert devices_of(fold / "model_final_checkpoint.model", "optimizer_state_dict") == {DEVICE}
    assert json.loads((fold / "validation_raw" / "summary.json").read_text())["results"]["all"]
    predicted = predict(workspace, tmp_path, "3d_fullres", TRAINER, SMALL, real=True)
    assert predicted.any(), "the label map is empty"
    epochs = (fold / "hardness_epochs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in epochs] == ["epoch", "0", "1", "2"], "the record is cut to the checkpoint's"
    assert (fold / "hardness.png").stat().st_size > 20_000
    assert (fold / "hardness_structures.png").stat().st_size > 5_000


def test_2d(workspace, tmp_path):
    workspace.run(*train_command("2d", plans=None))
    fold = workspace.fold(1, TRAINER, "2d", "nnUNetPlansv2.1")
    _, state = state_of(fold / "model_final_checkpoint.model")
    assert state["version"] == 20
    assert torch.isfinite(state["offset"][state["visits"] > 0]).all()
    predict(workspace, tmp_path, "2d", TRAINER, None)


def test_cascade(workspace, tmp_path):
    plans = "nnUNetPlans_pretrained_cascade"
    steps = {"SHORT_EPOCHS": "1"}
    log = workspace.run(*train_command("3d_lowres", fold="all", plans=plans), **steps).stdout
    assert "predicting segmentations for the next stage of the cascade" in log
    workspace.run(*train_command("3d_cascade_fullres", "ShortCascade", fold="all", plans=plans), **steps)
    fold = workspace.fold(1, "ShortCascade", "3d_cascade_fullres", plans, "all")
    assert state_of(fold / "model_final_checkpoint.model")[1]["version"] == 10
    predict(workspace, tmp_path, "3d_cascade_fullres", TRAINER, plans, "-ctr", "ShortCascade", fold="all")


def test_bad_settings_end_the_command_before_it_trains(workspace):
    file = workspace.root / "bad.yaml"
    file.write_text("betta: 3\ness: -1")
    done = workspace.run(*train_command(fold="2"), check=False, HWS_CONFIG=str(file))
    assert done.returncode != 0
    assert f"settings from {file}: 2 faults" in done.stdout
    assert not workspace.fold(1, TRAINER, fold="fold_2").exists(), "nothing is written"
