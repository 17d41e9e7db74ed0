"""What overhead.py has to know of each version of nnU-Net: data, a trainer, a step and the ends of an epoch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from experiments import write_json
from nnunet_runs import environment
from phantom import CONFIGURATION, DATASET, NAME, prepare

from hws_nnunet import registration
from hws_nnunet.datasets import make_phantom, write_raw
from hws_nnunet.facts.versions import V1, V2
from hws_nnunet.hosts.augmenters import stop
from hws_nnunet.nnunetv2.small_configuration import add_small_configuration


class HostV2:
    """nnU-Net v2, on the phantom of ``phantom.py``."""

    trainers: ClassVar = {"stock": "nnUNetTrainer", "ours": "HardnessWeightedTrainer"}

    @staticmethod
    def prepare(work: Path, network: str, patch: int | None) -> dict:
        """Add the configuration to the plans; return its name and its patch, for the job."""
        prepare(work)
        plans = work / "preprocessed" / V2.name_of(DATASET, NAME) / "nnUNetPlans.json"
        planned = json.loads(plans.read_text())["configurations"]["3d_fullres"]["patch_size"]
        size = [patch or 32] * 3 if patch or network == "small" else planned
        name = f"overhead_{network}_{'x'.join(str(voxels) for voxels in size)}"
        if network == "small":
            add_small_configuration(plans, name=name, base=CONFIGURATION, patch_size=size, coarser=1.0, overwrite=True)
        content = json.loads(plans.read_text())
        if network == "planned":
            content["configurations"][name] = {"inherits_from": "3d_fullres", "patch_size": size}
        # The phantom's voxels are the same in all of these.
        content["configurations"][name]["data_identifier"] = f"nnUNetPlans_{CONFIGURATION}"
        write_json(plans, content)
        return {"configuration": name, "patch": size}

    @staticmethod
    def environment(work: Path) -> dict[str, str]:
        return {**environment(work), "nnUNet_results": str(work / "results" / "overhead")}

    def __init__(self, job: dict):
        import torch
        from nnunetv2.run.run_training import get_trainer_from_args

        self.device = torch.device(job["device"])
        self.trainer = get_trainer_from_args(str(DATASET), job["configuration"], 0, job["trainer"], device=self.device)
        self.trainer.num_epochs, self.trainer.num_iterations_per_epoch = job["epochs"], job["steps"]
        self.trainer.num_val_iterations_per_epoch = 1
        self.trainer.initialize()
        self.trainer.on_train_start()

    def start_epoch(self) -> None:
        self.trainer.on_train_epoch_start()
        self.outputs: list[dict] = []

    def step(self) -> float | None:
        """Take a step; return what the batch's draws took in the worker, where that was timed."""
        batch = next(self.trainer.dataloader_train)
        self.outputs.append(self.trainer.train_step(batch))
        return batch.get("seconds")

    def end_epoch(self) -> None:
        self.trainer.on_train_epoch_end(self.outputs)
        _write_record(self.trainer)
        self.trainer.current_epoch += 1

    def close(self) -> None:
        stop(self.trainer.dataloader_train, self.trainer.dataloader_val)


class HostV1:
    """nnU-Net v1, on a phantom of the same kind."""

    trainers: ClassVar = {"stock": "nnUNetTrainerV2", "ours": "HardnessWeightedTrainer"}
    folders: ClassVar = {
        "nnUNet_raw_data_base": "raw",
        "nnUNet_preprocessed": "preprocessed",
        "RESULTS_FOLDER": "results",
    }

    @classmethod
    def prepare(cls, work: Path, network: str, patch: int | None) -> dict:
        """Plan and preprocess with a small network; return the plans' name and the patch, for the job."""
        patch = patch or 32
        registration.register(V1)
        root = work / "v1"
        for name in cls.folders.values():
            (root / name).mkdir(parents=True, exist_ok=True)
        env = {**os.environ, **cls.environment(work)}

        def run(*command: object) -> None:
            subprocess.run([str(part) for part in command], env=env, check=True, stdout=subprocess.DEVNULL)

        folder = root / "preprocessed" / V1.name_of(DATASET, NAME)
        plan = ("nnUNet_plan_and_preprocess", "-t", DATASET, "-pl2d", "None", "-tl", 1, "-tf", 2)
        if not folder.exists():
            with tempfile.TemporaryDirectory() as source:
                made = make_phantom(Path(source), progress=True)
                write_raw(made, root / "raw", dataset_id=DATASET, name=NAME, overwrite=True, host=V1)
            run(*plan, "-no_pp")
        name = f"overhead{patch}"
        small = [
            sys.executable,
            "-m",
            "hws_nnunet.commands.main",
            "small-plans",
            folder / "nnUNetPlansv2.1_plans_3D.pkl",
        ]
        run(*small, "--name", name, "--coarser", 1, "--patch-size", ",".join([str(patch)] * 3), "--overwrite")
        planner = ("-pl3d", "ExperimentPlanner3D_v21_Pretrained", "-overwrite_plans", folder / f"{name}.pkl")
        run(*plan, *planner, "-overwrite_plans_identifier", name)
        return {"configuration": f"nnUNetPlans_pretrained_{name}", "patch": [patch] * 3}

    @classmethod
    def environment(cls, work: Path) -> dict[str, str]:
        env = environment(work)
        return {**env, **{variable: str(work / "v1" / name) for variable, name in cls.folders.items()}}

    def __init__(self, job: dict):
        import torch
        from nnunet.run.default_configuration import get_default_configuration

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type != job["device"]:
            raise SystemExit(f"--device {job['device']}: nnU-Net v1 trains on {self.device.type} here")
        plans, output, data, batch_dice, stage, cls = get_default_configuration(
            "3d_fullres", V1.name_of(DATASET, NAME), job["trainer"], job["configuration"]
        )
        self.trainer = cls(
            plans, 0, output_folder=output, dataset_directory=data, batch_dice=batch_dice, stage=stage, fp16=True
        )
        self.trainer.initialize(True)
        self.trainer._maybe_init_amp()
        next(self.trainer.tr_gen)

    def start_epoch(self) -> None:
        self.trainer.network.train()
        if hasattr(self.trainer, "weighting"):
            self.trainer.weighting.start_epoch()

    def step(self) -> None:
        self.trainer.run_iteration(self.trainer.tr_gen)

    def end_epoch(self) -> None:
        if hasattr(self.trainer, "weighting"):
            self.trainer.weighting.end_epoch(self.trainer.epoch)
        _write_record(self.trainer)
        self.trainer.epoch += 1

    def close(self) -> None:
        stop(self.trainer.tr_gen, self.trainer.val_gen)


def _write_record(trainer: object) -> None:
    if hasattr(trainer, "weighting"):  # at the end of an epoch, where nnU-Net plots its own figure
        trainer.weighting.write_record(Path(trainer.output_folder), last=False)


HOSTS = {"v1": HostV1, "v2": HostV2}
