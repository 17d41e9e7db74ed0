"""A trained model for people who have nnU-Net alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from hws_nnunet.facts.versions import DATASET, STATE, V2
from hws_nnunet.files import atomic_folder, check_room, needed_folder
from hws_nnunet.messages import some_of
from hws_nnunet.nnunetv2.host import find_trainer

_NEEDED = ("plans.json", DATASET)
_CHECKPOINTS = "fold_*/checkpoint_*.pth"
_WELCOME = ("dataset_fingerprint.json", "postprocessing.pkl", "postprocessing.json")


def export_model(model_folder: Path, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Copy a model folder so that stock nnU-Net v2 predicts with it: its checkpoints name nnU-Net's own trainer.

    Weights, plans and all that prediction uses stay as they are; the sampler's state is left out.

    Args:
        model_folder: ``nnUNet_results/DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION``; is not changed.
        out: the folder to make.
        overwrite: replace an earlier export at ``out``.

    Returns:
        The checkpoints written.

    Raises:
        FileNotFoundError: no model folder, or one without plans or checkpoints.
        FileExistsError: ``out`` exists, and ``overwrite`` is off or it is not an export.
        ValueError: a checkpoint is none, or its trainer builds on none of nnU-Net's own.
    """
    V2.check_version()
    model_folder, out = Path(model_folder), Path(out)
    needed_folder(model_folder, "the model folder")
    missing = [name for name in _NEEDED if not (model_folder / name).is_file()]
    checkpoints = sorted(model_folder.glob(_CHECKPOINTS))
    if missing or not checkpoints:
        lacks = ", ".join([*missing, *([] if checkpoints else [_CHECKPOINTS])])
        raise FileNotFoundError(f"{model_folder} is not a trained nnU-Net v2 model: it has no {lacks}")
    _check_target(out, model_folder, overwrite=overwrite)
    with atomic_folder(out) as partial:
        for name in (*_NEEDED, *_WELCOME):
            if (model_folder / name).is_file():
                shutil.copyfile(model_folder / name, partial / name)
        for file in checkpoints:
            # The host's own format, which holds more than plain tensors: load what you trust, as nnU-Net does itself.
            try:
                checkpoint = torch.load(file, map_location="cpu", weights_only=False)
                trainer = checkpoint["trainer_name"]
            except Exception as error:  # torch, pickle and zip each raise their own
                told = f"{type(error).__name__}: {error}"
                raise ValueError(
                    f"{file} is not a checkpoint of nnU-Net v2, or truncated or damaged: {told}"
                ) from error
            checkpoint = {key: value for key, value in checkpoint.items() if key != STATE}
            checkpoint["trainer_name"] = stock_name(trainer)
            target = partial / file.relative_to(model_folder)
            target.parent.mkdir(exist_ok=True)
            torch.save(checkpoint, target)
    return [out / file.relative_to(model_folder) for file in checkpoints]


def _check_target(out: Path, model_folder: Path, *, overwrite: bool) -> None:
    check_room(out, folder=True)
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; --overwrite replaces it")
    exported = {out / name for name in (*_NEEDED, *_WELCOME)} | set(out.glob(_CHECKPOINTS))
    foreign = [file for file in sorted(out.rglob("*")) if not file.is_dir() and file not in exported]
    if foreign or out.samefile(model_folder):
        held = some_of(file.relative_to(out) for file in foreign) or "the model itself"
        raise FileExistsError(f"{out} is not an export, as it holds {held}: --overwrite replaces exports only")


def stock_name(trainer_name: str) -> str:
    """Return the name of nnU-Net's own trainer that one builds on, its own name where it is nnU-Net's.

    Raises:
        ValueError: there is none.
    """
    for cls in find_trainer(trainer_name).__mro__:
        if cls.__module__.split(".")[0] == "nnunetv2":
            return cls.__name__
    raise ValueError(f"{trainer_name} builds on none of nnU-Net's own trainers")
