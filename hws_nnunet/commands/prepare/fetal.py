"""The command ``hws-nnunet prepare fetal``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from hws_nnunet.commands.options import NnUNet, Raw
from hws_nnunet.commands.prepare import writing


def fetal(
    sources: writing.Sources,
    dataset_id: writing.DatasetId,
    name: writing.Name = "FetalBrain",
    merge: Annotated[bool, typer.Option("--merge", help="Bring all sources to FeTA's seven labels.")] = False,
    images: writing.Images = False,
    out: writing.Out = None,
    skip_incomplete: writing.SkipIncomplete = False,
    image_grid: writing.ImageGrid = False,
    spread: writing.Spread = False,
    hold_out: writing.HoldOut = "",
    nnunet: writing.For = NnUNet.v2,
    raw: Raw = None,
    link: writing.Link = False,
    overwrite: writing.Overwrite = False,
    dry_run: writing.DryRun = False,
) -> None:
    """Check fetal brain MRI with labels, and write it as a raw data set with subgroups.csv.

    A source has CASE/{srr,mask,parcellation}.nii.gz with eight labels, or is FeTA 2021, 2022 or 2024 with seven, and
    participants.tsv. Label values differ: --merge brings both to FeTA's, and prints how; the corpus callosum becomes
    white matter.

    Every problem of the sources is reported at once, and nothing is written then. The sources stay as they are.

    \b
    Examples:
      hws-nnunet prepare fetal ~/feta_2.2 --dataset-id 501 --dry-run
      hws-nnunet prepare fetal ~/feta_2.2 ~/fetal_spina_bifida_atlas --dataset-id 502 --merge
      hws-nnunet prepare fetal ~/new_scans --dataset-id 501 --images
    """
    from hws_nnunet.datasets import Reading, read_fetal_brain

    training = {"merge": merge, "spread": spread, "hold_out": hold_out, "image_grid": image_grid}
    writing.check_options(images, out, **training)
    how = Reading(images, skip_incomplete, image_grid, progress=True)
    read = partial(read_fetal_brain, sources, merge=merge, how=how)
    if images:
        scans = writing.Scans(nnunet, raw, dataset_id, out, overwrite)
        writing.write_scans(read(), scans, link=link, dry_run=dry_run)
    else:
        target = writing.Target(nnunet, raw, dataset_id, name, overwrite, sources)
        writing.write(replace(read(), spread=spread, hold_out=hold_out), target, link=link, dry_run=dry_run)
