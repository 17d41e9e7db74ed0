"""The modes of nnU-Net v2."""

from __future__ import annotations

import json
from pathlib import Path

from modes_common import METHODS, STEPS, TRAINER, Mode, checked, new_case, predicted, started_by


def prepare(space: object) -> None:
    """Prepare the data sets: 1 plain, 2 with regions and an ignore label, 3 regions, 4 an ignore label, 5 flat images."""
    import nibabel as nib
    import numpy as np

    from hws_nnunet.nnunetv2.small_configuration import add_small_configuration
    from tests.nnunetv2.conftest import write_raw

    raw = space.folders["nnUNet_raw"]
    plain = {"labels": {"background": 0, "outer": 1, "inner": 2}}
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    ignored = {"ignore": 3}
    write_raw(raw / "Dataset001_Plain", 5, plain)
    write_raw(raw / "Dataset002_Both", 5, {**regions, "labels": regions["labels"] | ignored}, ignore=3)
    write_raw(raw / "Dataset003_Regions", 5, regions)
    write_raw(raw / "Dataset004_Ignore", 5, {"labels": plain["labels"] | ignored}, ignore=3)
    write_raw(raw / "Dataset005_Flat", 5, plain)
    for file in (raw / "Dataset005_Flat").glob("*Tr/*.nii.gz"):
        voxels = np.asanyarray(nib.load(file).dataobj)[..., ::4]
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 4.0, 1.0])), file)
    space.run("nnUNetv2_plan_and_preprocess", "-d", 1, 2, 3, 4, 5, "-npfp", 1, "--no_pp")
    space.run("nnUNetv2_plan_experiment", "-d", 1, "-pl", "nnUNetPlannerResEncM")
    options = {"features": (4, 8, 8), "coarser": 1.0}
    for dataset in range(1, 6):
        patch = (4 if dataset == 5 else 16, 16, 16)
        plans = space.preprocessed(dataset) / "nnUNetPlans.json"
        add_small_configuration(plans, name="3d_small", patch_size=patch, **options)
    first = space.preprocessed(1)
    plans = first / "nnUNetPlans.json"
    add_small_configuration(plans, name="2d_small", base="2d", patch_size=(16, 16), **options)
    add_small_configuration(plans, name="3d_lowres", patch_size=(16, 16, 16), features=(4, 8, 8), coarser=2.0)
    edited = json.loads(plans.read_text())
    configurations = edited["configurations"]
    configurations["3d_batch_dice"] = {"inherits_from": "3d_small", "batch_dice": True}
    configurations["3d_sample_dice"] = {"inherits_from": "3d_small", "batch_dice": False}
    configurations["3d_lowres"]["next_stage"] = "3d_cascade_fullres"
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_small", "previous_stage": "3d_lowres"}
    plans.write_text(json.dumps(edited))
    residual = "nnUNetResEncUNetMPlans"
    add_small_configuration(first / f"{residual}.json", name="3d_small", patch_size=(16, 16, 16), **options)
    space.run("nnUNetv2_preprocess", "-d", 1, 2, 3, 4, 5, "-c", "3d_small", "-np", 1)
    space.run("nnUNetv2_preprocess", "-d", 1, "-c", "2d_small", "3d_lowres", "-np", 1, 1)
    space.run("nnUNetv2_preprocess", "-d", 1, "-plans_name", residual, "-c", "3d_small", "-np", 1)


def modes(space: object, device: str) -> list[Mode]:
    """Return the modes of nnU-Net v2, in the order in which some need what others left."""
    results, small = space.folders["nnUNet_results"], "3d_small"

    def model(dataset: int, configuration: str, plans: str) -> Path:
        return results / space.preprocessed(dataset).name / f"{TRAINER}__{plans}__{configuration}"

    def command(dataset: int, configuration: str, fold: object, *more: object) -> tuple:
        return ("nnUNetv2_train", dataset, configuration, fold, "-tr", TRAINER, "-device", device, *more)

    def validated(dataset: int, configuration: str, fold: object, plans: str = "nnUNetPlans") -> list[str]:
        folder = model(dataset, configuration, plans) / f"fold_{fold}" / "validation"
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["metric_per_case"], "no case in the validation's summary"
        return ["validation summary"]

    def trained(
        dataset: int, configuration: str = small, fold: object = 0, *, epochs: int = 1, plans: str = "nnUNetPlans"
    ) -> list[str]:
        folder = model(dataset, configuration, plans) / f"fold_{fold}"
        seen = checked(folder, folder / "checkpoint_final.pth", steps=epochs * STEPS)
        return seen + ([] if fold == "all" else validated(dataset, configuration, fold, plans))

    def train(name: str, *given: object, env: dict | None = None, quick: bool = False, **of_check: object) -> Mode:
        return Mode(name, [command(*given)], lambda: trained(*given[:3], **of_check), env or {}, quick)

    def probabilities() -> list[str]:
        assert list((model(1, small, "nnUNetPlans") / "fold_0" / "validation").glob("*.npz")), "no probabilities"
        return [*trained(1), "probabilities"]

    def next_stage() -> list[str]:
        stage = model(1, "3d_lowres", "nnUNetPlans") / "predicted_next_stage" / "3d_cascade_fullres"
        assert len(list(stage.iterdir())) == 5, "not every case is predicted for the next stage"
        return [*trained(1, "3d_lowres", "all"), "5 cases predicted for the next stage"]

    def unsaved() -> list[str]:
        folder = model(1, small, "nnUNetPlans") / "fold_2"
        return [*checked(folder, None, steps=STEPS), *validated(1, small, 2)]

    def best() -> list[str]:
        file = results / space.preprocessed(1).name / "inference_information.json"
        assert json.loads(file.read_text())["best_model_or_ensemble"], "nothing was chosen"
        return ["a model or ensemble is chosen", *trained(1, small, 1), *trained(1, "2d_small", 1)]

    new = new_case(space, space.folders["nnUNet_raw"] / "Dataset001_Plain" / "imagesTr")
    predict = ("nnUNetv2_predict", "-i", new, "-o", space.root / "out", "-d", 1, "-c", small, "-f", 0, "-tr", TRAINER)
    predict += ("-device", device, "-npp", 1, "-nps", 1, "--disable_tta")
    final = model(1, small, "nnUNetPlans") / "fold_0" / "checkpoint_final.pth"
    find = ("nnUNetv2_find_best_configuration", 1, "-c", small, "2d_small", "-tr", TRAINER, "-f", 0, 1, "-np", 1)
    residual = "nnUNetResEncUNetMPlans"
    compiled = {"nnUNet_compile": "true"}
    return [
        Mode("3D, --npz", [command(1, small, 0, "--npz")], probabilities, quick=True),
        train("--c after the end", 1, small, 0, "--c"),
        train("--c with another epoch to train", 1, small, 0, "--c", epochs=2, env={"SHORT_EPOCHS": "2"}, quick=True),
        Mode("--val", [command(1, small, 0, "--val")], lambda: validated(1, small, 0), quick=True),
        Mode("--val --val_best", [command(1, small, 0, "--val", "--val_best")], lambda: validated(1, small, 0)),
        Mode("nnUNetv2_predict", [predict], lambda: predicted(space), quick=True),
        train("2D, --npz", 1, "2d_small", 0, "--npz"),
        Mode("3d_lowres, fold all", [command(1, "3d_lowres", "all")], next_stage),
        train("3d_cascade_fullres, fold all", 1, "3d_cascade_fullres", "all"),
        train("regions", 3, small, 0),
        train("ignore label", 4, small, 0),
        train("regions and ignore label", 2, small, 0),
        train("batch Dice on", 1, "3d_batch_dice", 0),
        train("batch Dice off", 1, "3d_sample_dice", 0),
        train("anisotropic data, dummy 2D augmentation", 5, small, 0),
        train("-pretrained_weights", 1, small, 3, "-pretrained_weights", final),
        Mode("--disable_checkpointing", [command(1, small, 2, "--disable_checkpointing")], unsaved),
        train(f"-p {residual}", 1, small, 0, "-p", residual, plans=residual),
        *(train(f"nnUNet_n_proc_DA={count}", 1, small, 4, env={"nnUNet_n_proc_DA": str(count)}) for count in (0, 1, 8)),
        train("nnUNet_compile=true", 1, small, 4, env=compiled),
        Mode(
            "nnUNetv2_find_best_configuration, two folds",
            [command(1, small, 1, "--npz"), command(1, "2d_small", 1, "--npz"), find],
            best,
        ),
        *(
            Mode(
                f"start method {method}",
                [started_by(method, command(1, small, 4))],
                lambda: trained(1, small, 4),
            )
            for method in METHODS
        ),
    ]
