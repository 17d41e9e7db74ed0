"""Scans without labels, written for a prediction: the channels in the order of the data set that the model learnt."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hws_nnunet.datasets.cases import Collection, DatasetError
from hws_nnunet.datasets.raw import place_images
from hws_nnunet.facts.versions import DATASET, FILE_ENDING
from hws_nnunet.files import atomic_folder, check_room
from hws_nnunet.messages import some_of
from hws_nnunet.processes import on_all_cores

TO_PREDICT = "imagesTs"
"""Name of a raw data set's folder of scans without labels."""
_NAMES = {
    "T1": ("t1n", "t1w", "t1native"),
    "T1ce": ("t1c", "t1gd", "t1cew", "t1post", "t1contrast"),
    "T2": ("t2w",),
    "FLAIR": ("t2f", "t2flair", "fla"),
    "T2w": ("t2",),
}
"""What people call our channels, in small letters and digits."""


def channels_of(dataset: Path) -> list[str]:
    """Return the names of a raw data set's channels in their order.

    Raises:
        FileNotFoundError: it has no ``dataset.json``.
        DatasetError: that names no channels.
    """
    path = dataset / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: it names the channels in the order that the model learnt")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        names = content.get("channel_names") or content.get("modality")
        return [str(names[key]) for key in sorted(names, key=int)]
    except (ValueError, AttributeError, TypeError) as error:
        raise DatasetError(path, [f"expected channel_names, or modality, by number: {error}"]) from None


def in_order(collection: Collection, wanted: Sequence[str], dataset: str) -> Collection:
    """Return a collection with the channels of a data set, in its order.

    Args:
        collection: scans with named channels.
        wanted: the data set's channels.
        dataset: its name, for messages.

    Raises:
        DatasetError: one of them is not among the collection's, or is there twice.
    """
    if len(wanted) == len(collection.channels) == 1:
        return replace(collection, channels=tuple(wanted))
    ours = {_plain(name): i for i, channel in enumerate(collection.channels) for name in _all_names(channel)}
    order = [ours.get(_plain(name)) for name in wanted]
    if None in order or len(set(order)) < len(order):
        raise DatasetError(
            collection.source,
            [f"{dataset} has the channels {', '.join(wanted)}; these scans have {', '.join(collection.channels)}"],
        )
    kept = [i for i in order if i is not None]
    cases = tuple(replace(case, images=tuple(case.images[i] for i in kept)) for case in collection.cases)
    return replace(collection, cases=cases, channels=tuple(wanted))


def _all_names(channel: str) -> tuple[str, ...]:
    return (channel, *_NAMES.get(channel, ()))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def write_scans(collection: Collection, folder: Path, *, overwrite: bool, link: bool, progress: bool) -> None:
    """Write the images of all cases into a folder, whole or not at all.

    Raises:
        FileExistsError: it holds files and ``overwrite`` is off, or files other than scans for nnU-Net.
        OSError: it cannot be written.
    """
    check_scans_target(folder, overwrite=overwrite)
    with atomic_folder(folder) as partial:
        there = [partial] * len(collection.cases), [link] * len(collection.cases)
        on_all_cores(place_images, collection.cases, *there, desc="writing", progress=progress)


def check_scans_target(folder: Path, *, overwrite: bool) -> None:
    """Raise unless the folder can be written: it holds nothing, or with ``overwrite`` only scans for nnU-Net.

    Raises:
        FileExistsError: it holds files; with ``overwrite``, files other than scans for nnU-Net; or it is another folder
            of a raw data set than ``imagesTs``.
        OSError: it cannot be made, or is a file.
    """
    check_room(folder, folder=True)
    place = folder.absolute()  # the name of ``.``, too
    if (place.parent / DATASET).is_file() and place.name != TO_PREDICT:
        raise FileExistsError(f"{folder} lies in a data set, where scans go to {TO_PREDICT}: leave out --out")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in there if not re.fullmatch(rf".+_\d{{4}}{re.escape(FILE_ENDING)}", name)]:
        raise FileExistsError(
            f"{folder} holds more than scans for nnU-Net, as {some_of(others)}, and is not replaced: --out names "
            "another folder"
        )
    if there and not overwrite:
        raise FileExistsError(f"{folder} holds files: --overwrite replaces all of them, --out names another folder")
