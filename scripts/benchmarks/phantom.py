"""Hardness weighted sampling through nnU-Net v2 on made-up brains: 20 alike and 2 of other anatomy, by seed other ones.

    python scripts/benchmarks/phantom.py [--quick] [--seeds N] [--arms ARM ...] [--out FOLDER] [--processes N]

All arms of a seed go on from one checkpoint, which stock nnU-Net trained uniformly, for the same number of steps of the
same schedule; only the sampling differs. 16 held-out cases, half of them of the rare group, are predicted at the end.
Writes one JSON file a run, and ``phantom.json`` with what counts. A run takes about three minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments import NNUNET_ARMS, STATIC, UNIFORM, run_all, write_json
from nnunet_runs import environment, run_job

from hws_nnunet.datasets import make_phantom, write_raw_v2
from hws_nnunet.datasets.raw_v2 import dataset_name
from hws_nnunet.nnunetv2.small_configuration import add_small_configuration

DATASET, NAME, CONFIGURATION = 991, "PhantomBenchmark", "3d_small"
COMMON, RARE, RARE_POOL, HELD_OUT = 20, 2, 10, 8  # of each group in training; rare ones to choose from; of each group
TIMES = 5  # static oversampling lists each rare case this many times
MAX_SEEDS = 10
BASE_EPOCHS, EPOCHS, STEPS = 16, 26, 50
MAIN = (UNIFORM, "ours", "paper", STATIC, "ours, dice_present", "ours, ess 0.3")


def prepare(work: Path) -> None:
    """Make, plan and preprocess the data set in ``work``, once."""
    done = work / "prepared"
    if done.exists():
        return
    for folder in ("raw", "preprocessed", "results"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    rare = RARE_POOL + HELD_OUT
    with tempfile.TemporaryDirectory() as folder:
        made = make_phantom(
            Path(folder), cases=rare + COMMON + HELD_OUT, rare=rare, test_cases=0, rare_test_cases=0, progress=True
        )
        write_raw_v2(made, work / "raw", dataset_id=DATASET, name=NAME, overwrite=True)
    env = environment(work)

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command], env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL
        )

    run("nnUNetv2_plan_and_preprocess", "-d", DATASET, "-npfp", 2, "--no_pp")
    folder = work / "preprocessed" / dataset_name(DATASET, NAME)
    add_small_configuration(folder / "nnUNetPlans.json", name=CONFIGURATION, coarser=1.0, overwrite=True)
    run("nnUNetv2_preprocess", "-d", DATASET, "-c", CONFIGURATION, "-np", 2)
    write_json(folder / "splits_final.json", splits())
    done.touch()


def splits() -> list[dict]:
    """Return nnU-Net's folds: one a seed, then the same again with the rare cases listed several times."""
    names = [f"train{i:03d}" for i in range(RARE_POOL + HELD_OUT + COMMON + HELD_OUT)]
    pool, rest = names[:RARE_POOL], names[RARE_POOL:]
    held_out, common = rest[:HELD_OUT] + rest[-HELD_OUT:], rest[HELD_OUT:-HELD_OUT]
    pairs = [[pool[(RARE * seed + i * (1 + seed // 5)) % RARE_POOL] for i in range(RARE)] for seed in range(MAX_SEEDS)]
    return [{"train": common + pair * times, "val": held_out} for times in (1, TIMES) for pair in pairs]


def rare_cases() -> set[str]:
    """Return the names of all cases of the rare group."""
    return {f"train{i:03d}" for i in range(RARE_POOL + HELD_OUT)}


def bases(work: Path, seeds: int, *, stop: int, steps: int) -> list[dict]:
    """Return the uniform trainings that all arms of a seed go on from."""
    common = {"dataset": DATASET, "configuration": CONFIGURATION, "steps": steps, "work": str(work), "settings": None}
    return [
        {
            **common,
            "name": f"base-{seed}",
            "arm": "base",
            "fold": seed,
            "seed": seed,
            "trainer": "nnUNetTrainer",
            "epochs": EPOCHS,
            "stop": stop,
            "base": None,
            "keep": True,
        }
        for seed in range(seeds)
    ]


def jobs(work: Path, seeds: int, arms: list[str], *, stop: int, steps: int) -> list[dict]:
    """Return the runs of each arm, arm after arm, so that a sweep that is cut off has whole ones."""
    made = []
    for arm in arms:
        for base in bases(work, seeds, stop=stop, steps=steps):
            seed = base["seed"]
            weighted = arm in NNUNET_ARMS
            made.append(
                {
                    **base,
                    "name": f"{arm.replace(' ', '_').replace(',', '')}-{seed}",
                    "arm": arm,
                    "fold": seed + (MAX_SEEDS if arm == STATIC else 0),
                    "seed": seed + 1000,
                    "trainer": "HardnessWeightedTrainer" if weighted else "nnUNetTrainer",
                    "settings": NNUNET_ARMS[arm] if weighted else None,
                    "stop": stop + EPOCHS - BASE_EPOCHS if stop == BASE_EPOCHS else stop + 1,
                    "base": str(work / "results" / base["name"] / "base.pth"),
                    "keep": False,
                }
            )
    return made


def summarise(results: list[dict]) -> dict:
    """Return each arm's mean Dice of every held-out case, a row a seed, and the cases' groups."""
    cases = sorted(results[0]["dice"])
    arms: dict[str, list] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        dice = {case: sum(found.values()) / len(found) for case, found in result["dice"].items()}
        row = {"seed": result["seed"] % 1000, "dice": [round(dice[case], 4) for case in cases]}
        if "visits" in result:
            rare = sum(count for case, count in result["visits"].items() if case in rare_cases())
            row |= {"rare_share": rare / sum(result["visits"].values())}
            row |= {key: result[key] for key in ("beta", "ess", "lag")}
        arms.setdefault(result["arm"], []).append(row)
    return {
        "cases": cases,
        "rare": [case in rare_cases() for case in cases],
        "steps": [BASE_EPOCHS * STEPS, (EPOCHS - BASE_EPOCHS) * STEPS],
        "arms": arms,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, two arms, a few steps: does it run?")
    parser.add_argument("--seeds", type=int, default=5, choices=range(1, MAX_SEEDS + 1))
    parser.add_argument("--arms", nargs="+", default=list(MAIN), choices=[UNIFORM, STATIC, *NNUNET_ARMS], metavar="ARM")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/phantom"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    work = (args.out / ("quick" if args.quick else "work")).resolve()
    prepare(work)
    lengths = {"stop": 1, "steps": 4} if args.quick else {"stop": BASE_EPOCHS, "steps": STEPS}
    seeds, arms = (1, [UNIFORM, "ours"]) if args.quick else (args.seeds, args.arms)
    runs = work / "runs"  # beside the checkpoints that they go on from
    before = run_all(run_job, bases(work, seeds, **lengths), runs, processes=args.processes)
    results = before + run_all(run_job, jobs(work, seeds, arms, **lengths), runs, processes=args.processes)
    found = summarise(results)
    write_json(args.out / ("quick.json" if args.quick else "phantom.json"), found)
    json.dump({arm: len(rows) for arm, rows in found["arms"].items()}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
