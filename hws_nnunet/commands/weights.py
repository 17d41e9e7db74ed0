"""The command ``hws-nnunet weights``: a table of case weights, and who gets how much."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

_SHOWN = 10


def weights(
    validation: Annotated[
        list[Path] | None,
        typer.Option("--validation", help="A fold's folder, of any trainer, after its validation; once for each fold."),
    ] = None,
    balance: Annotated[
        Path | None, typer.Option("--balance", help="subgroups.csv: groups to give equal shares.")
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Of the groups in that file.")] = "subgroup",
    out: Annotated[Path, typer.Option("--out", help="The table to write.")] = Path("weights.csv"),
    ess: Annotated[
        float, typer.Option("--ess", min=0, max=1, help="Smallest effective sample size, a share of the cases.")
    ] = 0.5,
    cap: Annotated[float, typer.Option("--cap", min=1, help="Largest weight, in times of the mean.")] = 4.0,
    beta: Annotated[
        float, typer.Option("--beta", min=0, help="With --validation: weights grow as exp(-beta Dice), at most.")
    ] = 10.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier table.")] = False,
) -> None:
    """Write case weights for the setting case_weights, softly and within bounds, and print who gets how much.

    --validation: from the held-out Dice of an earlier cross-validation, in nnU-Net's own summary.json of every fold.
    What a network fails on when it has not trained on it is a good witness of rarity. At --beta 10, a Dice lower by
    0.1 means 2.7 times the weight.

    --balance: each group gets the same share of draws, as far as --cap and --ess allow.

    Then name the file in the settings: 'case_weights: weights.csv', with 'beta: 0' for the weights alone, or without
    it for hardness on top of them.

    \b
    Examples:
      hws-nnunet weights --balance $nnUNet_raw/Dataset501_FetalBrain/subgroups.csv
      hws-nnunet weights --validation .../fold_0 --validation .../fold_1 --validation .../fold_2
    """
    from hws_nnunet.commands import case_weights
    from hws_nnunet.record.tables import aligned, number, write_table

    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists: give another --out, or --overwrite to replace it")
    told: Mapping[str, object]
    if validation and balance is None:
        dice = case_weights.held_out_dice(validation)
        found = case_weights.weights_by_dice(dice, beta=beta, ess=ess, cap=cap)
        told, column = {case: number(value) for case, value in dice.items()}, "dice"
        tables = _by_dice(found, dice)
    elif balance is not None and not validation:
        told = groups = case_weights.groups_of_cases(balance, column)
        found = case_weights.weights_by_group(groups, ess=ess, cap=cap)
        tables = _by_group(found, groups)
    else:
        raise ValueError("expected either --validation FOLD, once for each fold, or --balance TABLE")
    write_table(out, ("case", "weight", column), [(case, number(found[case]), told[case]) for case in found])
    for rows in tables:
        print("\n".join(aligned(rows)), end="\n\n" if len(tables) > 1 else "\n")
    values = list(found.values())
    print(
        f"{len(found)} cases, weights {min(values):.2f} to {max(values):.2f} (mean 1, at most {cap:g}); draws by them "
        f"are as uneven as uniform ones of {case_weights.spread(found):.0%} of the cases (at least {ess:.0%})"
    )
    print(f"wrote {out}; next, in a settings file beside it: 'case_weights: {_in_yaml(out.name)}'")


def _in_yaml(text: str) -> str:
    return text if re.fullmatch(r"[\w./-]*[^\W\d][\w./-]*", text) else json.dumps(text, ensure_ascii=False)


def _by_group(weights: Mapping[str, float], groups: Mapping[str, str]) -> list[list[tuple[str, ...]]]:
    n = len(weights)
    rows: list[tuple[str, ...]] = [("group", "cases", "of all", "of draws", "weight")]
    for group in sorted(set(groups.values()), key=lambda group: sum(g == group for g in groups.values())):
        of = [weights[case] for case in weights if groups[case] == group]
        rows.append((group, str(len(of)), f"{len(of) / n:.1%}", f"{sum(of) / n:.1%}", f"{of[0]:.2f}"))
    return [rows]


def _by_dice(weights: Mapping[str, float], dice: Mapping[str, float]) -> list[list[tuple[str, ...]]]:
    n = len(weights)
    ranked = sorted(weights, key=lambda case: (-weights[case], case))
    rows: list[tuple[str, ...]] = [("cases by held-out Dice", "cases", "Dice", "of draws")]
    edges = sorted({round(share * n) for share in (0, 0.1, 0.25, 0.5, 1)})
    for begin, end in itertools.pairwise(edges):
        of = ranked[begin:end]
        low, high = min(dice[case] for case in of), max(dice[case] for case in of)
        share = sum(weights[case] for case in of) / n
        name = f"{'worst' if begin == 0 else 'next'} {len(of) / n:.0%}"
        rows.append((name, str(len(of)), f"{low:.3f} to {high:.3f}", f"{share:.1%}"))
    hardest = [(case, f"{dice[case]:.3f}", f"{weights[case]:.2f}") for case in ranked[:_SHOWN]]
    return [rows, [("worst cases", "Dice", "weight"), *hardest]]
