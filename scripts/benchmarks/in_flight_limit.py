"""How far realised draws are from intended ones under two in-flight limits, and under none.

    python scripts/benchmarks/in_flight_limit.py

Draws are made some batches ahead of their answers, as workers do; the losses stay what they are. Prints the total
variation distance for 10 cases, pipelines of several lengths, and two shapes of hardness, as a Markdown table: the
worst and the median over all of these. About two minutes.
"""

from __future__ import annotations

import itertools
import math
from collections import deque

import numpy as np
from nnunet_feedback import expected_share

from hws_nnunet import HardnessWeightedSampler, Settings
from hws_nnunet.sampling.marks import DrawMarks

STEPS = 12_000
LIMITS = {
    "none": lambda share: math.inf,
    "ceil(pK)": lambda share: max(1, math.ceil(share)),
    "ceil(pK + sqrt(pK))": lambda share: math.ceil(share + math.sqrt(share)),
}
SHAPES = {"linear": np.linspace(0.5, 1.0, 10), "one hard": np.array([1.0] + [0.5] * 9)}


def distance(losses: np.ndarray, depth: int, size: int) -> float:
    rng = np.random.default_rng(1)
    sampler = HardnessWeightedSampler([str(i) for i in range(len(losses))], Settings())
    sampler.update(range(len(losses)), None, losses)
    waiting: deque = deque()
    counts = np.zeros(len(losses))
    for _ in range(STEPS // size):
        waiting.append(sampler.draw_cases(size, rng))
        counts[waiting[-1].ids] += 1
        if len(waiting) > depth:
            drawn = waiting.popleft()
            sampler.update(drawn.ids, None, losses[drawn.ids], version=drawn.version)
    return 0.5 * float(np.abs(counts / counts.sum() - expected_share(sampler.probabilities(), size)).sum())


def main() -> None:
    print("| limit | worst | median |\n|---|---|---|")
    original = DrawMarks.has_its_share
    for name, limit in LIMITS.items():
        DrawMarks.has_its_share = lambda self, case, p, in_flight, version, patience, limit=limit: (
            self.unanswered(case, version, patience) >= limit(p * in_flight)
        )
        found = [
            distance(losses, depth, size)
            for losses, depth, size in itertools.product(SHAPES.values(), (0, 1, 2, 5, 15, 25, 50), (1, 2))
        ]
        print(f"| {name} | {max(found):.3f} | {float(np.median(found)):.3f} |")
    DrawMarks.has_its_share = original


if __name__ == "__main__":
    main()
