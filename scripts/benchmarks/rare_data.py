"""Real images for ``rare.py``, averaged to what a small network trains on in minutes; by data, seed splits.

Two sets are public and not to be passed on (one has no licence), so that scripts take the path of a copy:

- brains: ``data/fetal_brain_atlases`` of github.com/LucasFidon/trustworthy-ai-fetal-brain-segmentation. 31
  neurotypical volumes of two atlases (Gholipour 2017, Wu 2021) and 15 with spina bifida (Fidon 2021), the rare group,
  all with the same 8 labels.
- hearts: ``Different_Vendor`` of github.com/laisong127/Cardiac-segmentation (M&Ms). 75 patients of vendor A, 75 of B,
  end diastole and end systole, three structures; headers have lost the voxel sizes. A patient's images stay together.

Hippocampus: see ``hippocampus_data.py``; changing its images needs TorchIO.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import hippocampus_data
import nibabel as nib
import numpy as np
from plain import Example

Split = tuple[list[Example], list[Example]]
"""Cases for training, and those held out."""

BRAINS_RARE, BRAINS_COMMON = (2, 13), (23, 8)
"""Cases in training and held out."""

HEARTS_RARE, HEARTS_COMMON = (4, 30), (56, 15)
"""Patients in training and held out."""

MIDDLE = 64
"""Pixels of a heart's image that are used, along either axis."""

MARGIN = 2
"""Voxels around a brain's mask."""


def coarser(values: np.ndarray, *, axes: int = 3) -> np.ndarray:
    """Return means of two voxels along each of the first ``axes``; an odd last one is left out."""
    for axis in range(axes):
        size = values.shape[axis] // 2
        shape = (*values.shape[:axis], size, 2, *values.shape[axis + 1 :])
        values = values[(slice(None),) * axis + (slice(2 * size),)].reshape(shape).mean(axis + 1)
    return values


def coarser_labels(labels: np.ndarray, *, axes: int = 3) -> np.ndarray:
    """Return the label with the largest share of each coarser voxel, uint8."""
    shares = [coarser((labels == k).astype(np.float32), axes=axes) for k in range(int(labels.max()) + 1)]
    return np.argmax(shares, 0).astype(np.uint8)


def _standardised(image: np.ndarray, inside: np.ndarray | slice = np.s_[:]) -> np.ndarray:
    return ((image - image[inside].mean()) / image[inside].std()).astype(np.float32)


def _array(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj, dtype=np.float32)


def _divided(groups: dict[str, list], parts: dict[str, tuple[int, int]], rng: np.random.Generator) -> Split:
    """Return so many of each group's members for training, and so many held out; a member is a list of examples."""
    training, held_out = [], []
    for group, (trained, others) in parts.items():
        order = rng.permutation(len(groups[group]))
        for part, chosen in ((training, order[:trained]), (held_out, order[trained : trained + others])):
            part += [example for i in chosen for example in groups[group][i]]
    return training, held_out


@cache
def _brains(data: Path) -> dict[str, list]:
    groups: dict[str, list] = {"rare": [], "common": []}
    for file in sorted(data.glob("*/*/srr.nii.gz")):
        group = "rare" if file.parent.parent.name.startswith("SpinaBifida") else "common"
        image, mask, labels = (_array(file.parent / f"{name}.nii.gz") for name in ("srr", "mask", "parcellation"))
        places = np.argwhere(mask > 0)
        low, high = places.min(0) // 2 * 2 - 2 * MARGIN, places.max(0) // 2 * 2 + 2 * MARGIN + 2
        cut = tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))
        inside = coarser((mask[cut] > 0).astype(np.float32)) > 0.5
        volume = _standardised(coarser(image[cut] * (mask[cut] > 0)), inside) * inside
        name = f"{file.parent.parent.name}-{file.parent.name}"
        groups[group].append([Example(name, group, volume, coarser_labels(labels[cut].round()))])
    if len(groups["rare"]) != 15 or len(groups["common"]) < 31:
        told = f"found {len(groups['rare'])} and {len(groups['common'])}"
        raise SystemExit(f"--brains: expected 15 volumes with spina bifida and 31 others in {data}, {told}")
    groups["common"] = groups["common"][:31]
    return groups


def brains(data: Path, seed: int) -> Split:
    """Return a split of the fetal brains: 2 of 25 training cases and 13 of 21 held-out ones have spina bifida."""
    return _divided(_brains(data), {"rare": BRAINS_RARE, "common": BRAINS_COMMON}, np.random.default_rng(seed))


@cache
def _hearts(data: Path, vendor: str, group: str) -> list[list[Example]]:
    patients: dict[str, list[Example]] = {}
    for file in sorted((data / vendor).glob("*_sa.nii.gz")):
        phase, patient, _ = file.name.split("_")
        labels = _array(data / f"LABEL_{vendor}" / file.name.replace("_sa.", "_sa_gt.")).round()
        image, labels = coarser(_array(file), axes=2), coarser_labels(labels, axes=2)
        cut = tuple(slice((size - MIDDLE) // 2, (size + MIDDLE) // 2) for size in image.shape[:2])
        image, labels = (np.ascontiguousarray(values[cut].transpose(2, 0, 1)) for values in (image, labels))
        example = Example(f"{vendor}-{patient}-{phase}", group, _standardised(image), labels)
        patients.setdefault(patient, []).append(example)
    if len(patients) != 75:
        raise SystemExit(f"--hearts: expected 75 patients in {data / vendor}, found {len(patients)}")
    return list(patients.values())


def hearts(data: Path, seed: int) -> Split:
    """Return a split of the hearts: 4 of 60 training patients are of the rare vendor, B for even seeds, else A."""
    rare, common = "BA" if seed % 2 == 0 else "AB"
    groups = {"rare": _hearts(data, rare, "rare"), "common": _hearts(data, common, "common")}
    return _divided(groups, {"rare": HEARTS_RARE, "common": HEARTS_COMMON}, np.random.default_rng(seed))


@cache
def _hippocampus(data: Path, name: str) -> Example:
    with tempfile.TemporaryDirectory() as folder:
        case = hippocampus_data.changed_case(name, data, Path(folder))
        image, labels = _array(case.images[0]), _array(case.label).round()
    group = "rare" if name in hippocampus_data.Changed() else "common"
    return Example(name, group, _standardised(coarser(image)), coarser_labels(labels))


def hippocampus(data: Path, seed: int, *, condition: str) -> Split:
    """Return a split of the hippocampus in one of its conditions."""
    names = sorted(file.name.removesuffix(".nii.gz") for file in (data / "images").glob("*.nii.gz"))
    fold = hippocampus_data.splits(condition, names)[seed]
    training, held_out = ([_hippocampus(data, name) for name in fold[part]] for part in ("train", "val"))
    return training, held_out
