"""Write docs/benchmarks.md and its figures from the experiments' JSON files.

    python scripts/benchmarks/report.py [--results docs/benchmarks]

The folder holds ``digits.json``, ``phantom.json`` and so on, as the experiments wrote them; the report says what is not
there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from report_costs import overhead, sampler
from report_digits import digits
from report_feedback import feedback
from report_gather import gather
from report_groups import groups
from report_growth import growth
from report_hippocampus import hippocampus
from report_loader import loader
from report_scale import scale
from report_segmentation import segmentation

from hws_nnunet.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]


PARTS = {
    "digits": ("Digits: a plain PyTorch loop", digits, {}),
    "phantom": ("Phantom: nnU-Net v2 on made-up brains", segmentation, {"name": "phantom", "bar": 0.08, "level": 0.95}),
    "phantom-scratch": (
        "Phantom from scratch",
        segmentation,
        {"name": "phantom from scratch", "bar": 0.08, "level": 0.95},
    ),
    "atlas": (
        "Atlas: nnU-Net v2 on real fetal brains",
        segmentation,
        {"name": "atlas", "bar": 0.05, "level": 0.8},  # its lower end is that of a one-sided 90 % interval
    ),
    "atlas-fine": (
        "Atlas at its own resolution: structures drawn by hardness",
        segmentation,
        {"name": "atlas at its own resolution", "bar": None, "level": 0.8},
    ),
    "hippocampus-plain": ("Hippocampus: ordinary data, nnU-Net v2", hippocampus, {"condition": "plain"}),
    "hippocampus-scanner": ("Hippocampus, a rare scanner", hippocampus, {"condition": "scanner"}),
    "hippocampus-labels": ("Hippocampus, wrong labels", hippocampus, {"condition": "labels"}),
    "feedback": ("Feedback: draws and answers in nnU-Net's pipeline", feedback, {}),
    "gather": ("Several processes: what a step pays", gather, {}),
    "loader": ("Any PyTorch loop: what the batch sampler costs a DataLoader", loader, {}),
    "scale": ("Scale: does the sampler follow the signal?", scale, {}),
    "groups": ("Groups: what they add to hardness", groups, {}),
    "sampler": ("Sampler: its own time", sampler, {}),
}
COMMANDS = {
    "phantom-scratch": "phantom.py --scratch --seeds 4 --arms uniform ours",
    "atlas": "atlas.py --data ATLAS",
    "atlas-fine": "atlas_fine.py --data ATLAS",
    **{
        f"hippocampus-{condition}": f"hippocampus.py --condition {condition} --data DATA"
        for condition in ("plain", "scanner", "labels")
    },
    "gather": "gather.py --out docs/benchmarks/gather.json",
    "loader": "loader.py --out docs/benchmarks/loader.json",
    "groups": "groups.py --out docs/benchmarks/groups.json",
    "scale": "scale.py --other CHECKOUT --out docs/benchmarks/scale.json",
    "sampler": "sampler.py --reference CHECKOUT --out docs/benchmarks/sampler.json",
}
GROWS = "hippocampus-scanner"
"""The part that was run with fewer cases and with other lengths, too."""

OLDER = (
    "Measured with the core of d80fb92, whose bound on the effective sample size did not follow reliability, and not "
    "yet again: phantom from scratch, feedback, and overhead with the planned network."
)
"""What of the files was measured with an older version; goes when they are measured anew."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "benchmarks")
    args = parser.parse_args()
    bars, sections = [], []
    for part, (title, make, options) in PARTS.items():
        command = f"`python scripts/benchmarks/{COMMANDS.get(part, part + '.py')}`"
        sections += [f"## {title}", ""]
        file = args.results / f"{part}.json"
        if not file.exists():
            sections += [f"Not measured yet: {command}.", ""]
            bars.append(f"- {part}: not measured yet")
            continue
        figure = args.results / f"{part}.png"
        new, lines = make(json.loads(file.read_text()), figure=figure, **options)
        bars += new
        sections += [command, "", *lines, f"![{title}]({args.results.name}/{figure.name})", ""]
        if part == GROWS:
            sections += _growth(args.results)
    new, lines = _overhead(args.results)
    bars += new
    sections += ["## Overhead: what a training pays", "", *lines]
    head = [
        "# Benchmarks",
        "",
        "Written by `scripts/benchmarks/report.py` from `docs/benchmarks/*.json`, not by hand. What was expected of "
        "each experiment, and what came out: [experiments](experiments.md).",
        "",
        OLDER,
        "",
        "## What was to be reached, and what was",
        "",
        *bars,
        "",
    ]
    with atomic_write(args.results.parent / "benchmarks.md") as partial:
        partial.write_text("\n".join([*head, *sections]).rstrip() + "\n", encoding="utf-8")
    print("\n".join(bars))


def _growth(results: Path) -> list[str]:
    """Return the section on fewer cases and other lengths, empty where none were run."""
    figure = results / "growth.png"
    lines = growth(results, GROWS, figure)
    if not lines:
        return []
    command = f"`python scripts/benchmarks/{COMMANDS[GROWS]}` with `--training CASES` or `--longer TIMES`"
    title = "How the gain grows: training cases, steps"
    return [f"## {title}", "", command, "", *lines, f"![{title}]({results.name}/{figure.name})", ""]


def _overhead(results: Path) -> tuple[list[str], list[str]]:
    """Return lines on the bars, and the section, from all of overhead.py's files."""
    files = sorted(results.glob("overhead-*.json"))
    command = "`python scripts/benchmarks/overhead.py`, with the options that the table tells"
    if not files:
        return ["- overhead: not measured yet"], [f"Not measured yet: {command}.", ""]
    bars, lines = overhead([json.loads(file.read_text()) for file in files])
    return bars, [command, "", *lines]


if __name__ == "__main__":
    main()
