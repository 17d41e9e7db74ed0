"""Cost of the sampler: a batch's draw and update, batches of 2 to 1,024, all safeguards on, beside other samplers.

    python scripts/benchmarks/sampler.py [--quick] [--reference CHECKOUT]

In the same rounds: torchrl's ``PrioritizedSampler``, a sum tree in C++, where it is installed; for batches of 2 the
straightforward numpy version (softmax of all losses at each draw) and, with ``--reference``, ``WeightedSampler`` of a
checkout of the published repository (LucasFidon/HardnessWeightedSampler). None of these has safeguards.

Losses scatter as those of real patches do (standard deviation 0.11 between cases, 0.12 within a case), and updates
follow draws 25 batches later, as with nnU-Net's 12 workers. One process, one core. A figure is the median over rounds,
which other programs on the machine disturb least; the ratio is taken round by round. Memory is what a process grows by.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import platform
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from page import COLOURS, Lines, Section, arguments, finish, save, table, verdict
from tqdm import tqdm

from hws_nnunet import HardnessWeightedBatchSampler, HardnessWeightedSampler, Settings

SIZES, BATCHES = (400, 100_000, 1_000_000), (2, 16, 64, 256, 1024)
LAG = 25
BETA = 8.0  # what `ess` 0.5 comes to with these losses; the others have no such bound
SMOOTHING = 0.8
BETWEEN, WITHIN = 0.11, 0.12
BAR = 1.0
"""Of torchrl's time, at most, at every batch size and number of cases."""
TREE = "torchrl"
Sampler = tuple[Callable[[], tuple], Callable[[object, object, np.ndarray], object], object]
"""What draws ids with the version of the draw, what updates with version, ids and losses, and our sampler or None."""


def ours(losses: np.ndarray, batch: int) -> Sampler:
    """Return our sampler after the warm-up pass."""
    n, rng = len(losses), np.random.default_rng(0)
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(n)], Settings(), rng=rng)
    sampler.update(np.arange(n), losses)
    return (
        lambda: tuple(sampler.draw_cases(batch, rng)),
        lambda version, ids, answers: sampler.update(ids, answers, version=version),
        sampler,
    )


def torchrl_tree(losses: np.ndarray, batch: int) -> Sampler | None:
    """Return torchrl's, None where it is not installed."""
    try:
        from torchrl.data.replay_buffers.samplers import PrioritizedSampler
    except ImportError:
        return None
    n = len(losses)
    sampler, storage = PrioritizedSampler(n, 0.7, 0.5), Storage(n)
    sampler.extend(torch.arange(n))
    sampler.update_priority(torch.arange(n), torch.from_numpy(losses).float())

    def update(_: object, ids: object, answers: np.ndarray) -> None:
        sampler.update_priority(torch.as_tensor(ids), torch.from_numpy(np.maximum(answers, 0.1)).float())

    return lambda: (sampler.sample(storage, batch)[0], None), update, None


class Storage(SimpleNamespace):
    """What a sampler of torchrl's asks of a storage: how many items it has."""

    ndim = 1

    def __init__(self, size: int):
        super().__init__(size=size, shape=(size,))

    def __len__(self) -> int:
        return self.size


def plain_numpy(losses: np.ndarray, batch: int) -> Sampler:
    """Return the straightforward version."""
    tracked, rng = losses.copy(), np.random.default_rng(2)

    def draw() -> tuple:
        p = np.exp(BETA * (tracked - tracked.max()))
        return rng.choice(len(p), batch, replace=False, p=p / p.sum()), None

    def update(_: object, ids: object, answers: np.ndarray) -> None:
        tracked[ids] = SMOOTHING * tracked[ids] + (1 - SMOOTHING) * answers

    return draw, update, None


def published(losses: np.ndarray, batch: int, checkout: Path) -> Sampler:
    """Return the published sampler."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from hardness_weighted_sampler.sampler.weighted_sampler import WeightedSampler

    with contextlib.redirect_stdout(io.StringIO()):
        sampler = WeightedSampler(beta=BETA, weights_init=losses.copy(), momentum=SMOOTHING)

    def update(_: object, ids: object, answers: np.ndarray) -> None:
        for case, answer in zip(ids, answers, strict=True):
            sampler.update_weight(case, float(answer))

    return lambda: (sampler.draw_samples(batch), None), update, None


class Contestant:
    """One sampler under measurement: rounds of steps, each a draw and the update of the draw 25 steps ago."""

    def __init__(self, made: Sampler, losses: np.ndarray, batch: int):
        self.draw, self.update, self.sampler = made
        self.losses, self.batch, self.rng = losses, batch, np.random.default_rng(4)
        self.waiting: deque = deque(self.draw() for _ in range(LAG))
        self.rounds: list[tuple[float, float]] = []

    def round(self, seconds: float) -> None:
        """Run steps for about this long; note the microseconds of a draw and of an update, means over the steps."""
        drawing = updating = 0.0
        steps, end = 0, time.perf_counter() + seconds
        while steps < 5 or time.perf_counter() < end:
            begin = time.perf_counter()
            self.waiting.append(self.draw())
            drawing += time.perf_counter() - begin
            ids, version = self.waiting.popleft()
            answers = self.losses[np.asarray(ids)] + self.rng.normal(0, WITHIN, self.batch)
            begin = time.perf_counter()
            self.update(version, ids, answers)
            updating += time.perf_counter() - begin
            steps += 1
        self.rounds.append((1e6 * drawing / steps, 1e6 * updating / steps))


def measure(n: int, batch: int, *, rounds: int, seconds: float, reference: Path | None) -> list[dict]:
    """Return a row of figures for each sampler; their rounds take turns, so that slow times fall on all of them."""
    losses = np.random.default_rng(0).normal(1.0, BETWEEN, n)
    made = {"ours": ours(losses, batch), TREE: torchrl_tree(losses, batch)}
    if batch == BATCHES[0]:
        made["numpy"] = plain_numpy(losses, batch)
        made["published"] = None if reference is None else published(losses, batch, reference)
    contestants = {name: Contestant(one, losses, batch) for name, one in made.items() if one is not None}
    for _ in range(rounds + 1):
        for contestant in contestants.values():
            contestant.round(seconds)
    # The first round is left out: everything is cold then.
    times = {name: np.array(contestant.rounds[1:]) for name, contestant in contestants.items()}
    rows = []
    for name, parts in times.items():
        ratios = np.percentile(times["ours"].sum(1) / parts.sum(1), (25, 50, 75))
        row = {"cases": n, "batch": batch, "sampler": name, "ours_over_it": [round(float(x), 3) for x in ratios]}
        medians = np.median(np.column_stack((parts, parts.sum(1))), axis=0)
        rows.append(row | dict(zip(("draw", "update", "both"), (round(float(x), 2) for x in medians), strict=True)))
    return rows


def memory(name: str, n: int, answers: multiprocessing.Queue) -> None:
    """Put what a process grows by, in bytes, and what of it is the table of tracked values."""
    losses = np.random.default_rng(0).normal(1.0, BETWEEN, n)
    make = {"ours": in_a_loop, TREE: torchrl_tree}[name]
    make(losses[:1000], BATCHES[0])  # libraries and their pools
    before = resident()
    made = make(losses, BATCHES[0])
    answers.put(None if made is None else (resident() - before, 0 if made[2] is None else made[2].table.nbytes))


def in_a_loop(losses: np.ndarray, batch: int) -> Sampler:
    """Return the batch sampler of any loop after the warm-up pass, as far as its memory is concerned."""
    sampler = HardnessWeightedBatchSampler(len(losses), batch, seed=0)
    for ids in np.array_split(np.arange(len(losses)), 1000):
        sampler.sampler.update(ids, losses[ids])
    return lambda: (), sampler.update, sampler.sampler


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(args: Namespace) -> dict:
    """Return the figures of all samplers, and what they were measured on."""
    sizes, batches = ((400, 10_000), BATCHES[::2]) if args.quick else (SIZES, BATCHES)
    options = {"rounds": 2 if args.quick else 15, "seconds": 0.02 if args.quick else 0.1, "reference": args.reference}
    torch.set_num_threads(1)
    pairs = [(n, batch) for n in sizes for batch in batches if batch <= n]
    rows = [row for n, batch in tqdm(pairs) for row in measure(n, batch, **options)]
    context, grown = multiprocessing.get_context("spawn"), {}
    for name in ("ours", TREE):
        answers = context.Queue()
        process = context.Process(target=memory, args=(name, sizes[-1], answers))
        process.start()
        grown[name] = answers.get()
        process.join()
    machine = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    return {"sampler": {"machine": machine, "rows": rows, "memory": grown, "memory_cases": sizes[-1]}}


def section(measured: dict, figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    rows = {(row["cases"], row["batch"], row["sampler"]): row for row in measured["rows"]}
    pairs, names = list(dict.fromkeys(key[:2] for key in rows)), list(dict.fromkeys(key[2] for key in rows))
    bars, lines = [], []
    trees = {pair: rows[(*pair, TREE)]["ours_over_it"] for pair in pairs if (*pair, TREE) in rows}
    for cases in dict.fromkeys(cases for cases, _ in trees):
        worst, batch = max((trees[pair][1], pair[1]) for pair in trees if pair[0] == cases)
        told = f"{worst:.2f} of torchrl's time, at batches of {batch:,} (bar: {BAR:.1f}): {verdict(worst <= BAR)}"
        bars.append(f"- sampler, {cases:,} cases, highest ratio of all batch sizes: {told}")
    if all(measured["memory"].values()):
        (grown, tracked), (other, _) = ([size / 1e6 for size in sizes] for sizes in measured["memory"].values())
        told = f"{grown:.0f} MB, {tracked:.0f} of them the table of tracked values; torchrl {other:.0f} MB"
        told = f"{told} (bar: {other + tracked:.0f}): {verdict(grown <= other + tracked)}"
        bars.append(f"- sampler, memory at {measured['memory_cases']:,} samples: {told}")
    shown, axis = plt.subplots(figsize=(7, 4))
    for cases, colour in zip(dict.fromkeys(cases for cases, _ in pairs), COLOURS, strict=False):
        for name, style in (("ours", "-"), (TREE, "--")):
            points = [(key[1], row["both"]) for key, row in rows.items() if key[0] == cases and key[2] == name]
            if points:
                label = f"{name}, {cases:,} cases"
                axis.loglog(*zip(*points, strict=True), style, marker="o", color=colour, label=label)
    axis.set(xlabel="batch size", ylabel="microseconds for draw and update")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(shown, figure)
    for pair in pairs:
        cells = []
        for name in names:
            row = rows.get((*pair, name))
            cells.append("" if row is None else f"{row['draw']:,.0f} + {row['update']:,.0f} = {row['both']:,.0f}")
        ratio = "" if pair not in trees else "{1:.2f} ({0:.2f} to {2:.2f})".format(*trees[pair])
        lines.append((f"{pair[0]:,}", f"{pair[1]:,}", *cells[:2], ratio, *cells[2:]))
    told = (
        "Microseconds a batch (draw + update), median over rounds, and our time over torchrl's round by round, with "
        "its quartiles. `numpy` and `published` compute the softmax of all cases at each draw, torchrl's tree has "
        "priorities of its own; none of them has safeguards. Memory is what a process grows by."
    )
    return bars, [told, "", *table(("cases", "batch", *names[:2], "ours over torchrl", *names[2:]), lines)]


SECTIONS = (Section("sampler", "Sampler: its own time and memory", "sampler.py --reference CHECKOUT", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "sampler")
    parser.add_argument("--reference", type=Path, help="a checkout of LucasFidon/HardnessWeightedSampler")
    finish(parser.parse_args(), SECTIONS, run)
