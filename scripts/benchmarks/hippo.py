"""Hippocampus from scratch in plain PyTorch: as it is, with a rare scanner, with wrong labels.

    python scripts/benchmarks/hippo.py --condition plain|scanner|labels --data DATA [--arms ARM ...] [--seeds N ...]

DATA, the splits and what is done to images and labels are those of ``hippocampus.py``, which trains with nnU-Net; here
voxels are averaged to 2 mm and a patch shows nearly the whole image, so that a run takes two minutes on one core.
Changing images needs TorchIO.
"""

from __future__ import annotations

import tempfile
from functools import cache, partial
from pathlib import Path

import nibabel as nib
import numpy as np
from brains import coarser
from hippocampus import CONDITIONS, Changed, changed_case, splits
from plain import Example, Plan
from rarity import Data, main

PLAN = Plan(patch=(16, 24, 16), classes=3, channels=(8, 16, 32), batch=2)


@cache
def read(data: Path, name: str) -> Example:
    """Return a case under its name in the folds."""
    with tempfile.TemporaryDirectory() as folder:
        case = changed_case(name, data, Path(folder))
        image = np.asarray(nib.load(case.images[0]).dataobj, dtype=np.float32)
        labels = np.asarray(nib.load(case.label).dataobj).round()
    volume = coarser(image)
    shares = np.stack([coarser((labels == k).astype(np.float32)) for k in range(PLAN.classes)])
    group = "rare" if name in Changed() else "common"
    volume = ((volume - volume.mean()) / volume.std()).astype(np.float32)
    return Example(name, group, volume, shares.argmax(0).astype(np.uint8))


def split(data: Path, seed: int, *, condition: str) -> tuple[list[Example], list[Example]]:
    """Return a seed's training cases and those held out."""
    names = sorted(file.name.removesuffix(".nii.gz") for file in (data / "images").glob("*.nii.gz"))
    fold = splits(condition, names)[seed]
    return [read(data, name) for name in fold["train"]], [read(data, name) for name in fold["val"]]


if __name__ == "__main__":
    main(__doc__, *(Data(c, PLAN, partial(split, condition=c), steps=2000) for c in CONDITIONS))
