"""Writer of nnU-Net's raw formats, ``DatasetXXX_Name`` and v1's ``TaskXXX_Name``, with ``subgroups.csv``."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from hws_nnunet.datasets.cases import Case, Collection, DatasetError
from hws_nnunet.datasets.checks import label_values
from hws_nnunet.datasets.folds import encoded_folds, folds_of
from hws_nnunet.datasets.geometry import geometry, trainable
from hws_nnunet.datasets.images import open_image, read_voxels, scaling
from hws_nnunet.facts.versions import DATASET, FILE_ENDING, SUBGROUPS, V1, V2, Host
from hws_nnunet.files import atomic_folder, check_room, needed_folder
from hws_nnunet.processes import on_all_cores

ENDINGS = (".nii.gz", ".nii")


def check_target(
    raw_folder: Path,
    *,
    dataset_id: int,
    name: str,
    overwrite: bool = False,
    host: Host = V2,
    sources: Iterable[Path] = (),
) -> Path:
    """Return the folder that :func:`write_raw` would write, after its checks of it; arguments and errors are its.

    ``sources`` are the folders or files that are read, which may not lie in what is replaced.
    """
    folder_name = host.name_of(dataset_id, name)
    needed_folder(Path(raw_folder), host.raw)
    target = host.data_set(raw_folder, folder_name)
    prefix, parent = folder_name.split("_")[0], target.parent
    others = [p.name for p in parent.glob(f"{prefix}_*") if p != target and p.suffix not in (".partial", ".old")]
    if others:
        raise FileExistsError(f"data set number {int(prefix[-3:])} is taken by {', '.join(others)} in {parent}")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; --overwrite replaces it")
    replaced = target.resolve()
    if inside := [path for path in sources if path.resolve().is_relative_to(replaced)]:
        raise FileExistsError(
            f"{target} holds what is to be read, as {inside[0]}, and is not replaced: move it elsewhere"
        )
    check_room(target, folder=True)
    return target


def write_raw(
    collection: Collection,
    raw_folder: Path,
    *,
    dataset_id: int,
    name: str,
    overwrite: bool = False,
    link: bool = False,
    progress: bool = False,
    host: Host = V2,
) -> Path:
    """Write a collection as a raw data set of nnU-Net, whole or not at all, with ``subgroups.csv``.

    Labels that have a map are written anew, files that are not compressed are compressed, all else is copied or linked.
    Folds of the collection's own go into the host's splits file: planning copies v2's ``splits_final.json`` from there,
    v1 reads ``splits_final.pkl`` in the preprocessed folder. Regions are trained by v2; v1 trains the labels, which
    have to be whole numbers from 0 on, without a gap.

    Args:
        collection: what a reader returned; its files stay as they are.
        raw_folder: that the host's variable names (``nnUNet_raw``, v1's ``nnUNet_raw_data_base``); has to exist.
        dataset_id: 1 to 999; nnU-Net allows one data set a number.
        name: letters, digits, ``-`` and ``_``.
        overwrite: replace a data set of this very name.
        link: link to the source's files instead of copying them.
        progress: show a bar on standard error.
        host: the version of nnU-Net.

    Raises:
        ValueError: a number or name that nnU-Net does not take.
        FileNotFoundError: ``raw_folder`` does not exist.
        FileExistsError: the data set exists and ``overwrite`` is off or holds the collection's own files, or another
            one has this number.
        OSError: it cannot be written.
        DatasetError: the files are not NIfTI files, v1 gets labels with a gap, or a label to be written anew is not
            within 0 to 255.
    """
    sources = [file for case in collection.cases for file in (*case.images, case.label) if file]
    target = check_target(raw_folder, dataset_id=dataset_id, name=name, overwrite=overwrite, host=host, sources=sources)
    if wrong := [str(file) for file in sources if not file.name.endswith(ENDINGS)]:
        raise DatasetError(collection.source, [f"expected {' or '.join(ENDINGS)}: {f}" for f in wrong])
    if host is V1 and sorted(collection.labels.values()) != list(range(len(collection.labels))):
        listed = ", ".join(f"{value} {label}" for label, value in collection.labels.items())
        raise DatasetError(collection.source, [f"nnU-Net v1 needs labels from 0 on without a gap, given: {listed}"])
    with atomic_folder(target) as folder:
        others = [folder] * len(collection.cases), [link] * len(collection.cases)
        on_all_cores(_place_case, collection.cases, *others, desc="writing", progress=progress)
        _write_subgroups(collection, folder / SUBGROUPS)
        if folds := folds_of(collection):
            (folder / host.splits_file).write_bytes(encoded_folds(folds, host.splits_file))
        description = {"name": name, "description": collection.description} | (
            _description_v1(collection) if host is V1 else _description_v2(collection)
        )
        (folder / DATASET).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return target


def _description_v1(collection: Collection) -> dict[str, Any]:
    training = sorted(case.name for case in collection.cases if not case.test)
    test = sorted(case.name for case in collection.cases if case.test)
    return {
        "tensorImageSize": "4D",
        "modality": {str(i): channel for i, channel in enumerate(collection.channels)},
        "labels": {str(value): label for label, value in collection.labels.items()},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [
            {"image": f"./imagesTr/{case}{FILE_ENDING}", "label": f"./labelsTr/{case}{FILE_ENDING}"}
            for case in training
        ],
        "test": [f"./imagesTs/{case}{FILE_ENDING}" for case in test],
    }


def _description_v2(collection: Collection) -> dict[str, Any]:
    regions = {name: list(values) for name, values in collection.regions.items()}
    description = {
        "channel_names": {str(i): channel for i, channel in enumerate(collection.channels)},
        "labels": {"background": 0, **regions} if regions else dict(collection.labels),
        "numTraining": sum(not case.test for case in collection.cases),
        "file_ending": FILE_ENDING,
    }
    return {**description, "regions_class_order": list(collection.region_order)} if regions else description


def _place_case(case: Case, folder: Path, link: bool) -> None:
    part = "Ts" if case.test else "Tr"
    if case.label is not None:  # before the images, as it may be refused
        _place_label(case, case.label, folder / f"labels{part}" / f"{case.name}{FILE_ENDING}", link)
    place_images(case, folder / f"images{part}", link)


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
    voxels = label_values(label)
    written = voxels.copy()
    for old, new in case.label_map.items():
        written[voxels == old] = new
    if (outside := voxels[(written < 0) | (written > 255)]).size:
        value = int(outside[0])
        mapped = f", which becomes {case.label_map[value]}" if value in case.label_map else ""
        raise DatasetError(source, [f"labels that are written anew have to lie in 0 to 255, found {value}{mapped}"])
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    target.parent.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(written.astype(np.uint8), None, header), target)


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
