"""Does the sampler follow the signal, at any number of cases? Simulated trainings.

    python scripts/benchmarks/scale.py [--quick]

Cases have a true hardness, normal with a standard deviation between cases of 0 (all are equally hard), 0.02, 0.05 or
0.10; the loss of a visit scatters around it with 0.15, as losses of single patches do. In some trainings all losses
fall together, by 0.5 in all, with a time constant of 10 or 30 epochs.

- ESS in force: share of the cases that draws amount to, mean over the epochs after the warm-up pass.
- Over time: the same of what the epochs' distributions come to on average.
- Visits: their coefficient of variation over that of as many uniform draws (Poisson), smallest and largest.
- Tilt: mean true hardness of what is drawn, in standard deviations over the mean of all cases.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import simulated
from experiments import run_all
from page import COLOURS, Lines, Section, arguments, finish, save, table, verdict
from simulated import EPOCHS

MORE = 8
"""Times as many seeds where one training tells little: of 20 cases the scatter of visits is known to 16 %."""

EVEN = {20: 0.90, 100: 0.95, 1000: 0.95}  # smallest ESS in force where all cases are equally hard
POISSON = 1.10  # largest coefficient of variation of visits then, over that of uniform draws

SPREADS = (0.0, 0.02, 0.05, 0.10)
Rows = dict[tuple[int, float, int], dict]


def jobs(seeds: int, *, quick: bool = False, settings: dict | None = None) -> list[dict]:
    """Return the trainings: equally hard cases, spreads, and losses that fall."""
    cases = [(n, spread, 0) for n in (20, 100, 1000) for spread in SPREADS]
    cases += [(n, spread, fall) for n in (100, 1000, 4000) for fall in (10, 30) for spread in SPREADS]
    if quick:
        cases = [(20, 0.0, 0), (100, 0.05, 10)]
    epochs, settings = 12 if quick else EPOCHS, settings or {"ess": 0.5}  # the default of then
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
    """Run the trainings."""
    seeds = 1 if args.quick else args.seeds
    with tempfile.TemporaryDirectory() as folder:
        wanted = jobs(seeds, quick=args.quick, settings=args.settings)
        return {"scale": run_all(simulated.training, wanted, Path(folder), processes=args.processes)}


def section(runs: list[dict], figure: Path) -> tuple[Lines, Lines]:
    """Return lines on the bars, and the section."""
    means, bars, rows = _by_training(runs), [], []
    for (cases, spread, fall), row in means.items():
        cells = [row["range"] if name == "range" else f"{row[name]:.2f}" for name in CELLS]
        cells[-1] = cells[-1] if spread else ""
        rows.append((f"{cases:,}", f"{spread:.2f}", f"{fall} epochs" if fall else "-", *cells))
        where = f"- scale, {cases:,} cases"
        if spread == 0 and not fall:
            bars.append(_bar(f"{where}, equally hard, ESS in force", row["ess"], EVEN[cases], above=True))
            bars.append(_bar(f"{where}, equally hard, visits over Poisson", row["visits"], POISSON, above=False))
    _draw(means, figure)
    told = (
        "Simulated trainings of 90 epochs of 250 batches of 2; losses of single visits scatter by 0.15 (standard "
        "deviation). ESS as a share of the cases; visits: coefficient of variation over that of uniform draws; tilt: "
        "mean true hardness of what is drawn, in standard deviations."
    )
    header = ("cases", "spread between cases", "all losses fall, time constant", "ESS in force", "over time", "visits")
    return bars, [told, "", *table((*header, "smallest and largest", "tilt"), rows)]


CELLS = ("ess", "over_time", "visits", "range", "tilt")


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


def _draw(means: Rows, figure: Path) -> None:
    shown, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    even = {cases: row["visits"] for (cases, spread, fall), row in means.items() if spread == 0 and not fall}
    left.semilogx(list(even), list(even.values()), marker="o")
    for fall, colour in ((10, COLOURS[0]), (30, COLOURS[1])):
        if (row := means.get((4000, 0.05, fall))) is not None:
            epochs = np.arange(len(row["curve"])) + 90 - len(row["curve"])
            right.plot(epochs, row["curve"], color=colour, label=f"losses fall in {fall} epochs")
    left.axhline(1, color="grey", lw=1, ls=":")
    left.set(xlabel="cases, equally hard", ylabel="scatter of visits, over that of uniform draws", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="tilt towards truly hard cases", title="4,000 cases, spread 0.05", ylim=(0, None))
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    save(shown, figure)


SECTIONS = (Section("scale", "Scale: does the sampler follow the signal?", "scale.py", section),)

if __name__ == "__main__":
    parser = arguments(__doc__, "scale", seeds=2)
    parser.add_argument("--settings", type=json.loads, help="other settings than ess 0.5, as JSON")
    finish(parser.parse_args(), SECTIONS, run)
