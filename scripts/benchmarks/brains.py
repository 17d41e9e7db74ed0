"""Real fetal brains from scratch: 2 of 25 training cases have spina bifida, 13 of 21 held-out ones.

    python scripts/benchmarks/brains.py --data ATLASES [--arms ARM ...] [--seeds N] [--steps N] [--out FOLDER]

ATLASES is ``data/fetal_brain_atlases`` of github.com/LucasFidon/trustworthy-ai-fetal-brain-segmentation, which is
public and not to be passed on: 18 and 13 or 14 neurotypical volumes of two atlases (Gholipour 2017, Wu 2021), 15 with spina
bifida (Fidon 2021), all with the same 8 labels. Averaged to 1.6 mm, zero outside of the brain's mask. Each seed splits
anew. A run of 2,000 steps takes some minutes on one core.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
from plain import Example, Plan
from rarity import Data, main

PLAN = Plan(patch=(24, 32, 24), classes=9, channels=(8, 16, 32, 64), batch=2)
RARE, OTHERS = (2, 13), (23, 8)
"""Cases in training and held out."""

MARGIN = 2


def coarser(values: np.ndarray) -> np.ndarray:
    """Return means of 2 x 2 x 2 voxels; an odd last one is left out."""
    x, y, z = (size // 2 for size in values.shape)
    return values[: 2 * x, : 2 * y, : 2 * z].reshape(x, 2, y, 2, z, 2).mean((1, 3, 5))


def read(folder: Path, group: str) -> Example:
    """Return an atlas volume: labels are those with the largest share of a voxel."""
    image, mask, labels = (
        np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj) for name in ("srr", "mask", "parcellation")
    )
    places = np.argwhere(mask > 0)
    low, high = places.min(0) // 2 * 2 - 2 * MARGIN, places.max(0) // 2 * 2 + 2 * MARGIN + 2
    cut = tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))
    image, mask, labels = (values[cut] for values in (image, mask > 0, labels))
    shares = np.stack([coarser((labels == k).astype(np.float32)) for k in range(PLAN.classes)])
    inside = coarser(mask.astype(np.float32)) > 0.5
    volume = coarser(image.astype(np.float32) * mask)
    volume = (volume - volume[inside].mean()) / volume[inside].std() * inside
    name = f"{folder.parent.name}-{folder.name}"
    return Example(name, group, volume.astype(np.float32), shares.argmax(0).astype(np.uint8))


@cache
def examples(data: Path) -> tuple[list[Example], list[Example]]:
    """Return all cases, those of the rare group first."""
    folders = sorted(file.parent for file in data.glob("*/*/srr.nii.gz"))
    rare = [read(folder, "rare") for folder in folders if folder.parent.name.startswith("SpinaBifida")]
    common = [read(folder, "common") for folder in folders if folder.parent.name.startswith("Neurotypical")]
    if len(rare) != sum(RARE) or len(common) < sum(OTHERS):
        raise SystemExit(f"--data: expected 15 and 31 volumes in {data}, found {len(rare)} and {len(common)}")
    return rare, common[: sum(OTHERS)]


def split(data: Path, seed: int) -> tuple[list[Example], list[Example]]:
    """Return a seed's training cases and those held out."""
    rng, parts = np.random.default_rng(seed), ([], [])
    for cases, (trained, _) in zip(examples(data), (RARE, OTHERS), strict=True):
        order = rng.permutation(len(cases))
        for part, chosen in zip(parts, (order[:trained], order[trained:]), strict=True):
            part.extend(cases[i] for i in chosen)
    return parts


if __name__ == "__main__":
    main(__doc__, Data("brains", PLAN, split, steps=2000))
