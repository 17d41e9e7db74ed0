"""Do on purpose what can go wrong in a week on a cluster, and write down what came of it.

    python scripts/faults.py [--quick] [--results docs/faults] [--page docs/faults.md] [FAULT ...]

Each fault's result is kept as JSON; the page is written from all there are, so that they may come from several runs.
Faults through nnU-Net v2 train on made-up data with its own commands. Some need root (a small disk is mounted).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from faults import changed, files, numbers, readers, scale, trainings  # noqa: E402
from faults.rows import keep, write_page  # noqa: E402
from tqdm import tqdm  # noqa: E402

FAULTS = {
    name: found
    for module in (trainings, changed, files, readers, numbers, scale)
    for name, found in module.FAULTS.items()
}
"""Of each: its title, and what does it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="each in its smallest form")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "faults")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "faults.md")
    args = parser.parse_args()
    if unknown := [name for name in args.faults if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    lost = 0
    for name in (bar := tqdm(args.faults or FAULTS, unit="fault")):
        bar.set_description(name)
        begin = time.monotonic()
        rows = FAULTS[name][1](args.quick)
        keep(args.results, name, rows, seconds=time.monotonic() - begin, quick=args.quick)
        for row in rows:
            bar.write(f"{name}: {row.fault}: {row.survived} of {row.tried}. {row.outcome}")
        lost += sum(row.lost for row in rows)
    write_page(args.results, args.page, {name: title for name, (title, _) in FAULTS.items()})
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
