"""The command ``hws-nnunet small-configuration``: a small network, to try things out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.commands.options import numbers


def small_configuration(
    plans_file: Annotated[Path, typer.Argument(help="$nnUNet_preprocessed/DatasetXXX_Name/nnUNetPlans.json")],
    name: Annotated[str, typer.Option("--name", help="Of the new configuration.")] = "3d_small",
    base: Annotated[str, typer.Option("--base", help="Configuration to derive it from.")] = "3d_fullres",
    patch_size: Annotated[str, typer.Option("--patch-size", help="Voxels, one number an axis.")] = "32,32,32",
    features: Annotated[str, typer.Option("--features", help="Channels of each stage.")] = "8,16,32",
    coarser: Annotated[float, typer.Option("--coarser", min=0.1, help="Factor of the voxel size.")] = 2.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a configuration of this name.")] = False,
) -> None:
    """Add a small configuration to nnU-Net's plans, to try things out in minutes, on a CPU too.

    \b
    Example:
      hws-nnunet small-configuration $nnUNet_preprocessed/Dataset501_FetalBrain/nnUNetPlans.json
      nnUNetv2_preprocess -d 501 -c 3d_small
    """
    from hws_nnunet.nnunetv2.small_configuration import add_small_configuration, dataset_number

    add_small_configuration(
        plans_file,
        name=name,
        base=base,
        patch_size=numbers(patch_size, "--patch-size"),
        features=numbers(features, "--features"),
        coarser=coarser,
        overwrite=overwrite,
    )
    print(f"added {name} to {plans_file}")
    plans = "" if plans_file.stem == "nnUNetPlans" else f" -plans_name {plans_file.stem}"
    print(f"next: nnUNetv2_preprocess -d {dataset_number(plans_file)}{plans} -c {name}")
