"""A report's sections as Markdown and as one HTML file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from hws_nnunet.report.page.contents import Section, Table

_FILES = {key: Path(__file__).with_name(f"report.{key}") for key in ("html.j2", "css", "js")}


def to_markdown(title: str, sections: Sequence[Section], *, page: str) -> str:
    """Return a report as Markdown, without figures and without the tables that are for the page alone.

    Args:
        title: its heading.
        sections: what it says.
        page: name of the HTML file, which has the figures.
    """
    blocks = [f"# {plain(title)}", f"Figures, and tables that sort, are in [{page}]({page})."]
    for section in sections:
        tables = [table for table in section.tables if not table.on_page]
        if section.tables and not tables:
            continue
        blocks.append(f"## {plain(section.title)}")
        for answer in section.answers:
            blocks.append(f"### {plain(answer.title)}")
            blocks.append(" ".join(f"**{plain(lead)}** {plain(text)}" for lead, text in answer.points))
        blocks += [plain(text) for text in section.text]
        for table in tables:
            if table.title:
                blocks.append(f"### {plain(table.title)}")
            blocks.append(_table(table))
    return "\n\n".join(blocks) + "\n"


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#$~&])", r"\\\1", " ".join(text.split()))


def _table(table: Table) -> str:
    marks = ["---"] * table.names + ["---:"] * (len(table.columns) - table.names)
    lines = [[plain(cell) for cell in table.columns], marks, *([plain(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_html(
    title: str,
    sections: Sequence[Section],
    *,
    sets: Sequence[str] = (),
    subgroups: Sequence[str] = (),
    galleries: Mapping[str, Sequence[Mapping[str, str]]] | None = None,
) -> str:
    """Return a report as one HTML file that needs no other and no network: styles, figures and scripts are inside.

    Args:
        title: its heading.
        sections: what it says.
        sets: names that people can hide.
        subgroups: names that people can hide.
        galleries: pictures of cases: by case ``title``, ``page`` and ``picture``, addresses as seen from the file.
    """
    from plotly import offline  # slow to import

    style, script = (_FILES[key].read_text(encoding="utf-8") for key in ("css", "js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    plots = [picture.plot for section in sections for picture in section.pictures]
    template = environment.from_string(_FILES["html.j2"].read_text(encoding="utf-8"))
    return template.render(
        title=title,
        sections=sections,
        sets=sets,
        subgroups=subgroups,
        style=style,
        # A script ends at the first </script>, in texts, too.
        data=json.dumps({"plots": plots, "galleries": galleries or {}}).replace("<", "\\u003c"),
        scripts=(offline.get_plotlyjs(), script),
    )
