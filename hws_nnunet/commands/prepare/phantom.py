"""The command ``hws-nnunet prepare phantom``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from hws_nnunet.commands.options import NnUNet, Raw, numbers
from hws_nnunet.commands.prepare.writing import DatasetId, DryRun, For, Name, Overwrite, Target, write


def phantom(
    dataset_id: DatasetId,
    name: Name = "Phantom",
    cases: Annotated[int, typer.Option("--cases", min=1, help="Training cases, the rare ones among them.")] = 20,
    rare: Annotated[int, typer.Option("--rare", min=0, help="Training cases of other anatomy and contrast.")] = 2,
    test_cases: Annotated[int, typer.Option("--test-cases", min=0, help="Held-out cases, half of them rare.")] = 6,
    shape: Annotated[str, typer.Option("--shape", help="Voxels, one number an axis.")] = "48,56,48",
    seed: Annotated[int, typer.Option("--seed", help="Of all randomness.")] = 0,
    nnunet: For = NnUNet.v2,
    raw: Raw = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Make up brain scans with labels, a few of other anatomy and contrast, as a raw data set with subgroups.csv.

    \b
    Example:
      hws-nnunet prepare phantom --dataset-id 990 --cases 40 --rare 4
    """
    from hws_nnunet.datasets import make_phantom

    target = Target(nnunet, raw, dataset_id, name, overwrite)
    with tempfile.TemporaryDirectory() as folder:
        collection = make_phantom(
            Path(folder),
            cases=cases,
            rare=rare,
            test_cases=test_cases,
            rare_test_cases=test_cases // 2,
            shape=numbers(shape, "--shape"),
            seed=seed,
            progress=True,
        )
        write(collection, target, link=False, dry_run=dry_run)
