"""The two measures of a case's loss, of which draws go by one (its *hardness*), and both are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from hws_nnunet.core import HardnessTable

MEASURES = ("dice_present", "dice_ce")
"""The values of the setting ``draw_by``; the record's columns have these names, and the values of a training step."""


def other_measure(measure: str) -> str:
    """Return the measure that draws do not go by; "" for a loss that is none of the two."""
    return {MEASURES[0]: MEASURES[1], MEASURES[1]: MEASURES[0]}.get(measure, "")


def by_measure(table: HardnessTable) -> dict[str, np.ndarray]:
    """Return a table's smoothed losses by measure, ``(n,)`` each, NaN where unknown; none for any other loss."""
    if not other_measure(table.measure):
        return {}
    return {name: table.hardness if name == table.measure else table.other_loss for name in MEASURES}


def measures_beside(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the measures that the rows of ``hardness.csv`` tell beside hardness; none of an earlier version."""
    rows = list(rows)
    return [name for name in MEASURES if any(row.get(name) not in (None, "", row["hardness"]) for row in rows)]
