"""What a step's losses take the training process on their way into the table, and the record's share of a step.

    python scripts/benchmarks/update.py [--quick] [--before CHECKOUT]

Batches of 2 with nnU-Net's standard loss, 25 cases of 8 structures and 1,251 of 3 regions; no loading, no network. The
update is all that happens after the trainer's step: the sums become the samples' losses, which are tracked, and weights
are computed. The record's share is an epoch's end (log and tables; the plot takes at most a thousandth of the time),
over nnU-Net's 250 steps an epoch. With ``--before``, an earlier checkout of this repository is measured in turn with
this one, each round in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from page import Lines, Section, arguments, finish, table, verdict

BAR = 100.0  # microseconds a step
CASES = {25: (8, False), 1251: (3, True)}
"""Number of cases: how many structures, and whether these are regions."""
LAG, EPOCH = 25, 250  # steps


def measure(steps: int) -> dict:
    """Return microseconds a step of update and record, by number of cases."""
    import torch
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.utilities.helpers import softmax_helper_dim1

    from hws_nnunet import Settings
    from hws_nnunet.hosts.recorder import LossRecorder
    from hws_nnunet.hosts.weighting import Weighting

    torch.set_num_threads(1)
    microseconds = {}
    for cases, (structures, of_regions) in CASES.items():
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": of_regions, "ddp": False}
        options = {"soft_dice_kwargs": dice, "dice_class": MemoryEfficientSoftDiceLoss}
        loss = DC_and_BCE_loss({}, **options) if of_regions else DC_and_CE_loss(ce_kwargs={}, **options)
        recorder = LossRecorder(loss, softmax=softmax_helper_dim1)
        names = [f"structure {i}" for i in range(structures)]
        weighting = Weighting([f"case{i}" for i in range(cases)], Settings(), lambda line: None, structures=names)
        rng = np.random.default_rng(0)
        weighting.sampler.update(range(cases), rng.normal(0.4, 0.1, cases))
        waiting = [weighting.sampler.draw_cases(2, rng) for _ in range(LAG)]
        spent = []
        torch.manual_seed(0)
        for _ in range(steps):
            logits = torch.randn(2, structures + (not of_regions), 8, 8, 8, requires_grad=True)
            shape = (2, structures, 8, 8, 8) if of_regions else (2, 1, 8, 8, 8)
            recorder(logits, torch.randint(2 if of_regions else structures + 1, shape).float())
            waiting.append(weighting.sampler.draw_cases(2, rng))
            drawn = waiting.pop(0)
            begin = time.thread_time()
            weighting.after_step(recorder, drawn)
            spent.append(time.thread_time() - begin)
        with tempfile.TemporaryDirectory() as folder:
            weighting.end_epoch(0, planned=1000)
            weighting.write_record(Path(folder), last=True)  # with its plot, which is not counted
            begin = time.thread_time()
            weighting.end_epoch(1, planned=1000)
            weighting.write_record(Path(folder), last=False)
            record = (time.thread_time() - begin) / EPOCH
        after_warm_up = spent[len(spent) // 5 :]
        microseconds[str(cases)] = {"update": 1e6 * float(np.mean(after_warm_up)), "record": 1e6 * record}
    return microseconds


def run(args: Namespace) -> dict:
    """Return each round's figures, of this checkout and of the one before."""
    root = Path(__file__).resolve().parents[2]
    checkouts = {"now": root}
    if args.before:
        commit = subprocess.check_output(["git", "-C", args.before, "rev-parse", "--short", "HEAD"], text=True)
        checkouts = {commit.strip(): args.before.resolve(), **checkouts}
    rounds, steps = (1, 50) if args.quick else (7, 2000)
    measured: dict[str, list] = {name: [] for name in checkouts}
    for _ in range(rounds):
        for name, checkout in checkouts.items():
            env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--measure", str(steps)]
            done = subprocess.run(command, env=env, cwd=root, check=True, capture_output=True, text=True)
            measured[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {"update": measured}


def section(measured: dict, figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bar, and the section."""
    bars, rows = [], []
    for name, rounds in measured.items():
        for cases in rounds[0]:
            update, record = (np.array([one[cases][part] for one in rounds]) for part in ("update", "record"))
            both = update + record
            if name == "now":
                reached = verdict(bool(np.median(both) <= BAR))
                bars.append(
                    f"- {int(cases):,} cases: {np.median(both):.0f} microseconds a step (bar: {BAR:.0f}): {reached}"
                )
            cells = [f"{np.median(v):.0f} ({v.min():.0f} to {v.max():.0f})" for v in (update, record, both)]
            rows.append((int(cases), name, *cells))
    rows = [(f"{cases:,}", *cells) for cases, *cells in sorted(rows, key=lambda row: row[0])]
    told = (
        f"Batches of 2; microseconds of processor time a step, median of {len(rounds)} rounds (fastest and slowest). "
        + ". ".join(
            f"{cases:,} cases have {structures} {'regions' if of_regions else 'classes beside the background'}"
            for cases, (structures, of_regions) in CASES.items()
        )
        + ". Other programs share the machine."
    )
    return bars, [told, "", *table(("cases", "checkout", "update", "record", "both"), rows)]


SECTIONS = (Section("update", "The update of the table", "update.py --before CHECKOUT", section, figure=False),)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        parser = arguments(__doc__, "update")
        parser.add_argument("--before", type=Path, help="an earlier checkout, measured in turn with this one")
        finish(parser.parse_args(), SECTIONS, run)
