"""Writer of nnU-Net v2's raw format (``nnUNet_raw/DatasetXXX_Name``)."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path

from tqdm import tqdm

from hws_nnunet.datasets.cases import Collection, DatasetError
from hws_nnunet.files import whole_folder

FILE_ENDING = ".nii.gz"


def dataset_name(dataset_id: int, name: str) -> str:
    """Return nnU-Net's name of a data set, ``DatasetXXX_Name``.

    Raises:
        ValueError: unless ``1 <= dataset_id <= 999`` and ``name`` is made of letters, digits, ``-`` and ``_``.
    """
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"the data set's number has to be between 1 and 999, given: {dataset_id}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"the data set's name may hold letters, digits, '-' and '_', given: {name!r}")
    return f"Dataset{dataset_id:03d}_{name}"


def check_target(raw_folder: Path, *, dataset_id: int, name: str, overwrite: bool = False) -> Path:
    """Return the folder that :func:`write_raw_v2` would write, after its checks of it; arguments and errors are its."""
    raw_folder = Path(raw_folder)
    target = raw_folder / dataset_name(dataset_id, name)
    if not raw_folder.is_dir():
        raise FileNotFoundError(f"nnUNet_raw does not exist: {raw_folder}")
    others = [p.name for p in raw_folder.glob(f"Dataset{dataset_id:03d}_*") if p != target and _finished(p)]
    if others:
        raise FileExistsError(f"data set number {dataset_id} is taken by {', '.join(others)} in {raw_folder}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; --overwrite replaces it")
    return target


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
        DatasetError: the files are not ``.nii.gz``.
    """
    target = check_target(raw_folder, dataset_id=dataset_id, name=name, overwrite=overwrite)
    wrong = [str(f) for c in collection.cases for f in (*c.images, c.label) if not f.name.endswith(FILE_ENDING)]
    if wrong:
        raise DatasetError(collection.source, [f"expected {FILE_ENDING}: {f}" for f in wrong])
    with whole_folder(target) as folder:
        for case in tqdm(collection.cases, desc="writing", unit="case", disable=not progress):
            part = "Ts" if case.test else "Tr"
            for channel, image in enumerate(case.images):
                _place(image, folder / f"images{part}" / f"{case.name}_{channel:04d}{FILE_ENDING}", link)
            _place(case.label, folder / f"labels{part}" / f"{case.name}{FILE_ENDING}", link)
        _write_subgroups(collection, folder / "subgroups.csv")
        description = {
            "name": name,
            "description": collection.description,
            "channel_names": {str(i): channel for i, channel in enumerate(collection.channels)},
            "labels": collection.labels,
            "numTraining": sum(not case.test for case in collection.cases),
            "file_ending": FILE_ENDING,
        }
        (folder / "dataset.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return target


def _finished(folder: Path) -> bool:
    return folder.suffix not in (".partial", ".old")


def _place(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(exist_ok=True)
    if link:
        os.symlink(source.resolve(), target)
    else:
        shutil.copyfile(source, target)


def _write_subgroups(collection: Collection, path: Path) -> None:
    columns = list(dict.fromkeys(key for case in collection.cases for key in case.subgroup))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        for case in collection.cases:
            writer.writerow({"case": case.name, **case.subgroup})
