"""A report's sections as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from hws_nnunet.evaluation.contents import Section, Table
from hws_nnunet.evaluation.extra import needed

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def to_markdown(title: str, sections: Sequence[Section], *, figures: str) -> str:
    """Return a report as Markdown.

    Args:
        title: its heading.
        sections: what it says.
        figures: the folder of the pictures, as seen from the report.
    """
    blocks = [f"# {plain(title)}"]
    for section in sections:
        blocks.append(f"## {plain(section.title)}")
        blocks += [plain(text) for text in section.text]
        for table in section.tables:
            if table.title:
                blocks.append(f"### {plain(table.title)}")
            blocks.append(_table(table))
        blocks += [f"![{plain(p.caption)}]({figures}/{p.file})" for p in section.pictures]
    return "\n\n".join(blocks) + "\n"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#$~&])", r"\\\1", " ".join(text.split()))


def _table(table: Table) -> str:
    marks = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [[plain(cell) for cell in table.columns], marks, *([plain(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Return a report as one HTML file that needs no other: figures are inside.

    Raises:
        RuntimeError: Jinja2 is not installed.
    """
    jinja2 = needed("jinja2")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, sections=sections)
