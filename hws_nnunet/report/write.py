"""The robustness report: from files to a folder of Markdown, HTML, CSV and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hws_nnunet.datasets.case_table import UNNAMED, read_groups
from hws_nnunet.facts.dataset import LabelTable, near_dataset, read_labels
from hws_nnunet.files import atomic_folder
from hws_nnunet.report.page.contents import sections
from hws_nnunet.report.page.galleries import find_galleries, link_back, pictures
from hws_nnunet.report.page.machine import to_json
from hws_nnunet.report.page.render import to_html, to_markdown
from hws_nnunet.report.read.readers import read_results
from hws_nnunet.report.read.results import ResultSet, short_list
from hws_nnunet.report.read.segmentations import Pairs, evaluate, find_labels, find_pairs
from hws_nnunet.report.stats.analysis import analyse, case_table, comparison_table, difference_table
from hws_nnunet.report.stats.comparison import check_match

HTML, MARKDOWN, JSON = "report.html", "report.md", "report.json"
TABLES = ("cases.csv", "statistics.csv", "gaps.csv", "comparison.csv", "differences.csv")
TITLE = "Robustness report"


def write_report(
    results: Mapping[str, Path],
    out: Path,
    *,
    subgroups: Path | None = None,
    references: Path | None = None,
    dataset: Path | None = None,
    columns: Mapping[str, str] | None = None,
    absent: str | None = None,
    missed_hd95: float | None = None,
    threshold: float = 0.5,
    tolerance: float = 1.0,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a report on result sets into a folder, whole or not at all.

    Args:
        results: the sets by their names, the first one the baseline: files as for
            :func:`~hws_nnunet.report.read.readers.read_results`, or, with ``references``, folders of predictions.
        out: the folder; gets ``report.html``, ``report.md``, ``report.json`` and what of :data:`TABLES` has rows.
        subgroups: table with the columns ``case`` and ``subgroup``; without it they are as the results tell them.
        references: folder of reference label maps, for sets that are folders.
        dataset: ``dataset.json``, for the names of labels and for regions; default: the one that nnU-Net left with the
            results, if all have the same labels.
        columns: what the columns of tables are, by their headings.
        absent: as for :func:`~hws_nnunet.report.read.readers.read_results`.
        missed_hd95: as there.
        threshold: a case fails with a Dice below it, above 0 and at most 1.
        tolerance: of the normalised surface Dice, in millimetres, above 0.
        overwrite: replace an earlier report at ``out``.
        progress: show bars on standard error.

    Returns:
        The folder.

    Raises:
        FileExistsError: ``out`` exists, and ``overwrite`` is off or it is not a report.
        FileNotFoundError: a file does not exist.
        CaseTableError, ResultError: subgroups, results or labels cannot be used; the message lists why.
        ValueError: an option is out of its range, or there is no result set.
    """
    out = Path(out)
    results = {name: Path(path) for name, path in results.items()}
    if not results:
        raise ValueError("no result set given, expected at least one: NAME=PATH")
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of a failure has to be above 0 and at most 1, given: {threshold}")
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise ValueError(f"the tolerance has to be above 0 mm, given: {tolerance}")
    _check_target(out, overwrite=overwrite)
    labels = read_labels(dataset) if dataset is not None else _near_labels(results.values())
    told = {"columns": columns, "absent": absent, "missed_hd95": missed_hd95}
    unmeasured = _read(results, references, labels, progress=progress, **told)
    cases = {case for one in unmeasured for case in one.cases}
    group_of = None if subgroups is None else read_groups(subgroups, cases=cases)
    sets = _measured(unmeasured, labels, tolerance=tolerance, progress=progress)
    if group_of is None:
        group_of = {case: group for one in sets for case, group in one.group_of.items() if group}
    groups = cases_by_group(group_of, cases)
    analysis = analyse(sets, groups, threshold=threshold, progress=progress)
    with tqdm(total=3, desc="writing", disable=not progress) as bar:
        page_sections = sections(analysis, tolerance=tolerance)
        bar.update()
        with atomic_folder(out) as folder:
            tables = [case_table(analysis), analysis.statistics, analysis.gaps]
            tables += [comparison_table(analysis), difference_table(analysis)]
            for name, table in zip(TABLES, tables, strict=True):
                if len(table):
                    # Numbers in full, so that a report made from them has the same figures.
                    table.to_csv(folder / name, index=False, lineterminator="\n")
            bar.update()
            (folder / JSON).write_text(to_json(analysis, page_sections), encoding="utf-8")
            (folder / MARKDOWN).write_text(to_markdown(TITLE, page_sections, page=HTML), encoding="utf-8")
            galleries = find_galleries(sets)
            names = {"sets": list(results), "subgroups": list(groups)}
            page = to_html(TITLE, page_sections, galleries=pictures(galleries, out), **names)
            (folder / HTML).write_text(page, encoding="utf-8")
            bar.update()
    for gallery in galleries:
        link_back(gallery, out / HTML)
    return out


def cases_by_group(group_of: Mapping[str, str], cases: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the cases of each subgroup, both sorted; cases that have none are in none."""
    named = {case: group_of.get(case, UNNAMED) for case in sorted(set(cases))}
    named = {case: group for case, group in named.items() if group != UNNAMED}
    return {group: tuple(case for case in named if named[case] == group) for group in sorted(set(named.values()))}


def _near_labels(paths: Iterable[Path]) -> LabelTable:
    """Return the labels by what nnU-Net left with some results; none where that differs, or is not nnU-Net's."""
    tables = []
    for path in paths:
        file = near_dataset(path) if path.is_dir() or path.suffix == ".json" else None
        with suppress(ValueError):
            tables += [read_labels(file)] if file else []
    return tables[0] if tables and all(labels == tables[0] for labels in tables) else LabelTable({})


def _read(
    results: Mapping[str, Path],
    references: Path | None,
    labels: LabelTable,
    *,
    progress: bool,
    **told: Any,
) -> list[ResultSet | Pairs]:
    """Read all that is quickly read; label maps are found and checked, but not measured."""
    sets: list[ResultSet | Pairs] = []
    for name, path in results.items():
        if references is not None and path.is_dir():
            sets.append(find_pairs(name, path, Path(references), progress=progress))
        else:
            sets.append(read_results(name, path, label_names=labels.names, **told))
    if references is not None and not any(isinstance(one, Pairs) for one in sets):
        raise ValueError(f"--references {references} is given, but none of the result sets is a folder of predictions")
    return sets


def _measured(
    sets: Sequence[ResultSet | Pairs], labels: LabelTable, *, tolerance: float, progress: bool
) -> list[ResultSet]:
    """Measure label maps, after a check that the sets can be compared."""
    if folders := [one for one in sets if isinstance(one, Pairs)]:
        labels = labels if labels.regions else find_labels(folders, progress=progress)
    named = [(one.name, one.cases, one.labels if isinstance(one, ResultSet) else tuple(labels.regions)) for one in sets]
    for other in named[1:]:
        check_match(*other, baseline=named[0])
    return [
        evaluate(one, labels, tolerance=tolerance, progress=progress) if isinstance(one, Pairs) else one for one in sets
    ]


def _check_target(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; --overwrite replaces it")
    ours = {HTML, MARKDOWN, JSON, "figures", *TABLES}  # earlier versions had a folder of figures
    foreign = [path.name for path in out.iterdir() if path.name not in ours] if out.is_dir() else [out.name]
    if foreign:
        raise FileExistsError(
            f"{out} is not a report, as it holds {short_list(foreign)}: --overwrite replaces reports only"
        )
