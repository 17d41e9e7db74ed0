"""What a batch sampler costs a DataLoader: ours against PyTorch's weighted and plain ones, in turn in one run.

    python scripts/benchmarks/loader.py [--quick]

100,000 samples in batches of 64 and of 256, without workers and with four. A sample is a crop of 256 x 256 from an
image in memory, with noise, which takes a third of a millisecond or more: less than to read and decode an image does.
Ours is answered after each batch, as a training does. Told are samples a second, the median over rounds, and the ratio
to the plain sampler, round by round.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from page import Lines, Section, arguments, finish, save, table, verdict
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from hws_nnunet import HardnessWeightedBatchSampler

SAMPLES, BATCHES, WORKERS = 100_000, (64, 256), (0, 4)
DRAWN, ROUNDS = 2048, 25
"""Samples of a round, and rounds."""
BAR = 0.98
"""Least share of the plain sampler's rate."""


class Crops(Dataset):
    """Crops of one image, with noise."""

    def __init__(self) -> None:
        self.image = torch.rand(1, 512, 512)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x, y = index % 256, (index // 256) % 256
        return self.image[:, x : x + 256, y : y + 256] + 0.1 * torch.randn(1, 256, 256), index


def batch_samplers(batch: int) -> dict[str, object]:
    """Return the contestants, ours after its warm-up pass."""
    ours = HardnessWeightedBatchSampler(SAMPLES, batch, steps_per_epoch=DRAWN // batch, seed=0)
    hardness = np.random.default_rng(0).normal(0.5, 0.1, SAMPLES)
    for ids in np.array_split(np.arange(SAMPLES), 1000):
        ours.sampler.update(ids, hardness[ids])
    weights = torch.from_numpy(ours.sampler.probabilities())
    return {
        "plain": BatchSampler(RandomSampler(range(SAMPLES), num_samples=DRAWN), batch, drop_last=True),
        "weighted": BatchSampler(WeightedRandomSampler(weights, DRAWN), batch, drop_last=True),
        "ours": ours,
    }


def measure(batch: int, workers: int, rounds: int) -> list[dict]:
    """Return a row for each sampler; their rounds take turns, so that slow times fall on all of them."""
    samplers, dataset = batch_samplers(batch), Crops()
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    data = {name: samplers["ours"].indexed(dataset) if name == "ours" else dataset for name in samplers}
    loaders = {name: DataLoader(data[name], batch_sampler=one, **options) for name, one in samplers.items()}
    rates: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(rounds + 1):
        for name, loader in loaders.items():
            begin = time.perf_counter()
            for *_, index in loader:
                if name == "ours":
                    samplers[name].update(0.5 + 0.1 * torch.randn(len(index)), index)
            rates[name].append(DRAWN / (time.perf_counter() - begin))
    rows = []
    for name, rates_of_one in rates.items():
        ratios = np.array(rates_of_one[1:]) / np.array(rates["plain"][1:])  # the first round starts the workers
        row = {"batch": batch, "workers": workers, "sampler": name}
        row["samples_a_second"] = round(float(np.median(rates_of_one[1:])))
        rows.append({**row, "of_plain": [round(float(x), 3) for x in np.percentile(ratios, (25, 50, 75))]})
    return rows


def run(args: Namespace) -> dict:
    """Return a row for each batch size, number of workers and sampler."""
    torch.set_num_threads(1)
    pairs = [(batch, workers) for batch in BATCHES for workers in WORKERS]
    return {"loader": [row for pair in pairs for row in measure(*pair, 1 if args.quick else ROUNDS)]}


def section(rows: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    lines, bars = [], []
    for row in rows:
        low, middle, high = row["of_plain"]
        told = f"{middle:.3f} ({low:.3f} to {high:.3f})"
        lines.append((row["batch"], row["workers"], row["sampler"], f"{row['samples_a_second']:,}", told))
        if row["sampler"] == "ours":
            told = f"{middle:.3f} of the plain sampler's samples a second (bar: {BAR})"
            where = f"batches of {row['batch']}, {row['workers']} workers"
            bars.append(f"- loader, {where}: {told}: {verdict(middle >= BAR)}")
    shown, axis = plt.subplots(figsize=(9, 3))
    middles = np.array([row["of_plain"] for row in rows])
    spread = np.abs(middles[:, [0, 2]] - middles[:, [1]]).T
    axis.errorbar(range(len(rows)), middles[:, 1], yerr=spread, fmt="o", capsize=4)
    axis.axhline(BAR, color="grey", linestyle="--")
    ticks = [f"{row['sampler']}\n{row['batch']}\n{row['workers']} workers" for row in rows]
    axis.set_xticks(range(len(rows)), ticks, fontsize=7)
    axis.set_ylabel("of the plain sampler's rate")
    save(shown, figure)
    told = (
        "100,000 samples of a third of a millisecond or more each; samples a second, median over rounds, and the "
        "ratio to the plain sampler round by round, with its quartiles."
    )
    return bars, [told, "", *table(("batch", "workers", "sampler", "samples a second", "of the plain one"), lines)]


SECTIONS = (Section("loader", "Any PyTorch loop: what the batch sampler costs a DataLoader", "loader.py", section),)

if __name__ == "__main__":
    finish(arguments(__doc__, "loader").parse_args(), SECTIONS, run)
