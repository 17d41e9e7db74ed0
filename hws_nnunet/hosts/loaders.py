"""What the data loaders of both hosts have in common: what they draw with, and for whom."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from hws_nnunet.core.draws import DrawnCases, Draws, ProcessGenerator
from hws_nnunet.hosts.contract import HostClass

DRAWN = "hws_drawn"
"""Key of a batch under which its :class:`~hws_nnunet.core.DrawnCases` lie."""

Key = TypeVar("Key", bound=Hashable)


class DrawingLoader(HostClass):
    """The part of our loaders that knows no host."""

    host_class: type
    """The host's loader whose place ours takes."""
    batch_size: int
    draws: Draws

    def _case_names(self) -> Iterable[str]:
        """Return the loader's cases, each once, in order."""
        raise NotImplementedError

    def attach(self, draws: Draws, *, structures: Sequence[Hashable] = ()) -> None:
        """Give the loader what draws.

        Args:
            draws: with the table of the loader's cases, in order.
            structures: what the host's locations of foreground call each of the table's structures: label or region.

        Raises:
            ValueError: for other cases, or another number of structures.
        """
        names = tuple(self._case_names())
        if names != draws.table.names:
            raise ValueError(
                f"the loader has {len(names)} cases, the sampler {len(draws.table)}, not the same ones in order"
            )
        draws.check_structures(structures)
        self.draws = draws
        self._structures = {key: k for k, key in enumerate(structures)}
        self._rng = ProcessGenerator()

    def _draw_cases(self) -> DrawnCases:
        """Draw a batch's cases and shuffle them: likely ones come first, the host forces foreground on the last."""
        rng = self._rng()
        drawn = self.draws.draw_cases(self.batch_size, rng)
        return drawn._replace(ids=rng.permutation(drawn.ids))

    def _draw_structure(self, case: int, locations: Mapping[Key, Sequence] | None) -> Key | None:
        """Draw one of the structures that the host could pick for a case; None where there is none.

        Args:
            case: its id.
            locations: voxels of each of the case's structures.
        """
        there = {
            self._structures[key]: key
            for key, voxels in (locations or {}).items()
            if len(voxels) and key in self._structures
        }
        return there[self.draws.draw_structure(case, list(there), self._rng())] if there else None
