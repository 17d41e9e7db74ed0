"""The table that the training process writes and the data-loading workers read, in one block of shared memory."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from hws_nnunet.sampling.sum_tree import SumTree

T = TypeVar("T")

_WORD = 8  # bytes; every entry is one aligned 64-bit word, which one process writes whole
_INTEGERS = ("lock", "version", "weighted", "unseen", "position")
_REALS = ("beta", "lag")
_BY_CASE = ("hardness", "cell_hardness", "visits", "answers", "window", "near", "before", "stuck")
_SAVED = (*_BY_CASE, "order")


class HardnessTable:
    """Tracked losses, visits, draw marks and draw weights of ``n`` cases, shared between processes.

    The training process alone writes (inside :meth:`writing`), except for three words a case and the sweep's position,
    which workers write: see :class:`~hws_nnunet.sampling.marks.DrawMarks`. Readers take no lock: :meth:`read` repeats
    what they computed if the training process wrote meanwhile. The order of stores that this relies on is that
    of the interpreter's own locked operations.

    The block is anonymous memory of ``multiprocessing``: children reach it under fork by inheritance, under
    forkserver and spawn by pickling while they start; it has no name, so that nothing is left when a process is killed.

    Args:
        names: the cases' names, unique, at least one.
        measures: names of the losses tracked for every case.
        draw_by: the measure that draws go by, and that cells track.
        cells: cells tracked for every case, at least 1.
        context: a ``multiprocessing`` context; default the current one.

    Attributes:
        hardness: ``(n, len(measures))``, NaN until a finite value came.
        cell_hardness: ``(n, cells)``, of the measure ``draw_by``.
        visits: ``(n,)``, answers that came, finite or not.
        drawn, answered, stamp: ``(n,)``, draw marks.
        order: ``(n,)``, the first sweep's permutation.
        answers, window, near, before, stuck: ``(n,)``, of :mod:`~hws_nnunet.sampling.stalls`: finite answers; of the
            window under way, the losses' sum and how many were not far beyond the others; mean of the last window
            (NaN: none); the verdict.
        tree: the draw weights.

    Raises:
        ValueError: for names that repeat or are none, an unknown measure, or no cell.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        measures: Sequence[str] = ("loss",),
        draw_by: str | None = None,
        cells: int = 1,
        context: multiprocessing.context.BaseContext | None = None,
    ):
        self.names = tuple(str(name) for name in names)
        self.measures = tuple(measures)
        self.draw_by = self.measures[0] if draw_by is None else draw_by
        self.cells = cells
        if not self.names:
            raise ValueError("a table needs at least one case, given: none")
        if len(set(self.names)) != len(self.names):
            seen: set[str] = set()
            twice = sorted({name for name in self.names if name in seen or seen.add(name)})
            raise ValueError(f"case names have to be unique; given more than once: {', '.join(twice[:10])}")
        if self.draw_by not in self.measures:
            raise ValueError(f"draw_by is {self.draw_by!r}, expected one of {', '.join(self.measures)}")
        if cells < 1:
            raise ValueError(f"a case has at least one cell, given: {cells}")
        words = sum(np.prod(shape, dtype=int) for _, shape, _ in self._layout())
        self._block = (context or multiprocessing.get_context()).RawArray("b", int(words) * _WORD)
        self._map()
        self.hardness.fill(np.nan)
        self.cell_hardness.fill(np.nan)
        self.before.fill(np.nan)
        self.order[:] = np.arange(len(self.names))
        self.tree.fill(np.ones(len(self.names)))
        self._integers[_INTEGERS.index("unseen")] = len(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _layout(self) -> list[tuple[str, tuple[int, ...], type]]:
        n = len(self.names)
        return [
            ("_integers_array", (len(_INTEGERS),), np.int64),
            ("_reals_array", (len(_REALS),), np.float64),
            ("_tree_array", (SumTree.words(n),), np.float64),
            ("hardness", (n, len(self.measures)), np.float64),
            ("cell_hardness", (n, self.cells), np.float64),
            ("visits", (n,), np.int64),
            ("drawn", (n,), np.int64),
            ("answered", (n,), np.int64),
            ("stamp", (n,), np.int64),
            ("order", (n,), np.int64),
            ("answers", (n,), np.int64),
            ("window", (n,), np.float64),
            ("near", (n,), np.int64),
            ("before", (n,), np.float64),
            ("stuck", (n,), np.int64),
        ]

    def _map(self) -> None:
        """Lay arrays over the block. ``words[name]`` are flat memoryviews: single words are cheaper to reach there."""
        block = memoryview(self._block).cast("B")
        self.words: dict[str, memoryview] = {}
        start = 0
        for name, shape, dtype in self._layout():
            stop = start + int(np.prod(shape, dtype=int)) * _WORD
            view = block[start:stop].cast("d" if dtype is np.float64 else "q")
            self.words[name] = view
            setattr(self, name, np.frombuffer(view, dtype=dtype).reshape(shape))
            start = stop
        self._integers = self.words["_integers_array"]
        self._reals = self.words["_reals_array"]
        self.tree = SumTree(self.words["_tree_array"], len(self.names))
        self.column = self.measures.index(self.draw_by)

    def __getstate__(self) -> dict:
        return {key: self.__dict__[key] for key in ("names", "measures", "draw_by", "cells", "_block")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory that the table takes."""
        return len(self._block)

    @property
    def version(self) -> int:
        """How many updates the table has had."""
        return self._integers[1]

    @property
    def beta(self) -> float:
        """Beta in force."""
        return self._reals[0]

    @property
    def lag(self) -> float:
        """Running mean of the number of updates between a draw and the update that answers it."""
        return self._reals[1]

    @property
    def weighted(self) -> bool:
        """Whether draws are weighted: every case has been seen once."""
        return bool(self._integers[2])

    @property
    def unseen(self) -> int:
        """How many cases have not been seen."""
        return self._integers[3]

    @property
    def position(self) -> int:
        """Up to where the first sweep's permutation has been drawn, about: workers write it without a lock."""
        return self._integers[4]

    @position.setter
    def position(self, value: int) -> None:
        self._integers[4] = value

    def set(self, **values: float) -> None:
        """Write header words by name (training process only, inside :meth:`writing`)."""
        for name, value in values.items():
            if name in _INTEGERS:
                self._integers[_INTEGERS.index(name)] = int(value)
            else:
                self._reals[_REALS.index(name)] = float(value)

    def count_update(self, unseen: int, lag: float) -> None:
        """End an update: count it, and write what it changed in the header (inside :meth:`writing`)."""
        self._integers[1] += 1
        self._integers[3] = unseen
        self._reals[1] = lag

    def writing(self) -> _Writing:
        """Return the context in which the training process changes the table."""
        return _Writing(self._integers)

    def read(self, compute: Callable[[], T]) -> T:
        """Return ``compute()``, run again until the training process did not write meanwhile."""
        lock = self._integers
        attempts = 0
        while True:
            before = lock[0]
            if not before & 1:
                result = compute()
                if lock[0] == before:
                    return result
            attempts += 1
            if attempts > 10:
                time.sleep(2e-5)

    def state_dict(self) -> dict[str, object]:
        """Return what is tracked, in copies; draw marks are left out, since a resumed run has nothing under way."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in _SAVED}
        return {
            "format": 2,
            "names": list(self.names),
            "measures": list(self.measures),
            "draw_by": self.draw_by,
            "version": self.version,
            "weighted": self.weighted,
            "beta": self.beta,
            "lag": self.lag,
            **arrays,
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore :meth:`state_dict` by the cases' names; draw weights stay as they are (training process only).

        Raises:
            ValueError: for another format, or other measures; nothing is changed then.
        """
        if state.get("format") != 2:
            raise ValueError(f"sampler state has format {state.get('format')!r}, expected 2")
        if list(state["measures"]) != list(self.measures):
            raise ValueError(f"sampler state tracks {state['measures']}, expected {list(self.measures)}")
        old = {name: index for index, name in enumerate(state["names"])}
        here = np.array([i for i, name in enumerate(self.names) if name in old], dtype=np.int64)
        there = np.array([old[name] for name in self.names if name in old], dtype=np.int64)
        saved = {name: np.asarray(state[name]) for name in _SAVED}
        order, cells = saved["order"], saved["cell_hardness"].shape[1]
        kept = set(_BY_CASE)
        if state["draw_by"] != self.draw_by:
            kept -= {"cell_hardness", "answers", "window", "near", "before", "stuck"}  # they are of that measure
        if cells != self.cells:
            kept.discard("cell_hardness")
        self._warn_of_changes(old, state, None if "cell_hardness" in kept else cells)
        with self.writing():
            for name in _BY_CASE:
                array = getattr(self, name)
                array.fill(np.nan if name in ("hardness", "cell_hardness", "before") else 0)
                if name in kept:
                    array[here] = saved[name][there]
            rank = np.full(len(self), len(order), dtype=np.int64)
            rank[here] = np.argsort(order)[there]
            self.order[:] = np.argsort(rank, kind="stable")
            self.position = 0
            self.answered[:] = self.drawn
            self.set(
                version=state["version"],
                unseen=int((self.visits == 0).sum()),
                weighted=bool(state["weighted"]),
                beta=state["beta"],
                lag=state["lag"],
            )

    def _warn_of_changes(self, old: dict[str, int], state: dict[str, object], other_cells: int | None) -> None:
        gone = sorted(set(old) - set(self.names))
        new = [name for name in self.names if name not in old]
        if gone:
            warnings.warn(
                f"{len(gone)} case(s) of the saved state are not here any more: {some_of(gone)}", stacklevel=4
            )
        if new:
            warnings.warn(f"{len(new)} case(s) are new, and start unseen: {some_of(new)}", stacklevel=4)
        if other_cells is not None:
            warnings.warn(
                f"the saved state has {other_cells} cell(s) a case by {state['draw_by']}, now there are {self.cells} "
                f"by {self.draw_by}: cells start anew",
                stacklevel=4,
            )

    def check_valid(self) -> tuple[bool, str]:
        """Return whether the table is consistent, and if not, why."""
        if self._integers[0] & 1:
            return False, "a write is under way or was cut off"
        if np.isinf(self.hardness).any() or np.isinf(self.cell_hardness).any():
            return False, "an infinite loss entered the table"
        if int((self.visits == 0).sum()) != self.unseen:
            return False, f"unseen is {self.unseen}, {(self.visits == 0).sum()} cases have no visit"
        if np.isfinite(self.hardness[self.visits == 0]).any():
            return False, "a case without a visit has a loss"
        if not np.array_equal(np.sort(self.order), np.arange(len(self))):
            return False, "the sweep's order is no permutation"
        weights = self.tree.weights
        if not np.isfinite(weights).all() or (weights < 0).any() or not self.tree.total > 0:
            return False, "draw weights have to be finite, not negative, and not all 0"
        if abs(weights.sum() - self.tree.total) > 1e-9 * self.tree.total:
            return False, f"the tree's total is {self.tree.total}, its weights sum to {weights.sum()}"
        return True, ""


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


class _Writing:
    """Marks the table as being written: its lock word is odd inside."""

    __slots__ = ("_integers",)

    def __init__(self, integers: memoryview):
        self._integers = integers

    def __enter__(self) -> None:
        self._integers[0] |= 1

    def __exit__(self, *exception: object) -> None:
        self._integers[0] += 1
