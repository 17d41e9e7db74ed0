"""The command ``hws-nnunet prepare brats``."""

from __future__ import annotations

import re
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Annotated

import typer

from hws_nnunet.commands.options import NnUNet, Raw
from hws_nnunet.commands.prepare import writing
from hws_nnunet.datasets.brats_labels import SCHEMES

Scheme = Enum("Scheme", {name: name for name in SCHEMES}, type=str)  # type: ignore[misc]  # mypy wants them in writing


def brats(
    sources: writing.Sources,
    dataset_id: writing.DatasetId,
    name: writing.Name = "BraTS",
    scheme: Annotated[
        Scheme | None, typer.Option("--scheme", help="What label values mean, where they do not tell; see above.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="VALUE=NAME,...", help="The same for other values; see above."),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Take 2018 to 2021 and later years together.")] = False,
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
    """Check BraTS brain tumours, 2018 to 2021 or 2023 and later, and write them as a raw data set with subgroups.csv.

    Give the training data's folder; HGG and LGG, name_mapping.csv and the kind of tumour give the subgroups. With
    nnU-Net v2 the regions whole tumour, tumour core and enhancing tumour are trained, with v1 the labels. All scans of
    a subject stay in one fold, by a splits file.

    Every problem of the sources is reported at once, and nothing is written then. The sources stay as they are.

    --scheme says what label values mean where they do not tell, as with children's tumours:

    \b
      2018     1 necrotic core, 2 edema, 4 enhancing tumor (2018 to 2021)
      2023     1 necrotic core, 2 edema, 3 enhancing tumor
      2024     the same, and 4 resection cavity (2024 and 2025)
      ped2024  1 enhancing, 2 non-enhancing, 3 cystic, 4 edema (children, 2024 and 2025)

    --labels says it for segmentations whose values follow none of these, by the labels' names: as in
    1=enhancing_tumor,2=necrotic_core,3=edema.

    \b
    Examples:
      hws-nnunet prepare brats ~/MICCAI_BraTS2020_TrainingData --dataset-id 520 --dry-run
      hws-nnunet prepare brats ~/BraTS2024-GLI ~/BraTS2024-GLI-Additional --dataset-id 524 --name BraTS2024 --link
      hws-nnunet prepare brats ~/BraTS2024-GLI-Validation --dataset-id 524 --images --link
    """
    from hws_nnunet.datasets import Reading, read_brats

    training = {"scheme": scheme, "labels": labels, "merge": merge, "spread": spread, "hold_out": hold_out}
    writing.check_options(images, out, **training, image_grid=image_grid)
    chosen, meaning = scheme.value if scheme else None, _meaning(labels, scheme)
    how = Reading(images, skip_incomplete, image_grid, progress=True)
    read = partial(read_brats, sources, scheme=chosen, meaning=meaning, merge=merge, how=how)
    if images:
        scans = writing.Scans(nnunet, raw, dataset_id, out, overwrite)
        writing.write_scans(read(), scans, link=link, dry_run=dry_run)
    else:
        target = writing.Target(nnunet, raw, dataset_id, name, overwrite, sources)
        writing.write(replace(read(), spread=spread, hold_out=hold_out), target, link=link, dry_run=dry_run)


def _meaning(labels: str | None, scheme: object) -> dict[int, str] | None:
    """Return the label's name for each value of an option's text.

    Raises:
        ValueError: it is written otherwise, or ``scheme`` is given, too.
    """
    if labels is None:
        return None
    if scheme is not None:
        raise ValueError("--scheme and --labels both say what label values mean: give one of them")
    pairs = re.fullmatch(r"\d+=\w+(,\d+=\w+)*", labels)
    meaning = dict(part.split("=") for part in labels.split(",")) if pairs else {}
    if not pairs or "0" in meaning or len(meaning) < labels.count(",") + 1:
        raise ValueError(
            "--labels expects a name for each value but 0, as in 1=enhancing_tumor,2=necrotic_core,3=edema, "
            f"given: {labels!r}"
        )
    return {int(value): name for value, name in meaning.items()}
