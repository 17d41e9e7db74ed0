"""What a step pays for the answers of several processes: real ones over gloo on this machine, bytes and microseconds.

    python scripts/benchmarks/gather.py [--quick]

At 2 and 4 processes, each with a sample of a batch and nine structures: the median and the slowest tenth of the gather
alone, beside that of the update of the table. Processes on fewer cores than there are of them wait for each other.
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

import matplotlib.pyplot as plt
import numpy as np
from page import Lines, Section, arguments, finish, save, table

STRUCTURES, CASES, STEPS = 9, 368, 2000


def measure(steps: int, file: Path) -> None:
    """Gather and update, as one of torchrun's processes; the first one writes what it took."""
    import torch.distributed as dist

    from hws_nnunet import HardnessWeightedSampler
    from hws_nnunet.loop.ranks import Ranks

    dist.init_process_group("gloo")
    names = [str(i) for i in range(STRUCTURES)]
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(CASES)], structures=names)
    ranks, rng = Ranks(1, 1 + STRUCTURES), np.random.default_rng(dist.get_rank())
    ranks.share_sweep(sampler.table)
    spent: dict[str, list[float]] = {"gather": [], "update": []}
    update = sampler.update

    def timed(*args: object, **kwargs: object) -> None:
        begin = time.perf_counter()
        update(*args, **kwargs)
        spent["update"].append(time.perf_counter() - begin)

    sampler.update = timed
    for _ in range(steps + CASES):
        drawn = sampler.draw_cases(1, rng)
        values = rng.random((1, 1 + STRUCTURES))
        dist.barrier()  # waiting for a slower process is not the gather's
        begin = time.perf_counter()
        ranks.update(sampler, drawn.ids, values[:, 0], structures=values[:, 1:], version=drawn.version)
        spent["gather"].append(time.perf_counter() - begin - spent["update"][-1])
    if dist.get_rank() == 0:
        row = {"ranks": dist.get_world_size(), "cores": os.cpu_count(), "bytes": ranks.bytes}
        for name, seconds in spent.items():
            row[name] = [round(1e6 * float(np.percentile(seconds[CASES:], q)), 1) for q in (50, 90)]
        file.write_text(json.dumps(row))
    dist.destroy_process_group()


def run(args: Namespace) -> dict:
    """Return a row for each number of processes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for ranks in (2, 4):
            file = Path(folder) / f"{ranks}.json"
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
            command = [*launch, __file__, str(50 if args.quick else STEPS), str(file)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            rows.append(json.loads(file.read_text()))
    return {"gather": rows}


def section(rows: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return no lines on bars, and the section."""
    parts = ("gather", "update")
    shown, axis = plt.subplots(figsize=(5, 3))
    for place, name in enumerate(parts):
        at = np.arange(len(rows)) + 0.35 * place
        axis.bar(at, [row[name][0] for row in rows], 0.35, label=name)
    axis.set_xticks(np.arange(len(rows)) + 0.175, [f"{row['ranks']} processes" for row in rows])
    axis.set_ylabel("microseconds, median")
    axis.legend()
    save(shown, figure)
    told = (
        f"Real processes over gloo on one machine of {rows[0]['cores']} cores, one sample each and nine structures; "
        "microseconds, median (and the slowest tenth), of the first process. A step of the experiments' small network "
        "takes some 250,000 on such a core."
    )
    header = ("processes", "bytes that each hands to each other", "gather", "update of the table")
    lines = [(row["ranks"], row["bytes"], *(f"{row[p][0]:.0f} ({row[p][1]:.0f})" for p in parts)) for row in rows]
    return [], [told, "", *table(header, lines)]


SECTIONS = (Section("gather", "Several processes: what a step pays", "gather.py", section),)

if __name__ == "__main__":
    if "RANK" in os.environ:  # one of torchrun's processes
        measure(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        finish(arguments(__doc__, "gather").parse_args(), SECTIONS, run)
