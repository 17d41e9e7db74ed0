"""Prototype: can a training's own record tell whether visits help a hard case? Simulated worlds, and recorded runs.

    python scripts/benchmarks/easier.py WORK

WORK has the runs of ``rare.py``. What the record has of a case: its losses, visit by visit, as offsets from the level.
The statistic is the change of the mean offset from a second window of the training to a third, over its standard
error, of the cases that were hardest in the first (what follows is new: no selection by noise).
"""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path

import numpy as np

from worlds import BATCH, LAG, SAMPLINGS, TOP, VISITS, WORLDS, curve

from hws_nnunet import HardnessWeightedSampler, Settings


def simulated(world: str, n: int, seed: int, sampling: str):
    """Return cases and losses in the order of visits, and which cases are rare; as ``worlds.training``."""
    of = WORLDS[world]
    rng = np.random.default_rng([seed, n])
    rare = np.arange(n) < round(of["rare"] * n)
    kind, members = rare.astype(int), np.array([n - rare.sum(), rare.sum()])
    floor = np.clip(0.15 + of["spread"] * rng.standard_normal(n), 0.0, None)
    sampler = HardnessWeightedSampler([str(i) for i in range(n)], Settings(**SAMPLINGS[sampling]), rng=rng)
    roots, visits, waiting, cases, values = np.zeros(2), np.zeros(n), deque(), [], []
    for _ in range(VISITS * n // BATCH):
        waiting.append(sampler.draw_cases(BATCH, rng))
        if len(waiting) <= LAG:
            continue
        drawn = waiting.popleft()
        ids = drawn.ids
        losses = floor[ids] + (TOP - floor[ids]) * curve(roots, members)[kind[ids]]
        losses = losses + of["noise"] * rng.standard_normal(len(ids))
        sampler.update(ids, losses, version=drawn.version)
        cases += list(ids)
        values += list(losses)
        for case in ids:
            roots[kind[case]] += np.sqrt(visits[case] + 1) - np.sqrt(visits[case])
            visits[case] += 1
    return np.array(cases), np.array(values), rare


def statistics(cases, values, n: int, *, cuts, top: int = 5):
    """Return, of the hardest cases at the second cut: case, change of the offset, its error, distance, drawn."""
    ok = np.isfinite(values)
    cases, values, at = cases[ok], values[ok], np.flatnonzero(ok) / len(ok)
    means, errors, counts = [], [], []
    for low, high in zip(cuts, cuts[1:], strict=False):
        here = (at >= low) & (at < high)
        c, v = cases[here], values[here]
        half = [(at[here] >= x) & (at[here] < y) for x, y in ((low, (low + high) / 2), ((low + high) / 2, high))]
        count = np.bincount(c, minlength=n)
        # taken from what all have in common in each half, so that falling losses and uneven visits do not count
        level = [np.mean([v[part & (c == i)].mean() for i in range(n) if (part & (c == i)).any()]) for part in half]
        v = v - np.where(half[0], *level)
        mean = np.array([v[c == i].mean() if count[i] else np.nan for i in range(n)])
        sd = np.array([v[c == i].std(ddof=1) if count[i] > 2 else np.nan for i in range(n)])
        means.append(mean), errors.append(np.nanmean(sd) / np.sqrt(np.maximum(count, 1))), counts.append(count)
    order = np.argsort(-np.nan_to_num(means[0], nan=-9))[:top]
    distance = means[1] - np.nanmedian(means[1])
    drawn = (counts[1] + counts[2]) / (counts[1] + counts[2]).mean()
    order = [i for i in order if counts[1][i] > 7 and counts[2][i] > 7]
    return [
        (i, means[2][i] - means[1][i], np.hypot(errors[1][i], errors[2][i]), distance[i], drawn[i], counts[1][i] + counts[2][i])
        for i in order
    ]


def recency(cases, values, n: int, *, memory: float = 300.0, last: float = 0.1):
    """Return, by case, the slope of its losses on its visits of late, which draws decide by chance, over its error.

    Both are taken from a straight line over the training, so that what falls or rises slowly does not count.
    """
    level = np.convolve(np.where(np.isfinite(values), values, np.nanmean(values)), np.ones(401) / 401, "same")
    z = np.full(n, np.nan)
    for i in range(n):
        at = np.flatnonzero((cases == i) & np.isfinite(values))
        at = at[at > last * len(values)]
        if len(at) < 20:
            continue
        late = np.array([np.exp(-(t - at[at < t]) / memory).sum() for t in at])
        y = values[at] - level[at]
        line = np.vander(at / at[-1], 2)
        y, x = (w - line @ np.linalg.lstsq(line, w, rcond=None)[0] for w in (y, late))
        slope = x @ y / (x @ x)
        z[i] = slope / np.sqrt(((y - slope * x) ** 2).sum() / (len(at) - 3) / (x @ x))
    return z


def auc(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return float(np.mean(a[:, None] < b[None]) + 0.5 * np.mean(a[:, None] == b[None])) if len(a) and len(b) else np.nan


def simulations(seeds: int = 20) -> None:
    for cuts in ((0.1, 0.2, 0.5, 1.0), (0.1, 0.4, 0.7, 1.0)):
        for n in (25, 120):
            for sampling in ("ess 0.8", "ess 0.5"):
                found = {}
                for world in WORLDS:
                    for seed in range(seeds if n == 25 else seeds // 2):
                        key = (world, n, seed, sampling)
                        if key not in CACHE:
                            CACHE[key] = simulated(*key)
                        c, v, rare = CACHE[key]
                        for i, change, error, distance, drawn, count in statistics(c, v, n, cuts=cuts):
                            found.setdefault((world, bool(rare[i])), []).append((change, error, distance, drawn))
                print(f"cuts {cuts}, {n} cases, {sampling}")
                for key, rows in found.items():
                    x = np.array(rows)
                    z = x[:, 0] / x[:, 1]
                    print(
                        f"   {key}: {len(x)} cases, distance {x[:, 2].mean():.3f}, change {x[:, 0].mean():+.4f}, error "
                        f"{x[:, 1].mean():.4f}; z below -2: {np.mean(z < -2):.2f}, above 2: {np.mean(z > 2):.2f}; drawn {x[:, 3].mean():.2f}"
                    )
                z = {k: np.array(r)[:, 0] / np.array(r)[:, 1] for k, r in found.items()}
                fall = {k: np.array(r)[:, 0] / np.array(r)[:, 2] for k, r in found.items()}
                for a, b in ((("lags", True), ("lags", False)), (("both", True), ("both", False)), (("lags", True), ("floors", False))):
                    if a in z and b in z:
                        print(f"   {a} against {b}: right in {auc(z[a], z[b]):.2f} of pairs by z, {auc(fall[a], fall[b]):.2f} by share")


CACHE = {}


def recorded(work: Path) -> None:
    """Truth of recorded runs: the case's offset late, uniform less hardness weighted, same seed.

    Statistic and truth share no loss: either the statistic ends before the truth begins, or it has the odd visits of
    each case and the truth the even ones.
    """
    for kind in ("brains", "hearts", "scanner", "plain", "labels"):
        for arm in ("ours, ess 0.8", "ours"):
            for how, cuts, late_from in (("before", (0.1, 0.2, 0.45, 0.7), 0.7), ("odd and even", (0.1, 0.2, 0.5, 1.0), 0.5)):
                rows = []
                for seed in range(5):
                    files = [work / kind / f"2000-{a}-{seed}.json" for a in (arm, "uniform")]
                    if not all(f.exists() for f in files):
                        continue
                    ours, uniform = (json.loads(f.read_text()) for f in files)
                    n, rare = len(ours["training"]), [g == "rare" for _, g in ours["training"]]
                    late = []
                    for run in (ours, uniform):
                        v, x = np.ravel(run["visits"]), np.ravel(np.array(run["losses"], float))
                        number = np.zeros(len(v), int)
                        for i in range(n):
                            number[v == i] = np.arange((v == i).sum())
                        ok = (np.arange(len(v)) >= late_from * len(v)) & np.isfinite(x)
                        if how != "before":
                            ok &= number % 2 == 0
                        mean = np.array([x[ok & (v == i)].mean() if (ok & (v == i)).any() else np.nan for i in range(n)])
                        late.append(mean - np.nanmean(mean))
                        if run is ours and how != "before":
                            kept = np.where(number % 2 == 1, x, np.nan)
                        elif run is ours:
                            kept = x
                    v = np.ravel(ours["visits"])
                    after = recency(v, np.ravel(np.array(ours["losses"], float)), n)
                    for i, change, error, distance, drawn, count in statistics(v, kept, n, cuts=cuts, top=max(5, n // 12)):
                        rows.append((change, error, distance, drawn, late[1][i] - late[0][i], rare[i], count, seed, after[i]))
                if not rows:
                    continue
                x = np.array(rows, float)
                x = x[np.isfinite(x[:, 4])]
                z, truth = x[:, 0] / x[:, 1], x[:, 4]
                best = truth > np.median(truth)
                called, recent = z < -1.5, np.nan_to_num(x[:, 8])
                print(
                    f"{kind}, {arm}, {how}: {len(x)} cases; drawn {x[:, 3].mean():.2f}; easier than with uniform by {truth.mean():+.3f} "
                    f"(sd {truth.std():.3f}); change {x[:, 0].mean():+.3f}, error {x[:, 1].mean():.3f}; correlation {np.corrcoef(z, truth)[0, 1]:+.2f}, "
                    f"right in {auc(z[best], z[~best]):.2f} of pairs; called easier {called.mean():.2f}, of these better {np.mean(truth[called] > 0) if called.any() else np.nan:.2f}, "
                    f"of others {np.mean(truth[~called] > 0):.2f}; visits of late: right in {auc(recent[best], recent[~best]):.2f} of pairs"
                )


if __name__ == "__main__":
    recorded(Path(sys.argv[1]))
    simulations()
