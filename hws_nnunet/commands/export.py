"""The command ``hws-nnunet export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    model_folder: Annotated[Path, typer.Argument(help="nnUNet_results/DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION")],
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace it.")] = False,
) -> None:
    """Copy a trained model so that people with nnU-Net alone predict with it.

    \b
    Example:
      hws-nnunet export $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__nnUNetPlans__3d_fullres model
      nnUNetv2_predict_from_modelfolder -i IN -o OUT -m model -f 0
    """
    from hws_nnunet.nnunetv2.export import export_model

    for checkpoint in export_model(model_folder, out, overwrite=overwrite):
        print(f"wrote {checkpoint}")
    print(f"next, anywhere: nnUNetv2_predict_from_modelfolder -i IN -o OUT -m {out} -f FOLD")
