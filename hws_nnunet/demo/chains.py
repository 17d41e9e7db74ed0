"""The demonstration's chain of commands, for each version of nnU-Net: plan, preprocess, train, predict."""

from __future__ import annotations

import json
import os
import shlex
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from hws_nnunet import registration
from hws_nnunet.datasets import Collection, write_raw
from hws_nnunet.demo.commands import run
from hws_nnunet.facts.versions import V1, V2, Host
from hws_nnunet.files import atomic_write

NUMBER, NAME = 990, "Phantom"


class Chain(ABC):
    """One version of nnU-Net at work in a folder.

    Args:
        out: of the demonstration; has nnU-Net's folders.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    host: ClassVar[Host]
    folders: ClassVar[tuple[str, ...]]
    """nnU-Net's variables, which are the names of its folders here too."""
    trainers: ClassVar[dict[str, str]]
    """By what they are called in the table; hardness weighting first."""

    def __init__(self, out: Path, device: str):
        self.out, self.device = out, device
        ours = {name: str(out / name) for name in self.folders} | self._variables()
        ours |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
        self.exports = [f"{name}={shlex.quote(value)}" for name, value in ours.items()]
        """What differs in the environment, for people to repeat."""
        self.env = {**os.environ, **ours, "PYTHONUNBUFFERED": "1"}
        self.env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + self.env.get("PATH", "")
        self.env.pop("HWS_CONFIG", None)

    @property
    @abstractmethod
    def needs_registering(self) -> bool:
        """Whether the trainers have to be registered for nnU-Net to find them."""

    @property
    @abstractmethod
    def raw(self) -> Path:
        """The raw data set's folder."""

    @abstractmethod
    def write_raw(self, collection: Collection) -> Path:
        """Write the raw data set."""

    @abstractmethod
    def preprocess(self) -> None:
        """Plan, with a small network, and preprocess; keep the last case for nnU-Net's own validation."""

    @abstractmethod
    def train(self, trainer: str) -> Path:
        """Train, and return the fold's folder."""

    @abstractmethod
    def predict(self, trainer: str) -> Path:
        """Predict the held-out cases, and return the folder of the predictions."""

    def _variables(self) -> dict[str, str]:
        return {}

    def _split(self) -> list[dict[str, list[str]]]:
        names = sorted(path.name.removesuffix(".nii.gz") for path in (self.raw / "labelsTr").glob("*.nii.gz"))
        return [{"train": names[:-1], "val": names[-1:]}]

    def _run(self, *command: object) -> None:
        run(list(command), self.env)

    def _run_ours(self, *command: object) -> None:
        run([sys.executable, "-m", "hws_nnunet.commands.main", *command], self.env, shown=["hws-nnunet", *command])


class ChainV2(Chain):
    """nnU-Net v2's chain."""

    host = V2
    folders = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    trainers: ClassVar = {"hardness weighted": "HardnessWeightedTrainer_demo", "uniform": "nnUNetTrainer_demo"}
    configuration = "3d_small"

    def _variables(self) -> dict[str, str]:
        return {} if self.needs_registering else {"nnUNet_extTrainer": str(self.host.trainers_path())}

    @property
    def needs_registering(self) -> bool:
        """Before 2.8 nnU-Net looks in its own folder alone."""
        return registration.needs_registering()

    @property
    def raw(self) -> Path:
        """``nnUNet_raw/Dataset990_Phantom``."""
        return self.out / "nnUNet_raw" / V2.name_of(NUMBER, NAME)

    def write_raw(self, collection: Collection) -> Path:
        """Write the raw data set."""
        return write_raw(collection, self.raw.parent, dataset_id=NUMBER, name=NAME)

    def preprocess(self) -> None:
        """Plan and preprocess a small configuration."""
        folder = self.out / "nnUNet_preprocessed" / self.raw.name
        self._run("nnUNetv2_plan_and_preprocess", "-d", NUMBER, "-npfp", 2, "--verify_dataset_integrity", "--no_pp")
        small = ["--name", self.configuration, "--coarser", "1", "--features", "8,16,32"]
        self._run_ours("small-configuration", folder / "nnUNetPlans.json", *small)
        self._run("nnUNetv2_preprocess", "-d", NUMBER, "-c", self.configuration, "-np", 2)
        with atomic_write(folder / "splits_final.json") as partial:
            partial.write_text(json.dumps(self._split()), encoding="utf-8")
        print(f"# wrote {folder / 'splits_final.json'}: fold 0 trains on all cases but the last")

    def train(self, trainer: str) -> Path:
        """Train fold 0."""
        self._run("nnUNetv2_train", NUMBER, self.configuration, 0, "-tr", trainer, "-device", self.device)
        model = f"{trainer}__nnUNetPlans__{self.configuration}"
        return self.out / "nnUNet_results" / self.raw.name / model / "fold_0"

    def predict(self, trainer: str) -> Path:
        """Predict the held-out cases."""
        target = self.out / "predictions" / trainer
        command = ["nnUNetv2_predict", "-i", self.raw / "imagesTs", "-o", target, "-d", NUMBER, "-c"]
        command += [self.configuration, "-f", 0, "-tr", trainer, "-device", self.device]
        self._run(*command, "-npp", 1, "-nps", 1, "--disable_tta")
        return target


class ChainV1(Chain):
    """nnU-Net v1's chain. Its commands have no option for the device: they take a GPU where they see one."""

    host = V1
    folders = ("nnUNet_raw_data_base", "nnUNet_preprocessed", "RESULTS_FOLDER")
    trainers: ClassVar = {"hardness weighted": "HardnessWeightedTrainer_demo", "uniform": "nnUNetTrainerV2_demo"}
    needs_registering = True
    plans = "nnUNetPlans_pretrained_small"

    def __init__(self, out: Path, device: str):
        if device == "mps":
            raise ValueError("nnU-Net v1 trains on cpu or cuda, given: mps")
        super().__init__(out, device)

    def _variables(self) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""} if self.device == "cpu" else {}

    @property
    def raw(self) -> Path:
        """``nnUNet_raw_data_base/nnUNet_raw_data/Task990_Phantom``."""
        return self.out / "nnUNet_raw_data_base" / "nnUNet_raw_data" / V1.name_of(NUMBER, NAME)

    def write_raw(self, collection: Collection) -> Path:
        """Write the raw task."""
        return write_raw(collection, self.raw.parent.parent, dataset_id=NUMBER, name=NAME, host=V1)

    def preprocess(self) -> None:
        """Plan, make small plans of these, and preprocess by them."""
        from batchgenerators.utilities.file_and_folder_operations import save_pickle

        from hws_nnunet.nnunetv1.small_plans import next_command

        folder = self.out / "nnUNet_preprocessed" / self.raw.name
        plan = ["nnUNet_plan_and_preprocess", "-t", NUMBER, "-pl2d", "None", "-tl", 1, "-tf", 2, "-no_pp"]
        self._run(*plan, "--verify_dataset_integrity")
        self._run_ours("small-plans", folder / "nnUNetPlansv2.1_plans_3D.pkl", "--name", "small", "--coarser", 1)
        self._run(*next_command(folder / "small.pkl", NUMBER), "-tl", 1, "-tf", 2)
        file = folder / "splits_final.pkl"  # nnU-Net reads its folds from a pickle
        with atomic_write(file) as partial:
            save_pickle(self._split(), str(partial))
        print(f"# wrote {file}: fold 0 trains on all cases but the last")

    def train(self, trainer: str) -> Path:
        """Train fold 0."""
        self._run("nnUNet_train", "3d_fullres", trainer, self.raw.name, 0, "-p", self.plans)
        return self.out / "RESULTS_FOLDER/nnUNet/3d_fullres" / self.raw.name / f"{trainer}__{self.plans}" / "fold_0"

    def predict(self, trainer: str) -> Path:
        """Predict the held-out cases; the stock trainer's checkpoint takes a variable to be loaded by today's torch."""
        target = self.out / "predictions" / trainer
        command = ["nnUNet_predict", "-i", self.raw / "imagesTs", "-o", target, "-t", NUMBER, "-m", "3d_fullres"]
        command += ["-f", 0, "-tr", trainer, "-p", self.plans, "--disable_tta"]
        command += ["--num_threads_preprocessing", 1, "--num_threads_nifti_save", 1]
        stock = {} if trainer.startswith("Hardness") else {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        run(command, {**self.env, **stock}, prefix=[f"{name}={value}" for name, value in stock.items()])
        return target


CHAINS: dict[str, type[Chain]] = {chain.host.version: chain for chain in (ChainV1, ChainV2)}
