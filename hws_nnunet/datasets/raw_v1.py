"""Writer of nnU-Net v1's raw format (``nnUNet_raw_data_base/nnUNet_raw_data/TaskXXX_Name``)."""

from __future__ import annotations

import json
from pathlib import Path

from hws_nnunet.datasets.cases import Collection
from hws_nnunet.datasets.raw import free_target, numbered_name, written_cases
from hws_nnunet.facts.versions import DATASET, FILE_ENDING, V1
from hws_nnunet.files import needed_folder


def task_name(dataset_id: int, name: str) -> str:
    """Return nnU-Net's name of a task, ``TaskXXX_Name``.

    Raises:
        ValueError: for a number or name that nnU-Net does not take.
    """
    return numbered_name(V1.prefix, dataset_id, name)


def check_task_target(raw_base: Path, *, dataset_id: int, name: str, overwrite: bool = False) -> Path:
    """Return the folder that :func:`write_raw_v1` would write, after its checks of it; arguments and errors are its."""
    raw_base = Path(raw_base)
    folder_name = task_name(dataset_id, name)
    needed_folder(raw_base, V1.raw)
    return free_target(raw_base.joinpath(*V1.raw_parts), folder_name, overwrite=overwrite)


def write_raw_v1(
    collection: Collection,
    raw_base: Path,
    *,
    dataset_id: int,
    name: str,
    overwrite: bool = False,
    link: bool = False,
    progress: bool = False,
) -> Path:
    """Write a collection as ``nnUNet_raw_data/TaskXXX_Name``, whole or not at all, with ``subgroups.csv``.

    Where a subject has several scans, the folder gets ``splits_final.pkl``, too: v1 reads it in
    ``nnUNet_preprocessed/TaskXXX_Name``. Regions are not v1's: it trains the labels.

    Args:
        collection: what a reader returned; its files stay as they are. Its labels are whole numbers from 0 on,
            without a gap.
        raw_base: nnU-Net's ``nnUNet_raw_data_base``; has to exist.
        dataset_id: 1 to 999; nnU-Net allows one task a number.
        name: letters, digits, ``-`` and ``_``.
        overwrite: replace a task of this very name.
        link: link to the source's files instead of copying them.
        progress: show a bar on standard error.

    Raises:
        FileNotFoundError: ``raw_base`` does not exist.
        FileExistsError: the task exists and ``overwrite`` is off, or another one has this number.
        DatasetError: the files are not NIfTI files.
    """
    target = check_task_target(raw_base, dataset_id=dataset_id, name=name, overwrite=overwrite)
    names = {part: sorted(c.name for c in collection.cases if c.test == (part == "Ts")) for part in ("Tr", "Ts")}
    with written_cases(collection, target, splits_file=V1.splits_file, link=link, progress=progress) as folder:
        description = {
            "name": name,
            "description": collection.description,
            "tensorImageSize": "4D",
            "modality": {str(i): channel for i, channel in enumerate(collection.channels)},
            "labels": {str(value): label for label, value in collection.labels.items()},
            "numTraining": len(names["Tr"]),
            "numTest": len(names["Ts"]),
            "training": [
                {"image": f"./imagesTr/{case}{FILE_ENDING}", "label": f"./labelsTr/{case}{FILE_ENDING}"}
                for case in names["Tr"]
            ],
            "test": [f"./imagesTs/{case}{FILE_ENDING}" for case in names["Ts"]],
        }
        (folder / DATASET).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return target
