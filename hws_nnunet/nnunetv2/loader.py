"""nnU-Net v2's data loader, with cases and patch positions drawn by hardness."""

from __future__ import annotations

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from hws_nnunet.sampling import CellGrid, HardnessWeightedSampler
from hws_nnunet.sampling.positions import ProcessGenerator, draw_position

DRAWN = "hws_drawn"
"""Key of a batch under which its draws lie: ``cases`` and ``cells``, ``(B,)`` integers, and the table's ``version``."""

_FAR = 10**6  # voxels: beyond any image


class HardnessWeightedDataLoader(nnUNetDataLoader):
    """Draws where the host draws: cases in ``get_indices``, positions in ``get_bbox``; the rest is the host's.

    Where a level is neutral (beta 0, patch_beta 0) the host draws, with its own random numbers. A position is had
    from the host by offering it one voxel only, of one class: it centres the patch there and draws nothing.
    """

    sampler: HardnessWeightedSampler

    def attach(self, sampler: HardnessWeightedSampler) -> None:
        """Give the loader its sampler, whose cases have to be the loader's, in order, each once."""
        names = tuple(dict.fromkeys(self.indices))
        if names != sampler.table.names:
            raise ValueError(
                f"the loader has {len(names)} cases, the sampler {len(sampler)}, not the same ones in order"
            )
        self.sampler = sampler
        self._names = np.array(names)
        self._ids = {name: i for i, name in enumerate(names)}
        self._grids: dict[tuple[int, ...], CellGrid] = {}
        self._rng = ProcessGenerator()
        self._cases: np.ndarray = np.zeros(0, dtype=np.int64)
        self._cells: list[int] = []
        self._version = 0

    def generate_train_batch(self) -> dict:
        """Return the host's batch, with what was drawn under :data:`DRAWN`."""
        batch = super().generate_train_batch()
        if len(self._cells) != len(self._cases):
            raise RuntimeError(
                f"nnU-Net placed {len(self._cells)} patches for {len(self._cases)} cases: unknown version?"
            )
        batch[DRAWN] = {"cases": self._cases, "cells": np.array(self._cells), "version": self._version}
        return batch

    def get_indices(self) -> np.ndarray:
        """Return the names of the batch's cases."""
        self._cells = []
        if not self.sampler.settings.weighs_cases:
            names = super().get_indices()
            self._version = self.sampler.table.version
            self._cases = np.array([self._ids[str(name)] for name in names])
            return names
        self._cases, _, self._version = self.sampler.draw_cases(self.batch_size, self._rng())
        return self._names[self._cases]

    def get_bbox(
        self,
        data_shape: np.ndarray,
        force_fg: bool,
        class_locations: dict | None,
        overwrite_class: int | tuple[int, ...] | None = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """Return first and last + 1 voxel of the next sample's patch along each axis."""
        grid = self._grid(data_shape)
        if self.sampler.settings.weighs_patches and grid.cells > 1:
            case = int(self._cases[len(self._cells)])
            cell, start = self._draw_position(case, grid, data_shape, force_fg, class_locations, overwrite_class)
            bbox = super().get_bbox(data_shape, True, _one_voxel(start + self._half))
        else:
            bbox = super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)
            cell = int(grid.cell_of(bbox[0]))
        self._cells.append(cell)
        return bbox

    @property
    def _half(self) -> np.ndarray:
        return np.asarray(self.patch_size) // 2

    def _grid(self, shape: np.ndarray) -> CellGrid:
        """Return the cells of images of this shape: the host itself says where its patches start."""
        key = tuple(int(size) for size in shape)
        if key not in self._grids:
            first = np.array(super().get_bbox(shape, True, _one_voxel(np.full(len(key), -_FAR)))[0])
            last = np.array(key) - first - np.asarray(self.patch_size)  # it pads both sides alike
            self._grids[key] = CellGrid(key, self.final_patch_size, first, last, max_cells=self.sampler.settings.cells)
        return self._grids[key]

    def _draw_position(
        self,
        case: int,
        grid: CellGrid,
        shape: np.ndarray,
        force_fg: bool,
        class_locations: dict | None,
        overwrite_class: int | tuple[int, ...] | None,
    ) -> tuple[int, np.ndarray]:
        """Draw a cell and a patch start in it: any position, or one centred on a voxel of the class the host picks."""
        voxels = None
        if force_fg or self.has_ignore:
            voxels = self._voxels(grid, shape, force_fg, class_locations, overwrite_class)
        starts = None if voxels is None else np.asarray(voxels)[:, 1:] - self._half
        return draw_position(self.sampler, case, grid, self._rng(), starts=starts)

    def _voxels(
        self,
        grid: CellGrid,
        shape: np.ndarray,
        force_fg: bool,
        class_locations: dict,
        overwrite_class: int | tuple[int, ...] | None,
    ) -> np.ndarray | None:
        """Return the voxels on which the host would centre a patch, None where it would place it anywhere.

        The host picks the class itself: each class is offered one voxel, which tells by its position which it is.
        """
        keys = list(class_locations)
        if not force_fg:
            voxels = class_locations[self.annotated_classes_key]
            return voxels if len(voxels) else None
        if not any(len(class_locations[key]) for key in keys):
            return None
        offered = {}
        for number, key in enumerate(keys):
            place = grid.first + self._half
            place[0] += number
            offered[key] = _one_voxel(place)[1] if len(class_locations[key]) else []
        picked = super().get_bbox(shape, True, offered, overwrite_class)[0][0] - int(grid.first[0])
        return class_locations[keys[picked]]


def _one_voxel(place: np.ndarray) -> dict[int, np.ndarray]:
    """Return class locations of one class with one voxel; the host's voxels have the channel in front."""
    return {1: np.concatenate(([0], place))[None]}
