"""The command ``hws-nnunet weights``: a table of case weights, and who gets how much."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hws_nnunet.commands.options import AsJson, print_json

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
    as_json: AsJson = False,
) -> None:
    """Write case weights for the setting case_weights, softly and within bounds, and print who gets how much.

    --validation: from the held-out Dice of an earlier cross-validation, in nnU-Net's own summary.json of every fold.
    What a network fails on when it has not trained on it is a good witness of rarity. At --beta 10, a Dice lower by
    0.1 means 2.7 times the weight.

    --balance: each group gets the same share of draws, as far as --cap and --ess allow.

    Then name the file in the settings: 'case_weights: weights.csv', with 'beta: 0' for the weights alone, or without
    it for hardness on top of them.

    --json: 'written', the table; 'weights', of each case; 'groups' or, by Dice, 'ranks' and 'worst', which are what is
    printed otherwise, shares from 0 to 1; 'smallest_weight', 'largest_weight', 'effective_sample_size' (a share).

    \b
    Examples:
      hws-nnunet weights --balance $nnUNet_raw/Dataset501_FetalBrain/subgroups.csv
      hws-nnunet weights --validation .../fold_0 --validation .../fold_1 --validation .../fold_2
    """
    from hws_nnunet.commands import case_weights
    from hws_nnunet.record.tables import number, write_table

    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists: give another --out, or --overwrite to replace it")
    told: Mapping[str, object]
    figures: dict[str, Any]
    if validation and balance is None:
        dice = case_weights.held_out_dice(validation)
        weight_of = case_weights.weights_by_dice(dice, beta=beta, ess=ess, cap=cap)
        told, column = {case: number(value) for case, value in dice.items()}, "dice"
        figures = _by_dice(weight_of, dice)
    elif balance is not None and not validation:
        told = groups = case_weights.groups_of_cases(balance, column)
        weight_of = case_weights.weights_by_group(groups, ess=ess, cap=cap)
        figures = {"groups": _by_group(weight_of, groups)}
    else:
        raise ValueError("expected either --validation FOLD, once for each fold, or --balance TABLE")
    write_table(out, ("case", "weight", column), [(case, number(weight_of[case]), told[case]) for case in weight_of])
    figures |= {
        "smallest_weight": min(weight_of.values()),
        "largest_weight": max(weight_of.values()),
        "effective_sample_size": case_weights.spread(weight_of),
    }
    if as_json:
        print_json({"written": str(out), "weights": weight_of, **figures})
        return
    print("\n".join(_tables(figures)))
    print(
        f"{len(weight_of)} cases, weights {figures['smallest_weight']:.2f} to {figures['largest_weight']:.2f} "
        f"(mean 1, at most {cap:g}); draws by them are as uneven as uniform ones of "
        f"{figures['effective_sample_size']:.0%} of the cases (at least {ess:.0%})"
    )
    print(f"wrote {out}; next, in a settings file beside it: 'case_weights: {_in_yaml(out.name)}'")


def _in_yaml(text: str) -> str:
    return text if re.fullmatch(r"[\w./-]*[^\W\d][\w./-]*", text) else json.dumps(text, ensure_ascii=False)


def _by_group(weights: Mapping[str, float], groups: Mapping[str, str]) -> list[dict[str, object]]:
    n = len(weights)
    rows: list[dict[str, object]] = []
    for group in sorted(set(groups.values()), key=lambda group: sum(g == group for g in groups.values())):
        of = [weights[case] for case in weights if groups[case] == group]
        rows.append({"group": group, "cases": len(of), "of_all": len(of) / n, "of_draws": sum(of) / n, "weight": of[0]})
    return rows


def _by_dice(weights: Mapping[str, float], dice: Mapping[str, float]) -> dict[str, Any]:
    n = len(weights)
    ranked = sorted(weights, key=lambda case: (-weights[case], case))
    ranks = []
    edges = sorted({round(share * n) for share in (0, 0.1, 0.25, 0.5, 1)})
    for begin, end in itertools.pairwise(edges):
        of = ranked[begin:end]
        ranks.append(
            {
                "rank": f"{'worst' if begin == 0 else 'next'} {len(of) / n:.0%}",
                "cases": len(of),
                "lowest_dice": min(dice[case] for case in of),
                "highest_dice": max(dice[case] for case in of),
                "of_draws": sum(weights[case] for case in of) / n,
            }
        )
    worst = [{"case": case, "dice": dice[case], "weight": weights[case]} for case in ranked[:_SHOWN]]
    return {"ranks": ranks, "worst": worst}


def _tables(figures: Mapping[str, Any]) -> list[str]:
    from hws_nnunet.record.tables import aligned

    if "groups" in figures:
        rows = [
            (row["group"], str(row["cases"]), f"{row['of_all']:.1%}", f"{row['of_draws']:.1%}", f"{row['weight']:.2f}")
            for row in figures["groups"]
        ]
        return aligned([("group", "cases", "of all", "of draws", "weight"), *rows])
    ranks = [
        (
            row["rank"],
            str(row["cases"]),
            f"{row['lowest_dice']:.3f} to {row['highest_dice']:.3f}",
            f"{row['of_draws']:.1%}",
        )
        for row in figures["ranks"]
    ]
    worst = [(row["case"], f"{row['dice']:.3f}", f"{row['weight']:.2f}") for row in figures["worst"]]
    return [
        *aligned([("cases by held-out Dice", "cases", "Dice", "of draws"), *ranks]),
        "",
        *aligned([("worst cases", "Dice", "weight"), *worst]),
        "",
    ]
