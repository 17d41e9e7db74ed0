"""nnU-Net v1's data loaders, with cases and patch positions drawn by hardness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from nnunet.training.dataloading.dataset_loading import DataLoader2D, DataLoader3D

from hws_nnunet.sampling import CellGrid, HardnessWeightedSampler
from hws_nnunet.sampling.positions import ProcessGenerator, draw_position

DRAWN = "hws_drawn"
"""Key of a batch under which its draws lie: ``cases`` and ``cells``, ``(B,)`` integers, and the table's ``version``."""


class _HardnessWeighted:
    """Has the host make its batch one sample at a time: of a case that is offered alone, at a voxel that is.

    The host makes a batch in one block. Where both levels are neutral (beta 0, patch_beta 0) it runs as it is, and
    tells no positions. Otherwise cases are drawn here, uniformly at beta 0, and positions of cases with several cells
    too, at patch_beta 0 as the host draws them, so that cells are tracked.
    """

    sampler: HardnessWeightedSampler
    _alone: bool | None = None
    """Whether the one sample that is being made has to hold foreground; None while whole batches are."""

    def attach(self, sampler: HardnessWeightedSampler) -> None:
        """Give the loader its sampler, whose cases have to be the loader's, in order."""
        if tuple(self.list_of_keys) != sampler.table.names:
            raise ValueError(
                f"the loader has {len(self.list_of_keys)} cases, the sampler {len(sampler)}, not the same ones in order"
            )
        self.sampler = sampler
        self._ids = {name: i for i, name in enumerate(self.list_of_keys)}
        self._grids: dict[str, CellGrid] = {}
        self._rng = ProcessGenerator()
        self._forced = [self.get_do_oversample(slot) for slot in range(self.batch_size)]

    def get_do_oversample(self, batch_idx: int) -> bool:
        """Return whether a sample's patch has to hold foreground, one alone too."""
        return super().get_do_oversample(batch_idx) if self._alone is None else self._alone

    def generate_train_batch(self) -> dict:
        """Return the host's batch, with what was drawn under :data:`DRAWN`."""
        settings, version = self.sampler.settings, self.sampler.table.version
        if not settings.weighs_cases and not settings.weighs_patches:
            batch = super().generate_train_batch()
            cases = np.array([self._ids[str(name)] for name in batch["keys"]])
            return {**batch, DRAWN: {"cases": cases, "cells": np.zeros_like(cases), "version": version}}
        if settings.weighs_cases:
            cases, _, version = self.sampler.draw_cases(self.batch_size, self._rng())
        else:
            cases = np.random.choice(len(self.list_of_keys), self.batch_size, True, None)  # noqa: NPY002 - as the host
        cells, samples = zip(*(self._sample(slot, int(case)) for slot, case in enumerate(cases)), strict=True)
        return {
            **{key: np.concatenate([sample[key] for sample in samples]) for key in ("data", "seg", "keys")},
            "properties": [sample["properties"][0] for sample in samples],
            DRAWN: {"cases": np.asarray(cases), "cells": np.array(cells), "version": version},
        }

    def _sample(self, slot: int, case: int) -> tuple[int, dict]:
        """Return a cell, and the host's batch of one sample from it."""
        name = self.list_of_keys[case]
        entry, grid = self._data[name], self._grid(name)
        if grid.cells == 1:
            with self._steered(slot, name, entry):
                return 0, super().generate_train_batch()
        properties = entry["properties"] if "properties" in entry else _load_properties(entry["properties_file"])
        starts, weights = self._foreground_starts(properties) if self._forced[slot] else (None, None)
        cell, start = draw_position(self.sampler, case, grid, self._rng(), starts=starts, weights=weights)
        offered = {**properties, "class_locations": {1: (start + self._half)[None]}}
        with self._steered(slot, name, {**entry, "properties": offered}, forced=True):
            batch = super().generate_train_batch()
        return cell, {**batch, "properties": [properties]}

    @contextmanager
    def _steered(self, slot: int, name: str, entry: dict, *, forced: bool | None = None) -> Iterator[None]:
        """Have the host make one sample, of one case; its patch holds foreground if ``forced``, default as its slot."""
        values = {
            "batch_size": 1,
            "list_of_keys": [name],
            "data_shape": (1, *self.data_shape[1:]),
            "seg_shape": (1, *self.seg_shape[1:]),
            "_data": {name: entry},
            "_alone": self._forced[slot] if forced is None else forced,
        }
        with ExitStack() as stack:
            for key, value in values.items():
                stack.callback(setattr, self, key, getattr(self, key))
                setattr(self, key, value)
            yield

    def _grid(self, name: str) -> CellGrid:
        """Return the cells of a case, whose starts reach as far as the host's padding."""
        if name not in self._grids:
            shape, patch = self._shape(name), np.array(self._full(self.patch_size))
            padding = np.maximum(self._full(self.need_to_pad, 0), patch - shape)
            first = -padding // 2
            last = shape + padding // 2 + padding % 2 - patch
            final = self._full(self.final_patch_size)
            self._grids[name] = CellGrid(shape, final, first, last, max_cells=self.sampler.settings.cells)
        return self._grids[name]

    def _shape(self, name: str) -> np.ndarray:
        """Return the shape of a case's image, without channels; 3 numbers for 2D slices of a volume too."""
        file = self._data[name]["data_file"][:-4]
        try:
            shape = np.load(f"{file}.npy", mmap_mode="r").shape[1:]
        except FileNotFoundError:
            shape = np.load(f"{file}.npz")["data"].shape[1:]
        return np.array(shape if len(shape) == 3 else (1, *shape))

    @property
    def _half(self) -> np.ndarray:
        return np.array(self._full(self.patch_size)) // 2

    def _foreground_starts(self, properties: dict) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the starts that centre a patch on a voxel of a class, as the host picks one; None without any.

        With them, how often the host chooses each of them.
        """
        locations = [voxels for label, voxels in properties["class_locations"].items() if label > 0 and len(voxels)]
        if not locations:
            return None, None
        voxels = np.asarray(locations[self._rng().integers(len(locations))])
        return voxels - self._half, self._voxel_weights(voxels)


class HardnessWeightedDataLoader3D(_HardnessWeighted, DataLoader3D):
    """v1's loader of 3D patches, drawing by hardness."""

    @staticmethod
    def _full(sizes: np.ndarray, _: int = 1) -> np.ndarray:
        return np.asarray(sizes)

    @staticmethod
    def _voxel_weights(_: np.ndarray) -> None:
        return None


class HardnessWeightedDataLoader2D(_HardnessWeighted, DataLoader2D):
    """v1's loader of 2D patches, drawing by hardness: a patch is one voxel thick."""

    @staticmethod
    def _full(sizes: np.ndarray, first: int = 1) -> np.ndarray:
        return np.concatenate(([first], np.asarray(sizes)))

    @staticmethod
    def _voxel_weights(voxels: np.ndarray) -> np.ndarray:
        """The host draws one of the slices that hold the class, then a voxel in it."""
        _, index, counts = np.unique(voxels[:, 0], return_inverse=True, return_counts=True)
        return 1.0 / counts[index]


def _load_properties(file: str) -> dict:
    from batchgenerators.utilities.file_and_folder_operations import load_pickle

    return load_pickle(file)  # nnU-Net's own preprocessed data, as it loads them itself
