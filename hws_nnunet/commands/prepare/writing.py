"""What the commands ``hws-nnunet prepare ...`` share: their options, and how a collection is written."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hws_nnunet.commands.options import NnUNet, raw_folder
from hws_nnunet.facts.versions import HOSTS

if TYPE_CHECKING:
    from hws_nnunet.datasets import Collection

Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="One or several folders.")]
DatasetId = Annotated[int, typer.Option("--dataset-id", help="nnU-Net's number for it, 1 to 999.")]
Name = Annotated[str, typer.Option("--name", help="nnU-Net's name for it.")]
For = Annotated[NnUNet, typer.Option("--nnunet", help="For which nnU-Net.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the source's files where they are written as they are.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a data set of this name, and its splits file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, say what would be written, and write nothing.")]


class Target:
    """Where a data set goes; found to be free before the long reading."""

    def __init__(self, nnunet: NnUNet, raw: Path | None, dataset_id: int, name: str, overwrite: bool):
        from hws_nnunet.datasets import raw_v1, raw_v2

        v1 = nnunet is NnUNet.v1
        self.host = HOSTS[nnunet.value]
        self.write: Callable[..., Path] = raw_v1.write_raw_v1 if v1 else raw_v2.write_raw_v2
        self.raw, self.overwrite = raw_folder(raw, nnunet), overwrite
        self.options: dict[str, Any] = {"dataset_id": dataset_id, "name": name, "overwrite": overwrite}
        self.folder = (raw_v1.check_task_target if v1 else raw_v2.check_target)(self.raw, **self.options)

    @property
    def splits(self) -> Path | None:
        """Where nnU-Net looks for folds, None as long as that is not known."""
        root = os.environ.get(self.host.preprocessed)
        return Path(root) / self.folder.name / self.host.splits_file if root and Path(root).is_dir() else None


def write(collection: Collection, target: Target, *, link: bool, dry_run: bool) -> None:
    """Write a collection, or say what would be, with a summary of what was found."""
    from hws_nnunet.datasets import folds as folding

    for warning in collection.warnings:
        print(f"note: {warning}", file=sys.stderr)
    for line in collection.summary:
        print(line)
    if collection.regions and target.host.trains_regions:
        regions = (f"{name} {'+'.join(map(str, values))}" for name, values in collection.regions.items())
        print(f"  trained as regions: {', '.join(regions)}")
    folds = folding.subject_folds(collection.cases)
    if few := folding.too_few(collection.cases, folds):
        print(f"note: {few}", file=sys.stderr)
    content = folding.encoded_folds(folds, target.host.splits_file)
    if folds and target.splits:
        folding.check_folds_target(target.splits, content, overwrite=target.overwrite)
    counts = _counts(collection)
    if dry_run:
        print(f"{counts}; would be written to {target.folder}")
    else:
        target.write(collection, target.raw, **target.options, link=link, progress=True)
        print(f"{counts} -> {target.folder}")
    if folds:
        repeated = folding.repeated_subjects(collection.cases)
        print(f"{repeated} subject(s) with several scans: {target.host.splits_file} keeps each within one fold")
        if target.splits and not dry_run:
            folding.write_folds(target.splits, content)
            print(f"wrote {target.splits}")
    if dry_run:
        print("dry run: nothing was written")
        return
    print(f"next: {target.host.prepare.format(target.options['dataset_id'])}")
    if folds and not target.splits and target.host.splits_file.endswith(".pkl"):  # v2 has it from the raw folder
        source = shlex.quote(str(target.folder / target.host.splits_file))
        print(f'then, before training: cp {source} "${target.host.preprocessed}/{target.folder.name}/"')


def _counts(collection: Collection) -> str:
    groups = Counter(case.subgroup["subgroup"] for case in collection.cases)
    told = any(case.subject for case in collection.cases)  # a case without one shows nobody else's
    of_subjects = f" of {len({case.subject or case.name for case in collection.cases})} subjects" if told else ""
    by_group = ", ".join(f"{count} {group}" for group, count in sorted(groups.items()))
    return f"{len(collection.cases)} cases{of_subjects} ({by_group})"
