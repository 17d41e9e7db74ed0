"""Cost of the sampler: draw of a batch of 2 and its update, all safeguards on, computing of weights included.

    python scripts/benchmarks/sampler.py [--quick] [--reference CHECKOUT]

Beside it, in the same rounds: the straightforward numpy version (softmax of all losses at each draw); with
``--reference``, ``WeightedSampler`` of a checkout of the published repository (LucasFidon/HardnessWeightedSampler); and
torchrl's ``SumSegmentTreeFp64`` where torchrl is installed, as a sum tree without softmax or safeguards.

Losses scatter as those of real patches do (standard deviation 0.11 between cases, 0.12 within a case), and updates
follow draws 25 batches later, as with nnU-Net's 12 workers. One process, one core. A figure is the median over rounds;
the fastest and the slowest round are told, since other programs share the machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from page import COLOURS, Lines, Section, arguments, finish, save, table, verdict
from tqdm import tqdm

from hws_nnunet import HardnessWeightedSampler, Settings

LAG = 25
BATCH = 2
BETA = 8.0  # what `ess` 0.5 comes to with these losses; the others have no such bound
SMOOTHING = 0.8
BETWEEN, WITHIN = 0.11, 0.12
BARS = {368: 40.0, 10_000: 100.0}  # microseconds for a draw of 2 and its update
Draw = Callable[[], tuple[list, object]]
Update = Callable[[object, list, np.ndarray], None]


def ours(losses: np.ndarray, rng: np.random.Generator) -> tuple[Draw, Update, HardnessWeightedSampler]:
    """Return what draws and what updates, after the first sweep."""
    n = len(losses)
    sampler = HardnessWeightedSampler([f"case{i}" for i in range(n)], Settings(), rng=rng)
    sampler.update(np.arange(n), losses)

    def draw() -> tuple[list, object]:
        drawn = sampler.draw_cases(BATCH, rng)
        return drawn.ids, drawn.version

    def update(version: object, ids: list, answers: np.ndarray) -> None:
        sampler.update(ids, answers, version=version)

    return draw, update, sampler


def plain_numpy(losses: np.ndarray, rng: np.random.Generator) -> tuple[Draw, Update, object]:
    """Return the same of the straightforward version."""
    tracked = losses.copy()

    def draw() -> tuple[list, object]:
        p = np.exp(BETA * (tracked - tracked.max()))
        return rng.choice(len(p), BATCH, replace=False, p=p / p.sum()), None

    def update(_: object, ids: list, answers: np.ndarray) -> None:
        tracked[ids] = SMOOTHING * tracked[ids] + (1 - SMOOTHING) * answers

    return draw, update, None


def published(losses: np.ndarray, checkout: Path) -> tuple[Draw, Update, object]:
    """Return the same of the published sampler."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from hardness_weighted_sampler.sampler.weighted_sampler import WeightedSampler

    with contextlib.redirect_stdout(io.StringIO()):
        sampler = WeightedSampler(beta=BETA, weights_init=losses.copy(), momentum=SMOOTHING)

    def update(_: object, ids: list, answers: np.ndarray) -> None:
        for case, answer in zip(ids, answers, strict=True):
            sampler.update_weight(case, float(answer))

    return lambda: (sampler.draw_samples(BATCH), None), update, None


def torchrl_tree(losses: np.ndarray, rng: np.random.Generator) -> tuple[Draw, Update, object] | None:
    """Return the same of torchrl's sum tree, None where it is not installed."""
    try:
        from torchrl._torchrl import SumSegmentTreeFp64
    except ImportError:
        return None
    tree = SumSegmentTreeFp64(len(losses))
    tracked = torch.from_numpy(losses.copy())
    tree.update(torch.arange(len(losses)), torch.exp(BETA * tracked))

    def draw() -> tuple[list, object]:
        total = tree.query(0, len(losses))
        return tree.scan_lower_bound(torch.from_numpy(rng.random(BATCH) * total)), None

    def update(_: object, ids: torch.Tensor, answers: np.ndarray) -> None:
        ids = torch.as_tensor(ids)
        tracked[ids] = SMOOTHING * tracked[ids] + (1 - SMOOTHING) * torch.from_numpy(answers)
        tree.update(ids, torch.exp(BETA * tracked[ids]))

    return draw, update, None


class Contestant:
    """One sampler under measurement: rounds of steps, each a draw and the update of the draw 25 steps ago."""

    def __init__(self, made: tuple[Draw, Update, object], losses: np.ndarray, rng: np.random.Generator, seconds: float):
        self.draw, self.update, self.sampler = made
        self.losses, self.rng, self.seconds = losses, rng, seconds
        self.waiting: deque = deque(self.draw() for _ in range(LAG))
        self.draws: list[float] = []
        self.updates: list[float] = []

    def round(self) -> None:
        """Run steps for about the time that a round has."""
        drawing = updating = 0.0
        steps, end = 0, time.perf_counter() + self.seconds
        while steps < 5 or time.perf_counter() < end:
            begin = time.perf_counter()
            self.waiting.append(self.draw())
            middle = time.perf_counter()
            ids, version = self.waiting.popleft()
            answers = self.losses[np.asarray(ids)] + self.rng.normal(0, WITHIN, BATCH)
            ready = time.perf_counter()
            self.update(version, ids, answers)
            updating += time.perf_counter() - ready
            drawing += middle - begin
            steps += 1
        self.draws.append(drawing / steps * 1e6)
        self.updates.append(updating / steps * 1e6)

    def figures(self) -> dict:
        """Return microseconds a step: medians over rounds but the first, and the fastest and slowest round."""
        draws, updates = np.array(self.draws[1:]), np.array(self.updates[1:])
        both = draws + updates
        found = {
            "draw": float(np.median(draws)),
            "update": float(np.median(updates)),
            "both": float(np.median(both)),
            "fastest_round": float(both.min()),
            "slowest_round": float(both.max()),
        }
        return {key: round(value, 2) for key, value in found.items()}


def contestants(n: int, *, seconds: float, reference: Path | None) -> dict[str, Contestant]:
    """Return all samplers over n cases, by name, with the time that a round of theirs has."""
    losses = np.random.default_rng(0).normal(1.0, BETWEEN, n)
    made = {"ours": ours(losses, np.random.default_rng(0))}
    made["numpy"] = plain_numpy(losses, np.random.default_rng(2))
    if reference is not None:
        made["published"] = published(losses, reference)
    if (tree := torchrl_tree(losses, np.random.default_rng(3))) is not None:
        made["torchrl's sum tree"] = tree
    return {name: Contestant(parts, losses, np.random.default_rng(4), seconds) for name, parts in made.items()}


def measure(sizes: Sequence[int], *, rounds: int, seconds: float, reference: Path | None) -> list[dict]:
    """Return the figures of all samplers for all numbers of cases.

    They are measured in turn, sizes too, so that a time in which the machine is slow falls on all of them.
    """
    by_size = {n: contestants(n, seconds=seconds, reference=reference) for n in sizes}
    for _ in tqdm(range(rounds + 1), unit="round"):
        for made in by_size.values():
            for contestant in made.values():
                contestant.round()
    return [figures_of(name, n, contestant) for n, made in by_size.items() for name, contestant in made.items()]


def figures_of(name: str, n: int, contestant: Contestant) -> dict:
    """Return a sampler's figures, with its table's size and beta where it is ours."""
    row = {"cases": n, "sampler": name, **contestant.figures()}
    if contestant.sampler is not None:
        row["bytes_a_case"] = round(contestant.sampler.table.nbytes / n, 1)
        row["beta"] = round(contestant.sampler.table.beta_in_force, 3)
    return row


def growth(rows: list[dict], name: str) -> float:
    """Return the exponent of the time's growth with the number of cases."""
    points = [(row["cases"], row["both"]) for row in rows if row["sampler"] == name]
    sizes, times = np.log(np.array(points)).T
    return float(np.polyfit(sizes, times, 1)[0])


def run(args: Namespace) -> dict:
    """Return the figures of all samplers, and what they were measured on."""
    sizes = (100, 368, 10_000) if args.quick else (100, 368, 1_000, 10_000, 100_000, 1_000_000)
    rounds, seconds = (2, 0.02) if args.quick else (19, 0.2)
    torch.set_num_threads(1)
    rows = measure(sizes, rounds=rounds, seconds=seconds, reference=args.reference)
    exponents = {name: round(growth(rows, name), 3) for name in dict.fromkeys(row["sampler"] for row in rows)}
    machine = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    return {"sampler": {"machine": machine, "rows": rows, "growth": exponents}}


def section(found: dict, figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    rows = {(row["sampler"], row["cases"]): row for row in found["rows"]}
    names, sizes = list(dict.fromkeys(name for name, _ in rows)), sorted({size for _, size in rows})

    def cell(row: dict) -> str:
        return (
            f"{row['draw']:,.0f} + {row['update']:,.0f} = {row['both']:,.0f} "
            f"({row['fastest_round']:,.0f} to {row['slowest_round']:,.0f})"
        )

    memory = [rows[name, sizes[-1]].get("bytes_a_case") for name in names]
    lines = [
        *((f"{size:,}", *(cell(rows[name, size]) for name in names)) for size in sizes),
        ("growth: time as cases to the power of", *(f"{found['growth'][name]:.2f}" for name in names)),
        ("shared memory, bytes a case", *("" if held is None else f"{held:.0f}" for held in memory)),
    ]
    bars = []
    for size, bar in BARS.items():
        time, fastest = (rows["ours", size][key] for key in ("both", "fastest_round"))
        told = f"{time:.0f} microseconds for draw and update (bar: {bar:.0f}): {verdict(time <= bar)}"
        bars.append(f"- sampler, {size:,} cases: {told}; {fastest:.0f} in the fastest round")
        if (other := rows.get(("published", size))) is not None:
            bars[-1] += f"; {time / other['both']:.2f} of the published sampler's time in the same run"
    exponent = found["growth"]["ours"]
    told = f"exponent {exponent:.2f} (bar: below 1): {verdict(exponent < 1)}"
    bars.append(f"- sampler, growth to {sizes[-1]:,} cases: {told}")
    shown, axis = plt.subplots(figsize=(7, 4))
    for name, colour in zip(names, COLOURS, strict=False):
        times = [rows[name, size]["both"] for size in sizes]
        axis.loglog(sizes, times, marker="o", label=name, color=colour, lw=2.5 if name == "ours" else 1.5)
    axis.set_xlabel("cases")
    axis.set_ylabel("microseconds for draw of 2 and update")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(shown, figure)
    told = (
        "Microseconds for a draw of 2 and its update (draw + update), median over rounds; in brackets the fastest and "
        "the slowest round, since other programs shared the machine. `published` and `numpy` compute the softmax of "
        "all cases at each draw, without safeguards; torchrl's tree has no softmax or safeguards."
    )
    return bars, [told, "", *table(("cases", *names), lines)]


SECTIONS = (Section("sampler", "Sampler: its own time", "sampler.py --reference CHECKOUT", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "sampler")
    parser.add_argument("--reference", type=Path, help="a checkout of LucasFidon/HardnessWeightedSampler")
    finish(parser.parse_args(), SECTIONS, run)
