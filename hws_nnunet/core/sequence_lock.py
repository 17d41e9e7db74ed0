"""A sequence lock: one process writes, many read, and no reader ever holds up the writer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_REPEATS = 50  # of a read: two milliseconds, hundreds of times what an update takes
_AT_ONCE = 10  # of them without a pause


class SequenceLock:
    """A counter that is odd while its owner writes, used as a context by the writer alone.

    Readers take nothing: :meth:`read` repeats what it computed if the counter has moved meanwhile. Words are aligned
    and of 64 bits, so that none is ever seen half written, on x86 and on ARM. That a write under way is noticed takes
    stores that become visible in their order: x86 keeps it, ARM need not. There, or where the writer was killed in a
    write and the repeats run out, a reader sees values of which some are a write older than others.

    Args:
        words: an integer buffer that the processes share.
        index: of the counter's word.
    """

    __slots__ = ("_index", "_words")

    def __init__(self, words: memoryview[Any], index: int):
        self._words, self._index = words, index

    def __enter__(self) -> None:
        if self._words[self._index] & 1:
            raise RuntimeError("the table is being written already: one process writes, one write at a time")
        self._words[self._index] += 1

    def __exit__(self, *exception: object) -> None:
        self._words[self._index] += 1

    def read(self, compute: Callable[[], T]) -> T:
        """Return ``compute()``, run again, a bounded number of times, until nobody wrote meanwhile.

        What ``compute`` changes it may change more than once.
        """
        words, index = self._words, self._index
        for attempt in range(_REPEATS):
            before = words[index]
            result = compute()
            if words[index] == before and not before & 1:
                break
            if attempt > _AT_ONCE:
                time.sleep(5e-5)
        return result
