"""The table that the training process writes and the data-loading workers read, in one block of shared memory."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hws_nnunet.core import columns
from hws_nnunet.core.columns import Column, Word
from hws_nnunet.core.sequence_lock import SequenceLock
from hws_nnunet.messages import some_of

T = TypeVar("T")

_WORD = 8  # bytes; every entry is one aligned 64-bit word


class HardnessTable:
    """Tracked losses, visits and draw weights of ``n`` cases, shared between processes.

    What it holds is listed in :mod:`hws_nnunet.core.columns`: each column is an attribute, ``(n,)`` or
    ``(n, len(structures))``, each word a number. ``words[name]`` is a column as a flat memoryview, in which single
    values are several times cheaper to reach. A tracked loss is the sum of two: the *level* that all cases have in
    common now, and the case's own *offset* from it. So a case need not be seen again to be compared after all losses
    have fallen.

    The training process alone writes (inside :meth:`writing`), except for the warm-up pass's position and stamps, which
    workers write. Readers take no lock (:meth:`read`); what a reader draws while the training process dies in a write
    is a draw from one of two distributions a step apart.

    The block is anonymous memory of ``multiprocessing``: children reach it under fork by inheritance, under
    forkserver and spawn by pickling while they start; it has no name, so that nothing is left when a process is killed.

    Args:
        names: the cases' names, unique, at least one; a range's numbers take no memory.
        structures: names of the structures whose hardness is tracked for every case, unique; none by default.
        measure: name of the loss that is tracked; saved, so that a resumed training does not mix two.
        context: a ``multiprocessing`` context; default the current one.

    Raises:
        ValueError: for names that repeat, or no names.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Columns and words are attributes."""

        def __setattr__(self, name: str, value: Any) -> None:
            """Words can be set."""

    def __init__(
        self,
        names: Sequence[str] | range,
        *,
        structures: Sequence[str] = (),
        measure: str = "loss",
        context: multiprocessing.context.BaseContext | None = None,
    ):
        self.names: tuple[str, ...]
        self.names = names if isinstance(names, range) else tuple(map(str, names))  # type: ignore[assignment]
        self.structures = tuple(map(str, structures))
        self.measure = measure
        if not self.names:
            raise ValueError("a table needs at least one case, given: none")
        for what, all_names in (("case", self.names), ("structure", self.structures)):
            if not isinstance(all_names, range) and len(set(all_names)) < len(all_names):
                twice = sorted(name for name, count in Counter(all_names).items() if count > 1)
                raise ValueError(f"{what} names have to be unique; given more than once: {some_of(twice, most=10)}")
        size = len(columns.WORDS) + sum(self._size(column) for column in columns.COLUMNS)
        self._block = (context or multiprocessing.get_context()).RawArray("b", size * _WORD)
        self._map()
        for column in columns.COLUMNS:
            getattr(self, column.name).fill(column.unknown)
        self.order[:] = np.arange(len(self))
        self.weigh(self.weight)
        self.unseen = len(self)

    def __len__(self) -> int:
        return len(self.names)

    def shape_of(self, column: Column) -> tuple[int, ...]:
        """Return a column's shape."""
        return (len(self), len(self.structures)) if column.by_structure else (len(self),)

    def _size(self, column: Column) -> int:
        return int(np.prod(self.shape_of(column), dtype=int))

    def _map(self) -> None:
        """Lay words and columns over the block."""
        block = memoryview(self._block).cast("B")
        stop = len(columns.WORDS) * _WORD
        self._integers, self._reals = block[:stop].cast("q"), block[:stop].cast("d")
        self._lock = SequenceLock(self._integers, _places()["lock"])
        self.words: dict[str, memoryview[Any]] = {}
        for column in columns.COLUMNS:
            start, stop = stop, stop + self._size(column) * _WORD
            self.words[column.name] = block[start:stop].cast("d" if column.kind is float else "q")
            shape = self.shape_of(column)
            array = np.frombuffer(block[start:stop], column.kind).reshape(shape) if stop > start else np.empty(shape)
            setattr(self, column.name, array)

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

    def weigh(self, weights: np.ndarray) -> None:
        """Replace all draw weights, ``(n,)``, in any unit."""
        self.weight[:] = weights
        self.total, self.largest = weights.sum(), weights.max()

    def writing(self) -> SequenceLock:
        """Return the context in which the training process changes the table.

        Raises:
            RuntimeError: on entering it inside of itself.
        """
        return self._lock

    def read(self, compute: Callable[[], T]) -> T:
        """Return ``compute()`` of one version of the table; see ``SequenceLock.read``."""
        return self._lock.read(compute)

    def digest(self) -> bytes:
        """Return 32 bytes that are equal where all is equal that ranks compare."""
        digest = hashlib.sha256(repr([getattr(self, word.name) for word in columns.WORDS if word.saved]).encode())
        for column in columns.COLUMNS:
            if column.compared:
                digest.update(np.ascontiguousarray(getattr(self, column.name)).tobytes())
        return digest.digest()

    def check_valid(self) -> str:
        """Return what does not hold of the table and always should, "" where all does."""
        if self.lock & 1:
            return "a write is under way or was cut off"
        for column in columns.COLUMNS:
            array = getattr(self, column.name)
            if np.isinf(array).any() if column.kind is float else (array < 0).any():
                return f"an infinite or a negative value entered the column {column.name}"
        for word in columns.WORDS:
            value = getattr(self, word.name)
            if (value < 0 and word.kind is int) or not np.isfinite(value):
                return f"the word {word.name} is {value}"
        if (unseen := int((self.visits == 0).sum())) != self.unseen:
            return f"unseen is {self.unseen}, {unseen} cases have no visit"
        if np.isfinite(self.offset[self.visits == 0]).any():
            return "a case without a visit has a loss"
        if not np.array_equal(np.sort(self.order), np.arange(len(self))):
            return "the sweep's order is not a permutation"
        if not np.isfinite(self.weight).all() or not 0 <= self.weight.min() <= self.weight.max() <= self.largest:
            return f"draw weights lie from {self.weight.min()} to {self.weight.max()}, expected 0 to {self.largest}"
        if not self.total > 0 or abs(self.weight.sum() - self.total) > 1e-9 * self.total:
            return f"the total of the draw weights is {self.total}, they sum to {self.weight.sum()}"
        return ""


def _places() -> dict[str, int]:
    return {word.name: index for index, word in enumerate(columns.WORDS)}


def _attribute(word: Word) -> property:
    """Return an attribute of the table that lies in its header; each step asks for about twenty."""
    index = _places()[word.name]

    def get_real(self: HardnessTable) -> float:
        return self._reals[index]

    def put_real(self: HardnessTable, value: float) -> None:
        self._reals[index] = value

    def get_integer(self: HardnessTable) -> int:
        return self._integers[index]

    def put_integer(self: HardnessTable, value: int) -> None:
        self._integers[index] = value

    def get_flag(self: HardnessTable) -> bool:
        return self._integers[index] != 0

    get = {float: get_real, int: get_integer, bool: get_flag}[word.kind]
    return property(get, put_real if word.kind is float else put_integer, doc=word.meaning)


for _word in columns.WORDS:
    setattr(HardnessTable, _word.name, _attribute(_word))
