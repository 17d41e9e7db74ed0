"""Files and folders that appear whole or not at all, and where the package's own files lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; rename it to ``path`` when the block ends without an error.

    The temporary names are fixed, so that what a killed process left behind is overwritten by the next attempt. Where
    several processes write one file at a time, each has one of its own, and the last to end is what stays.

    Raises:
        OSError: it cannot be written; the message names ``path`` and what stands in the way.
    """
    target = Path(path)
    check_room(target, folder=False)
    try:
        partial, lock = _own_partial(target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):  # what went wrong before is what people have to know
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is not None and os.fspath(error.filename) == str(partial):
            raise _cannot_write(target, error) from error
        raise
    finally:
        os.close(lock)


def _own_partial(target: Path) -> tuple[Path, int]:
    """Return the first temporary name beside ``target`` that nobody writes to, and its file, open and locked."""
    number = 1
    while True:
        partial = target.with_name(f"{target.name}{'' if number == 1 else f'.{number}'}.partial")
        lock = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return partial, lock
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            number += 1
            os.close(lock)
            continue
        except OSError:  # a file system without locks: all use the first name, as where the system has none
            return partial, lock
        try:
            if os.path.samestat(os.fstat(lock), os.stat(partial)):
                return partial, lock
        except FileNotFoundError:
            pass
        os.close(lock)  # it has become somebody's target meanwhile


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; it takes the place of ``path`` when the block ends without an error.

    A folder that was at ``path`` stays until the new one is complete.

    Raises:
        OSError: it cannot be made; the message names ``path`` and what stands in the way.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    old = target.with_name(target.name + ".old")
    check_room(target, folder=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
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


def check_room(target: Path, *, folder: bool) -> None:
    """Raise if a file, or a folder, cannot be written at ``target``, as far as can be told before.

    Raises:
        NotADirectoryError, IsADirectoryError: a file stands where a folder is expected, or a folder for a file.
        FileNotFoundError: the folder of a file is not there.
        PermissionError: the folder that is there may not be written.
    """
    target = Path(target)
    if folder and target.exists() and not target.is_dir():
        raise NotADirectoryError(f"{target} is a file, expected a folder, or nothing")
    if not folder and target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, expected a file, or nothing")
    above = next((place for place in target.absolute().parents if place.exists()), Path("/"))
    if not above.is_dir():
        raise NotADirectoryError(f"{target} cannot be written: {above} is a file, expected a folder")
    if not folder and above != target.absolute().parent:
        raise FileNotFoundError(f"{target} cannot be written: {target.parent} does not exist")
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(f"{target} cannot be written: {above} may not be written")


def needed_folder(path: str | os.PathLike, what: str) -> Path:
    """Return a folder that has to be there.

    Args:
        path: the folder.
        what: it is, for the message.

    Raises:
        FileNotFoundError: nothing is there.
        NotADirectoryError: a file is.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{what} does not exist: {path}")
    if not path.is_dir():
        raise NotADirectoryError(f"{what} is a file, expected a folder: {path}")
    return path


def _cannot_write(target: Path, error: OSError) -> OSError:
    """Return the error, told of the file or folder that was to be written, not of the temporary one."""
    return type(error)(f"{target} cannot be written: {error.strerror} ({target.absolute().parent})")


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
