"""The command ``hws-nnunet small-plans``: a small network, to try things out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.commands.options import numbers


def small_plans(
    plans_file: Annotated[
        Path, typer.Argument(help="$nnUNet_preprocessed/TaskXXX_Name/nnUNetPlansv2.1_plans_3D.pkl, of nnU-Net v1")
    ],
    name: Annotated[str, typer.Option("--name", help="Of the new file, without '.pkl'.")] = "small",
    patch_size: Annotated[str, typer.Option("--patch-size", help="Voxels, one number an axis.")] = "32,32,32",
    features: Annotated[int, typer.Option("--features", min=1, help="Channels of the first stage.")] = 8,
    coarser: Annotated[float, typer.Option("--coarser", min=0.1, help="Factor of the voxel size.")] = 2.0,
    lowres: Annotated[bool, typer.Option("--lowres", help="Plan a cascade, with 3d_lowres.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of this name.")] = False,
) -> None:
    """Derive small plans from nnU-Net v1's, to try things out in minutes, on a CPU too.

    \b
    Example:
      nnUNet_plan_and_preprocess -t 501 -no_pp
      hws-nnunet small-plans $nnUNet_preprocessed/Task501_FetalBrain/nnUNetPlansv2.1_plans_3D.pkl
    """
    from hws_nnunet.nnunetv1.small_plans import identifier, make_small_plans, next_command

    out = make_small_plans(
        plans_file,
        name=name,
        patch_size=numbers(patch_size, "--patch-size"),
        features=features,
        coarser=coarser,
        lowres=lowres,
        overwrite=overwrite,
    )
    task = plans_file.resolve().parent.name[4:7]
    configuration = "3d_lowres" if lowres else "3d_fullres"
    print(f"wrote {out}")
    print(f"next: {shlex.join(next_command(out, task))}")
    print(f"then: nnUNet_train {configuration} HardnessWeightedTrainer {task} 0 -p {identifier(out)}")
