"""What the data loaders of both hosts have in common: what they draw with, and for whom."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hws_nnunet.core.draws import Draws, ProcessGenerator

DRAWN = "hws_drawn"
"""Key of a batch under which its draws lie: ``cases``, ``(B,)`` integers, and the table's ``version``."""

HostClass: Any = object
"""Base of what is mixed into the hosts' classes: what it takes from them has no types."""

Key = TypeVar("Key", bound=Hashable)


class DrawingLoader(HostClass):
    """The part of our loaders that knows no host."""

    draws: Draws

    def _attach(self, names: Iterable[str], draws: Draws, structures: Sequence[Hashable]) -> None:
        """Give the loader what draws.

        Args:
            names: the loader's cases, in order.
            draws: with the table of these cases.
            structures: what the host calls each of the table's structures.

        Raises:
            ValueError: for other cases, or another number of structures.
        """
        names = tuple(names)
        if names != draws.table.names:
            raise ValueError(
                f"the loader has {len(names)} cases, the sampler {len(draws.table)}, not the same ones in order"
            )
        draws.check_structures(structures)
        self.draws = draws
        self._structures = {key: k for k, key in enumerate(structures)}
        self._rng = ProcessGenerator()

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
