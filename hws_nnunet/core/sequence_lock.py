"""A sequence lock: one process writes, many read, and no reader ever holds up the writer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_PATIENCE = 5.0  # seconds for a write under way: a busy machine takes the writer off its core for milliseconds
_REPEATS = 50  # of a read that later writes overtook


class SequenceLock:
    """A counter that is odd while its owner writes, used as a context by the writer alone.

    Readers take nothing: :meth:`read` waits for the end of a write, and repeats what it computed if the counter has
    moved meanwhile. Words are aligned and of 64 bits, so that none is ever seen half written, on x86 and on ARM. That
    a write under way is noticed takes stores that become visible in their order: x86 keeps it, ARM need not. There, or
    where the writer was killed in a write, a reader sees values of which some are a write older than others.

    Args:
        words: an integer buffer that the processes share.
        index: of the counter's word.
    """

    __slots__ = ("_abandoned", "_index", "_words")

    def __init__(self, words: memoryview[Any], index: int):
        self._words, self._index = words, index
        self._abandoned = -1  # the counter in a write that did not end: nobody waits for it twice

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
        for _ in range(_REPEATS):
            before = self._wait()
            result = compute()
            if before & 1 or self._words[self._index] == before:
                break
        return result

    def _wait(self) -> int:
        """Return the counter after the write that is under way; odd where that write does not end."""
        counter: int = self._words[self._index]
        if counter & 1 and counter != self._abandoned:
            end = time.monotonic() + _PATIENCE
            while counter & 1 and time.monotonic() < end:
                time.sleep(5e-5)
                counter = self._words[self._index]
            self._abandoned = counter
        return counter
