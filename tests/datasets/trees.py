"""Small trees in the layouts of published data sets, and nnU-Net's own checks of what becomes of them."""

from __future__ import annotations

import csv
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

SHAPE = (8, 9, 7)
OLD = ("t1", "t1ce", "t2", "flair")
NEW = ("t1n", "t1c", "t2w", "t2f")
# Rotated and shifted, so that a lost or rounded affine shows.
AFFINE = np.array([[-0.8, 0.1, 0, 91.3], [0.1, 0.8, 0, -126.7], [0, 0, 0.9, -72.1], [0, 0, 0, 1]])


def save(array, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


def image(seed=0):
    return np.random.default_rng(seed).random(SHAPE).astype(np.float32)


def labels(values, dtype=np.uint8):
    """Return a label image that holds each of the values, and background."""
    voxels = np.zeros(SHAPE, dtype=dtype)
    voxels.flat[: 10 * len(values)] = np.repeat(values, 10)
    return voxels


def load(path):
    return np.asanyarray(nib.load(path).dataobj)


def feta_scan(root, subject, method="mial", *, seg=None, ending=".nii.gz"):
    name = f"{subject}_rec-{method}"
    save(image(), root / subject / "anat" / f"{name}_T2w{ending}")
    save(labels(range(8)) if seg is None else seg, root / subject / "anat" / f"{name}_dseg{ending}")


def feta_table(root, rows, header="participant_id\tPathology\tGestational age\t"):
    root.mkdir(parents=True, exist_ok=True)
    (root / "participants.tsv").write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n")


def atlas_case(root, name):
    save(image(), root / name / "srr.nii.gz")
    save(np.ones(SHAPE, dtype=np.uint8), root / name / "mask.nii.gz")
    save(labels(range(9)), root / name / "parcellation.nii.gz")


def old_case(folder, name, *, values=(0, 1, 2, 4), ending=".nii.gz", dtype=np.uint8):
    for seed, kind in enumerate(OLD):
        save((1000 * image(seed)).astype(np.int16), folder / name / f"{name}_{kind}{ending}")
    save(labels(values, dtype), folder / name / f"{name}_seg{ending}")


def new_case(folder, name, *, values=(0, 1, 2, 3)):
    for seed, kind in enumerate(NEW):
        save(image(seed), folder / name / f"{name}-{kind}.nii.gz")
    save(labels(values), folder / name / f"{name}-seg.nii.gz")


def contents(root):
    return {path: path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def subgroups(target):
    with (target / "subgroups.csv").open(newline="", encoding="utf-8") as file:
        return {row.pop("case"): row for row in csv.DictReader(file)}


def verify(target, monkeypatch):
    """Run nnU-Net's own check of a raw data set, in this process: its workers would take seconds to start."""
    if target.name.startswith("Dataset"):
        module = pytest.importorskip(
            "nnunetv2.experiment_planning.verify_dataset_integrity", reason="nnU-Net v2 is not installed"
        )
        threads = SimpleNamespace(get_context=lambda kind: SimpleNamespace(Pool=ThreadPool))
        monkeypatch.setattr(module, "multiprocessing", threads)
        module.verify_dataset_integrity(str(target), 1)
    else:
        module = pytest.importorskip("nnunet.preprocessing.sanity_checks", reason="nnU-Net v1 is not installed")
        monkeypatch.setattr(module, "Pool", ThreadPool)
        module.verify_dataset_integrity(str(target))
