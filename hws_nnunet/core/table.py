"""The table that the training process writes and the data-loading workers read, in one block of shared memory."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from hws_nnunet.core.sum_tree import SumTree

T = TypeVar("T")

FORMAT = 4
"""Of saved state."""
_WORD = 8  # bytes; every entry is one aligned 64-bit word
_REPEATS = 50  # of a read: two milliseconds, hundreds of times what an update takes
_BY_CASE = ("offset", "structure_hardness", "visits", "answers", "window", "near", "before", "stuck")
_SAVED = (*_BY_CASE, "order")
_HEADER = ("version", "weighted", "losses", "beta", "lag", "level")  # saved, too
_UNKNOWN = ("offset", "structure_hardness", "before")  # NaN where nothing is known, 0 otherwise


def _header(kind: type, index: int, meaning: str) -> property:
    """Return an attribute that lies in the header, one word of it."""
    where = "_reals" if kind is float else "_integers"

    def get(self: HardnessTable) -> float:
        return kind(getattr(self, where)[index])

    def put(self: HardnessTable, value: float) -> None:
        getattr(self, where)[index] = value

    return property(get, put, doc=meaning)


class HardnessTable:
    """Tracked losses, visits and draw weights of ``n`` cases, shared between processes.

    A tracked loss is the sum of two: the *level* that all cases have in common now, and the case's own *offset* from
    it. So what a case was found to be worth while all losses were higher need not be seen again to be compared.

    The training process alone writes (inside :meth:`writing`), except for the first sweep's position and stamps, which
    workers write. Readers take no lock: :meth:`read` repeats what they computed if the training process wrote
    meanwhile. Words are aligned and of 64 bits, so that none is ever seen half written, on x86 and on ARM. That a
    write under way is noticed takes stores that become visible in their order: x86 keeps it, ARM need not. There, or
    where the training process was killed in a write and the repeats run out, a reader draws from weights of which
    some are an update older than others. That is a draw from one of two distributions a step apart: every number is
    one that was written, and a draw always ends at one of the cases.

    The block is anonymous memory of ``multiprocessing``: children reach it under fork by inheritance, under
    forkserver and spawn by pickling while they start; it has no name, so that nothing is left when a process is killed.

    Args:
        names: the cases' names, unique, at least one.
        structures: names of the structures whose hardness is tracked for every case, unique; none by default.
        measure: name of the loss that is tracked; saved, so that a resumed training does not mix two.
        context: a ``multiprocessing`` context; default the current one.

    Attributes:
        offset: ``(n,)``, NaN until a finite value came.
        structure_hardness: ``(n, len(structures))``, NaN until a finite value came.
        visits: ``(n,)``, answers that came, finite or not.
        stamp: ``(n,)``, the table's version when the first sweep drew a case.
        order: ``(n,)``, the first sweep's permutation.
        answers, window, near, before, stuck: ``(n,)``, of :mod:`~hws_nnunet.core.stalls`: finite answers; of the
            window under way, the losses' sum and how many were not far beyond the others; mean of the last window
            (NaN: none); the verdict.
        tree: the draw weights.

    Raises:
        ValueError: for names that repeat or are none.
    """

    offset: np.ndarray
    structure_hardness: np.ndarray
    visits: np.ndarray
    stamp: np.ndarray
    order: np.ndarray
    answers: np.ndarray
    window: np.ndarray
    near: np.ndarray
    before: np.ndarray
    stuck: np.ndarray

    version = _header(int, 1, "How many updates the table has had.")
    weighted = _header(bool, 2, "Whether draws are weighted: every case has been seen once.")
    unseen = _header(int, 3, "How many cases have not been seen.")
    position = _header(
        int, 4, "Up to where the first sweep's permutation has been drawn, about: workers write it without a lock."
    )
    losses = _header(int, 5, "How many finite losses came.")
    beta = _header(float, 0, "Beta in force.")
    lag = _header(float, 1, "Running mean of the number of updates between a draw and the update that answers it.")
    level = _header(float, 2, "What all tracked losses have in common.")

    def __init__(
        self,
        names: Sequence[str],
        *,
        structures: Sequence[str] = (),
        measure: str = "loss",
        context: multiprocessing.context.BaseContext | None = None,
    ):
        self.names, self.structures = tuple(map(str, names)), tuple(map(str, structures))
        self.measure = measure
        if not self.names:
            raise ValueError("a table needs at least one case, given: none")
        for what, given in (("case", self.names), ("structure", self.structures)):
            seen: set[str] = set()
            if twice := sorted({name for name in given if name in seen or seen.add(name)}):  # type: ignore[func-returns-value]
                raise ValueError(f"{what} names have to be unique; given more than once: {', '.join(twice[:10])}")
        words = sum(np.prod(shape, dtype=int) for _, shape, _ in self._layout())
        self._block = (context or multiprocessing.get_context()).RawArray("b", int(words) * _WORD)
        self._map()
        for name in _UNKNOWN:
            getattr(self, name).fill(np.nan)
        self.order[:] = np.arange(len(self.names))
        self.tree.fill(np.ones(len(self.names)))
        self.unseen = len(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _layout(self) -> list[tuple[str, tuple[int, ...], type]]:
        n = len(self.names)
        return [
            ("_integers_array", (6,), np.int64),
            ("_reals_array", (3,), np.float64),
            ("_tree_array", (SumTree.words(n),), np.float64),
            ("offset", (n,), np.float64),
            ("structure_hardness", (n, len(self.structures)), np.float64),
            ("visits", (n,), np.int64),
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
        self.words: dict[str, memoryview[Any]] = {}
        start = 0
        for name, shape, dtype in self._layout():
            stop = start + int(np.prod(shape, dtype=int)) * _WORD
            view: memoryview[Any] = block[start:stop].cast("d" if dtype is np.float64 else "q")
            self.words[name] = view
            setattr(self, name, np.frombuffer(view, dtype=dtype).reshape(shape) if stop > start else np.empty(shape))
            start = stop
        self._integers = self.words["_integers_array"]
        self._reals = self.words["_reals_array"]
        self.tree = SumTree(self.words["_tree_array"], len(self.names))

    def __getstate__(self) -> dict:
        return {key: self.__dict__[key] for key in ("names", "structures", "measure", "_block")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def hardness(self) -> np.ndarray:
        """Tracked losses, ``(n,)``, a new array; NaN where nothing is known."""
        return self.offset + self.level

    @property
    def nbytes(self) -> int:
        """Bytes of shared memory that the table takes."""
        return len(self._block)

    def writing(self) -> _Writing:
        """Return the context in which the training process changes the table.

        Raises:
            RuntimeError: on entering it inside of itself.
        """
        return _Writing(self._integers)

    def read(self, compute: Callable[[], T]) -> T:
        """Return ``compute()``, run again, a bounded number of times, until the training process did not write
        meanwhile.

        What ``compute`` changes it may change more than once.
        """
        lock = self._integers
        for attempt in range(_REPEATS):
            before = lock[0]
            result = compute()
            if lock[0] == before and not before & 1:
                break
            if attempt > 10:
                time.sleep(5e-5)
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return what is tracked, in copies; what is under way in the first sweep is left out."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in _SAVED}
        return {
            "format": FORMAT,
            "names": list(self.names),
            "structures": list(self.structures),
            "measure": self.measure,
            **{name: getattr(self, name) for name in _HEADER},
            **arrays,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict` by names; draw weights stay as they are (training process only).

        Raises:
            ValueError: for another format, another measure, or a damaged state; nothing is changed then.
        """
        if not isinstance(state, dict):
            raise ValueError(f"sampler state is {type(state).__name__}, expected a dictionary")
        if state.get("format") != FORMAT:
            raise ValueError(
                f"sampler state has format {state.get('format')!r}, expected {FORMAT}: it was saved by another "
                "version of hws-nnunet, with which this training can be finished"
            )
        saved = _checked(state)
        if state["measure"] != self.measure:
            raise ValueError(
                f"sampler state tracks {state['measure']!r}, expected {self.measure!r}: a training goes on with the "
                "draw_by that it began with"
            )
        here, there = _matches(self.names, state["names"])
        columns, saved_columns = _matches(self.structures, state["structures"])
        self._warn_of_changes(state)
        with self.writing():
            for name in _BY_CASE:
                array = getattr(self, name)
                array.fill(np.nan if name in _UNKNOWN else 0)
                if name == "structure_hardness":
                    array[np.ix_(here, columns)] = saved[name][np.ix_(there, saved_columns)]
                else:
                    array[here] = saved[name][there]
            rank = np.full(len(self), len(saved["order"]), dtype=np.int64)
            rank[here] = np.argsort(saved["order"])[there]
            self.order[:] = np.argsort(rank, kind="stable")
            self.position = 0
            self.stamp.fill(0)
            for name in _HEADER:
                setattr(self, name, state[name])
            self.unseen = int((self.visits == 0).sum())

    def _warn_of_changes(self, state: dict[str, Any]) -> None:
        for what, now, saved, consequence in (
            ("case", self.names, state["names"], "start unseen"),
            ("structure", self.structures, state["structures"], "start unknown"),
        ):
            if gone := sorted(set(saved) - set(now)):
                warnings.warn(
                    f"{len(gone)} {what}(s) of the saved state are not here any more: {some_of(gone)}", stacklevel=4
                )
            if new := [name for name in now if name not in set(saved)]:
                warnings.warn(f"{len(new)} {what}(s) are new, and {consequence}: {some_of(new)}", stacklevel=4)


def _checked(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return a state's arrays by name, or raise for one that no :meth:`HardnessTable.state_dict` gave."""
    try:
        names, structures = state["names"], state["structures"]
        for given in (names, structures):
            if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
                raise ValueError("names are no list of texts")
        saved = {name: np.asarray(state[name]) for name in _SAVED}
        for name, array in saved.items():
            shape = (len(names), len(structures)) if name == "structure_hardness" else (len(names),)
            if array.shape != shape or array.dtype.kind not in "fi":
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, expected numbers of shape {shape}")
        if not np.array_equal(np.sort(saved["order"]), np.arange(len(names))):
            raise ValueError("order is no order of the cases")
        if wrong := [name for name in _HEADER if not np.isfinite(float(state[name]))]:
            raise ValueError(f"{wrong[0]} is {state[wrong[0]]}")
        state["measure"]
    except KeyError as error:
        raise ValueError(f"sampler state is damaged: it has no {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"sampler state is damaged: {error}") from error
    return saved


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _matches(here: Sequence[str], there: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of the names that both have, here and there."""
    where = {name: index for index, name in enumerate(there)}
    both = [index for index, name in enumerate(here) if name in where]
    return np.array(both, dtype=np.int64), np.array([where[here[index]] for index in both], dtype=np.int64)


class _Writing:
    """Marks the table as being written: its lock word is odd inside."""

    __slots__ = ("_integers",)

    def __init__(self, integers: memoryview):
        self._integers = integers

    def __enter__(self) -> None:
        if self._integers[0] & 1:
            raise RuntimeError("the table is being written already: one process writes, one write at a time")
        self._integers[0] += 1

    def __exit__(self, *exception: object) -> None:
        self._integers[0] += 1
