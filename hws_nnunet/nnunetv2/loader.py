"""nnU-Net v2's data loader, with cases and structures drawn by hardness."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from hws_nnunet.core.draws import DrawnCases, Draws
from hws_nnunet.hosts.loaders import DRAWN, DrawingLoader


class HardnessWeightedDataLoader(DrawingLoader, nnUNetDataLoader):
    """Draws where the host draws: cases in ``get_indices``, the structure of forced foreground in ``get_bbox``.

    Where a level is neutral (beta 0, structure_beta 0) the host draws, with its own random numbers. The rest is the
    host's.
    """

    host_class = nnUNetDataLoader

    def _case_names(self) -> Iterable[str]:
        return dict.fromkeys(self.indices)

    def attach(self, draws: Draws, *, structures: Sequence[Hashable] = ()) -> None:
        """Give the loader what draws, see :meth:`DrawingLoader.attach`."""
        super().attach(draws, structures=structures)
        self._names = np.array(draws.table.names)
        self._ids = {name: i for i, name in enumerate(draws.table.names)}
        self._drawn = DrawnCases(np.zeros(0, dtype=np.int64), 0)
        self._placed = 0

    def generate_train_batch(self) -> dict:
        """Return the host's batch, with what was drawn under :data:`DRAWN`."""
        batch = super().generate_train_batch()
        if self._placed != len(self._drawn.ids):
            raise RuntimeError(
                f"nnU-Net placed {self._placed} patches for {len(self._drawn.ids)} cases: unknown version?"
            )
        batch[DRAWN] = self._drawn
        return batch

    def get_indices(self) -> np.ndarray:
        """Return the names of the batch's cases."""
        self._placed = 0
        if not self.draws.weighs_cases:
            names = super().get_indices()
            self._drawn = DrawnCases(np.array([self._ids[str(name)] for name in names]), self.draws.table.version)
            return names
        self._drawn = self._draw_cases()
        return self._names[self._drawn.ids]

    def get_bbox(
        self,
        data_shape: np.ndarray,
        force_fg: bool,
        class_locations: dict | None,
        overwrite_class: int | tuple[int, ...] | None = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """Return first and last + 1 voxel of the next sample's patch along each axis."""
        if force_fg and overwrite_class is None and self.draws.settings.weighs_structures:
            overwrite_class = self._draw_structure(int(self._drawn.ids[self._placed]), class_locations)
        self._placed += 1
        return super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)
