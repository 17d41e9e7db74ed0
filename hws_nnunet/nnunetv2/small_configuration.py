"""A small network and patch beside nnU-Net's planned ones: for trying things out in minutes, on a CPU too."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hws_nnunet.files import atomic_write

_OLD = "UNet_class_name"  # in a configuration of nnU-Net 2.0 to 2.3, which has no "architecture"


def add_small_configuration(
    plans_file: Path,
    *,
    name: str,
    base: str = "3d_fullres",
    patch_size: Sequence[int] = (32, 32, 32),
    features: Sequence[int] = (8, 16, 32),
    coarser: float = 2.0,
    overwrite: bool = False,
) -> Path:
    """Add a configuration to an nnU-Net v2 plans file, derived from one that is there; leave the others alone.

    Args:
        plans_file: ``nnUNet_preprocessed/DatasetXXX_Name/nnUNetPlans.json``.
        name: of the new configuration. Its preprocessed data get a folder of their own.
        base: the configuration to start from, ``3d_fullres`` or ``2d``.
        patch_size: voxels along each axis; each divisible by ``2 ** (len(features) - 1)``.
        features: channels of each stage of the network, at least 3 stages.
        coarser: voxels become this many times larger along each axis that the patch has.
        overwrite: replace a configuration of this name.

    Returns:
        The plans file.

    Raises:
        FileNotFoundError: no such plans file.
        ValueError: plans outside a data set's folder, an unknown base, one whose network nnU-Net cannot tell, a name
            that is taken, or a patch that does not fit the network.
    """
    plans_file = Path(plans_file)
    if not plans_file.is_file():
        raise FileNotFoundError(f"no plans at {plans_file}: run nnUNetv2_plan_experiment first")
    try:
        plans = json.loads(plans_file.read_text(encoding="utf-8"))
        configurations = plans["configurations"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{plans_file} is not a plans file of nnU-Net v2: {type(error).__name__}: {error}") from error
    number = dataset_number(plans_file)
    planned = configurations.get(base)
    if planned is None or not planned.keys() & {"architecture", _OLD}:
        raise ValueError(
            f"base {base!r} is not a complete configuration of {plans_file}; there are {list(configurations)}"
        )
    try:
        architecture = _small_architecture(_architecture(planned), features, len(planned["patch_size"]))
    except (KeyError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"{plans_file} was written by another version of nnU-Net, and the installed one cannot tell the network "
            f"of its {base!r}: {type(error).__name__}: {error}; plan again: nnUNetv2_plan_experiment -d {number}"
        ) from error
    needed = {"plans_name": plans, "spacing": planned, "median_image_size_in_voxels": planned}
    if missing := [key for key, entries in needed.items() if key not in entries]:
        raise ValueError(f"{plans_file} lacks {', '.join(missing)}: plan again: nnUNetv2_plan_experiment -d {number}")
    if name in configurations and not overwrite:
        raise ValueError(f"configuration {name!r} exists in {plans_file}")
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"a configuration's name may hold letters, digits and '_', given: {name!r}")
    if len(features) < 3:  # nnU-Net's deep supervision leaves out the coarsest output: with one output nothing is left
        raise ValueError(f"features {list(features)} given, expected those of at least 3 stages")
    dimensions = len(planned["patch_size"])
    step = 2 ** (len(features) - 1)
    if len(patch_size) != dimensions or any(size <= 0 or size % step for size in patch_size):
        raise ValueError(
            f"patch size {tuple(patch_size)} given; expected {dimensions} numbers for {base!r}, each divisible by "
            f"{step} ({len(features)} stages)"
        )
    spacing = list(planned["spacing"])
    size = list(planned["median_image_size_in_voxels"])
    for axis in range(len(spacing) - dimensions, len(spacing)):
        spacing[axis] *= coarser
        size[axis] /= coarser
    configurations[name] = {
        "inherits_from": base,
        "data_identifier": f"{plans['plans_name']}_{name}",
        "patch_size": list(patch_size),
        "spacing": spacing,
        "median_image_size_in_voxels": size,
        "batch_size": 2,
        "architecture": architecture,
    }
    with atomic_write(plans_file) as partial:
        partial.write_text(json.dumps(plans, indent=4) + "\n", encoding="utf-8")
    return plans_file


def dataset_number(plans_file: Path) -> str:
    """Return the number of a plans file's data set, three digits.

    Raises:
        ValueError: it lies outside a folder ``DatasetXXX_Name``.
    """
    folder = Path(plans_file).absolute().parent
    if not (match := re.fullmatch(r"Dataset(\d{3})_.+", folder.name)):
        raise ValueError(
            f"{plans_file} lies in the folder {folder.name!r}, expected $nnUNet_preprocessed/DatasetXXX_Name: nnU-Net "
            "reads plans nowhere else. Give that file, or plan: nnUNetv2_plan_experiment -d XXX"
        )
    return match[1]


def _architecture(planned: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration's network; nnU-Net converts that of its versions 2.0 to 2.3."""
    if "architecture" in planned:
        return planned["architecture"]
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

    return ConfigurationManager(copy.deepcopy(planned)).configuration["architecture"]


def _small_architecture(planned: dict[str, Any], features: Sequence[int], dimensions: int) -> dict[str, Any]:
    small = copy.deepcopy(planned)
    stages = len(features)
    small["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=list(features),
        kernel_sizes=[[3] * dimensions] * stages,
        strides=[[1] * dimensions] + [[2] * dimensions] * (stages - 1),
        n_conv_per_stage=[1] * stages,
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    # Residual encoders name their depth otherwise.
    if "n_blocks_per_stage" in small["arch_kwargs"]:
        small["arch_kwargs"]["n_blocks_per_stage"] = small["arch_kwargs"].pop("n_conv_per_stage")
    return small
