"""The commands ``hws-nnunet prepare ...``: one a family of data sets, all with the same options."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hws_nnunet.datasets.brats_labels import SCHEMES
from hws_nnunet.facts.versions import HOSTS

if TYPE_CHECKING:
    from hws_nnunet.datasets import Collection

prepare_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Turn a downloaded data set into an nnU-Net raw data set.\n\n"
    "\b\nExample:\n  hws-nnunet prepare fetal ~/feta_2.2 --dataset-id 501 --dry-run",
)


class NnUNet(str, Enum):
    """The versions of nnU-Net that there are trainers for."""

    v1 = "v1"
    v2 = "v2"


Scheme = Enum("Scheme", {name: name for name in SCHEMES}, type=str)  # type: ignore[misc]  # mypy wants them in writing

DatasetId = Annotated[int, typer.Option("--dataset-id", help="nnU-Net's number for it, 1 to 999.")]
Name = Annotated[str, typer.Option("--name", help="nnU-Net's name for it.")]
For = Annotated[NnUNet, typer.Option("--nnunet", help="For which nnU-Net.")]
Raw = Annotated[
    Path | None, typer.Option("--raw", help="nnU-Net's raw folder; default: $nnUNet_raw, for v1 $nnUNet_raw_data_base.")
]
Link = Annotated[bool, typer.Option("--link", help="Link to the source's files where they are written as they are.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a data set of this name, and its splits file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all, say what would be written, and write nothing.")]


@prepare_app.command("fetal")
def prepare_fetal(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="One or several folders.")],
    dataset_id: DatasetId,
    name: Name = "FetalBrain",
    merge: Annotated[bool, typer.Option("--merge", help="Bring all sources to FeTA's seven labels.")] = False,
    nnunet: For = NnUNet.v2,
    raw: Raw = None,
    link: Link = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
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
    """
    from hws_nnunet.datasets import read_fetal_brain

    target = _Target(nnunet, raw, dataset_id, name, overwrite)
    _write(read_fetal_brain(sources, merge=merge, progress=True), target, link=link, dry_run=dry_run)


@prepare_app.command("brats")
def prepare_brats(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="One or several folders.")],
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

    target = _Target(nnunet, raw, dataset_id, name, overwrite)
    collection = read_brats(sources, scheme=scheme.value if scheme else None, progress=True)
    _write(collection, target, link=link, dry_run=dry_run)


@prepare_app.command("phantom")
def prepare_phantom(
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

    target = _Target(nnunet, raw, dataset_id, name, overwrite)
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
        _write(collection, target, link=False, dry_run=dry_run)


class _Target:
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


def _write(collection: Collection, target: _Target, *, link: bool, dry_run: bool) -> None:
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


def numbers(text: str, option: str) -> list[int]:
    """Return the whole numbers of an option's text, as in ``32,32,32`` or ``32x32x32``.

    Raises:
        ValueError: it holds something else; the message names ``option``.
    """
    try:
        return [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        raise ValueError(f"{option} expects whole numbers with commas between them, given: {text!r}") from None


def raw_folder(given: Path | None, nnunet: NnUNet) -> Path:
    """Return the folder given, by default the one that nnU-Net's variable names.

    Raises:
        ValueError: neither is set.
    """
    if given is not None:
        return given
    variable = HOSTS[nnunet.value].raw
    if not (folder := os.environ.get(variable)):
        raise ValueError(f"{variable} is not set: export {variable}=FOLDER, or give --raw FOLDER")
    return Path(folder)
