"""What labels are called, and of which values they are made, from a data set's ``dataset.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hws_nnunet.report.read.results import ResultError


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


def read_labels(path: Path) -> LabelTable:
    """Read the labels of a ``dataset.json`` of nnU-Net v1 or v2.

    Raises:
        FileNotFoundError: there is no such file.
        ResultError: it has no labels, or some that are no whole numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected the dataset.json of an nnU-Net data set")
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"].items()
        # v1 maps values to names, v2 names to values.
        pairs = [
            (name, [int(key)]) if str(key).isdecimal() and isinstance(name, str) else (key, name)
            for key, name in labels
        ]
        regions = {
            str(name): tuple(int(value) for value in (values if isinstance(values, list | tuple) else [values]))
            for name, values in pairs
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            path, [f"expected 'labels', names with whole numbers: {type(error).__name__}: {error}"]
        ) from None
    ignored = regions.pop("ignore", (None,))[0]
    regions = {name: values for name, values in regions.items() if values != (0,)}
    if not regions or not all(regions.values()):
        raise ResultError(path, ["expected at least one label beside the background, each with a value"])
    return LabelTable(regions, ignored)
