"""What a table holds: a row for each column, a row for each word; all else is derived from these two lists.

A column has one value a case (or one a structure of a case), a word is a single value. The table's memory, its saved
state, what several ranks compare, and what is checked follow from the rows. A new column is one row here, with the
``since`` of the next format: states of older formats still load, and the column starts unknown.
"""

from __future__ import annotations

import math
from typing import NamedTuple

OLDEST_FORMAT = 4
"""Of saved state that can still be loaded."""


class Column(NamedTuple):
    """A column of the table.

    Attributes:
        name: of the table's attribute, and of the entry in a saved state.
        kind: ``float`` or ``int``, of 64 bits; an ``int`` is never negative, a ``float`` never infinite.
        unknown: the value of a case of which nothing is known.
        meaning: in words.
        saved: whether it is part of a saved state.
        compared: whether it has to be equal on all ranks.
        by_structure: whether there is a value for each structure of a case.
        since: the format of saved state in which it appeared.
    """

    name: str
    kind: type
    unknown: float
    meaning: str
    saved: bool = True
    compared: bool = True
    by_structure: bool = False
    since: int = OLDEST_FORMAT


class Word(NamedTuple):
    """A single value of the table; ``saved`` ones are compared between ranks, and ``formerly`` names them before."""

    name: str
    kind: type
    meaning: str
    saved: bool = True
    formerly: str = ""
    since: int = OLDEST_FORMAT


COLUMNS = (
    Column("weight", float, 1.0, "What draws go by, in proportion.", saved=False),
    Column("offset", float, math.nan, "Tracked loss, from the level; NaN until a finite value came."),
    Column("structure_hardness", float, math.nan, "Tracked loss of each structure, likewise.", by_structure=True),
    Column("other_loss", float, math.nan, "Smoothed loss by another measure, for the record alone.", since=6),
    Column("visits", int, 0, "Answers that came, finite or not."),
    Column("stamp", int, 0, "The version when the warm-up pass drew the case.", saved=False, compared=False),
    Column("order", int, 0, "The warm-up pass's permutation.", compared=False),
    Column("answers", int, 0, "Answers that were finite."),
    Column("window", float, 0.0, "Stall limit: sum of the losses of the window under way."),
    Column("near", int, 0, "Stall limit: how many of these were not far beyond the other cases."),
    Column("before", float, math.nan, "Stall limit: mean loss of the last window; NaN where there was none."),
    Column("stuck", int, 0, "Stall limit: 1 where the case got no easier in the last window."),
)

WORDS = (
    Word("lock", int, "The sequence lock: odd while the training process writes.", saved=False),
    Word("version", int, "How many updates the table has had."),
    Word("weighted", bool, "Whether draws are weighted: every case has been seen once."),
    Word("unseen", int, "How many cases have not been seen.", saved=False),
    Word("position", int, "Up to where the warm-up pass was drawn, about: workers write it unlocked.", saved=False),
    Word("total", float, "Sum of all weights.", saved=False),
    Word("largest", float, "No weight is larger.", saved=False),
    Word("losses", int, "How many finite losses came."),
    Word("beta_in_force", float, "Beta that draws go by now.", formerly="beta", since=5),
    Word("lag", float, "Running mean of the number of updates between a draw and the update that answers it."),
    Word("level", float, "What all tracked losses have in common."),
)


def current_format() -> int:
    """Return the format of the states that are saved now: the newest of any row."""
    return max(row.since for row in (*COLUMNS, *WORDS))
