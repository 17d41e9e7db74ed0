"""One training of an experiment through nnU-Net v2: its trainers, its loaders in worker processes, its inference.

    python scripts/benchmarks/nnunet_runs.py JOB.json RESULT.json

Each run is a process of its own, because nnU-Net reads its folders when it is imported. A run goes on from a base
checkpoint, if its job names one, with the learning rate of the schedule's rest; it ends with Dice of the fold's
validation cases, each structure of each case, in nnU-Net's sliding window without mirroring.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from hws_nnunet import HardnessWeightedSampler, registration
from hws_nnunet.files import whole_file

WORKERS = 2


def run_job(job: dict) -> dict:
    """Run a job in a fresh process and return its result.

    Args:
        job: ``name``, ``dataset`` (nnU-Net's number), ``configuration``, ``fold``, ``trainer``, ``settings`` (or None),
            ``seed``, ``epochs`` of the schedule, ``stop`` (the epoch to end at), ``steps`` of an epoch, ``base`` (a
            checkpoint or None), ``keep`` (whether to keep a checkpoint), ``work`` (a folder with nnU-Net's raw and
            preprocessed folders).
    """
    folder = Path(job["work"]) / "results" / job["name"]
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **environment(Path(job["work"])), "nnUNet_results": str(folder)}
    env.pop("HWS_CONFIG", None)
    if job["settings"] is not None:
        env["HWS_CONFIG"] = str(folder / "settings.yaml")
        (folder / "settings.yaml").write_text(yaml.safe_dump(job["settings"]))
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    with open(folder / "log.txt", "w") as log:
        command = [sys.executable, __file__, str(file), str(folder / "result.json")]
        code = subprocess.run(command, env=env, stdout=log, stderr=log, check=False).returncode
    if code:
        raise RuntimeError(f"{job['name']} ended with {code}; its log is {folder / 'log.txt'}")
    return json.loads((folder / "result.json").read_text())


def environment(work: Path) -> dict[str, str]:
    """Return what nnU-Net's processes need to know."""
    names = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    return {
        **names,
        "nnUNet_extTrainer": str(registration.trainers_path()),
        "nnUNet_n_proc_DA": str(WORKERS),
        "nnUNet_def_n_proc": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
    }


def _train(job: dict) -> dict:
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - the host's own generator
    begin = time.monotonic()
    trainer = get_trainer_from_args(
        str(job["dataset"]), job["configuration"], job["fold"], job["trainer"], device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = job["epochs"], job["steps"]
    trainer.initialize()
    if job["base"]:
        trainer.load_checkpoint(job["base"])
    trainer.on_train_start()
    losses = []
    while trainer.current_epoch < job["stop"]:
        trainer.on_train_epoch_start()
        epoch = [trainer.train_step(next(trainer.dataloader_train)) for _ in range(job["steps"])]
        losses.append(float(np.mean([step["loss"] for step in epoch])))
        trainer.current_epoch += 1
        print(f"epoch {trainer.current_epoch}: loss {losses[-1]:.4f}, {time.monotonic() - begin:.0f} s", flush=True)
    trained = time.monotonic() - begin
    if job["keep"]:
        trainer.current_epoch -= 1  # the host saves the number of the epoch after this one
        trainer.save_checkpoint(str(Path(os.environ["nnUNet_results"]) / "base.pth"))
    told = _tell(
        getattr(trainer, "sampler", None)
    )  # before the validation makes its data sets, and a sampler with them
    dice = _validate(trainer)
    return {**job, **told, "losses": losses, "dice": dice, "seconds": [trained, time.monotonic() - begin]}


def _tell(sampler: HardnessWeightedSampler | None) -> dict:
    """Return what a sampler did and what it knows at the end."""
    if sampler is None:
        return {}
    table = sampler.table
    return {
        "visits": dict(zip(table.names, table.visits.tolist(), strict=True)),
        "hardness": dict(zip(table.names, table.hardness[:, table.column].round(4).tolist(), strict=True)),
        "beta": float(table.beta),
        "ess": sampler.effective_sample_size() / len(table),
        "lag": float(table.lag),
    }


def _validate(trainer: object) -> dict[str, dict[str, float]]:
    """Return Dice of each structure of each validation case; NaN never, a missed structure is 0."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from hws_nnunet.nnunetv2 import host

    host.stop(trainer.dataloader_train, trainer.dataloader_val)
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        None,
        trainer.dataset_json,
        type(trainer).__name__,
        None,
    )
    _, validation = trainer.get_tr_and_val_datasets()
    names = {value: name for name, value in trainer.dataset_json["labels"].items() if value}
    found = {}
    for case in validation.identifiers:
        data, reference, _, _ = validation.load_case(case)
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(np.asarray(data[:])))
        predicted, reference = logits.argmax(0).numpy(), np.asarray(reference[:])[0]
        found[case] = {
            name: round(float(_dice(predicted == value, reference == value)), 4)
            for value, name in names.items()
            if (reference == value).any()
        }
    return found


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


if __name__ == "__main__":
    answer = _train(json.loads(Path(sys.argv[1]).read_text()))
    with whole_file(Path(sys.argv[2])) as partial:
        partial.write_text(json.dumps(answer))
