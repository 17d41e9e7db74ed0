"""A data set's ``dataset.json``, of nnU-Net v1 or v2: which structures there are, of which values in a label map."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hws_nnunet.facts.versions import DATASET


@dataclass(frozen=True)
class LabelTable:
    """``regions`` maps names of labels to values in a label map; voxels of the value ``ignored`` count for nothing."""

    regions: Mapping[str, tuple[int, ...]]
    ignored: int | None = None

    @property
    def names(self) -> dict[str, str]:
        """Return the names by the keys that a ``summary.json`` has, such as ``"1"`` and ``"(1, 2)"``."""
        return {_key(values): name for name, values in self.regions.items()}


def _key(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(values) == 1 else str(values)


def label_name(key: str, names: Mapping[str, str]) -> str:
    """Return the name of a label by its key in a file, the key itself where it has none."""
    if values := re.fullmatch(r"\(([\d, ]+)\)", key):  # nnU-Net writes a region of one value as "(1,)"
        key = _key(tuple(map(int, re.findall(r"\d+", values.group(1)))))
    return names.get(key, key)


def near_dataset(path: Path) -> Path | None:
    """Return the ``dataset.json`` that nnU-Net v2 leaves with predictions, or in the folder of a fold with validation.

    Args:
        path: of predictions, or of a file among them such as ``summary.json``.
    """
    path = Path(path).absolute()
    files = [folder / DATASET for folder in (path, *path.parents)[: 3 + (not path.is_dir())]]
    return next((file for file in files if file.is_file()), None)


def read_dataset(path: Path) -> dict[str, Any]:
    """Return what a ``dataset.json`` says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a JSON object.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected the dataset.json of an nnU-Net data set")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a dataset.json of nnU-Net: {type(error).__name__}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a dataset.json of nnU-Net: expected an object, found {type(content).__name__}")
    return content


def labels_of(described: Mapping[str, Any], path: Path) -> LabelTable:
    """Return the labels of a data set by what its ``dataset.json`` says; values may be written as text.

    Args:
        described: from :func:`read_dataset`.
        path: of the file, for messages.

    Raises:
        ValueError: there is no label but the background, or one has no whole numbers.
    """
    try:
        labels = described["labels"]
        by_value = all(str(key).isdecimal() for key in labels)  # v1 maps values to names, v2 names to values
        pairs = ((name, key) if by_value and isinstance(name, str) else (key, name) for key, name in labels.items())
        regions = {str(name): _values(values) for name, values in pairs}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"expected 'labels', names with whole numbers: {type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a dataset.json of nnU-Net: {text}") from None
    ignored = regions.pop("ignore", (None,))[0]
    regions = {name: values for name, values in regions.items() if values != (0,)}
    if not regions or not all(regions.values()):
        raise ValueError(f"{path}: expected at least one label beside the background, each with a value")
    return LabelTable(regions, ignored)


def _values(values: Any) -> tuple[int, ...]:
    numbers = [float(value) for value in (values if isinstance(values, list | tuple) else [values])]
    if not all(value.is_integer() for value in numbers):
        raise ValueError(f"{values!r} is not a whole number")
    return tuple(map(int, numbers))


def read_labels(path: Path) -> LabelTable:
    """Read the labels of a ``dataset.json``; errors are those of :func:`read_dataset` and :func:`labels_of`."""
    return labels_of(read_dataset(path), Path(path))
