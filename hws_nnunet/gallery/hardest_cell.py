"""Where in a raw image the hardest cell of a case lies, as far as that can be told.

Cells partition the patch positions of nnU-Net's preprocessed image: the raw one, with its axes in the plans' order,
cut to what is not 0, and resampled to the plans' voxel size. That way is gone back here.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hws_nnunet.gallery.layout import Layout
from hws_nnunet.sampling import CellGrid
from hws_nnunet.training.weighting import STATE

_CHECKPOINTS = {
    "v2": ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"),
    "v1": ("model_final_checkpoint.model", "model_latest.model", "model_best.model"),
}
_READERS = {"SimpleITKIO": False, "NibabelIO": False, "NibabelIOWithReorient": True}


@dataclass(frozen=True)
class Preprocessing:
    """What of nnU-Net's plans decides where cells lie.

    ``spacing`` (mm) and ``patch_size`` (voxels) are in the order of the preprocessed axes, which is ``transpose`` of
    the image's axes from last to first; ``reoriented`` is whether nnU-Net turns images to right, front and top first.
    """

    spacing: tuple[float, ...]
    patch_size: tuple[int, ...]
    transpose: tuple[int, ...]
    reoriented: bool = False


def read_preprocessing(layout: Layout) -> Preprocessing | None:
    """Return what the model's plans say; None where there are none, or where cells cannot be told from them."""
    model = layout.fold.parent
    try:
        if layout.version == "v2":
            plans = json.loads((model / "plans.json").read_text(encoding="utf-8"))
            if plans["image_reader_writer"] not in _READERS:
                return None
            configuration = _inherited(plans["configurations"], layout.configuration)
            spacing, patch = configuration["spacing"], configuration["patch_size"]
            reoriented = _READERS[plans["image_reader_writer"]]
        else:
            with open(model / "plans.pkl", "rb") as file:
                plans = pickle.load(file)  # nnU-Net's own, as it loads it itself
            stages = plans["plans_per_stage"]
            stage = stages[min(stages) if layout.configuration == "3d_lowres" else max(stages)]
            spacing, patch, reoriented = stage["current_spacing"], stage["patch_size"], False
            if layout.configuration == "2d":
                spacing = spacing[-2:]
        return Preprocessing(
            tuple(float(v) for v in spacing),
            tuple(int(v) for v in patch),
            tuple(int(v) for v in plans["transpose_forward"]),
            reoriented,
        )
    except (FileNotFoundError, KeyError):
        return None


def _inherited(configurations: dict, name: str) -> dict:
    configuration = configurations[name]
    parent = configuration.get("inherits_from")
    return configuration if parent is None else {**_inherited(configurations, parent), **configuration}


def read_cell_hardness(layout: Layout) -> dict[str, np.ndarray]:
    """Return the hardness of each case's cells, NaN where unknown, from the fold's checkpoint; empty without one.

    Raises:
        ValueError: the checkpoint cannot be read.
    """
    files = [layout.fold / name for name in _CHECKPOINTS[layout.version]]
    if not (file := next((file for file in files if file.is_file()), None)):
        return {}
    state = _state(file, trusted=layout.version == "v2")
    return {} if state is None else dict(zip(state["names"], np.asarray(state["cell_hardness"]), strict=True))


def _state(file: Path, *, trusted: bool) -> dict | None:
    """Return the sampler's state in a checkpoint.

    v2's own checkpoints hold more than plain tensors: load what you trust, as nnU-Net does itself.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=not trusted).get(STATE)
    except Exception as error:  # torch raises many kinds
        raise ValueError(f"{file} cannot be read: {type(error).__name__}: {error}") from error


def middle_of_hardest(
    hardness: np.ndarray, preprocessing: Preprocessing, box: np.ndarray, spacing: Sequence[float]
) -> np.ndarray | None:
    """Return the middle of the patches of a case's hardest cell, in voxels of the raw image, ``(3,)``.

    None where the case has one cell, fewer than two cells have a hardness, or the cells cannot be told for sure.

    Args:
        hardness: of the case's cells, ``(cells,)``, NaN where unknown.
        preprocessing: from the plans.
        box: of the image's voxels that are not 0, ``(3, 2)`` first and last + 1, in the axes that nnU-Net reads.
        spacing: of the raw image, ``(3,)``, mm, same axes.
    """
    order = [2 - axis for axis in preprocessing.transpose]  # nnU-Net reads the axes from last to first
    size, spacing = (box[:, 1] - box[:, 0])[order], np.asarray(spacing)[order]
    target, patch = np.array(preprocessing.spacing), np.array(preprocessing.patch_size)
    if len(patch) == 2:
        target, patch = np.array([spacing[0], *target[-2:]]), np.array([1, *patch])
    shape = np.round(size * spacing / target).astype(int)
    grid = _cell_grid(shape, patch, len(hardness))
    if grid is None or grid.cells == 1 or np.isfinite(hardness[: grid.cells]).sum() < 2:
        return None
    first, last = grid.start_range(int(np.nanargmax(hardness[: grid.cells])))
    centre = np.clip(((first + last + patch) / 2) / shape, 0, 1)
    middle = np.empty(3)
    middle[order] = box[order, 0] + centre * size - 0.5
    return np.clip(middle, box[:, 0], box[:, 1] - 1)


def _cell_grid(shape: np.ndarray, patch: np.ndarray, cells: int) -> CellGrid | None:
    """Return the cells of a preprocessed image; None where they depend on how the host pads.

    It pads so that patches at the border, before augmentation cuts them to their size, still lie in the image: along
    each axis that leaves as many starts as there would be without, or one more.
    """
    grids = [
        CellGrid(shape, patch, np.zeros(3, int), np.maximum(shape - patch, 0) + more, max_cells=cells)
        for more in itertools.product((0, 1), repeat=3)
    ]
    return grids[0] if all((grid.blocks == grids[0].blocks).all() for grid in grids) else None
