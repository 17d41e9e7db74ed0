"""Writer of nnU-Net v2's raw format (``nnUNet_raw/DatasetXXX_Name``)."""

from __future__ import annotations

import json
from pathlib import Path

from hws_nnunet.datasets.cases import Collection
from hws_nnunet.datasets.raw import free_target, numbered_name, written_cases
from hws_nnunet.facts.versions import DATASET, FILE_ENDING, V2
from hws_nnunet.files import needed_folder


def dataset_name(dataset_id: int, name: str) -> str:
    """Return nnU-Net's name of a data set, ``DatasetXXX_Name``.

    Raises:
        ValueError: for a number or name that nnU-Net does not take.
    """
    return numbered_name(V2.prefix, dataset_id, name)


def check_target(raw_folder: Path, *, dataset_id: int, name: str, overwrite: bool = False) -> Path:
    """Return the folder that :func:`write_raw_v2` would write, after its checks of it; arguments and errors are its."""
    raw_folder = Path(raw_folder)
    folder_name = dataset_name(dataset_id, name)
    needed_folder(raw_folder, V2.raw)
    return free_target(raw_folder, folder_name, overwrite=overwrite)


def write_raw_v2(
    collection: Collection,
    raw_folder: Path,
    *,
    dataset_id: int,
    name: str,
    overwrite: bool = False,
    link: bool = False,
    progress: bool = False,
) -> Path:
    """Write a collection as ``raw_folder/DatasetXXX_Name``, whole or not at all, with ``subgroups.csv``.

    Where a subject has several scans, the folder gets ``splits_final.json``, too; planning copies it from there.
    A collection with regions becomes a data set for region-based training.

    Args:
        collection: what a reader returned; its files stay as they are.
        raw_folder: nnU-Net's ``nnUNet_raw``; has to exist.
        dataset_id: 1 to 999; nnU-Net allows one data set a number.
        name: letters, digits, ``-`` and ``_``.
        overwrite: replace a data set of this very name.
        link: link to the source's files instead of copying them.
        progress: show a bar on standard error.

    Raises:
        FileNotFoundError: ``raw_folder`` does not exist.
        FileExistsError: the data set exists and ``overwrite`` is off, or another one has this number.
        DatasetError: the files are not NIfTI files.
    """
    target = check_target(raw_folder, dataset_id=dataset_id, name=name, overwrite=overwrite)
    with written_cases(collection, target, splits_file=V2.splits_file, link=link, progress=progress) as folder:
        description = {
            "name": name,
            "description": collection.description,
            "channel_names": {str(i): channel for i, channel in enumerate(collection.channels)},
            "labels": _labels(collection),
            "numTraining": sum(not case.test for case in collection.cases),
            "file_ending": FILE_ENDING,
        }
        if collection.regions:
            description["regions_class_order"] = list(collection.region_order)
        (folder / DATASET).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return target


def _labels(collection: Collection) -> dict[str, int | list[int]]:
    if not collection.regions:
        return dict(collection.labels)
    return {"background": 0, **{name: list(values) for name, values in collection.regions.items()}}
