"""Hardness weighted sampling in a plain PyTorch loop: scikit-learn's digits, one class cut to four examples.

    python scripts/benchmarks/digits.py [--quick] [--arms ARM ...] [--out FOLDER] [--processes N]

The network is small, batches are of 16, and a draw uses losses that are answered at once. Every seed has its own rare
class, split and first weights, shared by all arms. Writes one JSON file a run, and ``digits.json`` with what counts.
:func:`train` shows how the sampler is used in any loop.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from experiments import ARMS, STATIC, UNIFORM, run_all, settings_of, write_json
from sklearn.datasets import load_digits
from torch import nn

from hws_nnunet import HardnessWeightedSampler

BATCH, RARE_EXAMPLES, TRAINING = 16, 4, 1200
RATES = (0.003, 0.01, 0.03)
STEPS, EVERY = 3000, 50
SPOILED = 0.05
ALL_ARMS = (UNIFORM, STATIC, *ARMS)
SPOILED_ARMS = ("ours", "ours without stall_limit", "ours without cap")
TABLE_RATE = 0.01  # all arms are run at this learning rate, the main ones at every one


def data_of(seed: int, spoiled: bool) -> tuple[torch.Tensor, ...]:
    """Return training images and labels, test images and labels, and the rare class."""
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    rare = seed % 10
    order = rng.permutation(len(labels))
    training, test = order[:TRAINING], order[TRAINING:]
    of_rare = training[labels[training] == rare]
    training = np.setdiff1d(training, of_rare[RARE_EXAMPLES:])
    given = labels[training].copy()
    if spoiled:
        wrong = rng.choice(len(given), round(SPOILED * len(given)), replace=False)
        given[wrong] = (given[wrong] + rng.integers(1, 10, len(wrong))) % 10
    x = torch.from_numpy(images / 16).float()
    return x[training], torch.from_numpy(given), x[test], torch.from_numpy(labels[test]), rare


def train(job: dict) -> dict:
    """Train once; return each class's accuracy on the test set every 50 steps, and the effective sample size."""
    torch.set_num_threads(1)
    x, y, x_test, y_test, rare = data_of(job["seed"], job["spoiled"])
    torch.manual_seed(job["seed"])
    network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.SGD(network.parameters(), job["rate"], momentum=0.9)
    rng = np.random.default_rng([job["seed"], 1])
    settings = settings_of(job["arm"])
    sampler = settings and HardnessWeightedSampler([str(i) for i in range(len(y))], settings, rng=rng)
    share = None
    if job["arm"] == STATIC:
        share = np.where(y.numpy() == rare, 1 / RARE_EXAMPLES / 10, 0.9 / (len(y) - RARE_EXAMPLES))
        share /= share.sum()
    curve, ess = [], []
    for step in range(1, job["steps"] + 1):
        if sampler is None:
            ids = rng.choice(len(y), BATCH, replace=False, p=share)
        else:
            drawn = sampler.draw_cases(BATCH, rng)
            ids = drawn.ids
        losses = nn.functional.cross_entropy(network(x[ids]), y[ids], reduction="none")
        optimiser.zero_grad()
        losses.mean().backward()
        optimiser.step()
        if sampler is not None:
            sampler.update(ids, losses.detach().numpy(), version=drawn.version)
        if step % EVERY == 0:
            with torch.no_grad():
                right = (network(x_test).argmax(1) == y_test).numpy()
            curve.append([round(float(right[y_test.numpy() == c].mean()), 4) for c in range(10)])
            ess.append(None if sampler is None else round(sampler.effective_sample_size() / len(y), 3))
    return {**job, "rare": rare, "accuracy": curve, "ess": ess}


def jobs(seeds: int, steps: int, arms: Sequence[str] = ALL_ARMS) -> list[dict]:
    """Return the arms' runs: the main arms at each learning rate, the others and spoiled labels at one."""
    made = []
    for seed in range(seeds):
        for rate in RATES:
            for arm in arms:
                main = arm in (UNIFORM, STATIC, "paper", "ours", "ours without stall_limit")
                for spoiled in (False, True):
                    if rate != TABLE_RATE and (spoiled or not main):
                        continue
                    if spoiled and arm not in (UNIFORM, *SPOILED_ARMS):
                        continue
                    name = f"{arm.replace(' ', '_')}-{rate}-{seed}{'-spoiled' if spoiled else ''}"
                    job = {"name": name, "arm": arm, "rate": rate, "seed": seed, "spoiled": spoiled, "steps": steps}
                    settings = settings_of(arm)
                    made.append({**job, "settings": settings and settings.model_dump()})
    return made


def summarise(results: list[dict]) -> dict:
    """Return, for each learning rate, arm and kind of labels, the curves of mean and worst class, a row a seed."""
    found: dict = {"every": EVERY, "batch": BATCH, "rare_examples": RARE_EXAMPLES, "runs": []}
    groups: dict[tuple, list[dict]] = {}
    for result in results:
        groups.setdefault((result["rate"], result["arm"], result["spoiled"]), []).append(result)
    for (rate, arm, spoiled), runs in groups.items():
        accuracy = np.array([run["accuracy"] for run in sorted(runs, key=lambda run: run["seed"])])
        found["runs"].append(
            {
                "rate": rate,
                "arm": arm,
                "spoiled": spoiled,
                "mean": accuracy.mean(2).round(4).tolist(),
                "worst": accuracy.min(2).round(4).tolist(),
                "ess": [run["ess"][-1] for run in runs],
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds of 300 steps: does it run?")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--arms", nargs="+", default=ALL_ARMS, choices=ALL_ARMS, metavar="ARM")
    parser.add_argument("--out", type=Path, default=Path("benchmark-results/digits"))
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    wanted = jobs(*((2, 300) if args.quick else (args.seeds, STEPS)), args.arms)
    folder = args.out / ("quick" if args.quick else "runs")
    results = run_all(train, wanted, folder, processes=args.processes)
    write_json(args.out / ("quick.json" if args.quick else "digits.json"), summarise(results))


if __name__ == "__main__":
    main()
