"""What nnU-Net's raw formats share: numbers and names, files placed whole or not at all, labels, ``subgroups.csv``."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np

from hws_nnunet.datasets.cases import Case, Collection, DatasetError
from hws_nnunet.datasets.checks import label_values
from hws_nnunet.datasets.folds import encoded_folds, folds_of
from hws_nnunet.datasets.geometry import geometry, trainable
from hws_nnunet.datasets.images import open_image, read_voxels, scaling
from hws_nnunet.facts.versions import FILE_ENDING, SUBGROUPS
from hws_nnunet.files import atomic_folder, check_room
from hws_nnunet.processes import on_all_cores

ENDINGS = (".nii.gz", ".nii")


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
        OSError: it cannot be written.
    """
    target = parent / folder_name
    prefix = folder_name.split("_")[0]
    others = [p.name for p in parent.glob(f"{prefix}_*") if p != target and p.suffix not in (".partial", ".old")]
    if others:
        raise FileExistsError(f"data set number {int(prefix[-3:])} is taken by {', '.join(others)} in {parent}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; --overwrite replaces it")
    check_room(target, folder=True)
    return target


@contextmanager
def written_cases(
    collection: Collection, target: Path, *, splits_file: str, link: bool, progress: bool
) -> Iterator[Path]:
    """Place the cases' files and ``subgroups.csv`` in a folder that becomes ``target`` once the block ends well.

    Labels that have a map are written anew, files that are not compressed are compressed, all else is copied or linked.
    ``splits_file`` gets the collection's folds, where it has any of its own.

    Raises:
        DatasetError: the files are not NIfTI files.
    """
    wrong = [str(f) for c in collection.cases for f in (*c.images, c.label) if f and not f.name.endswith(ENDINGS)]
    if wrong:
        raise DatasetError(collection.source, [f"expected {' or '.join(ENDINGS)}: {f}" for f in wrong])
    with atomic_folder(target) as folder:
        others = [folder] * len(collection.cases), [link] * len(collection.cases)
        on_all_cores(_place_case, collection.cases, *others, desc="writing", progress=progress)
        _write_subgroups(collection, folder / SUBGROUPS)
        if folds := folds_of(collection):
            (folder / splits_file).write_bytes(encoded_folds(folds, splits_file))
        yield folder


def _place_case(case: Case, folder: Path, link: bool) -> None:
    part = "Ts" if case.test else "Tr"
    place_images(case, folder / f"images{part}", link)
    if case.label is not None:
        _place_label(case, case.label, folder / f"labels{part}" / f"{case.name}{FILE_ENDING}", link)


def place_images(case: Case, folder: Path, link: bool) -> None:
    """Place a case's images under the names that nnU-Net wants, ``CASE_0000.nii.gz`` and so on."""
    for channel, image in enumerate(case.images):
        _place(image, folder / f"{case.name}_{channel:04d}{FILE_ENDING}", link)


def _place(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(exist_ok=True)
    if not source.name.endswith(FILE_ENDING):
        # The lowest level: nnU-Net reads these once, and a higher one takes many times as long.
        with open(source, "rb") as plain, gzip.open(target, "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
    elif link:
        os.symlink(source.resolve(), target)
    else:
        shutil.copyfile(source, target)


def _place_label(case: Case, source: Path, target: Path, link: bool) -> None:
    label, image = open_image(source), open_image(case.images[0])
    # What rounding leaves between two files' grids is too much for nnU-Net v1: such a label goes on the image's own.
    # So is one whose values are scaled, as nnU-Net cuts off what is behind the point.
    whole = label.get_data_dtype().kind in "ui" and scaling(label) == (1, 0)
    # Files of one affine may still differ by the voxel sizes of their headers.
    on_grid = np.array_equal(label.affine, image.affine) and not trainable(geometry(image), geometry(label))
    same = on_grid and all(old == new for old, new in case.label_map.items())
    if same and (whole or np.array_equal(read_voxels(label), label_values(label))):
        _place(source, target, link)
        return
    target.parent.mkdir(exist_ok=True)
    voxels = label_values(label)
    table = np.arange(max(voxels.max(), *case.label_map, 0) + 1)
    for old, new in case.label_map.items():
        table[old] = new
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    nib.save(nib.Nifti1Image(table[voxels].astype(np.uint8), None, header), target)


def _write_subgroups(collection: Collection, path: Path) -> None:
    columns = list(dict.fromkeys(key for case in collection.cases for key in case.subgroup))
    if any(case.subject for case in collection.cases):
        columns.insert(0, "subject")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        for case in collection.cases:
            subject = {"subject": case.subject} if "subject" in columns else {}
            writer.writerow({"case": case.name, **subject, **case.subgroup})
