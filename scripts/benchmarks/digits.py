"""Hardness weighted sampling in a plain PyTorch loop: scikit-learn's digits, one class cut to four examples.

    python scripts/benchmarks/digits.py [--quick] [--seeds N] [--arms ARM ...]

The network is small, batches are of 16, and a draw uses losses that are answered at once. Every seed has its own rare
class, split and first weights, shared by all arms. :func:`train` shows how the sampler is used in any loop.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from experiments import ARMS, STATIC, UNIFORM, paired_interval, run_all, settings_of
from page import COLOURS, Lines, Section, arguments, bar_line, finish, save, table
from torch import nn

from hws_nnunet import HardnessWeightedSampler

BATCH, RARE_EXAMPLES, TRAINING = 16, 4, 1200
RATES = (0.003, 0.01, 0.03)
STEPS, EVERY = 3000, 50
SPOILED = 0.05
ALL_ARMS = (UNIFORM, STATIC, *ARMS)
SHOWN = dict(zip((UNIFORM, "ours", "ours without stall_limit", "paper", STATIC), COLOURS, strict=False))
SPOILED_ARMS = ("ours", "ours without stall_limit", "ours without cap")
TABLE_RATE = 0.01  # all arms are run at this learning rate, the main ones at every one


def data_of(seed: int, spoiled: bool) -> tuple[torch.Tensor, ...]:
    """Return training images and labels, test images and labels, and the rare class."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    rare = seed % 10
    order = rng.permutation(len(labels))
    training, test = order[:TRAINING], order[TRAINING:]
    of_rare = training[labels[training] == rare]
    training = np.setdiff1d(training, of_rare[RARE_EXAMPLES:])
    training_labels = labels[training].copy()
    if spoiled:
        wrong = rng.choice(len(training_labels), round(SPOILED * len(training_labels)), replace=False)
        training_labels[wrong] = (training_labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    x = torch.from_numpy(images / 16).float()
    return x[training], torch.from_numpy(training_labels), x[test], torch.from_numpy(labels[test]), rare


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
    groups: dict[tuple, list[dict]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        groups.setdefault((result["rate"], result["arm"], result["spoiled"]), []).append(result)
    runs = []
    for (rate, arm, spoiled), of_arm in groups.items():
        accuracy = np.array([run["accuracy"] for run in of_arm])
        curves = {"mean": accuracy.mean(2).round(4).tolist(), "worst": accuracy.min(2).round(4).tolist()}
        ess = [run["ess"][-1] for run in of_arm]
        runs.append({"rate": rate, "arm": arm, "spoiled": spoiled, **curves, "ess": ess})
    return {"every": EVERY, "batch": BATCH, "rare_examples": RARE_EXAMPLES, "runs": runs}


def run(args: Namespace) -> dict:
    """Run all arms."""
    wanted = jobs(*((2, 300) if args.quick else (args.seeds, STEPS)), args.arms)
    results = run_all(train, wanted, args.work / ("quick" if args.quick else "runs"), processes=args.processes)
    return {"digits": summarise(results)}


def section(results: dict, figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    runs = {(run["rate"], run["arm"], run["spoiled"]): run for run in results["runs"]}
    lines, bars = [], []
    rates = sorted({rate for rate, _, _ in runs})
    shown, axes = plt.subplots(1, len(rates), figsize=(5 * len(rates), 4), sharey=True, squeeze=False)
    for rate, axis in zip(rates, axes[0], strict=True):
        uniform = np.array(runs[rate, UNIFORM, False]["worst"])
        steps = results["every"] * np.arange(1, uniform.shape[1] + 1)
        half = int(np.argmax(uniform.mean(0) >= uniform[:, -1].mean() / 2))
        learnt = uniform[:, -1].mean() >= 0.1
        rows = []
        for (_, arm, spoiled), run in ((key, run) for key, run in runs.items() if key[0] == rate):
            base = runs[rate, UNIFORM, spoiled]
            cells, intervals = [f"{arm}{', 5 % of labels spoiled' if spoiled else ''}"], []
            for curve, at in (("worst", half), ("worst", -1), ("mean", -1)):
                ours, other = (np.array(one[curve])[:, at] for one in (run, base))
                intervals.append(paired_interval(ours, other))
                difference, low, high = (100 * value for value in intervals[-1])
                told = "" if arm == UNIFORM else f"{difference:+.1f} ({low:+.1f} to {high:+.1f})"
                cells += [f"{100 * ours.mean():.1f}", told]
            ess = [value for value in run["ess"] if value is not None]
            rows.append([*cells, f"{np.mean(ess):.2f}" if ess else ""])
            if not spoiled and arm in SHOWN:
                curve = 100 * np.array(run["worst"]).mean(0)
                axis.plot(steps, curve, label=arm, color=SHOWN[arm], lw=2.5 if arm == "ours" else 1.5)
            if arm == "ours" and not spoiled:
                bars.append(bar_line(f"digits, learning rate {rate:g}, worst class", intervals[0], 0.15))
            if arm == "ours" and spoiled:
                bars.append(bar_line("digits, 5 % of labels spoiled, mean at the end", intervals[2], -0.01))
        header = ("sampling", f"worst class, step {steps[half]}", "difference", "worst class, end", "difference")
        lines += [
            f"### Learning rate {rate:g}, {len(uniform)} seeds",
            "",
            f"Uniform sampling reaches half of its final worst class at step {steps[half]} of {steps[-1]}. "
            + ("" if learnt else "(It has hardly begun to learn the class: look at the end instead.) ")
            + "Accuracy in points; differences from uniform sampling on the same labels, with 95 % bootstrap "
            "intervals.",
            "",
            *table((*header, "mean, end", "difference", "ESS, end"), rows),
            "",
        ]
        axis.set_title(f"learning rate {rate:g}")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("accuracy of the worst class, %, mean of seeds")
    axes[0][-1].legend(fontsize=8, loc="center right")
    save(shown, figure)
    return bars, lines[:-1]


SECTIONS = (Section("digits", "Digits: a plain PyTorch loop", "digits.py", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "digits", seeds=20)
    parser.add_argument("--arms", nargs="+", default=ALL_ARMS, choices=ALL_ARMS, metavar="ARM")
    finish(parser.parse_args(), SECTIONS, run)
