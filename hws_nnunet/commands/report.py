"""The command ``hws-nnunet report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[list[str], typer.Argument(metavar="[NAME=]PATH...", help="Result sets, the baseline first.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to make; default: robustness_report, in a fold given alone.")
    ] = None,
    subgroups: Annotated[Path | None, typer.Option("--subgroups", help="subgroups.csv: case, subgroup.")] = None,
    references: Annotated[Path | None, typer.Option("--references", help="Folder of reference label maps.")] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", help="dataset.json, for labels' names; default: nnU-Net's near the results."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--from", metavar="THEIRS=OURS,...", help="What a table's columns are.")
    ] = None,
    absent: Annotated[
        str | None,
        typer.Option("--absent", metavar="one|never|nan", help="A table's Dice where neither map has the structure."),
    ] = None,
    missed_hd95: Annotated[
        float | None, typer.Option("--missed-hd95", metavar="MM", help="HD95 of missed structures that have none.")
    ] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="A Dice below it is a failure.")] = 0.5,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Of normalised surface Dice, in mm.")] = 1.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json: all that the page says.")] = False,
) -> None:
    """Report how results fare on the worst cases and subgroups: HTML with figures, Markdown and CSV.

    A PATH is nnU-Net's summary.json (v1 or v2) or its folder or fold, a table (.csv or .tsv with the columns case,
    label, Dice, and perhaps set, subgroup, HD95, NSD, n_ref and n_pred, or as MIST, brats-evaluation, panoptica, MONAI,
    seg-metrics or pymia write it; --from tells other headings, dice% what is in percent, ET.dice what is of one
    structure), or, with --references, a folder of predictions, of which Dice, HD95 and normalised surface Dice are
    computed. Further sets are compared with the first, case by case. A fold or table needs no name.

    Exit codes: 0, the report is written; 1, nothing is, and the message tells why; 2, an option cannot be read.

    \b
    Example:
      hws-nnunet report uniform=nnUNetTrainer__nnUNetPlans__3d_fullres/fold_0/validation \\
        hws=HardnessWeightedTrainer__nnUNetPlans__3d_fullres/fold_0/validation --subgroups subgroups.csv
      hws-nnunet report hws=predictions --references labelsTs --dataset dataset.json --tolerance 2 --out report
      hws-nnunet report published.csv --from "Study=case,ROI=label,Methods=set,Condition=subgroup,dice=dice%"
    """
    from hws_nnunet.report.command import run_report

    run_report(
        results,
        out,
        subgroups=subgroups,
        references=references,
        dataset=dataset,
        columns=columns,
        absent=absent,
        missed_hd95=missed_hd95,
        as_json=as_json,
        threshold=threshold,
        tolerance=tolerance,
        overwrite=overwrite,
    )
