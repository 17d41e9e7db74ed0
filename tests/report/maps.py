"""Made-up label maps of two structures, with slices of 2 and of 10 mm, and what measures of them are by counting alone.

In each case structure 1 is found without a fault; of structure 2 the case's name in ``KINDS`` tells.
"""

import numpy as np

KINDS = ("perfect", "half", "missed", "invented", "absent")
SLICES = (2.0, 10.0)
CASES = {f"case-{n + 1:05d}-000": (KINDS[n % 5], SLICES[n // 5]) for n in range(10)}


def box(voxels, low, high, value):
    voxels[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = value


def maps_of(case):
    """Reference, prediction, and the voxels' sizes."""
    kind, slices = CASES[case]
    reference = np.zeros((24, 20, 10), np.uint8)
    box(reference, (2, 2, 2), (10, 10, 6), 1)
    predicted = reference.copy()
    if kind in ("perfect", "half", "missed"):
        box(reference, (14, 12, 3), (18, 16, 7), 2)
    if kind in ("perfect", "half", "invented"):
        box(predicted, (14, 12, 3), (18, 16, 5 if kind == "half" else 7), 2)
    return reference, predicted, (2.0, 2.0, slices)


def lesions():
    """Two lesions of which one is found: reference, prediction, sizes."""
    reference, _, sizes = maps_of("case-00005-000")
    predicted = reference.copy()
    box(reference, (14, 12, 3), (18, 16, 7), 1)
    return reference, predicted, sizes


def dice_of(case, value):
    reference, predicted, _ = (part == value if np.ndim(part) == 3 else part for part in maps_of(case))
    total = int(reference.sum()) + int(predicted.sum())
    return 2 * int((reference & predicted).sum()) / total if total else float("nan")


def sizes_of(case, value):
    reference, predicted, _ = maps_of(case)
    return int((reference == value).sum()), int((predicted == value).sum())


def hd95_of(case, value):
    """The larger of both directions' 95th percentiles of distances between borders; NaN unless both have it."""
    reference, predicted, sizes = maps_of(case)
    borders = [_border(part == value) * np.array(sizes) for part in (reference, predicted)]
    if not all(map(len, borders)):
        return float("nan")
    distances = np.sqrt(((borders[0][:, None] - borders[1][None]) ** 2).sum(-1))
    return float(max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1)))


def _border(mask):
    inside = np.pad(mask, 1)
    for axis in range(3):
        inside = inside & np.roll(np.pad(mask, 1), 1, axis) & np.roll(np.pad(mask, 1), -1, axis)
    return np.argwhere(mask & ~inside[1:-1, 1:-1, 1:-1])
