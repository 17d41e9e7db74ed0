"""How people spell rows and values to leave out, and how files name cases: one list of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_MISSING = (
    "|-|--|–|—|.|...|…|?|na|na.|n/a|n.a|n.a.|#n/a|#nv|<na>|nan|-nan|none|(none)|null|nil|missing|missing data|no data|"
    "unknown|not known|not available|not applicable|not reported|not specified|unspecified|undefined"
)
MISSING = frozenset(_MISSING.split("|"))
"""Marks of values that are not known, in small letters."""
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff", ".png")
"""Of files whose names are cases' names."""

_NAMES = {
    "statistics": "mean average avg median std sd stddev stdev deviation var variance iqr sem min max minimum maximum "
    "total sum overall quantile percentile quartile perc count counts range ci summary aggregate nanmean gmean geomean "
    "mdice mdsc mittelwert durchschnitt standardabweichung moyenne",
    "about": "all of the dev standard error foreground fg cases labels lower upper low high first third st nd rd th "
    "macro micro weighted dice dsc score scores",
    "ranked": "quantile percentile quartile perc",
    "all": "all of the cases label labels class classes structure structures region regions organs foreground",
    "background": "background backgrd bg bkg bkgd bgd class0 label0 0background background0 0bg hintergrund clearlabel "
    "unlabeled unlabelled",
}
_WORDS = {kind: frozenset(names.split()) for kind, names in _NAMES.items()}


def is_missing(text: str) -> bool:
    """Return whether a field says that its value is not known."""
    return text.strip().casefold() in MISSING


def is_aggregate(name: str) -> bool:
    """Return whether a row's or column's name is that of a statistic over cases or labels, such as ``25quantile``."""
    words = re.findall(r"[^\W\d_]+|\d+", name.casefold())
    letters = {word for word in words if not word.isdecimal()}
    numbered = len(letters) < len(words)
    only_statistics = letters & _WORDS["statistics"] and letters <= _WORDS["statistics"] | _WORDS["about"]
    if numbered:  # pandas describes by rows such as 25%
        interval = "ci" in letters and (len(letters) > 1 or "%" in name)  # CI_001 may be a case of a group
        ranked = letters & _WORDS["ranked"] or interval
        return bool(only_statistics and ranked) or bool(re.fullmatch(r"\d+([.,]\d+)? ?%", name.strip()))
    return bool(only_statistics) or ("all" in letters and letters <= _WORDS["all"])


def aggregates(names: Iterable[str]) -> list[str]:
    """Return the names of a table's rows that hold statistics; ``Q1`` or ``p95`` may be one beside others that are."""
    names = list(dict.fromkeys(names))
    sure = [name for name in names if is_aggregate(name)]
    short = [name for name in names if re.fullmatch(r"[pq][ _-]?\d+", name, re.IGNORECASE)]
    ranks = re.compile(r"q[ _-]?[123]|[pq][ _-]?(0?5|10|25|50|75|90|95)", re.IGNORECASE)
    unsure = sure and len(sure) + len(short) < len(names) and all(map(ranks.fullmatch, short))
    return sure + short if unsure else sure


def is_background(name: str) -> bool:
    """Return whether a label's name, or its value, is the background's."""
    text = name.strip().casefold()
    plain = re.sub(r"[\W_]", "", text)
    return plain in _WORDS["background"] or bool(re.fullmatch(r"[(\[]?\+?0+([.]0*)?,?[)\]]?", text))


def case_name(path: str) -> str:
    """Return a case's name: that of its file, without folder and ending."""
    name = str(path).strip().replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)] if ending else name


def case_names(texts: Iterable[str]) -> dict[str, str]:
    """Return the cases' names of a table's fields: without folder, ending, and nnU-Net's ``_0000`` where all have it.

    What would give two cases one name stays, and so does what is not a path, whatever slashes it has.
    """
    names = {text: case_name(text) if re.fullmatch(r"[\w\s.:/\\+~-]+", text) else text.strip() for text in texts}
    if len(names) > 1 and all(name.endswith("_0000") for name in names.values()):
        names = {text: name.removesuffix("_0000") for text, name in names.items()}
    counts = Counter(names.values())
    return {text: name if counts[name] == 1 else text.strip() for text, name in names.items()}


def one_spelling(groups: Iterable[str]) -> dict[str, str]:
    """Return for each group's name the spelling that most have, of those that differ by case of letters alone."""
    most: dict[str, tuple[int, str]] = {}
    counts = Counter(groups)
    for name, count in counts.items():
        low = name.casefold()
        most[low] = max(most.get(low, (0, name)), (count, name), key=lambda pair: pair[0])
    return {name: most[name.casefold()][1] for name in counts}
