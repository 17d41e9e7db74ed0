"""Real hearts of two MRI vendors: 56 training patients of one vendor and 4 of another, both phases of each.

    python scripts/benchmarks/hearts.py --data VENDORS [--arms ARM ...] [--seeds N ...] [--steps N] [--out FOLDER]

VENDORS is ``Different_Vendor`` of github.com/laisong127/Cardiac-segmentation, which is public, has no licence and is not
to be passed on: 75 patients of vendor A and 75 of B (M&Ms), end diastole and end systole, three structures. Headers
have lost the voxel sizes; pixels are averaged two by two. A patient's two images stay together. Even seeds have B as the rare
vendor, odd ones A; two seeds after each other draw the same patients. 15 and 30 patients are held out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from plain import Example, Plan
from rarity import Data, main

PLAN = Plan(patch=(48, 48), classes=4, channels=(8, 16, 32, 64), batch=12, slices=True)
SIDE = 64
"""Pixels of an image that are used, along either axis."""

RARE, OTHERS = (4, 30), (56, 15)
"""Patients in training and held out."""


def coarser(values: np.ndarray) -> np.ndarray:
    """Return means of 2 x 2 pixels of each slice; an odd last one is left out."""
    x, y, z = values.shape[0] // 2, values.shape[1] // 2, values.shape[2]
    return values[: 2 * x, : 2 * y].reshape(x, 2, y, 2, z).mean((1, 3))


def middle(values: np.ndarray, first: int) -> np.ndarray:
    """Return the middle ``SIDE`` of two axes from ``first`` on: hearts are there in all images."""
    cut = [slice(None)] * values.ndim
    for axis in (first, first + 1):
        start = (values.shape[axis] - SIDE) // 2
        cut[axis] = slice(start, start + SIDE)
    return values[tuple(cut)]


@cache
def read(data: Path, vendor: str) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    """Return each patient's images: name, ``(slices, x, y)`` float32 and labels."""
    patients: dict[str, list] = {}
    for file in sorted((data / vendor).glob("*_sa.nii.gz")):
        phase, patient, _ = file.name.split("_")
        image = coarser(np.asarray(nib.load(file).dataobj, dtype=np.float32)).transpose(2, 0, 1)
        reference = data / f"LABEL_{vendor}" / file.name.replace("_sa.", "_sa_gt.")
        labels = np.asarray(nib.load(reference).dataobj).round()
        shares = np.stack([coarser((labels == k).astype(np.float32)) for k in range(PLAN.classes)])
        image, shares = middle(image, 1), middle(shares.transpose(0, 3, 1, 2), 2)
        volume = ((image - image.mean()) / image.std()).astype(np.float32)
        patients.setdefault(patient, []).append(
            (f"{vendor}-{patient}-{phase}", volume, shares.argmax(0).astype(np.uint8))
        )
    if len(patients) != 75:
        raise SystemExit(f"--data: expected 75 patients in {data / vendor}, found {len(patients)}")
    return patients


def split(data: Path, seed: int) -> tuple[list[Example], list[Example]]:
    """Return a seed's training cases and those held out."""
    rng, parts = np.random.default_rng(seed // 2), ([], [])
    rare = "BA"[seed % 2]
    for vendor in "AB":
        patients = read(data, vendor)
        order = [list(patients)[i] for i in rng.permutation(len(patients))]
        group, (trained, held_out) = ("rare", RARE) if vendor == rare else ("common", OTHERS)
        for part, chosen in zip(parts, (order[:trained], order[trained : trained + held_out]), strict=True):
            part.extend(Example(name, group, image, labels) for who in chosen for name, image, labels in patients[who])
    return parts


if __name__ == "__main__":
    main(__doc__, Data("hearts", PLAN, split, steps=2000))
