"""What becomes of draws in nnU-Net's pipeline of worker processes, with each safeguard on and off.

    python scripts/benchmarks/feedback.py [--quick] [--seeds N] [--arms ARM ...]

Makes the runs of ``phantom.py`` that are not there yet, and reads the others. Told are how many steps lie between a
draw and its answer, how far realised draws are from the probabilities that they were meant to have, how often one case
came batch after batch, and when all cases had been seen.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from experiments import run_all
from nnunet_feedback import EVERY
from nnunet_runs import run_job
from page import Lines, Section, arguments, finish, save, table
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


def run(args: Namespace) -> dict:
    """Return a row for each run."""
    work = (args.work / ("quick" if args.quick else "work")).resolve()
    EXPERIMENT.prepare(work, None)
    seeds, arms = (1, ARMS[:2]) if args.quick else (args.seeds, args.arms)
    jobs = EXPERIMENT.jobs(work, seeds, list(arms), quick=args.quick)
    for wanted in (EXPERIMENT.bases(work, seeds, quick=args.quick), jobs):
        results = run_all(run_job, wanted, work / "runs", processes=args.processes)
    rows = [{"arm": r["arm"], "seed": r["seed"] % 1000, "cases": len(r["visits"]), **r["feedback"]} for r in results]
    return {"feedback": rows}


def section(rows: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section."""
    arms: dict[str, list[dict]] = {}
    for row in rows:
        arms.setdefault(row["arm"], []).append(row)
    lines = []
    shown, axis = plt.subplots(figsize=(9, 4))
    for arm, runs in arms.items():
        variation, free = (
            np.mean([row[key] for row in runs if key in row])
            for key in ("total_variation", "total_variation_of_free_draws")
        )
        seen = [row["steps_until_all_seen"] for row in runs]
        ess = [row["ess"] for row in runs if row["ess"]]
        lines.append(
            (
                arm,
                len(runs),
                f"{np.mean([row['lag'][0] for row in runs]):.0f}",
                max(row["lag"][1] for row in runs),
                f"{variation:.3f} ({free:.3f})",
                max(row["longest_run"] for row in runs),
                "not all" if None in seen else round(float(np.mean(seen))),
                f"{min(min(values) for values in ess):.2f}",
                f"{np.mean([values[-1] for values in ess]):.2f}",
            )
        )
        steps = EVERY * np.arange(1, len(ess[0]) + 1)
        axis.plot(steps, ess[0], label=arm, lw=2.5 if arm == "ours" else 1.2)
    axis.set_xlabel(f"weighted step (of {steps[-1]})")
    axis.set_ylabel("effective sample size, share of the cases")
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, ncol=3, loc="upper center")
    save(shown, figure)
    told = (
        f"{rows[0]['cases']} cases, batches of 2, two workers; of several seeds the mean, of longest and largest the "
        "largest. Total variation is the distance between the shares of realised draws and the mean of what was "
        "intended at each of them; in brackets what free draws of that number would have by their scatter alone."
    )
    header = ("sampling", "seeds", "lag in steps: median", "largest", "total variation")
    header += ("most batches on end with one case", "steps until all cases were seen", "smallest ESS", "ESS, end")
    return [], [told, "", *table(header, lines)]


SECTIONS = (Section("feedback", "Feedback: draws and answers in nnU-Net's pipeline", "feedback.py", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, EXPERIMENT.name, seeds=2)
    parser.add_argument("--arms", nargs="+", default=ARMS, choices=ARMS, metavar="ARM")
    finish(parser.parse_args(), SECTIONS, run)
