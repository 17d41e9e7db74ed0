"""The report's part on ``scale.py``: does the sampler follow the signal, at any number of cases?"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report_parts import COLOURS, save
from scale import BLOCK

EVEN = {20: 0.90, 100: 0.95, 1000: 0.95}  # smallest ESS in force where all cases are equally hard
POISSON = 1.10  # largest coefficient of variation of visits then, over that of uniform draws
KEPT = {0.05: 0.75, 0.10: 0.88}  # smallest share of the older version's tilt, by spread
KEPT_WHILE_FALLING = 0.80

Rows = dict[tuple[int, float, int], dict]


def scale(found: dict, figure: Path) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section on ``scale.py``'s figures."""
    now, other = _by_training(found["runs"]), _by_training(found.get("other", []))
    lines = [
        "Simulated trainings of 90 epochs of 250 batches of 2; losses of single visits scatter by 0.15 (standard "
        "deviation). Today's core, and in brackets the one before in the same trainings. ESS as a share of the cases; "
        "visits: coefficient of variation over that of uniform draws; tilt: mean true hardness of what is drawn, in "
        f"standard deviations; its smallest share of the older one's over blocks of {BLOCK} epochs in the last column.",
        "",
        "| cases | spread between cases | all losses fall, time constant | ESS in force | over time | visits | "
        "smallest and largest | tilt | tilt kept | smallest |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    bars = []
    for key, row in now.items():
        cases, spread, fall = key
        before = other.get(key)
        kept, smallest = _kept(row, before) if before and spread else (None, None)

        def both(name: str, form: str = "{:.2f}", row: dict = row, before: dict | None = before) -> str:
            return form.format(row[name]) + (f" ({form.format(before[name])})" if before else "")

        lines.append(
            f"| {cases:,} | {spread:.2f} | {f'{fall} epochs' if fall else '-'} | {both('ess')} | {both('over_time')} | "
            f"{both('visits')} | {both('range', '{}')} | "
            + (f"{both('tilt')} | " if spread else " | ")
            + (f"{kept:.0%} | {smallest:.0%} |" if kept else " | |")
        )
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
    return bars, [*lines, ""]


def _bar(name: str, value: float, bar: float, *, above: bool) -> str:
    reached = value >= bar if above else value <= bar
    return f"{name}: {value:.2f} (bar: {bar:.2f}): {'reached' if reached else 'NOT reached'}"


def _by_training(runs: list[dict]) -> Rows:
    """Return each kind of training's figures, means over seeds."""
    kinds: dict[tuple, list[dict]] = {}
    for run in runs:
        kinds.setdefault((run["cases"], run["spread"], run["fall"]), []).append(run)
    return {
        kind: {
            "ess": np.mean([np.mean(run["ess"]) for run in found]),
            "over_time": np.mean([run["over_time"] for run in found]),
            "visits": np.mean([run["variation"] / run["poisson"] for run in found]),
            "range": f"{min(run['visits'][0] for run in found)}, {max(run['visits'][1] for run in found)}",
            "tilt": np.mean([np.mean(run["tilt"]) for run in found]),
            "curve": np.mean([run["tilt"] for run in found], axis=0),
        }
        for kind, found in kinds.items()
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
