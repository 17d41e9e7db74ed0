"""What the parts of the report share."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from hws_nnunet.files import atomic_write

COLOURS = plt.get_cmap("tab10").colors


def bar_line(name: str, difference: tuple[float, float, float], bar: float) -> str:
    """Return a line that says whether a difference, with its interval, reached what was to be reached.

    Above a bar over 0 the interval has to be above 0, too.
    """
    middle, low, _ = difference
    reached = middle >= bar and (low > 0 or bar <= 0)
    return (
        f"- {name}: {100 * middle:+.1f} points, interval from {100 * low:+.1f} (bar: {round(100 * bar, 1):+g}): "
        f"{'reached' if reached else 'NOT reached'}"
    )


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure, whole or not at all, and close it."""
    figure.tight_layout()
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=90, format="png", bbox_inches="tight")
    plt.close(figure)
