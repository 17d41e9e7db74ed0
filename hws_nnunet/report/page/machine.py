"""A report for scripts: what its page says, as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hws_nnunet.report.page.contents import Section
from hws_nnunet.report.read.results import AVERAGE
from hws_nnunet.report.stats.analysis import Analysis, comparison_table, difference_table


def to_json(analysis: Analysis, sections: Sequence[Section]) -> str:
    """Return a report as JSON; null stands for what is not known.

    Args:
        analysis: all that is said.
        sections: the page's, for its answers and rules.
    """
    sets = [
        {
            "name": one.name,
            "source": one.source,
            "cases": list(one.cases),
            "labels": list(one.labels),
            "metrics": [metric.key for metric in one.metrics],
            "surface_tool": one.surface_tool,
            "lesion_rule": one.lesion_rule,
            "foreground_mean": one.foreground_mean,
            "told_foreground_mean": one.told_mean,
        }
        for one in analysis.sets
    ]
    content = {
        "sets": _known(sets),
        "notes": list(analysis.notes),
        "answers": [
            {"title": answer.title, "points": dict(answer.points)} for section in sections for answer in section.answers
        ],
        "average": AVERAGE,
        "threshold": analysis.threshold,
        "subgroups": {group: list(cases) for group, cases in analysis.groups.items()},
        "statistics": _rows(analysis.statistics),
        "gaps": _rows(analysis.gaps),
        "comparison": _rows(comparison_table(analysis)),
        "differences": _rows(difference_table(analysis)),
        "rules": list(sections[-1].text),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    return _known(frame.to_dict("records"))


def _known(rows: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Return rows with null for what is not known, and Python's own numbers."""
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> object:
    if isinstance(value, list):
        return value
    return None if value == "" or value != value else value.item() if hasattr(value, "item") else value
