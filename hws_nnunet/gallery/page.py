"""The HTML page of a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2a3a; background: #fff; margin: 2em auto; max-width: 1240px;
       padding: 0 1em; overflow-wrap: anywhere; }
h1 { font-size: 1.5em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 2.2em 0 .2em; }
table { border-collapse: collapse; display: block; overflow: auto; white-space: nowrap; }
td, th { padding: .25em .9em .25em 0; text-align: left; border-bottom: 1px solid #d5dbe3; vertical-align: top; }
td.number, th.number { text-align: right; } p { margin: .3em 0 .6em; } .what { color: #51607a; }
@media (max-width: 700px) {
  table::before { color: #51607a; content: "scroll sideways for more columns →"; font-size: .85em; }
}
a:has(> img) { display: block; overflow: auto; }
img { border: 1px solid #d5dbe3; height: auto; max-width: max(100%, 48em); }
"""


@dataclass(frozen=True)
class Entry:
    """A case on the page: its values in the order of the page's columns, remarks, and its picture's file name."""

    name: str
    values: tuple[str, ...]
    remarks: tuple[str, ...]
    picture: str


def write_page(
    title: str, what: str, columns: Sequence[str], entries: Sequence[Entry], how_to_read: Sequence[str], *, link: str
) -> str:
    """Return the page as HTML; all texts are escaped.

    Args:
        title: heading.
        what: where the cases are from.
        columns: of the table, after rank and case; one without any value is left out.
        entries: the cases in order.
        how_to_read: paragraphs.
        link: HTML that links to a report.
    """
    shown = [i for i in range(len(columns)) if any(entry.values[i] for entry in entries)]
    heads = "".join(f"<th>{escape(columns[i])}</th>" for i in shown)
    lines = "\n".join(
        f'<tr><td class="number">{rank}</td><td><a href="#case{rank}">{escape(entry.name)}</a></td>'
        + "".join(f"<td>{escape(entry.values[i])}</td>" for i in shown)
        + "</tr>"
        for rank, entry in enumerate(entries, start=1)
    )
    cases = "\n".join(_section(rank, entry, columns) for rank, entry in enumerate(entries, start=1))
    reading = "\n".join(f"<p>{escape(text)}</p>" for text in how_to_read)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="what">{escape(what)}</p>
{link}
<table>
<tr><th class="number">rank</th><th>case</th>{heads}</tr>
{lines}
</table>
<h2>How to read the pictures</h2>
{reading}
{cases}
</body>
</html>
"""


def _section(rank: int, entry: Entry, columns: Sequence[str]) -> str:
    facts = ", ".join(f"{column} {value}" for column, value in zip(columns, entry.values, strict=True) if value)
    remarks = "".join(f"<p>{escape(remark)}</p>\n" for remark in entry.remarks)
    link, name = escape(quote(entry.picture)), escape(entry.name)
    return f"""<h2 id="case{rank}" data-case="{name}" data-picture="{link}">{rank}. {name}</h2>
<p class="what">{escape(facts)}</p>
{remarks}<a href="{link}"><img src="{link}" alt="slices of {name}" loading="lazy"></a>"""
