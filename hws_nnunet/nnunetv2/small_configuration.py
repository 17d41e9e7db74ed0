"""A small network and patch beside nnU-Net's planned ones: for trying things out in minutes, on a CPU too."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hws_nnunet.files import atomic_write


def add_small_configuration(
    plans_file: Path,
    *,
    name: str,
    base: str = "3d_fullres",
    patch_size: Sequence[int] = (32, 32, 32),
    features: Sequence[int] = (8, 16, 32),
    coarser: float = 2.0,
    batch_size: int = 2,
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
        batch_size: patches in a batch.
        overwrite: replace a configuration of this name.

    Returns:
        The plans file.

    Raises:
        FileNotFoundError: no such plans file.
        ValueError: an unknown base, a name that is taken, or a patch that does not fit the network.
    """
    plans_file = Path(plans_file)
    if not plans_file.is_file():
        raise FileNotFoundError(f"no plans at {plans_file}: run nnUNetv2_plan_experiment first")
    try:
        plans = json.loads(plans_file.read_text(encoding="utf-8"))
        configurations = plans["configurations"]
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{plans_file} is no plans file of nnU-Net v2's: {type(error).__name__}: {error}") from error
    planned = configurations.get(base)
    if planned is None or "architecture" not in planned:
        raise ValueError(
            f"base {base!r} is not a complete configuration of {plans_file}; there are {list(configurations)}"
        )
    if name in configurations and not overwrite:
        raise ValueError(f"configuration {name!r} exists in {plans_file}")
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"a configuration's name may hold letters, digits and '_', given: {name!r}")
    if len(features) < 3:  # nnU-Net's deep supervision leaves out the coarsest output: with one output nothing is left
        raise ValueError(f"{len(features)} stage(s) given (features {list(features)}), expected at least 3")
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
        "batch_size": batch_size,
        "architecture": _small_architecture(planned["architecture"], features, dimensions),
    }
    with atomic_write(plans_file) as partial:
        partial.write_text(json.dumps(plans, indent=4) + "\n", encoding="utf-8")
    return plans_file


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
