"""The command ``hws-nnunet weights``: a table of case weights, and who gets how much."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from hws_nnunet.commands.options import AsJson, print_json

_SHOWN = 10


class _Words(NamedTuple):
    """How tables call what cases are ranked by, the first of them, and the value."""

    by: str
    most: str
    value: str


_WORDS = {"dice": _Words("held-out Dice", "worst", "Dice"), "distance": _Words("looks", "most unlike", "distance")}


def weights(
    validation: Annotated[
        list[Path] | None,
        typer.Option("--validation", help="A fold's folder, of any trainer, after its validation; once for each fold."),
    ] = None,
    balance: Annotated[
        Path | None, typer.Option("--balance", help="subgroups.csv: groups to give equal shares.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="A raw data set's folder: images that look unlike the others.")
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

    --images: cases whose images look unlike the others (another scanner, sequence or anatomy), by intensities and
    sharpness of each channel. Neither groups nor an earlier training are needed; subgroups.csv, if the data set has
    one, is only used to print who gets how much.

    Then name the file in the settings: 'case_weights: weights.csv', with 'beta: 0' for the weights alone, or without
    it for hardness on top of them.

    --json: 'written', the table; 'weights', of each case; 'groups' or, by Dice or images, 'ranks' and 'first', which
    are what is printed otherwise, shares from 0 to 1; 'smallest_weight', 'largest_weight', 'effective_sample_size'
    (a share).

    \b
    Examples:
      hws-nnunet weights --balance $nnUNet_raw/Dataset501_FetalBrain/subgroups.csv
      hws-nnunet weights --validation .../fold_0 --validation .../fold_1 --validation .../fold_2
      hws-nnunet weights --images $nnUNet_raw/Dataset501_FetalBrain
    """
    from hws_nnunet.commands import case_weights
    from hws_nnunet.datasets.case_table import UNNAMED, read_groups
    from hws_nnunet.facts.versions import SUBGROUPS
    from hws_nnunet.files import check_room
    from hws_nnunet.record.tables import number, write_table

    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists: give another --out, or --overwrite to replace it")
    told: Mapping[str, object]
    figures: dict[str, Any]
    check_room(out, folder=False)
    if sum(map(bool, (validation, balance, images))) != 1:
        raise ValueError("expected one of --validation FOLD (once for each fold), --balance TABLE and --images DATASET")
    if validation:
        dice = case_weights.held_out_dice(validation)
        weight_of = case_weights.weights_by_dice(dice, beta=beta, ess=ess, cap=cap)
        told, column = dice, "dice"
        figures = _by_rank(weight_of, dice, "dice")
    elif balance is not None:
        told = groups = case_weights.groups_of_cases(balance, column)
        weight_of = case_weights.weights_by_group(groups, ess=ess, cap=cap)
        figures = {"groups": _by_group(weight_of, groups)}
    elif images is not None:
        data = case_weights.data_set(images)
        groups = read_groups(table, column=column) if (table := images / SUBGROUPS).is_file() else {}
        looks = case_weights.appearances(data, progress=not as_json)
        weight_of, distances = case_weights.weights_by_unlikeness(looks, ess=ess, cap=cap)
        told, column = distances, "distance"
        figures = _by_rank(weight_of, distances, "distance")
        if groups:
            figures["groups"] = _by_group(weight_of, {case: groups.get(case, UNNAMED) for case in weight_of})
    rows = [
        (case, number(weight_of[case]), number(of) if isinstance(of := told[case], float) else of) for case in weight_of
    ]
    write_table(out, ("case", "weight", column), rows)
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
        drawn = sum(of) / n
        rows.append(
            {"group": group, "cases": len(of), "of_all": len(of) / n, "of_draws": drawn, "weight": sum(of) / len(of)}
        )
    return rows


def _by_rank(weights: Mapping[str, float], values: Mapping[str, float], name: str) -> dict[str, Any]:
    n = len(weights)
    ranked = sorted(weights, key=lambda case: (-weights[case], case))
    ranks = []
    edges = sorted({round(share * n) for share in (0, 0.1, 0.25, 0.5, 1)})
    for begin, end in itertools.pairwise(edges):
        of = ranked[begin:end]
        ranks.append(
            {
                "rank": f"{'next' if begin else _WORDS[name].most} {len(of) / n:.0%}",
                "cases": len(of),
                f"lowest_{name}": min(values[case] for case in of),
                f"highest_{name}": max(values[case] for case in of),
                "of_draws": sum(weights[case] for case in of) / n,
            }
        )
    first = [{"case": case, name: values[case], "weight": weights[case]} for case in ranked[:_SHOWN]]
    return {"ranks": ranks, "first": first}


def _tables(figures: Mapping[str, Any]) -> list[str]:
    from hws_nnunet.record.tables import aligned

    lines: list[str] = []
    if "ranks" in figures:
        name = "dice" if "dice" in figures["first"][0] else "distance"
        words = _WORDS[name]
        ranks = [
            (
                *(row["rank"], str(row["cases"]), f"{row[f'lowest_{name}']:.3f} to {row[f'highest_{name}']:.3f}"),
                f"{row['of_draws']:.1%}",
            )
            for row in figures["ranks"]
        ]
        cases = [(row["case"], f"{row[name]:.3f}", f"{row['weight']:.2f}") for row in figures["first"]]
        lines += [*aligned([(f"cases by {words.by}", "cases", words.value, "of draws"), *ranks]), ""]
        lines += [*aligned([(f"{words.most} cases", words.value, "weight"), *cases]), ""]
    if "groups" in figures:
        rows = [
            (row["group"], str(row["cases"]), f"{row['of_all']:.1%}", f"{row['of_draws']:.1%}", f"{row['weight']:.2f}")
            for row in figures["groups"]
        ]
        lines += [*aligned([("group", "cases", "of all", "of draws", "weight"), *rows]), ""]
    return lines
