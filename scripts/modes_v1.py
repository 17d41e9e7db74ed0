"""The modes of nnU-Net v1."""

from __future__ import annotations

import json
from pathlib import Path

from modes_common import METHODS, STEPS, TRAINER, Mode, checked, new_case, predicted, started_by


def prepare(space: object) -> None:
    """Write, plan and preprocess the task, as the tests do."""
    from tests.nnunetv1.conftest import plan

    plan(space)


def modes(space: object, device: str) -> list[Mode]:
    """Return the modes of nnU-Net v1; it has no choice of a device."""
    small, cascade, planned = "nnUNetPlans_pretrained_small", "nnUNetPlans_pretrained_cascade", "nnUNetPlansv2.1"
    best_of = ("3d_lowres", "3d_fullres")

    def command(configuration: str, fold: object, plans: str, *more: object, trainer: str = TRAINER) -> tuple:
        return ("nnUNet_train", configuration, trainer, 1, fold, "-p", plans, *more)

    def folder_of(configuration: str, fold: object, plans: str, trainer: str) -> Path:
        return space.fold(1, trainer, configuration, plans, fold if fold == "all" else f"fold_{fold}")

    def validated(configuration: str, fold: object, plans: str, trainer: str = TRAINER) -> list[str]:
        summary = folder_of(configuration, fold, plans, trainer) / "validation_raw" / "summary.json"
        assert json.loads(summary.read_text())["results"]["all"], "no case in the validation's summary"
        return ["validation summary"]

    def trained(
        configuration: str, fold: object, plans: str, *, epochs: int = 1, batch: int = 2, trainer: str = TRAINER
    ) -> list[str]:
        folder = folder_of(configuration, fold, plans, trainer)
        seen = checked(folder, folder / "model_final_checkpoint.model", steps=epochs * STEPS, batch=batch)
        return seen + validated(configuration, fold, plans, trainer)

    def train(
        name: str,
        *given: object,
        env: dict | None = None,
        quick: bool = False,
        trainer: str = TRAINER,
        **of_check: object,
    ) -> Mode:
        check = lambda: trained(*given[:3], trainer=trainer, **of_check)  # noqa: E731
        return Mode(name, [command(*given, trainer=trainer)], check, env or {}, quick)

    def best() -> list[str]:
        made = [seen for fold in (0, 1) for name in best_of for seen in trained(name, fold, cascade)]
        folder = space.folders["RESULTS_FOLDER"] / "nnUNet" / "ensembles" / space.preprocessed(1).name
        assert list(folder.rglob("*.json")), "no ensemble was looked at"
        return ["an ensemble is evaluated", *dict.fromkeys(made)]

    new = new_case(space, space.folders["nnUNet_raw_data_base"] / "nnUNet_raw_data" / "Task001_Balls" / "imagesTr")
    predict = (
        "nnUNet_predict",
        "-i",
        new,
        "-o",
        space.root / "out",
        "-t",
        1,
        "-m",
        "3d_fullres",
        "-f",
        0,
        "-tr",
        TRAINER,
    )
    predict += ("-p", small, "--disable_tta", "--num_threads_preprocessing", 1, "--num_threads_nifti_save", 1)
    find = ("nnUNet_find_best_configuration", "-m", *best_of, "-t", 1, "-tr", TRAINER, "-pl", cascade, "-f", 0, 1)
    return [
        train("3d_fullres, --npz", "3d_fullres", 0, small, "--npz", quick=True),
        train(
            "-c with another epoch to train",
            "3d_fullres",
            0,
            small,
            "-c",
            epochs=2,
            env={"SHORT_EPOCHS": "2"},
            quick=True,
        ),
        Mode("-val", [command("3d_fullres", 0, small, "-val")], lambda: validated("3d_fullres", 0, small), quick=True),
        Mode("nnUNet_predict", [predict], lambda: predicted(space), quick=True),
        train("2d", "2d", 0, planned, batch=4),
        train("3d_lowres, fold all", "3d_lowres", "all", cascade),
        train("3d_cascade_fullres, fold all", "3d_cascade_fullres", "all", cascade, trainer="ShortCascade"),
        Mode(
            "nnUNet_find_best_configuration, two folds",
            [*(command(name, fold, cascade, "--npz") for fold in (0, 1) for name in best_of), find],
            best,
        ),
        *(
            Mode(
                f"start method {method}",
                [started_by(method, command("3d_fullres", 1, small))],
                lambda: trained("3d_fullres", 1, small),
            )
            for method in METHODS
        ),
    ]
