"""Does the sampler follow the signal, at any number of cases? Simulated trainings, today's core beside another.

    python scripts/benchmarks/scale.py [--other CHECKOUT] [--quick]

Cases have a true hardness, normal with a standard deviation between cases of 0 (all are equally hard), 0.02, 0.05 or
0.10; the loss of a visit scatters around it with 0.15, as losses of single patches do. In some trainings all losses
fall together, by 0.5 in all, with a time constant of 10 or 30 epochs. ``--other`` names a checkout of an older version
of this repository, whose core goes through the same trainings.

- ESS in force: share of the cases that draws amount to, mean over the epochs after the first sweep.
- Over time: the same of what the epochs' distributions come to on average.
- Visits: their coefficient of variation over that of as many uniform draws (Poisson), smallest and largest.
- Tilt: mean true hardness of what is drawn, in standard deviations over the mean of all cases.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import simulated
from experiments import run_all, write_json
from page import COLOURS, Lines, Section, arguments, finish, save, table, verdict
from simulated import EPOCHS

MORE = 8
"""Times as many seeds where one training tells little: of 20 cases the scatter of visits is known to 16 %."""

BLOCK = 10
"""Epochs over which a tilt is averaged, where the smallest over a training is told."""

EVEN = {20: 0.90, 100: 0.95, 1000: 0.95}  # smallest ESS in force where all cases are equally hard
POISSON = 1.10  # largest coefficient of variation of visits then, over that of uniform draws
KEPT = {0.05: 0.75, 0.10: 0.88}  # smallest share of the older version's tilt, by spread
KEPT_WHILE_FALLING = 0.80

SPREADS = (0.0, 0.02, 0.05, 0.10)
Rows = dict[tuple[int, float, int], dict]


def jobs(seeds: int, *, quick: bool = False, settings: dict | None = None) -> list[dict]:
    """Return the trainings: equally hard cases, spreads, and losses that fall."""
    cases = [(n, spread, 0) for n in (20, 100, 1000) for spread in SPREADS]
    cases += [(n, spread, fall) for n in (100, 1000, 4000) for fall in (10, 30) for spread in SPREADS]
    if quick:
        cases = [(20, 0.0, 0), (100, 0.05, 10)]
    epochs, settings = (
        12 if quick else EPOCHS,
        settings or {"ess": 0.5},
    )  # the default of the core that these are compared with
    return [
        {
            "name": f"{n}-{spread}-{fall}-{seed}",
            "cases": n,
            "spread": spread,
            "fall": fall,
            "seed": seed,
            "epochs": epochs,
            "settings": settings,
        }
        for n, spread, fall in cases
        for seed in range(seeds * (MORE if (n, spread) == (20, 0.0) else 1))
    ]


def run(args: Namespace) -> dict:
    """Run the trainings, and the other core's."""
    seeds = 1 if args.quick else args.seeds
    with tempfile.TemporaryDirectory() as folder:
        wanted = jobs(seeds, quick=args.quick, settings=args.settings)
        measured = {"runs": run_all(simulated.training, wanted, Path(folder), processes=args.processes)}
        if args.other:
            files = [str(Path(folder, name)) for name in ("jobs.json", "results.json")]
            write_json(Path(files[0]), jobs(seeds, quick=args.quick))
            env = {**os.environ, "PYTHONPATH": str(args.other.resolve())}
            subprocess.run([sys.executable, simulated.__file__, *files], env=env, check=True)
            measured["other"] = json.loads(Path(files[1]).read_text())
    return {"scale": measured}


def section(measured: dict, figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    now, other = _by_training(measured["runs"]), _by_training(measured.get("other", []))
    bars, rows = [], []
    for key, row in now.items():
        cases, spread, fall = key
        before = other.get(key)
        kept, smallest = _kept(row, before) if before and spread else (None, None)
        cells = []
        for name in ("ess", "over_time", "visits", "range", *["tilt"] * bool(spread)):
            form = "{}" if name == "range" else "{:.2f}"
            cells.append(form.format(row[name]) + (f" ({form.format(before[name])})" if before else ""))
        cells += [""] * (5 - len(cells)) + ([f"{kept:.0%}", f"{smallest:.0%}"] if kept else ["", ""])
        rows.append((f"{cases:,}", f"{spread:.2f}", f"{fall} epochs" if fall else "-", *cells))
        where = f"- scale, {cases:,} cases"
        if spread == 0 and not fall:
            bars.append(_bar(f"{where}, equally hard, ESS in force", row["ess"], EVEN[cases], above=True))
            bars.append(_bar(f"{where}, equally hard, visits over Poisson", row["visits"], POISSON, above=False))
        elif kept and fall and spread >= 0.05:
            name = f"{where}, spread {spread:.2f}, losses fall in {fall} epochs, share of the older tilt"
            bars.append(_bar(f"{name}, all epochs", kept, KEPT_WHILE_FALLING, above=True))
            bars.append(_bar(f"{name}, worst {BLOCK} epochs", smallest, KEPT_WHILE_FALLING, above=True))
        elif kept and spread in KEPT:
            bars.append(_bar(f"{where}, spread {spread:.2f}, share of the older tilt", kept, KEPT[spread], above=True))
    _draw(now, other, figure)
    told = (
        "Simulated trainings of 90 epochs of 250 batches of 2; losses of single visits scatter by 0.15 (standard "
        "deviation). Today's core, and in brackets the one before in the same trainings. ESS as a share of the cases; "
        "visits: coefficient of variation over that of uniform draws; tilt: mean true hardness of what is drawn, in "
        f"standard deviations; its smallest share of the older one's over blocks of {BLOCK} epochs in the last column."
    )
    header = ("cases", "spread between cases", "all losses fall, time constant", "ESS in force", "over time", "visits")
    return bars, [told, "", *table((*header, "smallest and largest", "tilt", "tilt kept", "smallest"), rows)]


def _bar(name: str, value: float, bar: float, *, above: bool) -> str:
    return f"{name}: {value:.2f} (bar: {bar:.2f}): {verdict(value >= bar if above else value <= bar)}"


def _by_training(runs: list[dict]) -> Rows:
    """Return each kind of training's figures, means over seeds."""
    kinds: dict[tuple, list[dict]] = {}
    for run in runs:
        kinds.setdefault((run["cases"], run["spread"], run["fall"]), []).append(run)
    return {
        kind: {
            "ess": np.mean([np.mean(run["ess"]) for run in alike]),
            "over_time": np.mean([run["over_time"] for run in alike]),
            "visits": np.mean([run["variation"] / run["poisson"] for run in alike]),
            "range": f"{min(run['visits'][0] for run in alike)}, {max(run['visits'][1] for run in alike)}",
            "tilt": np.mean([np.mean(run["tilt"]) for run in alike]),
            "curve": np.mean([run["tilt"] for run in alike], axis=0),
        }
        for kind, alike in kinds.items()
    }


def _kept(row: dict, before: dict) -> tuple[float, float]:
    """Return the share of the older tilt that is kept: over all epochs, and the smallest over blocks of them."""
    epochs = min(len(row["curve"]), len(before["curve"]))
    new, old = (
        np.array([part.mean() for part in np.array_split(one["curve"][-epochs:], max(1, epochs // BLOCK))])
        for one in (row, before)
    )
    return row["tilt"] / before["tilt"], float((new / old).min())


def _draw(now: Rows, other: Rows, figure: Path) -> None:
    shown, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for rows, name, colour in ((now, "today", COLOURS[0]), (other, "before", COLOURS[1])):
        even = {cases: row["visits"] for (cases, spread, fall), row in rows.items() if spread == 0 and not fall}
        left.semilogx(list(even), list(even.values()), marker="o", color=colour, label=name)
        for fall, style in ((10, "-"), (30, "--")):
            if (row := rows.get((4000, 0.05, fall))) is not None:
                curve = row["curve"]
                epochs = np.arange(len(curve)) + 90 - len(curve)
                right.plot(epochs, curve, style, color=colour, label=f"{name}, losses fall in {fall} epochs")
    left.axhline(1, color="grey", lw=1, ls=":")
    left.set(xlabel="cases, equally hard", ylabel="scatter of visits, over that of uniform draws", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="tilt towards truly hard cases", title="4,000 cases, spread 0.05", ylim=(0, None))
    for axis in (left, right):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    save(shown, figure)


SECTIONS = (Section("scale", "Scale: does the sampler follow the signal?", "scale.py --other CHECKOUT", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "scale", seeds=2)
    parser.add_argument("--other", type=Path, help="a checkout of an older version, to run beside this one")
    parser.add_argument("--settings", type=json.loads, help="other settings than ess 0.5, as JSON")
    finish(parser.parse_args(), SECTIONS, run)
