"""Cases in memory for the host's loader: picklable, and each worker's batches carry its process id."""

import os

import numpy as np

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.nnunetv2.loader import HardnessWeightedDataLoader


class FakeCases:
    """Cases whose segmentation holds where each voxel is, so that a patch's centre tells what it was centred on.

    Attributes:
        locations: of each case by name, voxels by key; the voxels of key number ``k`` have y = 6 + k.

    Args:
        keys: the labels or regions.
        annotated: one more key, for voxels that lie anywhere, as data sets with an ignore label have it.
        previous: whether there is the segmentation of a cascade's first stage.
    """

    def __init__(self, n, shape=(24, 20, 18), keys=(1, 2), annotated=None, previous=False):
        self.identifiers = [f"case{i:02d}" for i in range(n)]
        self.shape, self.previous = shape, previous
        self.places = np.arange(np.prod(shape), dtype=np.int16).reshape(1, *shape)
        self.locations = {name: {} for name in self.identifiers}
        rng = np.random.default_rng(0)
        for locations in self.locations.values():
            for k, key in enumerate(keys):
                locations[key] = np.array([[0, *rng.integers(6, shape)] for _ in range(30)])
                locations[key][:, 2] = 6 + k
            if annotated is not None:
                locations[annotated] = np.array([[0, *rng.integers(0, shape)] for _ in range(300)])

    def load_case(self, name):
        data = np.full((1, *self.shape), float(os.getpid()), dtype=np.float32)
        previous = self.places[0] % 7 if self.previous else None
        return data, self.places, previous, {"class_locations": self.locations[name]}

    def centres(self, batch):
        """Return the image's voxel at the centre of each patch of a batch, ``(B, 3)``."""
        seg = np.asarray(batch["target"])  # nnU-Net 2.6 gives arrays
        seg = seg[:, 0] if seg.ndim == 5 else seg[:, 0, None]
        middle = seg[(slice(None), *(s // 2 for s in seg.shape[1:]))]
        return np.stack(np.unravel_index(middle, self.shape), axis=1)


class FakeLabels:
    def __init__(self, classes=2, ignore=False):
        self.all_labels = list(range(classes + 1))
        self.has_ignore_label = ignore


def loader_of(cases, settings, *, size=2, structures=(), **options):
    """Return a loader and the sampler whose draws it has; ``options`` as of :func:`made`."""
    loader = made(HardnessWeightedDataLoader, cases, size=size, **options)
    sampler = HardnessWeightedSampler(cases.identifiers, settings, structures=[str(s) for s in structures])
    loader.attach(sampler.draws, structures=structures)
    return loader, sampler


def made(cls, cases, *, size=2, patch=(8, 8, 8), initial=None, oversample=0.33, ignore=False):
    return cls(
        cases, size, initial or patch, patch, FakeLabels(ignore=ignore), oversample_foreground_percent=oversample
    )


def teach(sampler, losses, structures=None):
    """Have every case answer the same again and again, so that differences between cases count as real."""
    for _ in range(1 + -(-16 // len(losses))):
        sampler.update(range(len(losses)), losses, structures=structures)
