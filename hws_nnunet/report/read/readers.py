"""Readers of results: nnU-Net's ``summary.json`` (v1 and v2) and tables, to one convention of what has no value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from hws_nnunet.facts.dataset import label_name
from hws_nnunet.facts.spellings import is_aggregate, is_background, is_missing
from hws_nnunet.facts.summary import find_summary, read_summary, trained_on_all
from hws_nnunet.messages import first_of
from hws_nnunet.report.read.conventions import ABSENT, Convention, settle
from hws_nnunet.report.read.results import LESIONS, SIZES, ResultError, ResultSet, short_list
from hws_nnunet.report.read.tables import ENDINGS, MEASURES, open_table

_TABLE = "as given in the table"


def read_results(
    name: str,
    path: Path,
    *,
    label_names: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    absent: str | None = None,
    missed_hd95: float | None = None,
) -> ResultSet:
    """Read a result set from a file.

    Args:
        name: what to call it.
        path: a ``summary.json`` of nnU-Net v1 or v2, the folder of it or of its fold, or a table, see
            :func:`~hws_nnunet.report.read.tables.open_table`, of which the rows of ``name`` are read where it has sets.
        label_names: names of labels by their keys in the file, such as ``"1"`` or ``"(1, 2)"``.
        columns: what a table's columns are, by their headings.
        absent: what Dice a table has where reference and prediction lack a structure, of
            :data:`~hws_nnunet.report.read.conventions.ABSENT`; None: as its tool writes it.
        missed_hd95: millimetres to take where a structure is missed or invented and the source has no HD95.

    Raises:
        FileNotFoundError: there is no such file, or no ``summary.json`` in the folder.
        ResultError: with every problem found: another format, a value out of range, a case or label twice, a case
            without one of the labels.
        ValueError: ``absent`` or ``missed_hd95`` cannot be.
    """
    if absent is not None and absent not in ABSENT:
        raise ValueError(f"expected {', '.join(ABSENT)} as what stands for an absent structure, given: {absent!r}")
    if missed_hd95 is not None and not (0 < missed_hd95 < np.inf):
        raise ValueError(f"the HD95 of a missed structure has to be above 0 mm, given: {missed_hd95}")
    path = find_summary(Path(path))
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a summary.json, a table (.csv) or a folder")
    ending = path.suffix.lower()
    if ending == ".json":
        try:
            summary = read_summary(path)
        except ValueError as error:
            raise ResultError(path, [str(error)]) from None
        on_training_cases, notes = summary.on_training_cases or trained_on_all(path), []
        if on_training_cases:
            notes = [f"{name} is of a training on all cases, which validates on cases that it was trained on"]
        tool = "MedPy, by nnU-Net v1" if summary.version == "v1" else "as given in the summary"
        frame, convention = pd.DataFrame(summary.rows), Convention(absent or "", missed_hd95=missed_hd95)
        result = gather(name, path, frame, convention, label_names=label_names, surface_tool=tool, notes=notes)
        return replace(result, told_mean=summary.foreground_mean, on_training_cases=on_training_cases)
    if ending not in ENDINGS:
        raise ResultError(path, [f"expected a name that ends in .json or {' or '.join(ENDINGS)}, found {path.name!r}"])
    table = open_table(path, columns=columns)
    rows = table.rows_of(name)
    rules = ", ".join(sorted(set(rows["lesion_rule"].dropna()) - {""}))
    about = {"surface_tool": table.tool or _TABLE, "lesion_rule": table.lesion_rule or rules or _TABLE}
    convention = replace(table.convention, absent=absent or "", missed_hd95=missed_hd95)
    return gather(name, path, rows, convention, label_names=label_names, notes=table.notes, **about)


def gather(
    name: str,
    source: Path,
    rows: pd.DataFrame,
    convention: Convention,
    *,
    label_names: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    surface_tool: str = "",
    lesion_rule: str = "",
    notes: Sequence[str] = (),
) -> ResultSet:
    """Sort rows of case, label and measures into a result set; the background and averages are not structures.

    Args:
        name: of the set.
        source: file or folder.
        rows: by our names; measures may lack.
        convention: how the source writes what has no value.
        label_names: names of labels by their keys.
        labels: the structures in their order; none: all that are there, but background and averages.
        surface_tool: what computed distances.
        lesion_rule: how lesion-wise measures are made.
        notes: on the source.

    Raises:
        ResultError: with every problem found.
    """
    rows = rows.reindex(columns=["case", "label", *MEASURES.values(), "subgroup"])
    rows = rows.astype(dict.fromkeys(MEASURES.values(), float))
    notes = list(notes)
    if not labels:
        rows, left = _structures(rows)
        notes += [f"{name}: {note}" for note in left]
    counts = pd.crosstab(rows["case"], rows["label"])
    cases, keys = list(counts.index), list(labels) or sorted(counts, key=_natural)
    counts = counts[keys].to_numpy()
    missing = "is missing; a structure that is empty in both reference and prediction has a Dice of NaN"
    problems = first_of(
        f"case {cases[i]!r}, label {keys[j]!r}: "
        + (f"is there {counts[i, j]} times, expected once" if counts[i, j] else missing)
        for i, j in np.argwhere(counts != 1)
    )
    if problems:
        raise ResultError(source, [*problems, *notes])
    settled = settle(rows, convention)
    if settled.problems:
        raise ResultError(source, settled.problems)
    notes += [f"{name}: {note}" for note in settled.notes]
    rows = settled.rows
    group_of = rows[["case", "subgroup"]].dropna().drop_duplicates().set_index("case")["subgroup"]
    if twice := group_of.index[group_of.index.duplicated()].tolist():
        raise ResultError(source, first_of(f"case {case!r} is in two subgroups, expected one" for case in twice))
    arrays = {key: rows.pivot(index="case", columns="label", values=key)[keys].to_numpy() for key in MEASURES.values()}
    have = {key: values for key, values in arrays.items() if np.isfinite(values).any() or key in ("dice", *SIZES)}
    lesions = {key: have.pop(key) for key in LESIONS if key in have}
    return ResultSet(
        name,
        str(source),
        tuple(cases),
        tuple(label_name(key, label_names or {}) for key in keys),
        **have,
        lesions=lesions,
        surface_tool=surface_tool if {"hd95", "nsd"} & have.keys() else "",
        lesion_rule=lesion_rule if lesions else "",
        group_of={case: "" if is_missing(group) else group for case, group in group_of.items()},
        notes=tuple(notes),
    )


def _structures(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of structures, and notes on those of averages over labels; the background goes without a word."""
    labels = list(dict.fromkeys(rows["label"].astype(str)))
    background = [label for label in labels if is_background(label)]
    averages = [label for label in labels if is_aggregate(label)]
    rows = rows.assign(label=rows["label"].astype(str))
    rows, notes = rows[~rows["label"].isin(background)], []
    if averages and len(averages) + len(background) < len(labels):
        rows = rows[~rows["label"].isin(averages)]
        notes.append(f"labels that are averages of labels are left out: {short_list(averages)}")
    if named := [label for label in background if label not in ("0", "background")]:
        notes.append(f"labels that are the background are left out: {short_list(named)}")
    return rows, notes


def _natural(label: str) -> tuple:
    """Sort labels as numbers where they are some."""
    return (0, int(label), "") if label.isdecimal() else (1, 0, label)
