"""What messages share: an error that lists problems, and lists that end in how many more there are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar


class More(str):
    """A line that stands for further problems."""

    number: int

    def __new__(cls, number: int) -> More:
        """Return the line for so many."""
        line = super().__new__(cls, f"... and {number} more")
        line.number = number
        return line

    def __getnewargs__(self) -> tuple[int]:  # type: ignore[override]  # for pickle
        return (self.number,)


class ProblemsError(ValueError):
    """Something that cannot be used; the message names it, counts all problems, and lists them, one a line.

    Args:
        source: the file or folder at fault, or a text that names it.
        problems: at least one; a :class:`More` among them counts as those for which it stands.
    """

    heading: ClassVar[str] = "{source}: {count}"
    noun: ClassVar[str] = "problem"

    def __init__(self, source: str | Path, problems: Sequence[str]):
        self.source, self.problems = source, list(problems)
        count = sum(problem.number if isinstance(problem, More) else 1 for problem in self.problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(self.heading.format(source=source, count=number(count, self.noun)) + lines)

    def __reduce__(self) -> tuple:
        return type(self), (self.source, self.problems)  # so that workers can raise it


@contextmanager
def without_traceback() -> Iterator[None]:
    """Let an error of the block that lists problems, or names a missing file, end the program with its message alone.

    Whoever catches the error finds it as it was raised.
    """
    try:
        yield
    except (ProblemsError, FileNotFoundError) as error:
        before, told = sys.excepthook, error

        def tell(kind: type[BaseException], uncaught: BaseException, traceback: TracebackType | None) -> None:
            if uncaught is told:
                print(f"error: {uncaught}", file=sys.stderr)
            else:
                before(kind, uncaught, traceback)

        sys.excepthook = tell
        raise


def first_of(problems: Iterable[str], *, most: int = 10) -> list[str]:
    """Return the first problems of one kind, and a line that says how many more there are."""
    lines = list(problems)
    return [*lines[:most], More(len(lines) - most)] if len(lines) > most else lines


def some_of(objects: Iterable[object], *, most: int = 5, separator: str = ", ") -> str:
    """Return the names of the first few objects, and how many more there are."""
    names = list(objects)
    rest = len(names) - most
    return separator.join(map(str, names[:most])) + (f" and {rest} more" if rest > 0 else "")


def number(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where it is not one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
