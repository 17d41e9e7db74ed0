"""Files and folders that appear whole or not at all, and where the package's own files lie."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` when the block ends without an error.

    The temporary names are fixed, so that what a killed process left behind is overwritten by the next attempt. Where
    several processes write one file at a time, each has one of its own, and the last to end is what stays.
    """
    target = Path(path)
    partial, lock = _own_partial(target)
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        with suppress(OSError):  # a folder that has become read-only, for instance: that is told
            partial.unlink()
        raise
    finally:
        os.close(lock)


def _own_partial(target: Path) -> tuple[Path, int]:
    """Return the first temporary name beside ``target`` that nobody writes to, and its file, open and locked."""
    number = 1
    while True:
        partial = target.with_name(f"{target.name}{'' if number == 1 else f'.{number}'}.partial")
        lock = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            number += 1
            os.close(lock)
            continue
        except OSError:  # a file system without locks: all use the first name
            return partial, lock
        try:
            if os.path.samestat(os.fstat(lock), os.stat(partial)):
                return partial, lock
        except FileNotFoundError:
            pass
        os.close(lock)  # it has become somebody's target meanwhile


@contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; it takes the place of ``path`` when the block ends without an error.

    A folder that was at ``path`` stays until the new one is complete.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    old = target.with_name(target.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(target, old)
        os.replace(partial, target)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def packaged(*parts: str) -> Path:
    """Return the path of a file or folder that travels with the package (below ``configs`` or ``trainers``).

    In a wheel these lie below ``hws_nnunet/``; in a checkout beside it.

    Raises:
        FileNotFoundError: where neither exists.
    """
    here = Path(__file__).resolve().parent
    for root in (here, here.parent):
        candidate = root.joinpath(*parts)
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"{'/'.join(parts)} was not found below {here} or {here.parent}: is the installation complete?"
    )
