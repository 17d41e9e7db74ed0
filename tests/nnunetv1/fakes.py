"""Preprocessed cases on disk for the host's loaders, as it stores them."""

import os
from collections import OrderedDict

import numpy as np

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.nnunetv1.loader import HardnessWeightedDataLoader2D, HardnessWeightedDataLoader3D

SHAPE = (24, 20, 18)


def make_cases(folder, n, shape=SHAPE, labels=(1, 2), previous=False):
    """Return the host's data set; each case has its own ``class_locations``.

    Every voxel of an image holds where it is, so that a patch tells its place; the voxels of label number ``k`` have
    y = 6 + k. With ``previous`` there is the segmentation of a cascade's first stage.
    """
    rng = np.random.default_rng(0)
    place = np.ravel_multi_index(np.indices(shape), shape).astype(np.float32)
    cases = OrderedDict()
    for i in range(n):
        file = os.path.join(folder, f"case{i:02d}")
        np.save(f"{file}.npy", np.stack((place, np.zeros(shape, dtype=np.float32))))
        locations = {}
        for k, label in enumerate(labels):
            locations[label] = np.array([rng.integers(6, shape) for _ in range(30)])
            locations[label][:, 1] = 6 + k
        properties = {"class_locations": locations, "original": f"case{i:02d}"}
        cases[f"case{i:02d}"] = {"data_file": f"{file}.npz", "properties": properties}
        if previous:
            np.save(f"{file}_previous.npy", place % 7)
            cases[f"case{i:02d}"]["seg_from_prev_stage_file"] = f"{file}_previous.npz"
    return cases


def centres_of(batch, shape=SHAPE):
    """Return the image's voxel at the centre of each patch of a batch, ``(B, 3)``."""
    data = batch["data"][:, 0] if batch["data"].ndim == 5 else batch["data"]
    middle = data[(slice(None), *(s // 2 for s in data.shape[1:]))]
    return np.stack(np.unravel_index(middle.astype(int), shape), axis=1)


def loader_of(cases, settings, *, structures=(), **options):
    """Return a loader and the sampler whose draws it has; ``options`` as of :func:`stock_loader`."""
    loader = made((HardnessWeightedDataLoader2D, HardnessWeightedDataLoader3D), cases, **options)
    sampler = HardnessWeightedSampler(list(cases), settings, structures=[str(label) for label in structures])
    loader.attach(sampler.draws, structures=structures)
    return loader, sampler


def stock_loader(cases, **options):
    return made(
        [cls.__bases__[-1] for cls in (HardnessWeightedDataLoader2D, HardnessWeightedDataLoader3D)], cases, **options
    )


def made(classes, cases, *, size=2, patch=(8, 8, 8), initial=None, oversample=0.33, **options):
    cls = classes[len(patch) - 2]
    options = {"oversample_foreground_percent": oversample, "pad_mode": "constant", **options}
    return cls(cases, initial or patch, patch, size, **options)


def teach(sampler, losses, structures=None):
    """Have every case answer the same again and again, so that differences between cases count as real."""
    for _ in range(1 + -(-16 // len(losses))):
        sampler.update(range(len(losses)), losses, structures=structures)
