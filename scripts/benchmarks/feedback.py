"""What becomes of draws in nnU-Net's pipeline of worker processes, with each safeguard on and off.

    python scripts/benchmarks/feedback.py [--quick] [--seeds N] [--arms ARM ...] [--out FOLDER]

Makes the runs of ``phantom.py`` that are not there yet, and reads the others. Told are how many steps lie between a
draw and its answer, how far realised draws are from the probabilities that they were meant to have, how often one case
came batch after batch, and when all cases had been seen. Writes ``feedback.json``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments import run_all, write_json
from nnunet_runs import run_job
from phantom import EXPERIMENT

ARMS = (
    "ours",
    "ours with replacement",
    "ours without ess",
    "ours without cap",
    "ours without uniform_fraction",
    "ours without smoothing",
    "ours without stall_limit",
    "paper",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, two arms, a few steps: does it run?")
    parser.add_argument("--seeds", type=int, default=2, choices=range(1, EXPERIMENT.max_seeds + 1))
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS, metavar="ARM")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/phantom"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    work = (args.out / ("quick" if args.quick else "work")).resolve()
    EXPERIMENT.prepare(work, None)
    seeds, arms = (1, ARMS[:2]) if args.quick else (args.seeds, args.arms)
    runs = work / "runs"
    run_all(run_job, EXPERIMENT.bases(work, seeds, quick=args.quick), runs, processes=args.processes)
    results = run_all(
        run_job, EXPERIMENT.jobs(work, seeds, list(arms), quick=args.quick), runs, processes=args.processes
    )
    rows = [{"arm": r["arm"], "seed": r["seed"] % 1000, "cases": len(r["visits"]), **r["feedback"]} for r in results]
    write_json(args.out / ("feedback-quick.json" if args.quick else "feedback.json"), rows)
    for row in rows:
        print(f"{row['arm']}: lag {row['lag']}, total variation {row.get('total_variation', float('nan')):.3f}")


if __name__ == "__main__":
    main()
