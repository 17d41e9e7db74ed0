"""The command ``hws-nnunet prepare brats``."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from hws_nnunet.commands.options import NnUNet, Raw
from hws_nnunet.commands.prepare.writing import DatasetId, DryRun, For, Link, Name, Overwrite, Sources, Target, write
from hws_nnunet.datasets.brats_labels import SCHEMES

Scheme = Enum("Scheme", {name: name for name in SCHEMES}, type=str)  # type: ignore[misc]  # mypy wants them in writing


def brats(
    sources: Sources,
    dataset_id: DatasetId,
    name: Name = "BraTS",
    scheme: Annotated[
        Scheme | None, typer.Option("--scheme", help="What label values mean, where they do not tell; see above.")
    ] = None,
    nnunet: For = NnUNet.v2,
    raw: Raw = None,
    link: Link = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
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

    \b
    Examples:
      hws-nnunet prepare brats ~/MICCAI_BraTS2020_TrainingData --dataset-id 520 --dry-run
      hws-nnunet prepare brats ~/BraTS2024-GLI ~/BraTS2024-GLI-Additional --dataset-id 524 --name BraTS2024 --link
    """
    from hws_nnunet.datasets import read_brats

    target = Target(nnunet, raw, dataset_id, name, overwrite)
    collection = read_brats(sources, scheme=scheme.value if scheme else None, progress=True)
    write(collection, target, link=link, dry_run=dry_run)
