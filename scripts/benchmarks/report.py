"""Write docs/benchmarks.md and its figures from the experiments' JSON files.

    python scripts/benchmarks/report.py [--results docs/benchmarks]

The folder holds ``digits.json``, ``phantom.json`` and so on, as the experiments wrote them; the report says what is not
there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from report_digits import digits
from report_segmentation import segmentation

from hws_nnunet.files import whole_file

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "benchmarks")
    args = parser.parse_args()
    bars, sections = [], []
    phantom = {"name": "phantom", "bar": 0.08, "level": 0.95}
    atlas = {"name": "atlas", "bar": 0.05, "level": 0.8}
    parts = {
        "digits": ("Digits: a plain PyTorch loop", digits, {}),
        "phantom": ("Phantom: nnU-Net v2 on made-up brains", segmentation, phantom),
        "atlas": ("Atlas: nnU-Net v2 on real fetal brains", segmentation, atlas),
    }
    for part, (title, make, options) in parts.items():
        sections += [f"## {title}", ""]
        file = args.results / f"{part}.json"
        if not file.exists():
            sections += [f"Not measured yet: `python scripts/benchmarks/{part}.py`.", ""]
            bars.append(f"- {part}: not measured yet")
            continue
        figure = args.results / f"{part}.png"
        found = json.loads(file.read_text())
        new, lines = make(found, figure=figure, **options)
        bars += new
        intro = [f"`python scripts/benchmarks/{part}.py`", ""]
        sections += [*intro, *lines, f"![{title}]({args.results.name}/{figure.name})", ""]
    head = [
        "# Benchmarks",
        "",
        "Written by `scripts/benchmarks/report.py` from `docs/benchmarks/*.json`, not by hand.",
        "",
        "## What was to be reached, and what was",
        "",
        *bars,
        "",
    ]
    with whole_file(args.results.parent / "benchmarks.md") as partial:
        partial.write_text("\n".join([*head, *sections]).rstrip() + "\n", encoding="utf-8")
    print("\n".join(bars))


if __name__ == "__main__":
    main()
