"""Experiments through nnU-Net v2: arms that differ in sampling alone, seeds, and one process a run.

Each run is a process of its own (``nnunet_train.py``), because nnU-Net reads its folders when it is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from experiments import NNUNET_ARMS, SPOILED, STATIC, TOPK, TRAINERS, UNIFORM, run_all, settings_of, write_json
from page import Section, arguments, finish

from hws_nnunet import Settings
from hws_nnunet.facts.versions import V2
from hws_nnunet.nnunetv2.small_configuration import add_small_configuration

WORKERS = 2
TRAINERS_PATH = Path(__file__).with_name("trainers")  # of arms with a loss of their own
TIMES = 5  # static oversampling lists each rare case this many times


@dataclass(frozen=True)
class Experiment:
    """A data set with a rare group, and how long to train on it.

    All arms of a seed go on from one checkpoint, which stock nnU-Net trained uniformly, for the same number of steps
    of the same schedule. nnU-Net's folds are the seeds, then (where ``oversampled``) the seeds with the rare cases
    listed several times, then (where ``spoiled``) the seeds with wrong labels.

    Args:
        name: of the JSON file.
        dataset: nnU-Net's number.
        configuration: nnU-Net's.
        rare: contains the names of the cases of the rare group; every seed holds out as many of them.
        max_seeds: how many there are folds for.
        base_epochs: of the uniform training.
        epochs: of the schedule, those included.
        steps: of an epoch.
        prepare: makes nnU-Net's folders in the one given, once, from the data's folder (or None).
        spoiled: whether there are folds with wrong labels.
        oversampled: whether there are folds with the rare cases listed several times.
        device: PyTorch's name of where to train.
        first_fold: nnU-Net's number of the first seed's fold.
        variant: ending of the names of runs and results, where length or folds are not the usual ones.
        settings: returns an arm's settings in a run (the job, as :meth:`bases` makes it, with its seed and ``work``
            folder), or None where it does not draw by hardness.
    """

    name: str
    dataset: int
    configuration: str
    rare: Container[str]
    max_seeds: int
    base_epochs: int
    epochs: int
    steps: int
    prepare: Callable[[Path, Path | None], None]
    spoiled: bool = False
    oversampled: bool = True
    device: str = "cpu"
    first_fold: int = 0
    variant: str = ""
    settings: Callable[[str, dict], Settings | None] = lambda arm, job: settings_of(arm)

    def bases(self, work: Path, seeds: int, *, quick: bool = False) -> list[dict]:
        """Return the uniform trainings that all arms of a seed go on from."""
        stop = 1 if quick else self.base_epochs
        return [
            {
                "name": f"base{self.variant}-{seed}",
                "arm": "base",
                "dataset": self.dataset,
                "configuration": self.configuration,
                "fold": self.first_fold + seed,
                "seed": seed,
                "trainer": "nnUNetTrainer",
                "settings": None,
                "epochs": self.epochs,
                "stop": stop,
                "steps": 4 if quick else self.steps,
                "base": None,
                "keep": True,
                "evaluate": [stop],
                "work": str(work),
                **({} if self.device == "cpu" else {"device": self.device}),
            }
            for seed in range(seeds)
        ]

    def jobs(
        self, work: Path, seeds: int, arms: list[str], *, scratch: bool = False, quick: bool = False
    ) -> list[dict]:
        """Return the runs of each arm, arm after arm, so that a sweep that is cut off has whole ones."""
        made = []
        for arm in arms:
            for base in self.bases(work, seeds, quick=quick):
                settings = self.settings(arm, base)
                first = 0 if scratch else base["stop"]
                stop = first + 1 if quick else self.epochs
                kind = 1 if arm == STATIC else 2 if arm.endswith(SPOILED) else 0
                name = "".join(c if c.isalnum() else "_" for c in arm)
                made.append(
                    {
                        **base,
                        "name": f"{name}{self.variant}{'-scratch' if scratch else ''}-{base['seed']}",
                        "arm": arm,
                        "fold": base["fold"] + kind * self.max_seeds,
                        "seed": base["seed"] + 1000,
                        "trainer": TRAINERS.get(arm, "HardnessWeightedTrainer" if settings else "nnUNetTrainer"),
                        "settings": settings and settings.model_dump(),
                        "stop": stop,
                        "base": None if scratch else str(work / "results" / base["name"] / "base.pth"),
                        "keep": False,
                        "evaluate": sorted({(first + stop) // 2, stop} - {first}),
                    }
                )
        return made

    def summarise(self, results: list[dict]) -> dict:
        """Return each arm's Dice, ``(evaluations, held-out cases)`` a seed, mean of structures; rare cases first.

        Of arms that track hardness also what the sampler did, and the rank of each rare training case by hardness.
        """
        arms: dict[str, list] = {}
        for result in sorted(results, key=lambda result: result["seed"]):
            cases = sorted(next(iter(result["dice"].values())), key=lambda case: (case not in self.rare, case))
            means = [[float(np.mean(list(dice[case].values()))) for case in cases] for dice in result["dice"].values()]
            row = {
                "seed": result["seed"] % 1000,
                "steps": [int(epoch) * result["steps"] for epoch in result["dice"]],
                "cases": cases,
                "dice": np.round(means, 4).tolist(),
            }
            if "visits" in result:
                rare = sum(count for case, count in result["visits"].items() if case in self.rare)
                row |= {"rare_share": rare / sum(result["visits"].values())}
                row |= {key: result[key] for key in ("beta", "ess")}
                row |= {"trained": len(result["visits"]), "ranks": ranks_of(result["hardness"], self.rare)}
            arms.setdefault(result["arm"], []).append(row)
        return {"rare": [case in self.rare for case in cases], "arms": arms}

    def main(
        self, description: str, arms: tuple[str, ...], sections: tuple[Section, ...], words: list[str] | None = None
    ) -> None:
        """Run the experiment as its command line says, or the arguments given in its place, and write its sections."""
        every = [UNIFORM, TOPK, *NNUNET_ARMS, *[STATIC] * self.oversampled]
        if self.spoiled:
            every += [arm + SPOILED for arm in (UNIFORM, *NNUNET_ARMS)]
        parser = arguments(description, self.name)
        parser.add_argument("--seeds", type=int, default=5, choices=range(1, self.max_seeds + 1))
        parser.add_argument("--arms", nargs="+", default=list(arms), choices=every, metavar="ARM")
        parser.add_argument("--scratch", action="store_true", help="no uniform training before: all arms from scratch")
        parser.add_argument("--data", type=Path, help="where the experiment does not make its data")
        parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
        parser.add_argument("--longer", type=float, default=1, metavar="TIMES", help="as many steps, times this")
        args = parser.parse_args(words)
        changed = {"device": args.device, "steps": round(self.steps * args.longer)}
        if args.longer != 1:
            changed["variant"] = f"{self.variant}-{changed['steps'] * self.epochs}-steps"
        finish(args, sections, replace(self, **changed).run)

    def run(self, args: argparse.Namespace) -> dict:
        """Run the experiment; return what came of it, by the name of its results."""
        work = (args.work / ("quick" if args.quick else "work")).resolve()
        self.prepare(work, args.data)
        seeds, arms = (1, [UNIFORM, "ours"]) if args.quick else (args.seeds, args.arms)
        runs = work / "runs"  # beside the checkpoints that they go on from
        bases, results = self.bases(work, seeds, quick=args.quick), []
        if not args.scratch:
            results = run_all(run_job, bases, runs, processes=args.processes)
        jobs = self.jobs(work, seeds, arms, scratch=args.scratch, quick=args.quick)
        results += run_all(run_job, jobs, runs, processes=args.processes)
        return {f"{self.name}{self.variant}{'-scratch' if args.scratch else ''}": self.summarise(results)}


def ranks_of(hardness: dict[str, float], rare: Container[str]) -> dict[str, int]:
    """Return the ranks of the rare cases among all, 1 is the hardest; cases of unknown hardness are last."""
    order = sorted(hardness, key=lambda case: -np.nan_to_num(hardness[case], nan=-np.inf))
    return {case: rank for rank, case in enumerate(order, 1) if case in rare}


def run_job(job: dict) -> dict:
    """Run a job in a fresh process and return its result.

    Args:
        job: ``name``, ``dataset`` (nnU-Net's number), ``configuration``, ``fold``, ``trainer``, ``settings`` (or None),
            ``seed``, ``epochs`` of the schedule, ``stop`` (the epoch to end at), ``steps`` of an epoch, ``base`` (a
            checkpoint or None), ``keep`` (whether to keep a checkpoint), ``evaluate`` (after which epochs),
            ``work`` (a folder with nnU-Net's raw and preprocessed folders), ``device`` (default the CPU).

    Raises:
        RuntimeError: the training failed; the message names its log.
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
        script = Path(__file__).with_name("nnunet_train.py")
        command = [sys.executable, str(script), str(file), str(folder / "result.json")]
        code = subprocess.run(command, env=env, stdout=log, stderr=log, check=False).returncode
    if code:
        raise RuntimeError(f"{job['name']} ended with {code}; its log is {folder / 'log.txt'}")
    return json.loads((folder / "result.json").read_text())


def prepare_once(
    work: Path,
    dataset: int,
    name: str,
    configuration: str,
    *,
    splits: list[dict],
    write: Callable[[Path], object],
    **network: object,
) -> None:
    """Have a data set written, planned and preprocessed in ``work``, unless it was.

    Args:
        work: gets nnU-Net's three folders.
        dataset: nnU-Net's number.
        name: nnU-Net's name, without the number.
        configuration: of a small network, to be added to the plans.
        splits: nnU-Net's folds.
        write: writes the raw data set into the folder given.
        network: further arguments of :func:`add_small_configuration`.
    """
    done = work / "prepared"
    if done.exists():
        return
    for folder in ("raw", "preprocessed", "results"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    write(work / "raw")

    def run(*command: object) -> None:
        env = {**os.environ, **environment(work)}
        subprocess.run([str(part) for part in command], env=env, check=True, stdout=subprocess.DEVNULL)

    run("nnUNetv2_plan_and_preprocess", "-d", dataset, "-npfp", 2, "--no_pp")
    folder = work / "preprocessed" / V2.name_of(dataset, name)
    add_small_configuration(folder / "nnUNetPlans.json", name=configuration, overwrite=True, **network)
    run("nnUNetv2_preprocess", "-d", dataset, "-c", configuration, "-np", 2)
    write_json(folder / "splits_final.json", splits)
    done.touch()


def environment(work: Path) -> dict[str, str]:
    """Return what nnU-Net's processes need to know."""
    names = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    return {
        **names,
        "nnUNet_extTrainer": os.pathsep.join((str(V2.trainers_path()), str(TRAINERS_PATH))),
        "nnUNet_n_proc_DA": str(WORKERS),
        "nnUNet_def_n_proc": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", ""),
    }
