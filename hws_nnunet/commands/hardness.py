"""The command ``hws-nnunet hardness``."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hws_nnunet.commands.options import AsJson, Fold, print_json
from hws_nnunet.record.cases import read_cases, with_numbers
from hws_nnunet.record.measures import measures_beside

if TYPE_CHECKING:
    from hws_nnunet.record.structures import Hardest

_LEFT = ("case", "hardest structure", "")  # columns of words; numbers stand on the right


def hardness(
    fold: Fold,
    top: Annotated[int, typer.Option("--top", min=1, help="How many of the hardest cases.")] = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all columns as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a training's hardest cases, hardest first, from its record.

    Hardest structure: that of the largest smoothed soft Dice loss, 0 to 1 (of trainings that tracked structures).
    Chance: of a single draw now, in times of uniform sampling; the column 'probability' of --csv. Where a batch draws
    no case twice, what comes of it is less uneven. Drawn: what came of it in the whole training, the case's visits in
    times of all cases' mean.

    --json: 'cases', how many there are, and 'hardest', a list of these: all columns to the record's six digits, with
    'chance', 'hardest_structure' and 'structure_hardness'.

    \b
    Example:
      hws-nnunet hardness $nnUNet_results/Dataset501_FetalBrain/HardnessWeightedTrainer__.../fold_0 --top 10
    """
    from hws_nnunet.record.structures import read_hardest_structures

    if as_csv and as_json:
        raise ValueError("--csv and --json are given, expected one of them")
    rows = read_cases(fold)
    if as_json:
        structures = read_hardest_structures(fold)
        hardest = [_figures(row, structures.get(row["case"]), len(rows)) for row in rows[:top]]
        print_json({"cases": len(rows), "hardest": hardest})
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[:top])
        return
    print("\n".join(table(rows, read_hardest_structures(fold), top=top)))


def table(rows: Sequence[Mapping[str, str]], hardest: Mapping[str, Hardest], *, top: int) -> list[str]:
    """Return a record's first cases in lines, and below them how to read these.

    Args:
        rows: of all cases, as :func:`~hws_nnunet.record.cases.read_cases` returns them.
        hardest: case to hardest structure; there is no such column where it is empty.
        top: how many cases, at least 1.
    """
    measures = measures_beside(rows)
    lines = [_columns(row, hardest.get(row["case"]), len(rows), measures) for row in rows[:top]]
    names = [name for name in lines[0] if hardest or name != "hardest structure"]
    below = ["", *(f"hardness: what draws go by; {name}: the other measure, as smoothed" for name in measures)]
    below += [f"{len(lines)} of {len(rows)} cases; chance: of a single draw now, in times of uniform sampling"]
    below.append("drawn: visits in the whole training, in times of all cases' mean")
    if any(line[""] for line in lines):
        below.append("stalled: far harder than the others, and no easier for being drawn; is the label right?")
    from hws_nnunet.record.tables import aligned

    return [
        *aligned(
            [names, *([line[name] for name in names] for line in lines)],
            words=[place for place, name in enumerate(names) if name in _LEFT],
        ),
        *below,
    ]


def _figures(row: Mapping[str, str], hardest: Hardest | None, cases: int) -> dict[str, object]:
    return {
        **with_numbers(row),
        "chance": float(row["probability"]) * cases,
        "hardest_structure": hardest.structure if hardest else None,
        "structure_hardness": hardest.hardness if hardest else None,
    }


def _columns(row: Mapping[str, str], hardest: Hardest | None, cases: int, measures: Sequence[str]) -> dict[str, str]:
    return {
        "case": row["case"],
        **{name: f"{float(row[name]):.4f}" if row[name] else "-" for name in ("hardness", *measures)},
        "hardest structure": f"{hardest.structure} {hardest.hardness:.2f}" if hardest else "-",
        "chance": f"{float(row['probability']) * cases:.1f}x",
        "visits": row["visits"],
        "drawn": f"{float(row['drawn']):.1f}x" if row.get("drawn") else "-",  # records of earlier versions do not say
        "last epoch seen": row["last_epoch_seen"] or "-",
        "": "stalled" if row.get("stalled") == "1" else "",
    }
