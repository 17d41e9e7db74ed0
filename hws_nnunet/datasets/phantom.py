"""Made-up brain scans: nested shapes, a large easy group with T2-like contrast and a small one unlike it.

No patient's data and nothing to download: for demonstrations, tests and experiments. The rare group differs in anatomy
(large ventricles, a small and low cerebellum, as in spina bifida aperta) and in contrast, as if scanned elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from tqdm import tqdm

from hws_nnunet.datasets.cases import Case, Collection

LABELS = {
    "background": 0,
    "white_matter": 1,
    "grey_matter": 2,
    "ventricles": 3,
    "outer_csf": 4,
    "cerebellum": 5,
    "brainstem": 6,
}
_INTENSITY = np.array([0.02, 0.62, 0.46, 0.95, 1.0, 0.26, 0.36])  # T2-weighted: fluid is bright
_RARE_INTENSITY = np.array([0.02, 0.48, 0.64, 0.74, 0.82, 0.32, 0.40])  # grey matter brighter than white matter
COMMON, RARE = "common", "rare"
_AFFINE = np.diag([-1.0, -1.0, -1.0, 1.0])  # voxels of 1 mm; axes run left, back and down


@dataclass(frozen=True)
class Anatomy:
    """Sizes and places of one brain, in units of half the field of view; axes are left, back and down."""

    size: float
    """Of all of it, as brains grow; the other sizes are those at 1."""
    brain: tuple[float, float, float]
    ventricles: float
    cerebellum: float
    cerebellum_low: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, rare: bool) -> Anatomy:
        """Draw a brain of the common or the rare group."""
        size = rng.uniform(0.7, 1.05)
        x, y, z = (half * rng.uniform(0.96, 1.04) for half in (0.68, 0.82, 0.66))
        if rare:
            return cls(size, (x, y, z), rng.uniform(2.0, 2.6), rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.16))
        return cls(size, (x, y, z), rng.uniform(0.8, 1.1), rng.uniform(0.9, 1.1), rng.uniform(-0.02, 0.02))


def make_case(
    rng: np.random.Generator, *, rare: bool, shape: Sequence[int] = (48, 56, 48)
) -> tuple[np.ndarray, np.ndarray]:
    """Return a made-up scan and its labels.

    Args:
        rng: all randomness comes from it.
        rare: whether the brain is of the rare group.
        shape: in voxels, at least 16 along each axis.

    Returns:
        Image, float32 ``shape``, and labels, uint8 ``shape``, as in :data:`LABELS`.

    Raises:
        ValueError: for a shape too small to hold the structures.
    """
    if len(shape) != 3 or min(shape) < 16:
        raise ValueError(f"a phantom needs three axes of at least 16 voxels, given: {tuple(shape)}")
    anatomy = Anatomy.draw(rng, rare=rare)
    axes = [np.linspace(-1, 1, size) for size in shape]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))
    place = place + np.stack([_smooth(rng, shape, 0.2) for _ in range(3)]) * 0.035
    place /= anatomy.size
    labels = _label(place, anatomy, rng)
    return _image(labels, _RARE_INTENSITY if rare else _INTENSITY, rng), labels


def _label(place: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    x, y, z = place
    radius = np.sqrt(sum((axis / half) ** 2 for axis, half in zip(place, anatomy.brain, strict=True)))
    # Folds of the cortex: the borders of grey and white matter swing with the direction.
    phase = rng.uniform(0, 2 * np.pi, 3)
    folds = np.sin(15 * x + phase[0]) * np.sin(13 * y + phase[1]) * np.sin(15 * z + phase[2])
    labels = np.zeros(radius.shape, dtype=np.uint8)
    labels[radius < 1.0] = LABELS["outer_csf"]
    labels[radius < 0.90 + 0.05 * folds] = LABELS["grey_matter"]
    labels[radius < 0.74 + 0.13 * folds] = LABELS["white_matter"]
    scale = anatomy.ventricles ** (1 / 2)
    for side in (-1, 1):
        labels[_inside(place, (side * 0.17 * scale, 0.02, -0.05), (0.10, 0.32, 0.12), scale)] = LABELS["ventricles"]
    labels[_inside(place, (0.0, 0.10, 0.38), (0.20, 0.18, 0.34), 1.0)] = LABELS["brainstem"]
    low = 0.36 + anatomy.cerebellum_low
    labels[_inside(place, (0.0, 0.45, low), (0.40, 0.24, 0.22), anatomy.cerebellum)] = LABELS["cerebellum"]
    return labels


def _inside(place: np.ndarray, centre: tuple, half: tuple, scale: float) -> np.ndarray:
    return sum(((p - c) / (h * scale)) ** 2 for p, c, h in zip(place, centre, half, strict=True)) < 1.0


def _image(labels: np.ndarray, intensity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    contrast = intensity * rng.uniform(0.92, 1.08, len(intensity))
    image = ndimage.gaussian_filter(contrast[labels], 0.6)
    image *= np.exp(0.25 * _smooth(rng, labels.shape, 0.45))  # bias field of the coils
    image += rng.normal(0, 0.04, labels.shape)
    return (1000 * np.clip(image, 0, None)).astype(np.float32)


def _smooth(rng: np.random.Generator, shape: Sequence[int], width: float) -> np.ndarray:
    """Return a smooth random field of standard deviation 1; ``width`` is in shares of the field of view."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), [width * size / 2 for size in shape], mode="reflect")
    return field / field.std()


def make_phantom(
    folder: Path,
    *,
    cases: int = 20,
    rare: int = 2,
    test_cases: int = 6,
    rare_test_cases: int = 3,
    shape: Sequence[int] = (48, 56, 48),
    seed: int = 0,
    progress: bool = False,
) -> Collection:
    """Write made-up cases into a folder and return them as a collection, ready for a raw format's writer.

    Args:
        folder: exists; gets one NIfTI file for each image and each label.
        cases: for training, the rare ones among them.
        rare: of the training cases.
        test_cases: held out, the rare ones among them.
        rare_test_cases: of the held-out cases.
        shape: of every image, in voxels.
        seed: the same seed gives the same cases, whatever their number.
        progress: show a bar on standard error.

    Raises:
        ValueError: for numbers that do not fit each other.
    """
    if not 0 <= rare <= cases or not 0 <= rare_test_cases <= test_cases or cases < 1:
        raise ValueError(
            f"{rare} rare of {cases} cases and {rare_test_cases} of {test_cases} test cases given; expected at least "
            "one case, and no more rare cases than cases"
        )
    made = []
    plan = [(False, i, i < rare) for i in range(cases)] + [(True, i, i < rare_test_cases) for i in range(test_cases)]
    for test, number, is_rare in tqdm(plan, desc="making", unit="case", disable=not progress):
        image, labels = make_case(np.random.default_rng([seed, test, number]), rare=is_rare, shape=shape)
        name = f"{'test' if test else 'train'}{number:03d}"
        files = folder / f"{name}_image.nii.gz", folder / f"{name}_label.nii.gz"
        for array, file in zip((image, labels), files, strict=True):
            nib.save(nib.Nifti1Image(array, _AFFINE), file)
        made.append(Case(name, (files[0],), files[1], {"subgroup": RARE if is_rare else COMMON}, test))
    return Collection(folder, tuple(made), ("T2w",), LABELS, "Made-up brains, a few of other anatomy and contrast")
