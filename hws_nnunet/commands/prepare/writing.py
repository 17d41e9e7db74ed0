"""What the commands ``hws-nnunet prepare ...`` share: their options, and how a collection is written."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hws_nnunet.commands.options import NnUNet, raw_folder
from hws_nnunet.facts.versions import HOSTS
from hws_nnunet.messages import number

if TYPE_CHECKING:
    from hws_nnunet.datasets import Collection

Sources = Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="One or several folders.")]
DatasetId = Annotated[int, typer.Option("--dataset-id", help="nnU-Net's number for it, 1 to 999.")]
Name = Annotated[str, typer.Option("--name", help="nnU-Net's name for it.")]
For = Annotated[NnUNet, typer.Option("--nnunet", help="For which nnU-Net.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the source's files where they are written as they are.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a data set of this name, and its splits file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, say what would be written, and write nothing.")]
Images = Annotated[
    bool, typer.Option("--images", help="Write scans without labels, for a prediction with data set --dataset-id.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for --images; default: imagesTs of the data set.")]
SkipIncomplete = Annotated[
    bool, typer.Option("--skip-incomplete", help="Leave out cases that lack a file, or have a damaged one.")
]
Spread = Annotated[
    bool, typer.Option("--spread", help="Write folds that share out each subgroup, with one scan a subject, too.")
]
HoldOut = Annotated[
    str,
    typer.Option("--hold-out", metavar="COLUMN", help="A fold for each value of this column, as site, held out whole."),
]
ImageGrid = Annotated[
    bool,
    typer.Option("--image-grid", help="Labels of their image's shape that lie elsewhere take the image's grid."),
]


def check_options(images: bool, out: Path | None, **training: object) -> None:
    """Say which options of training data do nothing with ``--images``; refuse ``--out``, which is of scans alone.

    Args:
        images: whether ``--images`` is given.
        out: where scans are to go.
        training: options by name, whose values are true where they are given.

    Raises:
        ValueError: ``out`` is given without ``images``.
    """
    if out is not None and not images:
        raise ValueError("--out is for --images; a data set for training goes to the folder that --raw names")
    without_effect = [f"--{name.replace('_', '-')}" for name, value in training.items() if value]
    if images and without_effect:
        print(f"note: without effect beside --images: {', '.join(without_effect)}", file=sys.stderr)


class Target:
    """Where a data set goes; found to be free before the long reading."""

    def __init__(
        self,
        nnunet: NnUNet,
        raw: Path | None,
        dataset_id: int,
        name: str,
        overwrite: bool,
        sources: Sequence[Path] = (),
    ):
        from hws_nnunet.datasets import check_target

        self.host = host = HOSTS[nnunet.value]
        self.raw, self.overwrite = raw_folder(raw, nnunet), overwrite
        self.options: dict[str, Any] = {"dataset_id": dataset_id, "name": name, "overwrite": overwrite, "host": host}
        self.folder = check_target(self.raw, **self.options, sources=sources)

    @property
    def splits(self) -> Path | None:
        """Where nnU-Net looks for folds, None as long as that is not known."""
        root = os.environ.get(self.host.preprocessed)
        return Path(root) / self.folder.name / self.host.splits_file if root and Path(root).is_dir() else None


class Scans:
    """Where scans for a prediction go, and the data set that they are for; found before the long reading."""

    def __init__(self, nnunet: NnUNet, raw: Path | None, dataset_id: int, out: Path | None, overwrite: bool):
        from hws_nnunet.datasets import scans

        self.host, self.dataset_id, self.overwrite = HOSTS[nnunet.value], dataset_id, overwrite
        parent, prefix = self.host.data_set(raw_folder(raw, nnunet), ""), f"{self.host.prefix}{dataset_id:03d}_"
        there = sorted(path for path in parent.glob(f"{prefix}*") if not path.name.endswith((".partial", ".old")))
        if len(there) != 1:
            count = number(len(there), "folder") if there else "no folder"
            raise FileNotFoundError(
                f"{parent} has {count} {prefix}...: prepare the training data first, or name theirs by "
                "--dataset-id; their dataset.json tells the order of the channels"
            )
        self.dataset, self.channels = there[0].name, scans.channels_of(there[0])
        self.folder = out or there[0] / scans.TO_PREDICT
        scans.check_scans_target(self.folder, overwrite=overwrite)


def write_scans(collection: Collection, scans: Scans, *, link: bool, dry_run: bool) -> None:
    """Write the images of a collection, or say what would be written."""
    from hws_nnunet.datasets.scans import in_order
    from hws_nnunet.datasets.scans import write_scans as write_all

    collection = in_order(collection, scans.channels, scans.dataset)
    _tell(collection)
    count = number(len(collection.cases), "scan")
    print(f"  channels, in the order of {scans.dataset}: {', '.join(collection.channels)}")
    if dry_run:
        print(f"{count}; would be written to {scans.folder}\ndry run: nothing was written")
        return
    write_all(collection, scans.folder, overwrite=scans.overwrite, link=link, progress=True)
    print(f"{count} -> {scans.folder}")
    print(f"next: {scans.host.predict.format(shlex.quote(str(scans.folder)), scans.dataset_id)}")


def _tell(collection: Collection) -> None:
    for warning in collection.warnings:
        print(f"note: {warning}", file=sys.stderr)
    for line in collection.summary:
        print(line)


def write(collection: Collection, target: Target, *, link: bool, dry_run: bool) -> None:
    """Write a collection, or say what would be, with a summary of what was found."""
    from hws_nnunet.datasets import folds as folding
    from hws_nnunet.datasets import write_raw

    _tell(collection)
    if collection.regions and target.host.trains_regions:
        regions = (f"{name} {'+'.join(map(str, values))}" for name, values in collection.regions.items())
        print(f"  trained as regions: {', '.join(regions)}")
    folds = folding.folds_of(collection)
    if collection.hold_out:
        groups = sorted({case.subgroup[collection.hold_out] for case in collection.cases if not case.test})
        print("folds hold out: " + ", ".join(f"{fold} {group}" for fold, group in enumerate(groups)))
        note = folding.not_five(folds, collection.hold_out)
    else:
        note = folding.too_few(collection.cases, folds)
    if note:
        print(f"note: {note}", file=sys.stderr)
    content = folding.encoded_folds(folds, target.host.splits_file)
    if folds and target.splits:
        folding.check_folds_target(target.splits, content, overwrite=target.overwrite)
    counts = _counts(collection)
    if dry_run:
        print(f"{counts}; would be written to {target.folder}")
    else:
        write_raw(collection, target.raw, **target.options, link=link, progress=True)
        print(f"{counts} -> {target.folder}")
    if folds:
        if collection.spread:
            print(f"{target.host.splits_file} spreads each subgroup over {len(folds)} folds")
        if repeated := folding.repeated_subjects(collection.cases):
            subjects = number(repeated, "subject")
            print(f"{subjects} with several scans: {target.host.splits_file} keeps each within one fold")
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
    subjects = len({case.subject or case.name for case in collection.cases})
    of_subjects = f" of {number(subjects, 'subject')}" if told else ""
    by_group = ": " + ", ".join(f"{count} {group}" for group, count in sorted(groups.items()))
    if len(groups) == 1:
        by_group = ", without subgroups" if "all" in groups else f", all of subgroup {next(iter(groups))}"
    return f"{number(len(collection.cases), 'case')}{of_subjects}{by_group}"
