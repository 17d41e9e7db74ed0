"""The sections of docs/benchmarks.md, each between two marks, and what experiments share to write and draw them.

    python scripts/benchmarks/page.py [--docs docs]

writes every section anew from the results in ``docs/benchmarks``. An experiment writes its own when it has run.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from experiments import write_json

from hws_nnunet.files import atomic_write

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXPERIMENTS = (
    "digits",
    "phantom",
    "atlas",
    "hippocampus",
    "feedback",
    "gather",
    "loader",
    "scale",
    "groups",
    "rare",
    "worlds",
    "sampler",
    "step",
    "overhead",
    "update",
)
"""Modules with ``SECTIONS``."""
COLOURS = plt.get_cmap("tab10").colors

Lines = list[str]


def read_one(results: Path, name: str) -> object:
    """Return what ``NAME.json`` holds, None where it does not exist."""
    file = results / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Args:
        name: of its marks, of its figure and, unless ``read`` says otherwise, of its results.
        title: its heading.
        command: what makes its results, below ``scripts/benchmarks``.
        make: takes the results and the figure's file, which it writes; returns lines on what was to be reached, and the
            section's other lines.
        read: takes the folder of results and the name; returns results, None where there are none.
        figure: whether there is one.
    """

    name: str
    title: str
    command: str
    make: Callable[[object, Path], tuple[Lines, Lines]]
    read: Callable[[Path, str], object] = read_one
    figure: bool = True

    def write(self, docs: Path) -> bool:
        """Write the section and its figure; return False, and leave the page alone, where there are no results."""
        results = docs / "benchmarks"
        measured = self.read(results, self.name)
        if not measured:
            return False
        image = results / f"{self.name}.png"
        bars, lines = self.make(measured, image)
        shown = ["", f"![{self.title}](benchmarks/{image.name})"] if self.figure else []
        text = [f"## {self.title}", "", f"`python scripts/benchmarks/{self.command}`", "", *bars, *[""] * bool(bars)]
        _replace(docs / "benchmarks.md", self.name, "\n".join([*text, *lines, *shown]))
        return True


def _replace(page: Path, name: str, text: str) -> None:
    """Put text between the marks of a section; a page that lacks them gets them at its end."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->\n"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    if begin not in old:
        old += f"\n{begin}{end}"
    before, rest = old.split(begin)
    _, after = rest.split(end)
    with atomic_write(page) as partial:
        partial.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def arguments(description: str, work: str, *, seeds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser of what all experiments take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="in its smallest form: does it run?")
    parser.add_argument("--show", action="store_true", help="run nothing, write the section from the results there are")
    parser.add_argument("--results-only", action="store_true", help="no page: it may need the report")
    parser.add_argument("--docs", type=Path, help="folder of benchmarks.md; default docs, with --quick WORK/quick")
    parser.add_argument("--work", type=Path, default=Path("benchmark-results") / work, help="folder of single runs")
    parser.add_argument("--processes", type=int, default=2)
    if seeds is not None:
        parser.add_argument("--seeds", type=int, default=seeds)
    return parser


def finish(args: argparse.Namespace, sections: Iterable[Section], run: Callable[[argparse.Namespace], dict]) -> None:
    """Run an experiment unless only to be shown, keep its results, and write the sections that these are in.

    Args:
        args: of :func:`arguments`.
        sections: the experiment's.
        run: returns results by the name of their file.
    """
    args.docs = args.docs or (args.work / "quick" if args.quick else DOCS)
    for name, measured in {} if args.show else run(args).items():
        write_json(args.docs / "benchmarks" / f"{name}.json", measured)
    if args.results_only:
        return
    written = [section.title for section in sections if section.write(args.docs)]
    print(f"{args.docs / 'benchmarks.md'}: {'; '.join(written) or 'no results yet'}")


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Lines:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (header, *rows)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]


def verdict(reached: bool) -> str:
    """Return the end of a line on what was to be reached."""
    return "reached" if reached else "NOT reached"


def points(value: float) -> str:
    """Return a difference in points, zero without a sign."""
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"


def bar_line(name: str, difference: tuple[float, float, float], bar: float) -> str:
    """Return a line that says whether a difference, with its interval, reached what was to be reached.

    Above a bar over 0 the interval has to be above 0, too.
    """
    middle, low, _ = difference
    return (
        f"- {name}: {points(100 * middle)} points, interval from {points(100 * low)} (bar: {round(100 * bar, 1):+g}): "
        f"{verdict(middle >= bar and (low > 0 or bar <= 0))}"
    )


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure, whole or not at all, and close it."""
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=90, format="png", bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=DOCS)
    docs = parser.parse_args().docs
    for name in EXPERIMENTS:
        for section in importlib.import_module(name).SECTIONS:
            print(f"{section.title}: {'written' if section.write(docs) else 'no results yet'}")


if __name__ == "__main__":
    main()
