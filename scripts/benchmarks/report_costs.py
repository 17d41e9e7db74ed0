"""The report's part on what the sampler costs: its own time, and its share of a training."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from report_parts import COLOURS, save

BARS = {368: 40.0, 10_000: 100.0}  # microseconds for a draw of 2 and its update
SHARE_BAR = 0.02  # of the training process's time
CUDA = {"device": "cuda", "network": "planned", "patch": [128, 128, 128]}


def sampler(found: dict, figure: Path) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section on ``sampler.py``'s figures."""
    rows = {(row["sampler"], row["cases"]): row for row in found["rows"]}
    names = list(dict.fromkeys(name for name, _ in rows))
    sizes = sorted({size for _, size in rows})
    lines = [
        "Microseconds for a draw of 2 and its update (draw + update), median over rounds; in brackets the fastest and "
        "the slowest round, since other programs shared the machine. `published` and `numpy` compute the softmax of "
        "all cases at each draw, without safeguards; torchrl's tree has no softmax or safeguards.",
        "",
        "| cases | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for size in sizes:
        cells = []
        for name in names:
            row = rows[name, size]
            cells.append(
                f"{row['draw']:,.0f} + {row['update']:,.0f} = {row['both']:,.0f} "
                f"({row['fastest_round']:,.0f} to {row['slowest_round']:,.0f})"
            )
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    growth = [f"{found['growth'][name]:.2f}" for name in names]
    lines.append("| growth: time as cases to the power of | " + " | ".join(growth) + " |")
    memory = [rows[name, sizes[-1]].get("bytes_a_case") for name in names]
    lines.append(
        "| shared memory, bytes a case | " + " | ".join("" if b is None else f"{b:.0f}" for b in memory) + " |"
    )
    bars = []
    for size, bar in BARS.items():
        time, fastest = (rows["ours", size][key] for key in ("both", "fastest_round"))
        verdict = "reached" if time <= bar else "NOT reached"
        line = f"- sampler, {size:,} cases: {time:.0f} microseconds for draw and update (bar: {bar:.0f}): {verdict}"
        line += f"; {fastest:.0f} in the fastest round"
        if (other := rows.get(("published", size))) is not None:
            line += f"; {time / other['both']:.2f} of the published sampler's time in the same run"
        bars.append(line)
    exponent = found["growth"]["ours"]
    verdict = "reached" if exponent < 1 else "NOT reached"
    bars.append(f"- sampler, growth to {sizes[-1]:,} cases: exponent {exponent:.2f} (bar: below 1): {verdict}")
    shown, axis = plt.subplots(figsize=(7, 4))
    for name, colour in zip(names, COLOURS, strict=False):
        times = [rows[name, size]["both"] for size in sizes]
        axis.loglog(sizes, times, marker="o", label=name, color=colour, lw=2.5 if name == "ours" else 1.5)
    axis.set_xlabel("cases")
    axis.set_ylabel("microseconds for draw of 2 and update")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(shown, figure)
    return bars, [*lines, ""]


def overhead(measured: list[dict]) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section on ``overhead.py``'s figures."""
    keys = list(measured[0]["share"])
    lines = [
        "Shares of the training process's time, summed over a run; what our code adds wherever the network, not the "
        "workers, is the bottleneck. The ratio is epoch time, ours to stock, pair by pair in trainings without timers.",
        "",
        "| nnU-Net | device | network | patch | "
        + " | ".join(keys)
        + " | together | steps an epoch | epoch time, ours / stock: median | range | seconds a step, stock | ours | a "
        "draw in the workers, microseconds | peak memory, MiB: stock | ours |",
        "|---" * (len(keys) + 13) + "|",
    ]
    bars = []
    for row in measured:
        ratios, steps, peak = row["ratios"], row["seconds_per_step"], row["peak_MiB"]
        draw = "" if row["draw_microseconds"] is None else f"{row['draw_microseconds']:.0f}"
        lines.append(
            f"| {row['nnunet']} | {_device(row)} | {row['network']} | {_patch(row)} | "
            + " | ".join(f"{100 * row['share'][key]:.2f} %" for key in keys)
            + f" | {100 * row['share_total']:.2f} % | {row['steps']} | {np.median(ratios):.3f} "
            f"| {min(ratios):.3f} to {max(ratios):.3f} "
            f"({len(ratios)} pair{'s' if len(ratios) > 1 else ''}) "
            f"| {steps['stock']:.3f} | {steps['ours']:.3f} | {draw} | "
            f"{peak['stock']:.0f} | {peak['ours']:.0f} |"
        )
        verdict = "reached" if row["share_total"] <= SHARE_BAR else "NOT reached"
        where = f"nnU-Net {row['nnunet']}, {_device(row)}, {row['network']} network, patch {_patch(row)}"
        share = f"{100 * row['share_total']:.2f} % of the training process's time"
        bars.append(f"- overhead, {where}: {share} (bar: 2 %): {verdict}")
    if not any(all(row[key] == value for key, value in CUDA.items()) for row in measured):
        lines.append("| v2 | cuda | planned | 128 x 128 x 128 | not measured |" + " |" * (len(keys) + 8))
        bars.append(
            "- overhead, nnU-Net v2, cuda, planned network, patch 128 x 128 x 128: not measured; on a GPU, "
            "`python scripts/benchmarks/on_gpu.py --data HIPPOCAMPUS` does all that needs one in 25 minutes"
        )
    return bars, [*lines, ""]


def _patch(row: dict) -> str:
    return " x ".join(str(size) for size in row["patch"])


def _device(row: dict) -> str:
    threads = row.get("threads")
    return row["device"] + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "")
