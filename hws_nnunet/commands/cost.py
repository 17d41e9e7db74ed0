"""The command ``hws-nnunet cost``: what draws and updates cost on this machine, for a data set of a given size."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from hws_nnunet.commands.options import AsJson, print_json


def cost(
    cases: Annotated[int, typer.Option("--cases", min=1, help="Of the data set.")],
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples in a batch.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Tell what draws and updates cost on this machine, for a data set of some size: microseconds a batch, and memory.

    --json: 'cases', 'batch_size', 'steps', the medians 'draw_us', 'update_us' and 'uniform_draw_us' in microseconds a
    batch, and 'memory_bytes'.

    \b
    Example:
      hws-nnunet cost --cases 1251 --batch-size 2
    """
    figures = measure(cases, batch_size)
    if as_json:
        print_json(figures)
    else:
        print("\n".join(_lines(**figures)))


def measure(cases: int, batch_size: int, *, steps: int = 2000) -> dict[str, Any]:
    """Return what a batch costs, medians in microseconds, and the bytes of the table, beside uniform sampling.

    Losses are made up: each case has one of its own, and every loss scatters around it. Weighted draws are timed, after
    each case has been seen.

    Args:
        cases: at least 1.
        batch_size: at least 1.
        steps: that are timed, at least 1.
    """
    import numpy as np

    from hws_nnunet.core import HardnessWeightedSampler

    rng = np.random.default_rng(0)
    hardness = rng.normal(0.5, 0.1, cases)
    sampler = HardnessWeightedSampler([str(i) for i in range(cases)], rng=rng)
    for begin in range(0, cases, 1000):  # the warm-up pass
        ids = np.arange(begin, min(begin + 1000, cases))
        sampler.update(ids, hardness[ids])
    spent: dict[str, list[float]] = {"draw": [], "update": [], "uniform_draw": []}
    for _ in range(steps):
        moments = [time.perf_counter()]
        drawn = sampler.draw_cases(batch_size, rng)
        moments.append(time.perf_counter())
        losses = hardness[drawn.ids] + 0.15 * rng.standard_normal(batch_size)
        moments.append(time.perf_counter())
        sampler.update(drawn.ids, losses, version=drawn.version)
        moments.append(time.perf_counter())
        rng.integers(cases, size=batch_size)
        moments.append(time.perf_counter())
        for name, i in (("draw", 0), ("update", 2), ("uniform_draw", 3)):
            spent[name].append(moments[i + 1] - moments[i])
    return {
        "cases": cases,
        "batch_size": batch_size,
        "steps": steps,
        **{f"{name}_us": 1e6 * float(np.median(values)) for name, values in spent.items()},
        "memory_bytes": int(sampler.table.nbytes),
    }


def _lines(
    cases: int,
    batch_size: int,
    steps: int,
    draw_us: float,
    update_us: float,
    uniform_draw_us: float,
    memory_bytes: int,
) -> list[str]:
    return [
        f"{cases:,} cases, batches of {batch_size}: median of {steps:,} steps on this machine, in microseconds a batch",
        f"  draw          {draw_us:8.1f}   in a data-loading worker",
        f"  update        {update_us:8.1f}   in the training process",
        f"  uniform draw  {uniform_draw_us:8.1f}   numpy's, for comparison",
        f"memory, shared by all workers: {memory_bytes / 2**20:.2f} MiB ({memory_bytes / cases:.0f} bytes a case)",
        "beside that, a training pays for the loss of each sample: python scripts/benchmarks/overhead.py measures all",
    ]
