"""What a step pays for the answers of several processes: real ones over gloo on this machine, bytes and microseconds.

    python scripts/benchmarks/gather.py [--steps N] [--out docs/benchmarks/gather.json]

At 2 and 4 processes, each with a sample of a batch and nine structures: the median and the slowest tenth of the gather
alone, beside that of the update of the table. Processes on fewer cores than there are of them wait for each other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from experiments import write_json

STRUCTURES, CASES = 9, 368


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
    spent = {"gather": [], "update": []}
    for _ in range(steps + CASES):
        drawn = sampler.draw_cases(1, rng)
        values = rng.random((1, 1 + STRUCTURES))
        dist.barrier()  # waiting for a slower process is not the gather's
        begin = time.perf_counter()
        cases, values, version = ranks.gather(drawn.ids, values, drawn.version)
        between = time.perf_counter()
        sampler.update(cases, values[:, 0], structures=values[:, 1:], version=version)
        spent["gather"].append(between - begin)
        spent["update"].append(time.perf_counter() - between)
    if dist.get_rank() == 0:
        row = {"ranks": dist.get_world_size(), "cores": os.cpu_count(), "bytes": ranks.bytes}
        for name, seconds in spent.items():
            row[name] = [round(1e6 * float(np.percentile(seconds[CASES:], q)), 1) for q in (50, 90)]
        file.write_text(json.dumps(row))
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/gather.json"))
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rank_of:
        measure(args.steps, args.rank_of)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for ranks in (2, 4):
            file = Path(folder) / f"{ranks}.json"
            launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
            command = [*launch, __file__, "--steps", str(args.steps), "--rank-of", str(file)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            rows.append(json.loads(file.read_text()))
            print(rows[-1], flush=True)
    write_json(args.out, rows)


if __name__ == "__main__":
    main()
