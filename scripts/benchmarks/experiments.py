"""What the experiments share: one result file a run, so that a sweep that was cut off goes on; intervals; arms."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hws_nnunet import Settings
from hws_nnunet.files import atomic_write

PAPER = {
    "draw_by": "dice_ce",
    "ess": 0.0,
    "cap": None,
    "uniform_fraction": 0.0,
    "smoothing": 0.0,
    "with_replacement": True,
    "stall_limit": False,
}
"""The paper's algorithm: beta as given (100), no safeguards."""

UNIFORM, STATIC = "uniform", "static oversampling"
TOPK, TOPK_OURS = "Dice + top-k loss", "ours, Dice + top-k loss"
WEIGHTS, WEIGHTS_OURS, GROUPS_OURS = "case weights", "ours, case weights", "ours, groups told"
SPOILED = ", spoiled labels"
"""Ending of an arm's name where some of the training labels are wrong."""

OURS = {"ess": 0.5}
"""The default when most of the experiments were made."""

ARMS = {
    "paper": PAPER,
    "ours": OURS,
    "ours, ess 0.3": {"ess": 0.3},
    "ours, ess 0.8": {"ess": 0.8},
    "ours without ess": {"ess": 0.0},
    "ours without cap": {**OURS, "cap": None},
    "ours without uniform_fraction": {**OURS, "uniform_fraction": 0.0},
    "ours without smoothing": {**OURS, "smoothing": 0.0},
    "ours without stall_limit": {**OURS, "stall_limit": False},
    "ours with replacement": {**OURS, "with_replacement": True},
}
"""Settings of each arm that draws by hardness."""

NNUNET_ARMS = {
    **ARMS,
    "ours, structure_beta 3": {**OURS, "structure_beta": 3.0},
    "ours, dice_ce": {**OURS, "draw_by": "dice_ce"},
    TOPK_OURS: OURS,
    WEIGHTS: {"beta": 0.0},
    WEIGHTS_OURS: OURS,
    GROUPS_OURS: OURS,
}
"""The same for experiments through nnU-Net, which has structures, losses to choose from and a lag."""


TRAINERS = {TOPK: "nnUNetTrainerDiceTopK10Loss", TOPK_OURS: "HardnessWeightedDiceTopK10"}
"""nnU-Net's names of the trainers of arms with a loss of their own; ours is in ``trainers/``."""


def settings_of(arm: str) -> Settings | None:
    """Return an arm's settings, None for one that does not draw by hardness."""
    arm = arm.removesuffix(SPOILED)
    return None if arm in (UNIFORM, STATIC, TOPK) else Settings(**NNUNET_ARMS[arm])


def run_all(function: Callable[[dict], dict], jobs: Iterable[dict], folder: Path, *, processes: int = 2) -> list[dict]:
    """Run what has no result yet, some at a time, and return all results in the jobs' order.

    Args:
        function: takes a job and returns its result; importable from the module that is run.
        jobs: what JSON can hold, each with a ``name`` of its own.
        folder: gets ``NAME.json`` for each: the job's own entries and the result's. A file of another job of that
            name is written anew.
        processes: how many at a time.

    Raises:
        RuntimeError: some runs failed; the others were finished and written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = list(jobs)
    todo = [job for job in jobs if _read(job, folder) is None]
    failed = []
    if todo:
        pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
        try:
            running = {pool.submit(_run_one, function, job, folder): job for job in todo}
            for done in tqdm(as_completed(running), total=len(jobs), initial=len(jobs) - len(todo), unit="run"):
                if error := done.exception():
                    failed.append(f"{running[done]['name']}: {error}")
        finally:
            pool.shutdown(cancel_futures=True)
    if failed:
        raise RuntimeError(f"failed runs: {len(failed)}\n" + "\n".join(failed))
    return [_read(job, folder) for job in jobs]


def _run_one(function: Callable[[dict], dict], job: dict, folder: Path) -> None:
    write_json(folder / f"{job['name']}.json", {**function(job), **job})


def _read(job: dict, folder: Path) -> dict | None:
    file = folder / f"{job['name']}.json"
    if not file.exists():
        return None
    result = json.loads(file.read_text())
    return result if all(result.get(key) == value for key, value in job.items()) else None


def write_json(file: Path, content: object) -> None:
    """Write a JSON file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial:
        partial.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


def paired_interval(
    ours: np.ndarray,
    other: np.ndarray,
    statistic: Callable[..., np.ndarray] = np.mean,
    *,
    level: float = 0.95,
    rounds: int = 4000,
    shared: bool = True,
) -> tuple[float, float, float]:
    """Return the mean over seeds of a statistic's difference, and the ends of its bootstrap interval.

    Seeds are resampled, and cases: the same ones for both arms, and for all seeds where these share their cases.

    Args:
        ours: ``(seeds,)`` figures, or ``(seeds, cases)``.
        other: the same of the other arm.
        statistic: of the cases of one seed, along the last axis of what it is given.
        level: the interval's, two-sided.
        rounds: of the bootstrap.
        shared: whether all seeds have the same cases.
    """
    rng = np.random.default_rng(0)
    ours, other = (np.asarray(x, dtype=float).reshape(len(x), -1) for x in (ours, other))
    seeds, cases = ours.shape
    chosen_seeds = rng.integers(0, seeds, (rounds, seeds))[:, :, None]
    chosen_cases = rng.integers(0, cases, (rounds, 1 if shared else seeds, cases))

    def difference(of: object) -> np.ndarray:
        return np.mean(statistic(ours[of], axis=-1) - statistic(other[of], axis=-1), axis=-1)

    differences = difference((chosen_seeds, chosen_cases))
    tail = 50 * (1 - level)
    low, high = np.percentile(differences, [tail, 100 - tail])
    return float(difference(...)), float(low), float(high)
