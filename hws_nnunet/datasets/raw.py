"""What nnU-Net's raw formats share: numbers and names, files placed whole or not at all, and ``subgroups.csv``."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from hws_nnunet.datasets.cases import Collection, DatasetError
from hws_nnunet.files import whole_folder

FILE_ENDING = ".nii.gz"


def numbered_name(prefix: str, dataset_id: int, name: str) -> str:
    """Return nnU-Net's name of a data set, ``Dataset001_Name`` or ``Task001_Name``.

    Raises:
        ValueError: unless ``1 <= dataset_id <= 999`` and ``name`` is made of letters, digits, ``-`` and ``_``.
    """
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"the data set's number has to be between 1 and 999, given: {dataset_id}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"the data set's name may hold letters, digits, '-' and '_', given: {name!r}")
    return f"{prefix}{dataset_id:03d}_{name}"


def free_target(parent: Path, folder_name: str, *, overwrite: bool) -> Path:
    """Return the folder to write, if it may be.

    Raises:
        FileExistsError: it exists and ``overwrite`` is off, or another data set has its number.
    """
    target = parent / folder_name
    prefix = folder_name.split("_")[0]
    others = [p.name for p in parent.glob(f"{prefix}_*") if p != target and p.suffix not in (".partial", ".old")]
    if others:
        raise FileExistsError(f"data set number {int(prefix[-3:])} is taken by {', '.join(others)} in {parent}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; --overwrite replaces it")
    return target


@contextmanager
def written_cases(collection: Collection, target: Path, *, link: bool, progress: bool) -> Iterator[Path]:
    """Place the cases' files and ``subgroups.csv`` in a folder that becomes ``target`` once the block ends well.

    Raises:
        DatasetError: the files are not ``.nii.gz``.
    """
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
        yield folder


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
