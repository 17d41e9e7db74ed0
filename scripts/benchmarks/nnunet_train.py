"""The training process of one experiment's run: nnU-Net v2's trainers, loaders in workers, inference.

    python scripts/benchmarks/nnunet_train.py JOB.json RESULT.json

:func:`nnunet_runs.run_job` starts it and tells what a job holds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunet_feedback import Feedback
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args

from hws_nnunet import HardnessWeightedSampler
from hws_nnunet.files import atomic_write
from hws_nnunet.hosts.augmenters import stop
from hws_nnunet.hosts.loaders import DRAWN


def train(job: dict) -> dict:
    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - the host's own generator
    device = torch.device(job.get("device", "cpu"))
    trainer = get_trainer_from_args(
        str(job["dataset"]), job["configuration"], job["fold"], job["trainer"], device=device
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch = job["epochs"], job["steps"]
    trainer.initialize()
    if job["base"]:
        trainer.load_checkpoint(job["base"])
    trainer.on_train_start()
    sampler = getattr(trainer, "sampler", None)
    feedback = None if sampler is None else Feedback(sampler)
    losses, dice, trained, trace = [], {}, 0.0, []
    while trainer.current_epoch < job["stop"]:
        since = time.monotonic()
        trainer.on_train_epoch_start()
        total = 0.0
        for _ in range(job["steps"]):
            batch = next(trainer.dataloader_train)
            version = None if sampler is None else sampler.table.version
            total += float(trainer.train_step(batch)["loss"])
            if feedback is not None:
                feedback.step(batch[DRAWN], version)
        losses.append(total / job["steps"])
        if sampler is not None:
            trace.append(_tell(sampler))
        trainer.current_epoch += 1
        trained += time.monotonic() - since
        print(f"epoch {trainer.current_epoch}: loss {losses[-1]:.4f}, {trained:.0f} s", flush=True)
        if trainer.current_epoch in job["evaluate"]:
            dice[trainer.current_epoch] = _validate(trainer)
            _tell_evaluation(job, trainer.current_epoch, dice[trainer.current_epoch], trained)
    stop(trainer.dataloader_train, trainer.dataloader_val)
    if job["keep"]:
        trainer.current_epoch -= 1  # the host saves the number of the epoch after this one
        trainer.save_checkpoint(str(Path(os.environ["nnUNet_results"]) / "base.pth"))
    told = {} if feedback is None else {**trace[-1], "feedback": feedback.summary(), "trace": trace}
    return {**job, **told, "losses": losses, "dice": dice, "seconds": trained}


def _tell(sampler: HardnessWeightedSampler) -> dict:
    """Return what a sampler knows now."""
    table = sampler.table
    return {
        "visits": dict(zip(table.names, table.visits.tolist(), strict=True)),
        "hardness": dict(zip(table.names, table.hardness.round(4).tolist(), strict=True)),
        "beta": float(table.beta_in_force),
        "ess": sampler.effective_sample_size() / len(table),
    }


def _tell_evaluation(job: dict, epoch: int, dice: dict[str, dict[str, float]], seconds: float) -> None:
    """Add a line to ``evaluations.jsonl``, which the runs of a sweep share: also one that is ended later has told."""
    told = {"name": job["name"], "arm": job["arm"], "seed": job["seed"] % 1000, "steps": epoch * job["steps"]}
    line = json.dumps({**told, "seconds": round(seconds, 1), "dice": dice}) + "\n"
    with open(Path(job["work"]) / "evaluations.jsonl", "ab", buffering=0) as file:
        file.write(line.encode())  # at once: lines of several processes do not mix


def _validate(trainer: object) -> dict[str, dict[str, float]]:
    """Return Dice of each structure of each validation case; NaN never, a missed structure is 0."""
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=trainer.device, allow_tqdm=False
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
    validation = trainer.dataset_class(trainer.preprocessed_dataset_folder, trainer.do_split()[1])
    names = {value: name for name, value in trainer.dataset_json["labels"].items() if value}
    dice = {}
    for case in validation.identifiers:
        data, reference, _, _ = validation.load_case(case)
        logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(np.asarray(data[:])))
        predicted, reference = logits.argmax(0).cpu().numpy(), np.asarray(reference[:])[0]
        dice[case] = {
            name: round(float(_dice(predicted == value, reference == value)), 4)
            for value, name in names.items()
            if (reference == value).any()
        }
    trainer.set_deep_supervision_enabled(True)
    trainer.network.train()
    return dice


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


if __name__ == "__main__":
    answer = train(json.loads(Path(sys.argv[1]).read_text()))
    with atomic_write(Path(sys.argv[2])) as partial:
        partial.write_text(json.dumps(answer))
