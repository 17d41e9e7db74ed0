"""Losses and indices as a loop hands them over: checked, and as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


def checked_answers(losses: Any, indices: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices, ``(B,)`` int64, and losses, ``(B,)`` float64.

    Args:
        losses: ``(B,)``, a tensor on any device, an array or a list.
        indices: the same.
        size: of the data set.

    Raises:
        TypeError: no indices, or some that are not whole numbers.
        ValueError: not one index for each loss, or one that the data set has not.
    """
    if indices is None:
        raise TypeError(
            "no indices given: an order of batches would be wrong as soon as one is left out, split or asked for "
            "ahead. Wrap the data set, DataLoader(sampler.indexed(dataset), batch_sampler=sampler), take the index "
            "from each batch, and call update(losses, index)"
        )
    ids, values = np.atleast_1d(_array(indices)), np.atleast_1d(_array(losses).astype(np.float64))
    if ids.size and ids.dtype.kind not in "iu":
        raise TypeError(f"indices are {ids.dtype}, expected whole numbers, as they came with the batch")
    if ids.ndim != 1 or ids.shape != values.shape:
        raise ValueError(f"losses of shape {values.shape} and indices of {ids.shape} given, expected one for each")
    if ids.size and not 0 <= ids.min() <= ids.max() < size:
        raise ValueError(f"indices from {ids.min()} to {ids.max()} given; there are {size} samples")
    return ids.astype(np.int64, copy=False), values


def _array(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()
