"""Tables of results that people bring: of case, label and measures, under our headings, their tool's, or theirs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from hws_nnunet.facts.spellings import MISSING, aggregates, case_names, is_missing, one_spelling
from hws_nnunet.messages import More, first_of, some_of
from hws_nnunet.report.read.conventions import Convention
from hws_nnunet.report.read.results import LESIONS, ResultError, short_list
from hws_nnunet.report.read.tools import Tool, add_sizes, is_instance, recognise

MEASURES = {"dice": "dice", "hd95": "hd95", "nsd": "nsd", "n_ref": "reference_size", "n_pred": "predicted_size"}
MEASURES |= {key: key for key in LESIONS}
ENDINGS = (".csv", ".tsv", ".jsonl")
_ABOUT = ("case", "label", "set", "subgroup", "lesion_rule")
_WORDS = {  # in other people's headings
    "case": r"case|study|subject|patient|scan|image|filename|id|^name$",
    "label": r"(label|roi|structure|class|region|organ|tissue)(?!\d)",
    "set": r"set|method|model|algorithm|arm|network",
    "subgroup": r"group|condition|patholog|site|scanner",
    "nsd": r"(?<![a-z])(nsd|surface[ _-]?dice|nsdsc)(?![a-z])",
    "dice": r"(?<![a-z])(dice|dsc)(?![a-z])",
    "hd95": r"(?<![a-z])(hd|haus|hausdorff)\D*95|95\D*(hd|hausdorff)(?![a-z])",
}
_OTHER = {  # what looks like it, and is not
    "dice": re.compile(r"surf|lesion|instance|gener|loss|std|sd(?![a-z])|sq_|pq_|mean_of|soft|cl-?dice"),
    "hd95": re.compile(r"lesion|instance|std|sd(?![a-z])|vox|vx|pix|px|(?<![a-z])(cm|m)(?![a-z])"),
}
_BEFORE = re.compile(r'[\s,;]*|"?sep=\W*', re.IGNORECASE)  # the headings: empty lines, and what Excel reads
_SHARES = ("dice", "nsd")
_PERCENT = re.compile(r"\s*[\[(]?\s*(%|percent)\s*[\])]?$")
_some = partial(some_of, most=8)  # headings, in messages
PAGE = "docs/howto/report.md"
_SAYS = (
    "THEIRS=OURS with commas between, OURS one of {}, dice% or nsd% where a column is in percent, STRUCTURE.dice and "
    "the like where it is of one structure"
)


@dataclass(frozen=True)
class Column:
    """What a column is of ours: ``key``, perhaps of one structure, perhaps in percent."""

    key: str
    structure: str = ""
    percent: bool = False


def parse_columns(text: str) -> dict[str, str]:
    """Return what the columns of a table are, by their headings, from ``THEIRS=OURS,...``, as ``ROI=label,DSC=dice%``.

    A column of one structure is told by its name and a point: ``ET_dice=ET.dice``.

    Raises:
        ValueError: a part has no name, one of ours is unknown, or is there twice.
    """
    meanings: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        theirs, _, ours = (piece.strip() for piece in part.rpartition("="))
        column = _column(ours)
        is_ours = column.key in MEASURES or (column.key in _ABOUT and not column.structure)
        if not theirs or not is_ours or (column.percent and column.key not in _SHARES):
            raise ValueError(f"--from expects {_SAYS.format(', '.join((*_ABOUT[:-1], *MEASURES)))}; given: {part!r}")
        if (column.key, column.structure) in ((c.key, c.structure) for c in map(_column, meanings.values())):
            raise ValueError(f"--from gives {ours} two columns, expected one: {text}")
        meanings[theirs] = f"{column.structure}.{column.key}".lstrip(".") + "%" * column.percent
    return meanings


def _column(ours: str) -> Column:
    structure, _, measure = ours.rpartition(".")
    return Column(_PERCENT.sub("", measure.lower()).strip(), structure.strip(), bool(_PERCENT.search(measure)))


@dataclass(frozen=True)
class ResultTable:
    """Rows of case, label and measures by our names, shares from 0 to 1; ``notes`` tell what was not used."""

    path: Path
    rows: pd.DataFrame
    notes: tuple[str, ...]
    convention: Convention = field(default_factory=Convention)
    tool: str = ""
    lesion_rule: str = ""

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
        return rows.reindex(columns=["case", "label", *MEASURES.values(), "subgroup", "lesion_rule"])


def open_table(path: Path, *, columns: Mapping[str, str] | None = None) -> ResultTable:
    """Read a table with the columns ``case``, ``label``, ``dice``, perhaps ``hd95``, ``nsd``, ``n_ref``, ``n_pred``.

    Dice and NSD are from 0 to 1, or in percent where the heading or the field says so; HD95 is in mm, ``n_ref`` and
    ``n_pred`` in voxels. ``set`` names the method and ``subgroup`` the case's. An empty field is for structures that
    are empty in both reference and prediction. Columns are separated by commas, semicolons (then numbers may have a
    decimal comma) or tabs; their headings' case does not matter. Rows of statistics are left out. Tables of the tools
    in :mod:`~hws_nnunet.report.read.tools` are read as they are.

    Args:
        path: the file.
        columns: what columns are, by their headings; see :func:`parse_columns`.

    Raises:
        ResultError: with every problem found: it is not a table, a column is missing, a field is not a number.
    """
    cells, comma = _read(path)
    headings = list(cells.columns)
    tool, meanings = _known(path, headings, columns or {})
    frame = cells
    if comma:
        numbers = [theirs for theirs in headings if theirs not in meanings or meanings[theirs].key in MEASURES]
        frame = cells.assign(**{theirs: cells[theirs].str.replace(",", ".") for theirs in numbers})
    frame = add_sizes(tool, frame)
    if "n_ref" in frame and "n_ref" not in cells:
        meanings |= {"n_ref": Column("n_ref"), "n_pred": Column("n_pred")}
    wide = any(column.structure for column in meanings.values())
    have = {column.key for column in meanings.values()} | ({"label"} if wide else set())
    if missing := [key for key in ("case", "label", "dice") if key not in have]:
        raise ResultError(path, [_lacks(cells, meanings, missing)])
    bare = [theirs for theirs, c in meanings.items() if c.key in ("label", *MEASURES) and not c.structure]
    if wide and bare:
        raise ResultError(path, [f"expected a structure for each column of measures, found none for {bare[0]}"])
    problems: list[str] = []
    parts = []
    for structure in dict.fromkeys(c.structure for c in meanings.values() if c.key in MEASURES):
        part = pd.DataFrame(index=frame.index)
        for theirs, column in meanings.items():
            if column.key in _ABOUT:
                part[column.key] = frame[theirs]
            elif column.structure == structure:
                about = frame[next(t for t, c in meanings.items() if c.key == "case")]
                values, faults = _numbers(frame[theirs], theirs, column, about)
                part[MEASURES[column.key]] = values
                problems += faults
        parts.append(part.assign(label=structure) if wide else part)
    if comma:
        problems += _marks(cells[[theirs for theirs in cells if theirs in meanings and theirs in numbers]])
    rows = pd.concat(parts)
    unnamed = rows.loc[(rows["case"] == "") | rows["label"].map(is_missing), ["case", "label"]]
    problems += first_of(
        f"{line}: expected a case and a label, found {case!r} and {label!r}"
        for line, case, label in unnamed.drop_duplicates().itertuples()
    )
    if problems:
        raise ResultError(path, problems)
    rows, notes = _cases(path, rows, tool)
    notes += _unused(path, cells, meanings, tool)
    convention, title, rule = Convention(tells=False), "", ""
    if tool is not None:
        convention, title, rule = tool.convention, tool.name, tool.lesion_rule
    return ResultTable(path, rows, tuple(notes), convention, title, rule)


def _read(path: Path) -> tuple[pd.DataFrame, bool]:
    """Return a file's fields as text, its rows named by their lines, and whether numbers may have a decimal comma."""
    separator = ""
    try:
        if path.suffix.lower() == ".jsonl":
            frame, lines = _flat(path), None
        else:
            with open(path, newline="", encoding="utf-8-sig") as file:
                text = file.readlines()
            first = next((i for i, line in enumerate(text) if not _BEFORE.fullmatch(line)), 0)
            separator = max(",;\t", key="".join(text[first : first + 1]).count)
            read = csv.reader(text[first:], delimiter=separator)
            lines = [(first + read.line_num, [field.strip() for field in line]) for line in read]
    except UnicodeDecodeError as error:
        raise ResultError(path, [f"is not text in UTF-8 (Excel saves it as 'CSV UTF-8'): {error}"]) from None
    except (csv.Error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(path, [f"is not a table: {error}"]) from None
    if lines is not None:
        frame = _framed(path, lines)
    if twice := sorted({name for name in frame.columns if name and list(frame.columns).count(name) > 1}):
        raise ResultError(path, [f"has two columns of one heading: {short_list(twice)}"])
    frame = frame.loc[:, [str(name) != "" for name in frame.columns]]
    return frame[(frame != "").any(axis=1)].rename(index=lambda i: f"line {i}"), separator == ";"


def _framed(path: Path, lines: Sequence[tuple[int, list[str]]]) -> pd.DataFrame:
    """Return lines as a frame under the headings of the first one, its rows named by their numbers.

    Raises:
        ResultError: a line is shorter than the headings to the last that is not empty, or has more than empty fields
            beyond.
    """
    (_, headings), *rows = lines or [(1, [])]
    width = max((i for i, heading in enumerate(headings, 1) if heading), default=0)
    cut = [(number, [*row[:width], *filter(None, row[width:])]) for number, row in rows if any(row)]
    if problems := first_of(f"line {i}: {len(row)} fields, expected {width}" for i, row in cut if len(row) != width):
        raise ResultError(path, problems)
    return pd.DataFrame([row for _, row in cut], [number for number, _ in cut], headings[:width], dtype=str)


def _flat(path: Path) -> pd.DataFrame:
    """Return panoptica's lines of JSON as its table: a column a group and measure."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            measures = {f"{group}-{key}": v for group, values in row["groups"].items() for key, v in values.items()}
            rows.append({"subject_name": row["subject_name"], **measures})
    frame = pd.DataFrame(rows, range(2, len(rows) + 2))
    return frame.map(lambda value: "" if value is None or value != value else str(value).strip())


def _known(path: Path, headings: list[str], told: Mapping[str, str]) -> tuple[Tool | None, dict[str, Column]]:
    """Return the tool whose table it is, if it is one's, and what each column that is used is of ours."""
    columns = {theirs: _column(ours) for theirs, ours in told.items()}
    if lost := [theirs for theirs in columns if theirs not in headings]:
        raise ResultError(path, [f"has no column {', '.join(map(repr, lost))}; its columns: {_some(headings)}"])
    tool, recognised = recognise(headings, path)
    if tool is not None and tool.name == "MONAI" and "class0" in recognised and not {"class0"} & columns.keys():
        text = "class0 is the background where MONAI's metric includes it, else the first structure: --from "
        raise ResultError(path, [f"{text}'class0=background.dice' or 'class0=STRUCTURE.dice' tells"])
    meanings = {theirs: Column(ours, structure) for theirs, (ours, structure) in recognised.items()}
    taken = {(column.key, column.structure) for column in columns.values()}
    meanings = {theirs: c for theirs, c in meanings.items() if (c.key, c.structure) not in taken} | columns
    ours: dict[str, list[str]] = {}
    for heading in headings:
        key = _PERCENT.sub("", heading.lower())
        if key in (*_ABOUT, *MEASURES) and heading not in meanings and not any(key == c.key for c in meanings.values()):
            ours.setdefault(key, []).append(heading)
    if twice := [names for names in ours.values() if len(names) > 1]:
        raise ResultError(path, [f"has two columns for one thing, expected one: {', '.join(twice[0])}"])
    for key, (heading,) in ours.items():
        meanings[heading] = Column(key, percent=key in _SHARES and bool(_PERCENT.search(heading.lower())))
    return tool, meanings


def _numbers(text: pd.Series, theirs: str, column: Column, cases: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return a column's numbers, and what is wrong with them."""
    share = column.key in _SHARES
    said = f"{theirs} of {column.structure}" if column.structure else theirs
    marked = text.str.endswith("%").astype(bool) & share
    plain = text.where(~marked, text.str.rstrip("% "))
    missing = plain.str.casefold().isin(MISSING)
    values = pd.to_numeric(plain.mask(missing), errors="coerce").astype(float)
    wrong = text[values.isna() & ~missing]
    problems = first_of(f"{line}: expected a number as {said}, found {t!r}" for line, t in wrong.items())
    rows = ~cases.isin(aggregates(cases))
    if (bare := plain[~marked & ~missing & (values != 0) & rows]).any() and marked.any() and not column.percent:
        line, field = next(bare.items())
        problems.append(f"{line}: {said} is {field!r} without %, beside fields with it: expected one way")
    shares = values[~marked & rows]
    if share and not column.percent and 1 + 1e-6 < (most := shares.max()) <= 100:
        line = str(shares.idxmax())
        ours = f"{column.structure}.{column.key}".lstrip(".")
        expected = f"expected 0 to 1; in percent? --from {_pasted([(theirs, f'{ours}%')])}"
        problems.append(f"{line}, case {cases[line]!r}: {said} is {float(most)}, {expected}")
        if (more := int((shares > 1 + 1e-6).sum()) - 1) > 0:
            problems.append(More(more))
    percents = values[(marked | column.percent) & rows]
    if share and 0 < percents.max() <= 1:
        expected = "expected 0 to 100, or shares under a heading without percent"
        problems.append(f"{said} is in percent, and its largest figure is {percents.max():g}: {expected}")
    return values.where(~(marked | column.percent), values / 100), problems


def _marks(fields: pd.DataFrame) -> list[str]:
    """Return what is wrong where some numbers have a comma and others a point: one of both parts thousands."""
    numbers = fields.where(~fields.apply(lambda column: column.str.casefold().isin(MISSING)), "").stack()
    commas, points = (numbers[numbers.str.contains(mark, regex=False)] for mark in ",.")
    if commas.empty or points.empty:
        return []
    (one, his), (other, hers) = commas.index[0], points.index[0]
    return [
        f"{other}: {hers} is {points.iloc[0]!r}, but {one}, {his} is {commas.iloc[0]!r}: expected one decimal mark, "
        "and nothing between thousands"
    ]


def _cases(path: Path, rows: pd.DataFrame, tool: Tool | None) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of cases, cases named as in a summary, and notes on those that are of none."""
    notes = []
    names = list(dict.fromkeys(rows["case"]))
    for what, left in (
        ("hold statistics, no cases", aggregates(names)),
        ("are of single lesions", [name for name in names if is_instance(tool, name)]),
        ("are of missing predictions, by brats-evaluation", _unpredicted(rows, names, tool)),
    ):
        if left and len(left) < len(names):
            notes.append(f"{path.name}: rows that {what}, and are left out: {short_list(left)}")
            rows = rows[~rows["case"].isin(left)]
    rows = rows.assign(case=rows["case"].map(case_names(rows["case"].unique())))
    if "subgroup" in rows:
        group = rows["subgroup"].where(~rows["subgroup"].map(is_missing), "")
        rows = rows.assign(subgroup=group.map(one_spelling(group)))
    return rows, notes


def _unpredicted(rows: pd.DataFrame, names: Sequence[str], tool: Tool | None) -> list[str]:
    """Return the cases that brats-evaluation lists without having measured them: all is 0, counts of lesions too."""
    if tool is None or not tool.name.startswith("brats"):
        return []
    counts = rows[[key for key in LESIONS[2:] if key in rows]]
    nothing = (rows["dice"] == 0) & (counts == 0).all(axis=1)
    return [name for name in names if nothing[rows["case"] == name].all()]


def _unused(path: Path, cells: pd.DataFrame, meanings: Mapping[str, Column], tool: Tool | None) -> list[str]:
    """Return notes on the columns that are not used."""
    unused = [column for column in cells.columns if column not in meanings]
    if tool is not None:
        said = [f"{path.name}: read as a table of {tool.name}" + (f"; not used: {_some(unused)}" if unused else "")]
        told = {column.key for column in meanings.values()}
        return said + ([tool.note] if tool.note and not {"hd95", "nsd"} & told else [])
    if not unused:
        return []
    hint = _hint(cells, meanings)
    perhaps = f" (perhaps --from {hint})" if hint else ""
    return [f"{path.name}: columns that were not used: {_some(unused)}{perhaps}"]


def _lacks(cells: pd.DataFrame, meanings: Mapping[str, Column], missing: Sequence[str]) -> str:
    text = f"expected a column {', '.join(missing)} in the first line, found: {_some(cells.columns) or 'nothing'}"
    if {"metric", "statistic", "value"} <= {str(heading).lower() for heading in cells.columns}:
        return f"{text}; it holds statistics: give the table of cases"
    hint = _hint(cells, meanings, wanted=missing)
    return f"{text}; perhaps --from {hint} ({PAGE} tells more)" if hint else f"{text} ({PAGE} tells what is read)"


def _hint(cells: pd.DataFrame, meanings: Mapping[str, Column], wanted: Sequence[str] | None = None) -> str:
    """Return what ``--from`` could say of columns that are not used, as it can be pasted.

    Args:
        cells: the table.
        meanings: what is used of it.
        wanted: what it lacks, and what could be added; nothing is returned where a part of the former is missing.
    """
    have = {column.key for column in meanings.values()}
    candidates: dict[str, list[str]] = {}
    for heading in (str(heading) for heading in cells.columns if heading not in meanings):
        low = heading.lower()
        fits = (key for key, words in _WORDS.items() if key not in have and re.search(words, low))
        key = next(fits, "")
        if key and not (key in _OTHER and _OTHER[key].search(low)):
            candidates.setdefault(key, []).append(heading)
    several = len(candidates.get("dice", ())) > 1 and "label" not in have
    # A table of one structure may not name it.
    lone = wanted is not None and not several and "label" in wanted and "label" not in candidates
    said = []
    if lone:
        own = {theirs: column for theirs, column in meanings.items() if column.key in MEASURES}
        said += [(theirs, f"foreground.{column.key}{'%' * column.percent}") for theirs, column in own.items()]
    if wanted is not None:
        wanted = (*wanted, "set", *(("nsd", "hd95") if several else ()))
    for key in (key for key in (*_ABOUT, *_SHARES, "hd95") if key in candidates):
        if (wanted is not None and key not in wanted) or (key == "label" and several):
            continue
        for heading in candidates[key] if several and key in MEASURES else candidates[key][:1]:
            numbers = pd.to_numeric(cells[heading], errors="coerce")
            percent = "%" if key in _SHARES and 1 + 1e-6 < numbers.max() <= 100 else ""
            rest = _PERCENT.sub("", re.sub(_WORDS[key], "", heading, flags=re.IGNORECASE))
            structure = "foreground" if lone else rest.strip(" _-.,;:=()[]") if several else ""
            said.append((heading, f"{structure + '.' if structure and key in MEASURES else ''}{key}{percent}"))
    told = {_column(ours).key for _, ours in said} | ({"label"} if several or lone else set())
    return _pasted(said) if said and told | have >= set(wanted or ()) - {"set", "nsd", "hd95"} else ""


def _pasted(columns: Sequence[tuple[str, str]]) -> str:
    """Return ``--from``'s value as a shell takes it."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{theirs}={ours}" for theirs, ours in columns])
    return "'" + line.getvalue().replace("'", "'\\''") + "'"
