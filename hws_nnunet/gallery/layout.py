"""Where a fold's cases lie: its raw data set, labels' names, predictions, of nnU-Net v1 and v2."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hws_nnunet.datasets.case_table import read_groups, read_rows
from hws_nnunet.facts.dataset import labels_of, read_dataset
from hws_nnunet.facts.spellings import is_missing
from hws_nnunet.facts.summary import trained_on_all


@dataclass(frozen=True)
class Layout:
    """A fold's folder, and what its path tells.

    ``version`` is nnU-Net's, ``v1`` or ``v2``; ``dataset`` the raw data set's folder name; ``configuration`` such as
    ``3d_fullres``.
    """

    fold: Path
    version: str
    dataset: str
    configuration: str

    @property
    def validation_name(self) -> str:
        """Name of the folder of validation predictions in a fold's."""
        return "validation" if self.version == "v2" else "validation_raw"

    def raw_data(self, raw_folder: Path) -> Path:
        """Return the raw data set's folder below nnU-Net's raw folder."""
        between = Path() if self.version == "v2" else Path("nnUNet_raw_data")
        return Path(raw_folder) / between / self.dataset

    def predictions(self, case: str, file_ending: str) -> Path | None:
        """Return a validation prediction of a case, by this fold or a fold beside it; None where there is none.

        A fold that was trained on all cases, whose predictions are of its training cases, does not count.
        """
        folds = [self.fold, *sorted(p for p in self.fold.parent.glob("fold_*") if p != self.fold)]
        folds = [fold for fold in folds if not trained_on_all(fold)]
        files = [fold / self.validation_name / f"{case}{file_ending}" for fold in folds]
        return next((file for file in files if file.is_file()), None)


def find_layout(fold: Path) -> Layout:
    """Return what a fold's path tells.

    Args:
        fold: ``DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/fold_0`` (v2) or
            ``CONFIGURATION/TaskXXX_Name/TRAINER__PLANS/fold_0`` (v1), at its end.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: the path is neither.
    """
    path = Path(os.path.abspath(fold))  # a link's own name counts, not that of where it points to
    expected = "expected a fold's folder, .../TRAINER__PLANS__CONFIGURATION/fold_0"
    if path.is_file():
        raise NotADirectoryError(f"{fold} is a file: {expected}")
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {fold}: {expected}")
    model, data = path.parent, path.parent.parent
    if re.fullmatch(r"Dataset\d{3}_.+", data.name):
        return Layout(path, "v2", data.name, model.name.split("__")[-1])
    if re.fullmatch(r"Task\d{3}_.+", data.name):
        return Layout(path, "v1", data.name, data.parent.name)
    raise ValueError(
        f"{path} does not tell its data set: expected a fold's folder where nnU-Net left it, "
        "DatasetXXX_Name/TRAINER__PLANS__CONFIGURATION/fold_0 (v2) or "
        "CONFIGURATION/TaskXXX_Name/TRAINER__PLANS/fold_0 (v1)"
    )


@dataclass(frozen=True)
class RawData:
    """A raw data set: what its ``dataset.json`` and ``subgroups.csv`` say.

    Attributes:
        folder: of the data set.
        channels: their names, in order.
        structures: name to label values; several values are a region. Without background and ignore label.
        ignore: the value of voxels that do not count, None without one.
        file_ending: of all files, with the dot.
        listed: v2's list of files, where ``dataset.json`` has one.
        subgroups: case to what ``subgroups.csv`` tells, in words.
    """

    folder: Path
    channels: tuple[str, ...]
    structures: dict[str, tuple[int, ...]]
    ignore: int | None
    file_ending: str
    listed: dict[str, Any]
    subgroups: dict[str, str]

    def cases(self) -> list[str]:
        """Return the names of the training cases, sorted."""
        if self.listed:
            return sorted(self.listed)
        return sorted(p.name.removesuffix(self.file_ending) for p in self.folder.glob(f"labelsTr/*{self.file_ending}"))

    def images(self, case: str) -> list[Path]:
        """Return the files of a case's channels; one file, where it holds all of them in colour."""
        if case in self.listed:
            return [self._anywhere(file) for file in self.listed[case]["images"]]
        files = [self.folder / "imagesTr" / f"{case}_{i:04d}{self.file_ending}" for i in range(len(self.channels))]
        return files[:1] if self.file_ending not in (".nii.gz", ".nii") and not files[-1].exists() else files

    def label(self, case: str) -> Path:
        """Return the file of a case's reference."""
        if case in self.listed:
            return self._anywhere(self.listed[case]["label"])
        return self.folder / "labelsTr" / f"{case}{self.file_ending}"

    def _anywhere(self, file: str) -> Path:
        return self.folder / os.path.expandvars(file)

    def value_names(self) -> dict[int, str]:
        """Return what each label value is: its structure, or the smallest regions that hold it, less those within."""
        values = sorted({value for parts in self.structures.values() for value in parts})
        return {value: self._name(value) for value in values}

    def _name(self, value: int) -> str:
        regions = {name: frozenset(values) for name, values in self.structures.items()}
        holding = [name for name in regions if value in regions[name]]
        smallest = [name for name in holding if not any(regions[other] < regions[name] for other in holding)]
        within = [n for n in regions if n not in holding and any(regions[n] < regions[one] for one in smallest)]
        largest = [name for name in within if not any(regions[name] < regions[other] for other in within)]
        return " without ".join(" and ".join(names) for names in (smallest, largest) if names)

    def shown_channel(self) -> int:
        """Return the channel to show where none is asked for: FLAIR, else T1 with contrast agent, else the first."""
        for pattern in (r"flair|t2f", r"t1.?(c$|ce|c\+|gd|post)|contrast"):
            for place, name in enumerate(self.channels):
                if re.search(pattern, name, re.IGNORECASE):
                    return place
        return 0


def read_raw_data(folder: Path) -> RawData:
    """Read the description of a raw data set, v1's or v2's.

    Raises:
        FileNotFoundError: there is no ``dataset.json``.
        ValueError: it, or ``subgroups.csv``, is not what nnU-Net expects.
    """
    file = folder / "dataset.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"no {file}: expected the raw data that the fold was trained on; --raw names the folder that holds "
            f"{folder.name}, or nnUNet_raw (v2) and nnUNet_raw_data_base (v1) do"
        )
    try:
        described = read_dataset(file)
        ending, listed = described.get("file_ending", ".nii.gz"), described.get("dataset", {})
        if not isinstance(ending, str) or not isinstance(listed, dict):
            raise TypeError("file_ending is not text, or dataset is not a list of files")
        channels = described.get("channel_names") or described["modality"]
        channels = tuple(str(channels[key]) for key in sorted(channels, key=int))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not a dataset.json of nnU-Net: {type(error).__name__}: {error}") from error
    labels = labels_of(described, file)
    return RawData(
        folder=folder,
        channels=channels,
        structures=dict(labels.regions),
        ignore=labels.ignored,
        file_ending=ending,
        listed=listed,
        subgroups=_read_subgroups(folder / "subgroups.csv"),
    )


def _read_subgroups(file: Path) -> dict[str, str]:
    """Return each case's subgroup, and what other columns tell of it, as they follow the word subgroup."""
    if not file.is_file():
        return {}
    groups, told = read_groups(file), {}
    for case, row in read_rows(file, "subgroup").items():
        more = [f"{k} {v}" for k, v in row.items() if k not in ("case", "subgroup") and v and not is_missing(v)]
        told[case] = ", ".join([groups[case], *more])
    return told
