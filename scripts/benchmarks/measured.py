"""Prototype: which measure of hardness finds the rare cases? Offline, of recorded runs with uniform draws.

    python scripts/benchmarks/measured.py KIND DATA RUN [RUN ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from rare import KINDS
from scipy.stats import spearmanr

NAMES = ("dice_present", "dice_ce", "normalised Dice", "cross-entropy of structures present")


def main(kind: str, data: str, *files: str) -> None:
    for file in files:
        run = json.loads(Path(file).read_text())
        cases, _ = KINDS[kind].split(Path(data), run["seed"])
        n, rare = len(cases), np.array([case.group == "rare" for case in cases])
        volume = np.array([np.log((case.labels > 0).sum()) for case in cases])
        of = np.ravel(run["visits"])
        first = len(of) // 4
        print(f"{kind}, {run['arm']}, seed {run['seed']}, {run['steps']} steps")
        found = {}
        for k, name in enumerate(NAMES):
            x = np.ravel([[np.nan if v is None else v for v in step[k]] for step in run["measures"]])
            ok = np.isfinite(x) & (np.arange(len(x)) >= first)
            halves = []
            for parity in (0, 1, None):
                mean = np.full(n, np.nan)
                for i in range(n):
                    own = np.flatnonzero(ok & (of == i))
                    mean[i] = x[own if parity is None else own[parity::2]].mean()
                halves.append(mean)
            mean = found[name] = halves[2]
            median = np.median(mean)
            z = (mean - median) / (1.4826 * np.median(np.abs(mean - median)))
            rank = (-mean).argsort().argsort() + 1
            r = np.corrcoef(*halves[:2])[0, 1]
            print(
                f"   {name}: halves agree by {r:.2f}; the rare: {z[rare].mean():+.1f} robust sd, mean rank {rank[rare].mean():.1f} of {n}, "
                f"{int((rank[rare] <= n / 10 + 1).sum())} of {rare.sum()} in the hardest tenth; with log volume {spearmanr(mean, volume).statistic:+.2f}, "
                f"with dice_present {spearmanr(mean, found['dice_present']).statistic:+.2f}"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
