"""The modes of nnU-Net v1."""

import json
import shutil

import pytest

from tests.conftest import finder_of_short_trainers
from tests.modes.mode import METHODS, STEPS, TRAINER, Mode, checked, new_case, predicted, run_all, started_by
from tests.nnunetv1.conftest import TRAINERS, WorkspaceV1, plan

pytestmark = pytest.mark.modes


def test_modes(tmp_path, results):
    pytest.importorskip("nnunet", reason="nnU-Net v1 is not installed")
    space = WorkspaceV1(tmp_path)
    shutil.copyfile(TRAINERS / "finder.py", finder_of_short_trainers())
    prepare(space)
    run_all(modes(space), space, "v1", results)


def prepare(space):
    """Write, plan and preprocess the task, as the tests do; its two folds hold out each case once."""
    from batchgenerators.utilities.file_and_folder_operations import save_pickle

    plan(space)
    folder = space.preprocessed(1)
    names = sorted(file.name.removesuffix(".nii.gz") for file in (folder / "gt_segmentations").glob("*.nii.gz"))
    halves = names[::2], names[1::2]
    folds = [{"train": train, "val": val} for train, val in (halves, halves[::-1])]
    save_pickle(folds, str(folder / "splits_final.pkl"))


def modes(space):
    """Return the modes of nnU-Net v1."""
    small, cascade, planned = "nnUNetPlans_pretrained_small", "nnUNetPlans_pretrained_cascade", "nnUNetPlansv2.1"
    best_of = ("3d_lowres", "3d_fullres")

    def command(configuration, fold, plans, *more, trainer=TRAINER):
        return ("nnUNet_train", configuration, trainer, 1, fold, "-p", plans, *more)

    def folder_of(configuration, fold, plans, trainer=TRAINER):
        return space.fold(1, trainer, configuration, plans, fold if fold == "all" else f"fold_{fold}")

    def validated(folder):
        summary = json.loads((folder / "validation_raw" / "summary.json").read_text())
        assert summary["results"]["all"], "no case in the validation's summary"
        return ["validation summary"]

    def trained(folder, *, epochs=1, batch=2):
        file = folder / "model_final_checkpoint.model"
        return checked(folder, file, steps=epochs * STEPS, batch=batch) + validated(folder)

    def train(name, *given, trainer=TRAINER, **of_check):
        """Return a mode of one command, which begins anew."""
        folder = folder_of(*given[:3], trainer)
        return Mode(name, [command(*given, trainer=trainer)], lambda: trained(folder, **of_check), fresh=folder)

    def probabilities():
        assert list((first / "validation_raw").glob("*.npz")), "no probabilities"
        return [*trained(first), "probabilities"]

    def best():
        folder = space.folders["RESULTS_FOLDER"] / "nnUNet" / "ensembles" / space.preprocessed(1).name
        assert list(folder.rglob("*.json")), "no ensemble was looked at"
        return ["an ensemble is evaluated"]

    new = new_case(space, space.folders["nnUNet_raw_data_base"] / "nnUNet_raw_data" / "Task001_Balls" / "imagesTr")
    predict = ("nnUNet_predict", "-i", new, "-o", space.root / "out", "-t", 1, "-m", "3d_fullres", "-f", 0)
    predict += (
        "-tr",
        TRAINER,
        "-p",
        small,
        "--disable_tta",
        "--num_threads_preprocessing",
        1,
        "--num_threads_nifti_save",
        1,
    )
    find = ("nnUNet_find_best_configuration", "-m", *best_of, "-t", 1, "-tr", TRAINER, "-pl", cascade, "-f", 0, 1)
    first, last = (folder_of("3d_fullres", fold, small) for fold in (0, 1))
    again, longer = command("3d_fullres", 0, small, "-c"), {"SHORT_EPOCHS": "2"}
    folds = [command(name, fold, cascade, "--npz") for fold in (0, 1) for name in best_of]
    return [
        Mode("3d_fullres, `--npz`", [command("3d_fullres", 0, small, "--npz")], probabilities, fresh=first, quick=True),
        Mode("`-c`, one more epoch to train", [again], lambda: trained(first, epochs=2), longer, quick=True),
        Mode("`-val`", [command("3d_fullres", 0, small, "-val")], lambda: validated(first), quick=True),
        Mode("`nnUNet_predict`", [predict], lambda: predicted(space), fresh=space.root / "out", quick=True),
        train("2d", "2d", 0, planned, batch=4),
        train("3d_lowres, fold `all`", "3d_lowres", "all", cascade),
        train("3d_cascade_fullres, fold `all`", "3d_cascade_fullres", "all", cascade, trainer="ShortCascade"),
        Mode("`nnUNet_find_best_configuration`, two folds", [*folds, find], best),
        *(
            Mode(
                f"start method {way}",
                [started_by(way, command("3d_fullres", 1, small))],
                lambda: trained(last),
                fresh=last,
            )
            for way in METHODS
        ),
    ]
