"""The two versions of nnU-Net, a row each: package, commands, folders, files. Whatever differs between them is here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from hws_nnunet.files import packaged

TRAINER = "HardnessWeightedTrainer"
STATE = "hardness_weighted_sampling"
"""Key of the sampler's state in a checkpoint of either version."""
SUMMARY, DATASET, SUBGROUPS = "summary.json", "dataset.json", "subgroups.csv"
"""A validation's results, a raw data set's description, and the table that we put beside the latter."""
FILE_ENDING = ".nii.gz"
"""Of a data set whose ``dataset.json`` names none."""


@dataclass(frozen=True)
class Host:
    """A version of nnU-Net."""

    version: str
    """``v1`` or ``v2``."""
    package: str
    oldest: str
    """Version with whose data loaders and losses ours work."""
    trainers: tuple[str, ...]
    """Folder in which it looks for trainers, within the package."""
    raw: str
    """Variable that names the folder of raw data; the next two: of preprocessed data, and of trained models."""
    preprocessed: str
    results: str
    raw_parts: tuple[str, ...]
    """Folders between that of raw data and the data sets."""
    prefix: str
    """Of a data set's name, before its three digits."""
    splits_file: str
    """Folds that it reads from the preprocessed data set."""
    validation: str
    """Folder of validation predictions, in a fold's."""
    trains_regions: bool
    """Whether its standard trainer trains the regions that ``dataset.json`` describes."""
    weights: str
    """Key of the network's weights in a checkpoint."""
    prepare: str
    """Command that plans and preprocesses; ``{}`` is the data set's number. The next: to train, validate, predict."""
    train: str
    validate: str
    predict: str

    @property
    def variables(self) -> tuple[str, str, str]:
        """The variables that name folders: of raw data, preprocessed data, results."""
        return self.raw, self.preprocessed, self.results

    @property
    def install(self) -> str:
        """Command that installs it, by the extra of this package."""
        return f"pip install -U 'hws-nnunet[nnunet{self.version}]'"

    def data_set(self, raw_folder: Path, name: str) -> Path:
        """Return a raw data set's folder, below the folder that :attr:`raw` names."""
        return Path(raw_folder, *self.raw_parts, name)

    def name_of(self, number: int, name: str) -> str:
        """Return nnU-Net's name of a data set, ``Dataset001_Name`` or ``Task001_Name``.

        Raises:
            ValueError: unless ``1 <= number <= 999`` and ``name`` is made of letters, digits, ``-`` and ``_``.
        """
        if not 1 <= number <= 999:
            raise ValueError(f"the data set's number has to be between 1 and 999, given: {number}")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"the data set's name may hold letters, digits, '-' and '_', given: {name!r}")
        return f"{self.prefix}{number:03d}_{name}"

    def check_version(self) -> Version:
        """Return the installed version.

        Raises:
            RuntimeError: none is installed, or one that is too old.
        """
        try:
            installed = Version(importlib.metadata.version(self.package))
        except importlib.metadata.PackageNotFoundError:
            raise RuntimeError(f"nnU-Net {self.version} is not installed: {self.install}") from None
        if installed < Version(self.oldest):
            raise RuntimeError(
                f"{self.package} {installed} is installed, hardness weighted sampling needs {self.oldest} or newer: "
                f"{self.install}"
            )
        return installed

    def trainers_path(self) -> Path:
        """Return the folder of the module that leads to our trainers."""
        return packaged("trainers", f"nnunet{self.version}")

    def trainer_folder(self) -> Path:
        """Return the folder in which the installed nnU-Net looks for trainers.

        Raises:
            RuntimeError: it is not installed, or too old.
        """
        self.check_version()
        spec = importlib.util.find_spec(self.package)
        places = () if spec is None else spec.submodule_search_locations or ()
        folder = Path(next(iter(places))).joinpath(*self.trainers)
        if not folder.is_dir():
            raise RuntimeError(f"nnU-Net's trainer folder is missing: {folder}")
        return folder


V1 = Host(
    "v1",
    "nnunet",
    "1.7.1",
    ("training", "network_training"),
    raw="nnUNet_raw_data_base",
    preprocessed="nnUNet_preprocessed",
    results="RESULTS_FOLDER",
    raw_parts=("nnUNet_raw_data",),
    prefix="Task",
    splits_file="splits_final.pkl",
    validation="validation_raw",
    trains_regions=False,
    weights="state_dict",
    prepare="nnUNet_plan_and_preprocess -t {} --verify_dataset_integrity",
    train=f"nnUNet_train 3d_fullres {TRAINER} Task501_FetalBrain 0",
    validate="nnUNet_train ... -val",
    predict=f"nnUNet_predict -i {{}} -o predictions -t {{}} -m 3d_fullres -f 0 -tr {TRAINER}",
)
V2 = Host(
    "v2",
    "nnunetv2",
    "2.6",
    ("training", "nnUNetTrainer"),
    raw="nnUNet_raw",
    preprocessed="nnUNet_preprocessed",
    results="nnUNet_results",
    raw_parts=(),
    prefix="Dataset",
    splits_file="splits_final.json",
    validation="validation",
    trains_regions=True,
    weights="network_weights",
    prepare="nnUNetv2_plan_and_preprocess -d {} --verify_dataset_integrity",
    train=f"nnUNetv2_train 501 3d_fullres 0 -tr {TRAINER}",
    validate="nnUNetv2_train ... --val",
    predict=f"nnUNetv2_predict -i {{}} -o predictions -d {{}} -c 3d_fullres -f 0 -tr {TRAINER}",
)
HOSTS = {host.version: host for host in (V1, V2)}


def installed() -> list[Host]:
    """Return the versions of nnU-Net that are installed, whatever their age."""
    return [host for host in HOSTS.values() if importlib.util.find_spec(host.package) is not None]
