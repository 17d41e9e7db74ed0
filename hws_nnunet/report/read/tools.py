"""Tables as other people's tools write them, recognised by their headings: what each column is of ours.

A long table has a row a case and structure, a wide one a row a case and a column a structure and measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from hws_nnunet.report.read.conventions import Convention


@dataclass(frozen=True)
class Tool:
    """A tool's tables.

    Attributes:
        name: of the tool.
        columns: that it always has, and that are of no structure: theirs, ours.
        more: columns that it may have besides.
        tells: columns, one of which tells what reference and prediction lack, so that no Dice is doubtful.
        measures: of a wide table: theirs, ours; empty where it is none of ours, and only looks like one.
        join: between structure and measure in a wide table's headings.
        structure_first: whether the structure precedes the measure there.
        convention: how it writes what has no value.
        mark: what one heading begins with, at least.
        note: what a reader of its figures has to know.
        lesion_rule: how its lesion-wise measures are made.
    """

    name: str
    columns: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)
    tells: frozenset[str] = frozenset()
    measures: Mapping[str, str] = field(default_factory=dict)
    join: str = "_"
    structure_first: bool = True
    convention: Convention = field(default_factory=Convention)
    mark: str = ""
    note: str = ""
    lesion_rule: str = ""

    def place(self, heading: str) -> tuple[str, str]:
        """Return our name of a wide table's measure, empty where it is none of ours, and the structure."""
        for theirs in sorted(self.measures, key=len, reverse=True):
            if self.structure_first and heading.endswith(self.join + theirs):
                return self.measures[theirs], heading.removesuffix(self.join + theirs)
            if not self.structure_first and heading.startswith(theirs + self.join):
                return self.measures[theirs], heading.removeprefix(theirs + self.join)
        return "", ""

    def read(self, headings: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Return our name and the structure of each heading that is used; nothing where it is another tool's table."""
        used = {theirs: (ours, "") for theirs, ours in self.columns.items() if theirs in headings}
        lacks_some = len(used) < len(self.columns)
        if self.measures:
            used |= {heading: place for heading in headings if all(place := self.place(heading))}
        there = {ours for ours, _ in used.values()}
        if lacks_some or "dice" not in there or not any(map(self.marked, headings)):
            return {}
        return used | {theirs: (ours, "") for theirs, ours in self.more.items() if theirs in headings}

    def marked(self, heading: str) -> bool:
        """Return whether a heading is what tells this tool from those that write the same ones besides."""
        return heading.startswith(self.mark)


_PANOPTICA = (
    "{}: HD95 and NSD of whole structures are computed without voxel sizes (seen in panoptica 2.1.7), which is right "
    "for voxels of 1 mm alone, and are not used; --from says which columns to use nevertheless, as '{}'"
)
_LESIONS = "lesions_found", "lesions_invented", "lesions_missed"
_BRATS = dict(zip(("all_instance_tp", "all_instance_fp", "all_instance_fn"), _LESIONS, strict=True))
_BRATS |= {"global_dsc": "dice", "all_instance_f1": "lesion_f1", "lesionwise_dsc_mean": "lesion_dice"}
_ONES = Convention(doubtful="one")
_BRATS_NOTE = _PANOPTICA.format("brats-evaluation", "global_hd95_ET=ET.hd95")
_SEG = "brats-evaluation, seg: mean Dice of the lesions that were found; missed ones do not lower it"
_METS = "brats-evaluation, mets: mean Dice of lesions above a volume, with 0 for missed and invented ones"

TOOLS = (
    Tool(
        "MIST",
        {"id": "case"},
        measures={
            **{"dice": "dice", "haus95": "hd95", "surf_dice": "nsd"},
            **{"lesion_wise_dice": "lesion_dice", "lesion_wise_f1": "lesion_f1"},
            **{"lesion_wise_haus95": "", "lesion_wise_surf_dice": ""},
        },
        convention=_ONES,
        lesion_rule="MIST: mean Dice over lesions, with 0 for missed and invented ones",
    ),
    Tool(
        "brats-evaluation, mets",
        {"subject_id": "case"},
        measures=_BRATS,
        structure_first=False,
        mark="large_instance_tp_",
        note=_BRATS_NOTE,
        lesion_rule=_METS,
    ),
    Tool(
        "brats-evaluation, seg",
        {"subject_id": "case"},
        measures=_BRATS,
        structure_first=False,
        note=_BRATS_NOTE,
        lesion_rule=_SEG,
    ),
    Tool(
        "panoptica",
        {"subject_name": "case"},
        measures={
            **{"global_bin_dsc": "dice", "global_bin_volume_ref": "n_ref", "global_bin_volume_pred": "n_pred"},
            **dict(zip(("tp", "fp", "fn"), _LESIONS, strict=True)),
            **{"rq": "lesion_f1", "sq_dsc": "lesion_dice"},
        },
        join="-",
        note=_PANOPTICA.format("panoptica", "tumour-global_bin_hd95=tumour.hd95"),
        lesion_rule="panoptica: mean Dice of the lesions that were found; missed ones do not lower it",
    ),
    Tool(
        "BraTS' portal",
        {"Label": "case"},
        measures={"Dice": "dice", "Hausdorff95": "hd95"},
        structure_first=False,
        convention=_ONES,
        mark="Hausdorff95_",
    ),
    Tool(
        "seg-metrics",
        {"filename": "case", "label": "label", "dice": "dice"},
        {"hd95": "hd95"},
        frozenset(("vs", "TP")),
        convention=Convention(doubtful="one", zero_distance=True),
    ),
    Tool(
        "pymia",
        {"SUBJECT": "case", "LABEL": "label", "DICE": "dice"},
        {"HDRFDST95": "hd95", "SURFDICE": "nsd"},
        frozenset(("HDRFDST95", "SURFDICE")),
        convention=_ONES,
    ),
)
"""Of two that fit, the first counts."""


def recognise(headings: Sequence[str], path: Path) -> tuple[Tool | None, dict[str, tuple[str, str]]]:
    """Return the tool that wrote a table, and for each heading that is used our name and its structure."""
    for tool in TOOLS:
        if used := tool.read(headings):
            told = tool.tells & set(headings)
            return replace(tool, convention=replace(tool.convention, doubtful="")) if told else tool, used
    if headings[:1] == ["filename"] and headings[-1] == "mean" and "dice" in path.name.lower():
        tool = Tool("MONAI", {}, convention=Convention(doubtful="nan"))
        return tool, {"filename": ("case", ""), **{heading: ("dice", heading) for heading in headings[1:-1]}}
    return None, {}


def add_sizes(tool: Tool | None, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with columns ``n_ref`` and ``n_pred``, where the tool's other columns tell them."""
    if tool is None or tool.name != "seg-metrics":
        return frame
    if {"TP", "FP", "FN"} <= set(frame):
        tp, fp, fn = (pd.to_numeric(frame[key], errors="coerce") for key in ("TP", "FP", "FN"))
        sizes = {"n_ref": tp + fn, "n_pred": tp + fp}
        return frame.assign(**{key: size.astype(str).where(size.notna(), "") for key, size in sizes.items()})
    if "vs" in frame:  # the difference of the sizes over their mean: 2 where invented, -2 where missed, 1 for neither
        similarity = pd.to_numeric(frame["vs"], errors="coerce")
        neither = (similarity == 1) & (pd.to_numeric(frame["dice"], errors="coerce") == 1)
        reference = pd.Series("", frame.index).mask((similarity == 2) | neither, "0")
        predicted = pd.Series("", frame.index).mask((similarity == -2) | neither, "0")
        return frame.assign(n_ref=reference, n_pred=predicted)
    return frame


def is_instance(tool: Tool | None, case: str) -> bool:
    """Return whether a row is of one lesion, as panoptica writes them between cases."""
    head, mark, number = case.rpartition("_inst_")
    return tool is not None and tool.name == "panoptica" and bool(head and mark) and number.isdecimal()
