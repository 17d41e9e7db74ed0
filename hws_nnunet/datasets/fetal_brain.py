"""Fetal brain data of either layout, or of both, brought to one set of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hws_nnunet.datasets import feta, fetal
from hws_nnunet.datasets.cases import AS_FOUND, Collection, DatasetError, Reading, with_unknown_groups
from hws_nnunet.datasets.checks import existing_folder, repeated_names

# The nearest labels: FeTA has no corpus callosum of its own, and the two kinds of inner CSF are not quite alike.
TO_FETA = {
    "background": "background",
    "white_matter": "white_matter",
    "intra_axial_csf": "ventricles",
    "cerebellum": "cerebellum",
    "extra_axial_csf": "external_csf",
    "cortical_grey_matter": "grey_matter",
    "deep_grey_matter": "deep_grey_matter",
    "brainstem": "brainstem",
    "corpus_callosum": "white_matter",
}


def read_fetal_brain(sources: Sequence[Path], *, merge: bool = False, how: Reading = AS_FOUND) -> Collection:
    """Read one or several folders, each in the layout of :func:`read_fetal` or :func:`read_feta`, as one collection.

    Args:
        sources: the folders.
        merge: bring every source to FeTA's seven labels; needed where the layouts differ.
        how: which cases are taken.

    Raises:
        DatasetError: with the problems of all sources; a case's name in two sources; both layouts without ``merge``.
    """
    collections, problems = [], []
    for source in sources:
        try:
            collections.append(_read(source, how))
        except DatasetError as error:
            problems += [problem if len(sources) == 1 else f"{source}: {problem}" for problem in error.problems]
    cases = [case for collection in collections for case in collection.cases]
    problems += repeated_names(cases)
    if not merge and not how.images_only and len({tuple(collection.labels.items()) for collection in collections}) > 1:
        problems.append(
            "the sources have different labels, 1 is white matter here and external CSF there: --merge brings all to "
            "FeTA's seven labels"
        )
    if problems:
        raise DatasetError(", ".join(str(source) for source in sources), problems)
    if merge and not how.images_only:
        collections = [_merged(collection) for collection in collections]
    if len(collections) > 1:
        collections = [_with_source(collection) for collection in collections]
    return replace(
        collections[0],
        cases=tuple(with_unknown_groups([case for collection in collections for case in collection.cases])),
        warnings=tuple(warning for collection in collections for warning in collection.warnings),
        summary=tuple(line for collection in collections for line in collection.summary),
    )


def _read(source: Path, how: Reading) -> Collection:
    source = existing_folder(source)
    if fetal.case_folders(source):
        if feta.is_feta(source):
            raise DatasetError(
                source, [f"holds both layouts, {', '.join(fetal.FILES)} and {feta.LAYOUT}: give each folder"]
            )
        return fetal.read_fetal(source, how=how)
    if feta.is_feta(source):
        return feta.read_feta(source, how=how)
    raise DatasetError(
        source, [f"expected sub-folders that hold {', '.join(fetal.FILES)}, or {feta.LAYOUT}; found neither"]
    )


def _merged(collection: Collection) -> Collection:
    if collection.labels == feta.LABELS:
        return replace(collection, summary=(*collection.summary, "  labels stay as they are"))
    names = {collection.labels[old]: feta.LABELS[new] for old, new in TO_FETA.items()}
    mapping = [
        f"{collection.labels[old]} {old} -> {feta.LABELS[new]} {new}"
        for old, new in TO_FETA.items()
        if old != "background"
    ]
    return replace(
        collection,
        cases=tuple(replace(case, label_map=names) for case in collection.cases),
        labels=feta.LABELS,
        summary=(*collection.summary, *(f"  {line}" for line in mapping)),
    )


def _with_source(collection: Collection) -> Collection:
    name = collection.source.resolve().name
    cases = (replace(case, subgroup={**case.subgroup, "source": name}) for case in collection.cases)
    return replace(collection, cases=tuple(cases))
