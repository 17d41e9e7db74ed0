"""Plans of a small network and patch, from nnU-Net v1's own: for trying things out in minutes, on a CPU too."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hws_nnunet.facts.versions import V1
from hws_nnunet.files import atomic_write

PLANNER = "ExperimentPlanner3D_v21_Pretrained"
"""nnU-Net's planner that takes plans from a file; see ``next_command``."""
_POOLINGS = 2  # the fewest: deep supervision leaves out the coarsest output


def make_small_plans(
    plans_file: Path,
    *,
    name: str = "small",
    patch_size: Sequence[int] = (32, 32, 32),
    features: int = 8,
    coarser: float = 2.0,
    lowres: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write small plans beside nnU-Net's 3D plans, for nnU-Net's own command to take; see :func:`next_command`.

    Args:
        plans_file: ``nnUNet_preprocessed/TaskXXX_Name/nnUNetPlansv2.1_plans_3D.pkl``. A pickle of nnU-Net's: give a
            file that you trust, as to nnU-Net itself. It stays as it is.
        name: of the new file, ``NAME.pkl``, in the same folder.
        patch_size: voxels along each axis; each divisible by 4, for two poolings.
        features: channels of the first stage of the network; each further one has twice as many.
        coarser: voxels become this many times larger along each axis.
        lowres: plan a cascade, whose first stage (``3d_lowres``) has voxels twice as large again.
        overwrite: replace a file of this name.

    Returns:
        The new file.

    Raises:
        FileNotFoundError: no such plans file.
        FileExistsError: the new file exists.
        ValueError: a patch that does not fit the network.
    """
    V1.check_version()
    from batchgenerators.utilities.file_and_folder_operations import load_pickle, save_pickle

    plans_file = Path(plans_file)
    if not plans_file.is_file():
        raise FileNotFoundError(f"no plans at {plans_file}: run nnUNet_plan_and_preprocess -t TASK -no_pp first")
    step = 2**_POOLINGS
    if len(patch_size) != 3 or any(size <= 0 or size % step for size in patch_size):
        raise ValueError(
            f"patch size {tuple(patch_size)} given; expected 3 numbers, each divisible by {step} ({_POOLINGS} poolings)"
        )
    out = plans_file.with_name(f"{name}.pkl")
    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists; --overwrite replaces it")
    plans = copy.deepcopy(load_pickle(str(plans_file)))
    planned = plans["plans_per_stage"][max(plans["plans_per_stage"])]

    def stage(factor: float) -> dict[str, Any]:
        return {
            **planned,
            "batch_size": 2,
            "patch_size": np.array(patch_size),
            "num_pool_per_axis": [_POOLINGS] * 3,
            "pool_op_kernel_sizes": [[2, 2, 2]] * _POOLINGS,
            "conv_kernel_sizes": [[3, 3, 3]] * (_POOLINGS + 1),
            "do_dummy_2D_data_aug": False,
            "current_spacing": np.asarray(planned["current_spacing"]) * factor,
            "median_patient_size_in_voxels": np.round(np.asarray(planned["median_patient_size_in_voxels"]) / factor),
        }

    stages = [stage(2 * coarser), stage(coarser)] if lowres else [stage(coarser)]
    plans.update(
        num_stages=len(stages), plans_per_stage=dict(enumerate(stages)), base_num_features=features, conv_per_stage=1
    )
    with atomic_write(out) as partial:
        save_pickle(plans, str(partial))
    return out


def next_command(plans_file: Path, task: int | str) -> list[str]:
    """Return the command that has nnU-Net preprocess by these plans, whose identifier is then :func:`identifier`."""
    command = ["nnUNet_plan_and_preprocess", "-t", str(task), "-pl2d", "None", "-pl3d", PLANNER]
    return [*command, "-overwrite_plans", str(plans_file), "-overwrite_plans_identifier", Path(plans_file).stem]


def identifier(plans_file: Path) -> str:
    """Return what ``nnUNet_train -p`` and ``nnUNet_predict -p`` call these plans."""
    return f"nnUNetPlans_pretrained_{Path(plans_file).stem}"
