"""nnU-Net v1's data loaders, with cases and structures drawn by hardness."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunet.training.dataloading.dataset_loading import DataLoader2D, DataLoader3D

from hws_nnunet.core.draws import DrawnCases, Draws
from hws_nnunet.hosts.loaders import DRAWN, DrawingLoader
from hws_nnunet.hosts.replaced import replaced


class _HardnessWeighted(DrawingLoader):
    """Has the host make its batch one sample at a time: of a case that is offered alone, with one of its structures.

    The host makes a batch in one block, cases first; its random numbers are used in the same order.
    """

    _alone: bool | None = None
    """Whether the one sample that is being made has to hold foreground; None while whole batches are."""

    def _case_names(self) -> list[str]:
        return self.list_of_keys

    def attach(self, draws: Draws, *, structures: Sequence[Hashable] = ()) -> None:
        """Give the loader what draws, see :meth:`DrawingLoader.attach`."""
        super().attach(draws, structures=structures)
        self._forced = [self.get_do_oversample(slot) for slot in range(self.batch_size)]

    def get_do_oversample(self, batch_idx: int) -> bool:
        """Return whether a sample's patch has to hold foreground, one alone too."""
        return super().get_do_oversample(batch_idx) if self._alone is None else self._alone

    def generate_train_batch(self) -> dict:
        """Return the host's batch, with what was drawn under :data:`DRAWN`."""
        if self.draws.weighs_cases:
            drawn = self._draw_cases()
        else:
            ids = np.random.choice(len(self.list_of_keys), (self.batch_size,), True, None)  # noqa: NPY002 - as the host
            drawn = DrawnCases(ids, self.draws.table.version)
        samples = [self._sample(slot, int(case)) for slot, case in enumerate(drawn.ids)]
        return {
            **{key: np.concatenate([sample[key] for sample in samples]) for key in ("data", "seg", "keys")},
            "properties": [sample["properties"][0] for sample in samples],
            DRAWN: drawn,
        }

    def _sample(self, slot: int, case: int) -> dict:
        """Return the host's batch of one sample of a case."""
        name = self.list_of_keys[case]
        entry, forced = self._data[name], self._forced[slot]
        if not (forced and self.draws.settings.weighs_structures):
            with self._steered(name, entry, forced):
                return super().generate_train_batch()
        properties = entry["properties"] if "properties" in entry else _load_properties(entry["properties_file"])
        locations = properties["class_locations"]
        label = self._draw_structure(case, locations)
        if label is not None:
            locations = {label: locations[label]}
        with self._steered(name, {**entry, "properties": {**properties, "class_locations": locations}}, forced):
            batch = super().generate_train_batch()
        return {**batch, "properties": [properties]}

    @contextmanager
    def _steered(self, name: str, entry: dict, forced: bool) -> Iterator[None]:
        """Have the host make one sample, of one case; its patch holds foreground if ``forced``."""
        values = {
            "batch_size": 1,
            "list_of_keys": [name],
            "data_shape": (1, *self.data_shape[1:]),
            "seg_shape": (1, *self.seg_shape[1:]),
            "_data": {name: entry},
        }
        self._alone = forced
        try:
            with replaced(self, values):
                yield
        finally:
            self._alone = None


class HardnessWeightedDataLoader3D(_HardnessWeighted, DataLoader3D):
    """v1's loader of 3D patches, drawing by hardness."""

    host_class = DataLoader3D


class HardnessWeightedDataLoader2D(_HardnessWeighted, DataLoader2D):
    """v1's loader of 2D patches, drawing by hardness."""

    host_class = DataLoader2D


def _load_properties(file: str) -> dict:
    return load_pickle(file)  # nnU-Net's own preprocessed data, as it loads them itself
