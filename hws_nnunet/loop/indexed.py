"""A data set whose samples carry their index, so that a loss finds its sample whatever happens to a batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from torch.utils.data import Dataset, IterableDataset

_MOVING = {("monai", "SmartCacheDataset"): "CacheDataset", ("torchio", "Queue"): "SubjectsDataset"}
"""Data sets with another sample behind an index from one moment to the next, and one whose samples stay."""


class Indexed(Dataset):
    """A map-style data set's samples, each with its index.

    A mapping gets it under a key, each mapping of a list (MONAI's patches of one image) as well; a tuple or a list gets
    one more entry; anything else becomes a pair. All else is asked of the data set itself.

    Args:
        dataset: with ``__getitem__`` and ``__len__``; the outermost, so that its indices are those that are drawn.
        size: how many samples it has to have.
        key: of a mapping's index.

    Raises:
        TypeError: it has no indices, or another sample behind each of them from time to time.
        ValueError: it has another number of samples.
    """

    def __init__(self, dataset: Any, size: int, key: str):
        _check(dataset)
        if len(dataset) != size:
            raise ValueError(f"the data set has {len(dataset)} samples, the sampler was made for {size}")
        self.dataset, self._key = dataset, key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self._with(self.dataset[index], index)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return a batch's samples, which PyTorch's loaders ask for at once where they can."""
        get = getattr(self.dataset, "__getitems__", None)
        samples = [self.dataset[index] for index in indices] if get is None else get(indices)
        return [self._with(sample, index) for sample, index in zip(samples, indices, strict=True)]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # asked for while this is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def _with(self, sample: Any, index: int) -> Any:
        if type(sample) is tuple:
            return (*sample, index)
        if isinstance(sample, Mapping):
            return self._keyed(sample, index)
        if type(sample) is list:
            if sample and all(isinstance(part, Mapping) for part in sample):
                return [self._keyed(part, index) for part in sample]
            return [*sample, index]
        return (sample, index)

    def _keyed(self, sample: Mapping, index: int) -> Mapping:
        if self._key in sample:
            raise ValueError(f"samples have a {self._key!r} already: give indexed another key")
        if not isinstance(sample, MutableMapping):
            return {**sample, self._key: index}
        keyed = copy.copy(sample)  # keeps its type, which collate functions may ask for
        keyed[self._key] = index
        return keyed


def _check(dataset: Any) -> None:
    """Raise a ``TypeError`` for a data set whose indices are not those of samples, however deep it lies in others."""
    name = type(dataset).__name__
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise TypeError(f"{name} has no indices, by which hardness is told apart: give a map-style data set")
    for base in type(dataset).__mro__:
        if stays := _MOVING.get((base.__module__.split(".")[0], base.__name__)):
            raise TypeError(
                f"{name} puts another sample behind an index while the training goes on, which would get the first "
                f"one's hardness: give a data set whose samples stay, such as {stays}"
            )
    for inner in (getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())):
        if isinstance(inner, Dataset):
            _check(inner)
