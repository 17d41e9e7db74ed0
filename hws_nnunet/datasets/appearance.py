"""How unlike the others each image of a data set looks: what is rare, told by no labels and no groups.

A network learns a few rare training cases by heart, so that their loss need not tell them from the others. What their
images look like does: another scanner, another sequence, another anatomy.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from scipy.fft import rfft2
from scipy.spatial.distance import cdist

from hws_nnunet.messages import number

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
BANDS = (0.02, 0.08, 0.16, 0.25, 0.35, 0.5)
"""Bounds of spatial frequencies, in cycles a voxel, of which the power is told: blur, noise, texture."""
NEIGHBOURS = 5, 0.1
"""Which of an image's nearest others tells its distance: the fifth, or the nearest tenth's last where that is more. A
rare group with fewer members than that lies far from its neighbours."""
_AT_A_TIME = 256  # images whose distances to all are in memory
FEWEST = NEIGHBOURS[0] + 2
"""Images that are needed."""


def appearance(channels: Iterable[np.ndarray]) -> np.ndarray:
    """Return what an image looks like: percentiles, and power by spatial frequency, of each channel, ``(C * 14,)``.

    Args:
        channels: each ``(*spatial)`` of finite numbers, the last two axes in-plane, which is brought to mean 0 and
            variance 1; voxels of exactly 0 are outside where they are more than a fifth, and count nowhere.
    """
    features: list[np.ndarray] = []
    for channel in (np.asarray(values, dtype=np.float32) for values in channels):
        inside = channel != 0
        if not 0 < np.count_nonzero(inside) < 0.8 * channel.size:
            inside = np.ones_like(inside)
        values = channel[inside]
        deviation = values.std() or 1.0
        values = (values - values.mean()) / deviation
        standardised = np.zeros_like(channel)
        standardised[inside] = values
        features += [np.percentile(values, PERCENTILES), np.log(_power(standardised) + 1e-9)]
    return np.concatenate(features)


def _power(channel: np.ndarray) -> np.ndarray:
    """Return the mean power of the slices' frequencies in each band; 0 where slices are too small to have any there."""
    rows, columns = np.fft.fftfreq(channel.shape[-2])[:, None], np.fft.rfftfreq(channel.shape[-1])[None]
    frequency = np.hypot(rows, columns)
    power = (np.abs(rfft2(channel)) ** 2).reshape(-1, *frequency.shape).mean(0)
    within = [(low <= frequency) & (frequency < high) for low, high in pairwise(BANDS)]
    return np.array([power[band].mean() if band.any() else 0.0 for band in within])


def unlikeness(appearances: np.ndarray) -> np.ndarray:
    """Return how far each image lies from its neighbours, ``(n,)``: 0 where so many are alike.

    Distances are Euclidean, each feature brought to variance 1.

    Args:
        appearances: ``(n, features)``, of :data:`FEWEST` images or more.

    Raises:
        ValueError: there are fewer.
    """
    features = np.asarray(appearances, dtype=np.float64)
    n = len(features)
    if n < FEWEST:
        raise ValueError(
            f"{number(n, 'image')}: expected {FEWEST} or more, of which each is compared with its neighbours"
        )
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)
    at_least, share = NEIGHBOURS
    nearest = max(at_least, int(share * n))
    parts = np.array_split(features, -(-n // _AT_A_TIME))
    # The nearest of all is the image itself.
    return np.concatenate([np.partition(cdist(part, features), nearest, axis=1)[:, nearest] for part in parts])
