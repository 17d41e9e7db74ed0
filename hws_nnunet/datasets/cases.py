"""What a reader hands to a writer: cases, their files, labels and subgroups, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hws_nnunet.messages import ProblemsError


class DatasetError(ProblemsError):
    """A data set that cannot be used; its message lists every problem found."""

    heading = "{source}: {count}, nothing was written:"


@dataclass(frozen=True)
class Case:
    """One case: its image files in channel order, its label file if it has one, and its subgroup.

    ``subgroup`` holds the columns that ``subgroups.csv`` gets beside the case's name; ``test`` cases are held out.
    ``subject`` names whom the scan shows, where a subject may have several; empty: nobody else's.
    ``label_map`` leads from each value of the label file to the value to write; empty: the file is right as it is.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None
    subgroup: dict[str, str] = field(default_factory=dict)
    test: bool = False
    subject: str = ""
    label_map: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How readers take what people have.

    ``images_only``: scans for a prediction; label files are neither expected nor read.
    ``skip_incomplete``: a case that lacks a file, or has one that cannot be read, is left out with a warning.
    ``image_grid``: a label file of its image's shape that lies elsewhere takes the image's grid, with a warning.
    ``progress``: show a bar on standard error.
    """

    images_only: bool = False
    skip_incomplete: bool = False
    image_grid: bool = False
    progress: bool = False


AS_FOUND = Reading()
"""Every case with all of its files, as they are."""


@dataclass(frozen=True)
class Collection:
    """All cases of a source, with the names of channels and labels that they share.

    ``labels`` maps a label's name to its integer value, as written; ``background`` is 0. ``regions`` maps a region's
    name to the label values that it is made of, for a host that trains regions, and ``region_order`` has the label that
    each region writes into a label map, later ones over earlier ones; empty: train the labels.
    ``spread`` asks for folds that share out each subgroup, ``hold_out`` for one fold a value of that column.
    ``warnings`` tells of oddities that do not prevent training, ``summary`` of what was found, one line each.
    """

    source: Path
    cases: tuple[Case, ...]
    channels: tuple[str, ...]
    labels: dict[str, int]
    description: str = ""
    warnings: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    region_order: tuple[int, ...] = ()
    spread: bool = False
    hold_out: str = ""


def with_unknown_groups(cases: Sequence[Case]) -> list[Case]:
    """Return the cases, of which those of subgroup ``all`` have ``unknown`` where others have a subgroup."""
    if len({case.subgroup["subgroup"] for case in cases}) < 2:
        return list(cases)
    return [
        replace(case, subgroup={**case.subgroup, "subgroup": "unknown"}) if case.subgroup["subgroup"] == "all" else case
        for case in cases
    ]
