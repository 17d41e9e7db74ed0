"""Tables of results that people bring: CSV of case, label and measures, under our headings or theirs."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hws_nnunet.report.extra import needed
from hws_nnunet.report.read.results import ResultError, first_ten

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {"dice": "dice", "hd95": "hd95", "nsd": "nsd", "n_ref": "reference_size", "n_pred": "predicted_size"}
_WORDS = {  # in other people's headings
    "case": ("case", "study", "subject", "patient", "scan", "image", "id"),
    "label": ("label", "roi", "structure", "class", "region", "organ", "tissue"),
    "set": ("set", "method", "model", "algorithm", "arm", "network"),
    "subgroup": ("subgroup", "group", "condition", "patholog", "site", "scanner"),
    "nsd": ("nsd", "surface"),
    "dice": ("dice", "dsc"),
    "hd95": ("hd95", "hausdorff"),
    "n_ref": (),
    "n_pred": (),
}
_SHARES = ("dice", "nsd")
_PERCENT = re.compile(r"\s*[\[(]?\s*(%|percent)\s*[\])]?$")


def parse_columns(text: str) -> dict[str, str]:
    """Return what the columns of a table are, by their headings, from ``THEIRS=OURS,...``, as ``ROI=label,DSC=dice%``.

    Raises:
        ValueError: a part has no name, one of ours is unknown, or is there twice.
    """
    found: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        theirs, _, ours = (piece.strip() for piece in part.rpartition("="))
        ours = ours.lower()
        key = _PERCENT.sub("", ours)
        if not theirs or key not in _WORDS or (ours != key and key not in _SHARES):
            raise ValueError(
                f"--from expects THEIRS=OURS with commas between, OURS one of {', '.join(_WORDS)}, dice% or nsd% where "
                f"a column is in percent; given: {part!r}"
            )
        if key in {_PERCENT.sub("", other) for other in found.values()}:
            raise ValueError(f"--from gives {key} two columns, expected one: {text}")
        found[theirs] = ours
    return found


@dataclass(frozen=True)
class ResultTable:
    """A table, with our headings, measures as numbers, shares from 0 to 1; ``notes`` tell what was not used."""

    path: Path
    rows: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def sets(self) -> list[str]:
        """Return the sets' names in their order; none without a column of them."""
        return list(self.rows["set"].unique()) if "set" in self.rows else []

    def rows_of(self, name: str) -> pd.DataFrame:
        """Return the rows of a set; all without a column of sets.

        Raises:
            ResultError: there is no such set.
        """
        rows = self.rows
        if self.sets:
            rows = rows[rows["set"] == name]
            if rows.empty:
                there = ", ".join(map(repr, sorted(self.sets)))
                raise ResultError(self.path, [f"has no row of the set {name!r}; its sets: {there}"])
        return rows.reindex(columns=["case", "label", *MEASURES.values(), "subgroup"])


def open_table(path: Path, *, columns: Mapping[str, str] | None = None) -> ResultTable:
    """Read a table with the columns ``case``, ``label``, ``dice``, perhaps ``hd95``, ``nsd``, ``n_ref``, ``n_pred``.

    Dice and NSD are from 0 to 1, or in percent where the heading or the field says so; HD95 is in mm, ``n_ref`` and
    ``n_pred`` in voxels. ``set`` names the method and ``subgroup`` the case's. An empty field is for structures that
    are empty in both reference and prediction. Columns are separated by commas, semicolons (then numbers may have a
    decimal comma) or tabs; their headings' case does not matter.

    Args:
        path: the file.
        columns: what columns are, by their headings; see :func:`parse_columns`.

    Raises:
        ResultError: with every problem found: it is no table, a column is missing, a field is no number.
    """
    pd = needed("pandas")
    try:
        with open(path, encoding="utf-8-sig") as file:
            line = file.readline()
        separator = max(",;\t", key=line.count)
        options = {"keep_default_na": False, "index_col": False, "skip_blank_lines": False, "encoding": "utf-8-sig"}
        frame = pd.read_csv(path, sep=separator, dtype=str, **options)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        raise ResultError(path, [f"is no table: {error}"]) from None
    frame = frame.rename(columns=str.strip).fillna("").apply(lambda column: column.str.strip())
    frame = frame[(frame != "").any(axis=1)].rename(index=lambda i: f"line {i + 2}")
    known = _known(path, list(frame.columns), columns or {})
    frame, given = frame.rename(columns={theirs: ours for ours, (theirs, _) in known.items()}), frame
    hints = _hints(given, known)
    if missing := [key for key in ("case", "label", "dice") if key not in known]:
        there = ", ".join(given.columns) or "nothing"
        text = f"expected a column {', '.join(missing)} in the first line, found: {there}"
        would = [hint for key, hint in hints.items() if key in missing or key == "set"]
        raise ResultError(path, [f"{text}; perhaps --from '{','.join(would)}'" if would else text])
    unnamed = frame.loc[(frame["case"] == "") | (frame["label"] == ""), ["case", "label"]]
    problems = first_ten(
        f"{line}: expected a case and a label, found {case!r} and {label!r}"
        for line, case, label in unnamed.itertuples()
    )
    for ours, (theirs, percent) in known.items():
        if ours in MEASURES:
            text = frame[ours].str.replace(",", ".") if separator == ";" else frame[ours]
            marked = text.str.endswith("%") & (ours in _SHARES)
            values = pd.to_numeric(text.where(~marked, text.str.rstrip("% ")), errors="coerce")
            wrong = text[values.isna() & ~text.str.lower().isin(("", "nan"))]
            problems += first_ten(f"{line}: expected a number as {theirs}, found {t!r}" for line, t in wrong.items())
            if ours in _SHARES and not percent and 1 < (most := values[~marked].max()) <= 100:
                line = values[~marked].idxmax()
                said = f"line {line.split()[1]}, case {frame.case[line]!r}, label {frame.label[line]!r}"
                expected = f"expected 0 to 1; in percent? --from '{theirs}={ours}%'"
                problems.append(f"{said}: {theirs} is {float(most)}, {expected}")
                if (more := int((values[~marked] > 1).sum()) - 1) > 0:
                    problems.append(f"... and {more} more")
            frame[MEASURES[ours]] = values.where(~(marked | percent), values / 100)
    if problems:
        raise ResultError(path, problems)
    unused = [column for column in given.columns if column not in {theirs for theirs, _ in known.values()}]
    notes = [f"{path.name}: columns that were not used: {', '.join(unused)}"] if unused else []
    if notes and hints:
        notes[0] += f" (perhaps --from '{','.join(hints.values())}')"
    return ResultTable(path, frame, tuple(notes))


def _known(path: Path, headings: list[str], columns: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Return, by our names, the heading of each column that is used, and whether it is in percent."""
    if lost := [theirs for theirs in columns if theirs not in headings]:
        raise ResultError(path, [f"has no column {', '.join(map(repr, lost))}; its columns: {', '.join(headings)}"])
    found = {_PERCENT.sub("", ours): (theirs, bool(_PERCENT.search(ours))) for theirs, ours in columns.items()}
    for heading in headings:
        key = _PERCENT.sub("", heading.lower())
        if key in _WORDS and key not in found and heading not in columns:
            found[key] = heading, key in _SHARES and bool(_PERCENT.search(heading.lower()))
    return found


def _hints(frame: pd.DataFrame, known: Mapping[str, tuple[str, bool]]) -> dict[str, str]:
    """Return, by our names, what ``--from`` could say of columns that are not used."""
    used = {theirs for theirs, _ in known.values()}
    hints: dict[str, str] = {}
    for heading in (heading for heading in frame.columns if heading not in used):
        for key, words in _WORDS.items():
            if key not in known and key not in hints and any(word in heading.lower() for word in words):
                numbers = needed("pandas").to_numeric(frame[heading], errors="coerce")
                percent = "%" if key in _SHARES and 1 < numbers.max() <= 100 else ""
                hints[key] = f"{heading}={key}{percent}"
                break
    return hints
