"""Processes that end with the one that started them, and work on all cores."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

Result = TypeVar("Result")

_METHOD = "spawn"
_FEWEST = 16  # things to do: with fewer, starting processes takes longer than they save
_WHEN_PARENT_ENDS = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
_HERE = threading.local()  # parent: this process, where what this thread forks is to end with it


@contextmanager
def forks_end_with_this_process() -> Iterator[None]:
    """Have processes that this thread forks inside the block end when this one does, even by SIGKILL; on Linux alone.

    Data-loading workers that stay behind hold memory, and under DDP connections on which other machines wait. The
    thread has to live as long as the workers are wanted: the system takes its end for the process's.
    """
    before, _HERE.parent = getattr(_HERE, "parent", None), os.getpid()
    try:
        yield
    finally:
        _HERE.parent = before


def _after_fork() -> None:
    parent, _HERE.parent = getattr(_HERE, "parent", None), None
    if parent is not None:
        _end_with(parent)


def _end_with(parent: int) -> None:
    """Have this process end when its parent does; at once if it has ended already."""
    if _PRCTL is not None:
        _PRCTL(_WHEN_PARENT_ENDS, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


if _PRCTL is not None:
    os.register_at_fork(after_in_child=_after_fork)


def on_all_cores(
    function: Callable[..., Result], *arguments: Sequence, desc: str, progress: bool = False
) -> list[Result]:
    """Return ``[function(*items) for items in zip(*arguments)]``, in processes where it is worth starting them.

    They are started anew (spawn), so that threads of this process do no harm, and import the main script: one that has
    no ``if __name__ == "__main__"`` would be run again. They end with this process. The first error ends all.

    Args:
        function: of a module, no closure; what it takes, returns and raises has to be picklable.
        arguments: one or several sequences of one length.
        desc: what the bar is called.
        progress: show a bar on standard error.
    """
    total = len(arguments[0])
    bar: dict[str, Any] = {"desc": desc, "unit": "case", "total": total, "disable": not progress}
    workers = min(_cores(), total)
    if workers < 2 or total < _FEWEST:
        return list(tqdm(map(function, *arguments), **bar))
    context = multiprocessing.get_context(_METHOD)
    with ProcessPoolExecutor(workers, context, _begin, (os.getpid(),)) as pool:
        try:
            return list(tqdm(pool.map(function, *arguments), **bar))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what is under way ends before its files are tidied up
            raise


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent ends them
    _end_with(parent)
