"""Cost of the sampler: draw of a batch of 2 and its update, all safeguards on, computing of weights included.

    python scripts/benchmarks/sampler.py [--quick] [--out FILE.json]

Losses scatter as those of real patches do (standard deviation 0.11 between cases, 0.12 within a case), and updates
follow draws 25 batches later, as with nnU-Net's 12 workers. One process, one core. Each figure is the mean of a round
of steps; the table shows the median over rounds and their range, since other programs share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import deque
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.files import whole_file

LAG = 25
BATCH = 2


def trained_sampler(n: int, rng: np.random.Generator) -> tuple[HardnessWeightedSampler, np.ndarray]:
    """Return a sampler after its first sweep, and the cases' true losses."""
    losses = rng.normal(1.0, 0.11, n)
    sampler = HardnessWeightedSampler(
        [f"case{i}" for i in range(n)], Settings(), measures=("dice_ce", "dice_present"), rng=rng
    )
    sampler.update(np.arange(n), None, np.stack([losses, losses], axis=1))
    return sampler, losses


def run(n: int, steps: int, rounds: int) -> dict:
    """Return microseconds a step: medians over rounds, and the fastest and slowest round."""
    rng = np.random.default_rng(0)
    sampler, losses = trained_sampler(n, rng)
    cells = [0] * BATCH
    waiting: deque = deque(sampler.draw_cases(BATCH, rng) for _ in range(LAG))
    draws, updates, refreshes = [], [], 0
    refresh = sampler.refresh

    def counted() -> None:
        nonlocal refreshes
        refreshes += 1
        refresh()

    sampler.refresh = counted
    for _ in tqdm(range(rounds + 1), desc=f"{n:,} cases", leave=False):
        noise = rng.normal(0, 0.12, (steps, BATCH))
        drawing = updating = 0.0
        for step in range(steps):
            begin = time.perf_counter()
            waiting.append(sampler.draw_cases(BATCH, rng))
            middle = time.perf_counter()
            drawn = waiting.popleft()
            answer = losses[drawn.ids] + noise[step]
            answer = np.stack([answer, answer], axis=1)
            ready = time.perf_counter()
            sampler.update(drawn.ids, cells, answer, version=drawn.version)
            updating += time.perf_counter() - ready
            drawing += middle - begin
        draws.append(drawing / steps * 1e6)
        updates.append(updating / steps * 1e6)
    draws, updates = np.array(draws[1:]), np.array(updates[1:])  # the first round warms up
    both = draws + updates
    valid, reason = sampler.check_valid()
    if not valid:
        raise RuntimeError(reason)
    begin = time.perf_counter()
    refresh()
    return {
        "cases": n,
        "draw": round(float(np.median(draws)), 2),
        "update": round(float(np.median(updates)), 2),
        "draw_and_update": round(float(np.median(both)), 2),
        "fastest_round": round(float(both.min()), 2),
        "slowest_round": round(float(both.max()), 2),
        "steps_a_refresh": round((rounds + 1) * steps / max(1, refreshes), 1),
        "refresh_milliseconds": round((time.perf_counter() - begin) * 1e3, 2),
        "beta": round(sampler.table.beta, 3),
        "ess_share": round(sampler.effective_sample_size() / n, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few steps, no 1,000,000 cases")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    arguments = parser.parse_args()
    sizes = (368, 10_000) if arguments.quick else (368, 10_000, 1_000_000)
    steps, rounds = (200, 2) if arguments.quick else (4000, 9)
    results = [run(n, steps, rounds) for n in sizes]
    print("microseconds for a draw of 2 and its update, one process")
    print(f"{'cases':>10} {'draw':>8} {'update':>8} {'both':>8}   fastest and slowest round")
    for row in results:
        print(
            f"{row['cases']:>10,} {row['draw']:>8.1f} {row['update']:>8.1f} {row['draw_and_update']:>8.1f}"
            f"   {row['fastest_round']:.1f} to {row['slowest_round']:.1f}"
        )
    if arguments.out:
        machine = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
        with whole_file(arguments.out) as partial:
            partial.write_text(json.dumps({"machine": machine, "rows": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
