"""The modes of nnU-Net v2."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from hws_nnunet.nnunetv2.small_configuration import add_small_configuration
from hws_nnunet.registration import V2, needs_registering
from tests.modes.mode import ALL, METHODS, STEPS, TRAINER, Mode, checked, new_case, predicted, run_all, started_by
from tests.nnunetv2.conftest import WorkspaceV2, write_raw
from tests.workspaces import DEVICE, python_path

pytestmark = pytest.mark.modes

RESIDUAL = "nnUNetResEncUNetMPlans"
DATASETS = ("Plain", "Both", "Regions", "Ignore", "Flat")


@pytest.fixture
def space(tmp_path):
    """nnU-Net v2's folders; it finds the short trainers."""
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed")
    made, finder = WorkspaceV2(tmp_path), None
    made.env["PYTHONPATH"] = python_path(made.env["nnUNet_extTrainer"], Path(__file__).parents[2])
    if needs_registering():
        finder = V2.trainer_folder() / "hws_nnunet_short_trainers_of_modes.py"
        finder.write_text("from short_trainers import *\n")
    yield made
    if finder:
        finder.unlink()


def test_modes(space, results):
    prepare(space)
    run_all(modes(space), space, "v2", results)


def prepare(space):
    """Prepare the data sets: 1 plain, 2 with regions and an ignore label, 3 regions, 4 the label, 5 flat images.

    For the quick modes the first alone, in 3D.
    """
    raw = space.folders["nnUNet_raw"]
    plain = {"labels": {"background": 0, "outer": 1, "inner": 2}}
    write_raw(raw / "Dataset001_Plain", 5, plain)
    datasets = [1, 2, 3, 4, 5] if ALL else [1]
    if ALL:
        regions = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
        write_raw(raw / "Dataset002_Both", 5, {**regions, "labels": regions["labels"] | {"ignore": 3}}, ignore=3)
        write_raw(raw / "Dataset003_Regions", 5, regions)
        write_raw(raw / "Dataset004_Ignore", 5, {"labels": plain["labels"] | {"ignore": 3}}, ignore=3)
        write_raw(raw / "Dataset005_Flat", 5, plain)
        flatten(raw / "Dataset005_Flat")
    space.run("nnUNetv2_plan_and_preprocess", "-d", *datasets, "-npfp", 1, "--no_pp")
    options = {"features": (4, 8, 8), "coarser": 1.0}
    for dataset in datasets:
        plans = space.preprocessed(dataset) / "nnUNetPlans.json"
        patch = (4 if dataset == 5 else 16, 16, 16)
        add_small_configuration(plans, name="3d_small", patch_size=patch, **options)
    space.run("nnUNetv2_preprocess", "-d", *datasets, "-c", "3d_small", "-np", 1)
    if not ALL:
        return
    plans = space.preprocessed(1) / "nnUNetPlans.json"
    add_small_configuration(plans, name="2d_small", base="2d", patch_size=(16, 16), **options)
    add_small_configuration(plans, name="3d_lowres", patch_size=(16, 16, 16), features=(4, 8, 8), coarser=2.0)
    edited = json.loads(plans.read_text())
    configurations = edited["configurations"]
    configurations["3d_batch_dice"] = {"inherits_from": "3d_small", "batch_dice": True}
    configurations["3d_sample_dice"] = {"inherits_from": "3d_small", "batch_dice": False}
    configurations["3d_lowres"]["next_stage"] = "3d_cascade_fullres"
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_small", "previous_stage": "3d_lowres"}
    plans.write_text(json.dumps(edited))
    space.run("nnUNetv2_preprocess", "-d", 1, "-c", "2d_small", "3d_lowres", "-np", 1, 1)
    space.run("nnUNetv2_plan_experiment", "-d", 1, "-pl", "nnUNetPlannerResEncM")
    plans = space.preprocessed(1) / f"{RESIDUAL}.json"
    add_small_configuration(plans, name="3d_small", patch_size=(16, 16, 16), **options)
    space.run("nnUNetv2_preprocess", "-d", 1, "-plans_name", RESIDUAL, "-c", "3d_small", "-np", 1)


def flatten(folder):
    """Leave one slice in four of a data set's images and labels."""
    for file in folder.glob("*Tr/*.nii.gz"):
        voxels = np.asanyarray(nib.load(file).dataobj)[..., ::4]
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 4.0, 1.0])), file)


def modes(space):
    """Return the modes of nnU-Net v2, in the order in which some need what others left."""
    results, small = space.folders["nnUNet_results"], "3d_small"

    def folder_of(dataset, configuration, fold, plans="nnUNetPlans", trainer=TRAINER):
        data = results / f"Dataset{dataset:03d}_{DATASETS[dataset - 1]}"
        return data / f"{trainer}__{plans}__{configuration}" / f"fold_{fold}"

    def command(dataset, configuration, fold, *more, trainer=TRAINER):
        return ("nnUNetv2_train", dataset, configuration, fold, "-tr", trainer, "-device", DEVICE, *more)

    def validated(folder):
        summary = json.loads((folder / "validation" / "summary.json").read_text())
        assert summary["metric_per_case"], "no case in the validation's summary"
        return ["validation summary"]

    def trained(folder, *, epochs=1):
        seen = checked(folder, folder / "checkpoint_final.pth", steps=epochs * STEPS)
        return seen if folder.name == "fold_all" else seen + validated(folder)

    def train(name, *given, env=None, folder=None, **more):
        """Return a mode of one command, which begins anew."""
        folder = folder or folder_of(*given[:3])
        return Mode(name, [command(*given)], lambda: trained(folder), env or {}, folder, **more)

    def probabilities():
        assert list((first / "validation").glob("*.npz")), "no probabilities"
        return [*trained(first), "probabilities"]

    def next_stage():
        stage = lowres.parent / "predicted_next_stage" / "3d_cascade_fullres"
        assert len(list(stage.iterdir())) == 5, "not every case is predicted for the next stage"
        return [*trained(lowres), "5 cases predicted for the next stage"]

    def unsaved():
        return [*checked(second, None, steps=STEPS), *validated(second)]

    def compiled(folder):
        log = next(folder.glob("training_log*")).read_text()
        told = "Using torch.compile" in log
        assert told or DEVICE == "cpu", "the network was not compiled"
        return [*trained(folder), "network and loss compiled" if told else "nnU-Net compiles nothing on a CPU"]

    def best():
        file = first.parents[1] / "inference_information.json"
        assert json.loads(file.read_text())["best_model_or_ensemble"], "nothing was chosen"
        return ["a model or ensemble is chosen"]

    first, second, last = (folder_of(1, small, fold) for fold in (0, 2, 4))
    lowres = folder_of(1, "3d_lowres", "all")
    forced = folder_of(1, small, 4, trainer="ShortCompiled")
    on = {"nnUNet_compile": "true"}
    new = new_case(space, space.folders["nnUNet_raw"] / "Dataset001_Plain" / "imagesTr")
    predict = ("nnUNetv2_predict", "-i", new, "-o", space.root / "out", "-d", 1, "-c", small, "-f", 0, "-tr", TRAINER)
    predict += ("-device", DEVICE, "-npp", 1, "-nps", 1, "--disable_tta")
    find = ("nnUNetv2_find_best_configuration", 1, "-c", small, "2d_small", "-tr", TRAINER, "-f", 0, 1, "-np", 1)
    again = command(1, small, 0, "--c")
    longer = {"SHORT_EPOCHS": "2"}
    return [
        Mode("3D, `--npz`", [command(1, small, 0, "--npz")], probabilities, fresh=first, quick=True),
        Mode("`--c` after the end", [again], lambda: trained(first)),
        Mode("`--c`, one more epoch to train", [again], lambda: trained(first, epochs=2), longer, quick=True),
        Mode(
            "`--val`", [command(1, small, 0, "--val")], lambda: validated(first), fresh=first / "validation", quick=True
        ),
        Mode("`--val --val_best`", [command(1, small, 0, "--val", "--val_best", "--npz")], lambda: validated(first)),
        Mode("`nnUNetv2_predict`", [predict], lambda: predicted(space), fresh=space.root / "out", quick=True),
        train("2D", 1, "2d_small", 0, "--npz"),
        Mode("3d_lowres, fold `all`", [command(1, "3d_lowres", "all")], next_stage, fresh=lowres),
        train("3d_cascade_fullres, fold `all`", 1, "3d_cascade_fullres", "all"),
        train("regions", 3, small, 0),
        train("ignore label", 4, small, 0),
        train("regions and ignore label", 2, small, 0),
        train("batch Dice on", 1, "3d_batch_dice", 0),
        train("batch Dice off", 1, "3d_sample_dice", 0),
        train("anisotropic data, dummy 2D augmentation", 5, small, 0),
        train("`-pretrained_weights`", 1, small, 3, "-pretrained_weights", first / "checkpoint_final.pth"),
        Mode("`--disable_checkpointing`", [command(1, small, 2, "--disable_checkpointing")], unsaved, fresh=second),
        train(f"`-p {RESIDUAL}`", 1, small, 0, "-p", RESIDUAL, folder=folder_of(1, small, 0, RESIDUAL)),
        *(train(f"nnUNet_n_proc_DA={n}", 1, small, 4, env={"nnUNet_n_proc_DA": str(n)}) for n in (0, 1, 8)),
        Mode("nnUNet_compile on", [command(1, small, 4)], lambda: compiled(last), on, last),
        Mode(
            "torch.compile, by a trainer that asks for it on every device",
            [command(1, small, 4, trainer="ShortCompiled")],
            lambda: compiled(forced),
            fresh=forced,
        ),
        Mode(
            "`nnUNetv2_find_best_configuration`, two folds",
            [command(1, small, 1, "--npz"), command(1, "2d_small", 1, "--npz"), find],
            best,
        ),
        *(
            Mode(f"start method {way}", [started_by(way, command(1, small, 4))], lambda: trained(last), fresh=last)
            for way in METHODS
        ),
    ]
