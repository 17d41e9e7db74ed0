"""Cases in memory for the host's loader: picklable, and each worker's batches carry its process id."""

import os

import numpy as np

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.nnunetv2.loader import HardnessWeightedDataLoader


class FakeCases:
    def __init__(self, n, shape=(24, 20, 18), classes=2, voxels=300, annotated=None):
        self.identifiers = [f"case{i:02d}" for i in range(n)]
        self.shape = shape
        rng = np.random.default_rng(0)
        self.locations = {}
        for label in range(1, classes + 1):
            places = np.stack([rng.integers(0, s, voxels * label) for s in shape], axis=1)
            self.locations[label] = np.concatenate((np.zeros((len(places), 1), dtype=int), places), axis=1)
        if annotated is not None:
            self.locations[annotated] = np.concatenate(list(self.locations.values()))[::2]

    def load_case(self, name):
        data = np.full((1, *self.shape), float(os.getpid()), dtype=np.float32)
        seg = np.zeros((1, *self.shape), dtype=np.int16)
        return data, seg, None, {"class_locations": self.locations}


class FakeLabels:
    def __init__(self, classes=2, ignore=False):
        self.all_labels = list(range(classes + 1))
        self.has_ignore_label = ignore


def loader_of(cases, settings, *, size=2, patch=(8, 8, 8), initial=None, oversample=0.33, ignore=False, rng=None):
    labels = FakeLabels(ignore=ignore)
    loader = HardnessWeightedDataLoader(
        cases, size, initial or patch, patch, labels, oversample_foreground_percent=oversample
    )
    loader.attach(HardnessWeightedSampler(cases.identifiers, settings, measures=("dice_ce", "dice_present"), rng=rng))
    return loader


def teach(sampler, losses, cells=None):
    """Give every case one answer."""
    pairs = np.repeat(np.asarray(losses, dtype=float)[:, None], 2, axis=1)
    sampler.update(range(len(pairs)), cells, pairs)
