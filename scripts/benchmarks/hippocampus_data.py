"""The hippocampus data of hippocampus.py: folds, images as another scanner would have them, wrong labels."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from nnunet_runs import TIMES, prepare_once

from hws_nnunet.datasets import Case, Collection, write_raw
from hws_nnunet.datasets.checks import label_values

DATASET, NAME, CONFIGURATION = 993, "HippocampusBenchmark", "3d_small"
LABELS = {"background": 0, "anterior": 1, "posterior": 2}
CASES, QUICK_CASES = 200, 60
KINDS = ("shifted", "exchanged", "removed")
SHIFT = 5  # voxels, along two axes; the hippocampus is about ten thick
EDGE = 4  # slices, of which the thickest has as many voxels
MAX_SEEDS = 10
FEWER = (25, 50, 100)  # training cases
NETWORK = {"coarser": 1.5, "patch_size": (24, 36, 24)}  # a patch shows nearly the whole image


def split(names: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Return a seed's training cases, 7 in 10, and those held out, in its own order; the first of each are changed."""
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    training = 7 * len(names) // 10
    return order[:training], order[training:]


def scanned(name: str) -> str:
    """Return the name of a case as another scanner would have it."""
    return f"{name}_scanner"


def wrong(names: list[str]) -> list[str]:
    """Return the names of cases with wrong labels: the kinds in turn."""
    return [f"{name}_{KINDS[i % len(KINDS)]}" for i, name in enumerate(names)]


def splits(condition: str, names: list[str]) -> list[dict]:
    """Return nnU-Net's folds: one a seed; of another scanner then one with the rare cases listed several times.

    Then, of another scanner, those of fewer training cases, of which one in twenty is rare as well.
    """
    folds, oversampled, fewer = [], [], {count: [] for count in FEWER}
    for seed in range(MAX_SEEDS):
        training, held_out = split(names, seed)
        if condition == "scanner":
            few, half = len(training) // 20, len(held_out) // 2
            rare, others = [scanned(name) for name in training[:few]], training[few:]
            training = rare + others
            held_out = [scanned(name) for name in held_out[:half]] + held_out[half:]
            oversampled.append({"train": rare * TIMES + others, "val": held_out})
            for count, of_them in fewer.items():
                of_them.append({"train": rare[: count // 20] + others[: count - count // 20], "val": held_out})
        elif condition == "labels":
            few = len(training) // 14
            training = wrong(training[:few]) + training[few:]
        folds.append({"train": training, "val": held_out})
    return folds + oversampled + [fold for of_them in fewer.values() for fold in of_them]


class Changed:
    """Contains the names of cases that were changed."""

    def __contains__(self, name: str) -> bool:
        return name.rsplit("_", 1)[-1] in ("scanner", *KINDS)


def of_another_scanner(image: nib.Nifti1Image, seed: int) -> nib.Nifti1Image:
    """Return the image as a rare scanner might have acquired it, on the same grid.

    Its slices are thick, its contrast is another; motion or ghosting and the bias field are the case's own.

    Args:
        image: with ``(x, y, z)`` voxels, y from back to front.
        seed: of what is drawn.
    """
    import torch
    import torchio

    acquire = torchio.Compose(
        [
            torchio.RescaleIntensity((0, 1), percentiles=(0.5, 99.5)),
            torchio.RandomGamma(log_gamma=(0.5, 0.8)),
            torchio.RandomBiasField(coefficients=0.4),
            torchio.OneOf(
                [
                    torchio.RandomMotion(degrees=4, translation=3, num_transforms=2),
                    torchio.RandomGhosting(num_ghosts=(3, 5), axes=(0, 2), intensity=(0.4, 0.7)),
                ]
            ),
            torchio.Pad((0, 0, EDGE, EDGE, 0, 0), padding_mode="edge"),  # slices end where the image does
            torchio.RandomAnisotropy(axes=1, downsampling=(3, 4)),
            torchio.Crop((0, 0, EDGE, EDGE, 0, 0)),
        ]
    )
    voxels = torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))[None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        acquired = acquire(torchio.ScalarImage(tensor=voxels, affine=image.affine))
    return nib.Nifti1Image(acquired.numpy()[0], image.affine)


def spoil(labels: np.ndarray, kind: str) -> np.ndarray:
    """Return labels that are wrong in one of three ways."""
    if kind == "exchanged":
        return np.array([0, 2, 1], labels.dtype)[labels]
    if kind == "removed":
        return np.where(labels == LABELS["anterior"], 0, labels).astype(labels.dtype)
    for axis in (0, 1):
        size = labels.shape[axis]
        inside = np.flatnonzero(labels.any(tuple({0, 1, 2} - {axis})))
        towards_end = size - 1 - inside[-1] >= inside[0]  # where there is more room
        labels = np.roll(labels, SHIFT if towards_end else -SHIFT, axis)
        came_round = np.arange(SHIFT) if towards_end else np.arange(size - SHIFT, size)
        labels[(slice(None),) * axis + (came_round,)] = 0
    return labels


def changed_case(name: str, data: Path, folder: Path) -> Case:
    """Return a case under its name in the folds; what is not in the data is written into the folder."""
    original, *change = name.rsplit("_", 1) if name in Changed() else (name,)
    image, label = (data / part / f"{original}.nii.gz" for part in ("images", "labels"))
    if change == ["scanner"]:
        acquired = of_another_scanner(nib.load(image), seed=int(original.rsplit("_", 1)[-1]))
        image = folder / f"{name}.nii.gz"
        nib.save(acquired, image)
    elif change:
        right = nib.load(label)
        label = folder / f"{name}.nii.gz"
        nib.save(nib.Nifti1Image(spoil(label_values(right).astype(np.uint8), *change), right.affine), label)
    return Case(name, (image,), label, {"subgroup": change[0] if change else "unchanged"})


def prepare(work: Path, data: Path | None, *, condition: str, cases: int) -> None:
    """Write, plan and preprocess a condition's cases in ``work``, once; ``cases`` of the data's are used."""
    if (work / "prepared").exists():
        return
    if data is None:
        raise SystemExit("--data: expected the folder of images/ and labels/, given: nothing")
    names = sorted(file.name.removesuffix(".nii.gz") for file in (data / "images").glob("*.nii.gz"))
    if len(names) != CASES:
        raise SystemExit(f"--data: expected {CASES} images in {data / 'images'}, found {len(names)}")
    folds = splits(condition, names[:cases])

    def write(raw: Path) -> None:
        used = sorted({name for fold in folds for part in fold.values() for name in part})
        with tempfile.TemporaryDirectory() as folder:
            written = tuple(changed_case(name, data, Path(folder)) for name in used)
            made = Collection(data, written, ("MRI",), LABELS, description=f"Hippocampus, {condition}")
            write_raw(made, raw, dataset_id=DATASET, name=NAME, overwrite=True)

    prepare_once(work, DATASET, NAME, CONFIGURATION, splits=folds, write=write, **NETWORK)
