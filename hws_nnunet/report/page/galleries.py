"""Links between a report and the galleries of the folds that its results are from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from urllib.parse import quote

from hws_nnunet.files import atomic_write
from hws_nnunet.record.links import GALLERIES, report_link
from hws_nnunet.report.read.results import ResultSet

_ENTRY = re.compile(r'<h2 id="(\w+)" data-case="([^"]*)" data-picture="([^"]*)"')


def find_galleries(sets: Iterable[ResultSet]) -> dict[Path, str]:
    """Return the pages of galleries in the folds of some sets, and whose they are."""
    set_of_page: dict[Path, str] = {}
    for one in sets:
        source = Path(one.source).resolve()
        for folder in (source, *source.parents)[:3]:
            pages = [folder / name / "index.html" for name in GALLERIES if folder.name.startswith("fold_")]
            set_of_page |= {page: one.name for page in pages if page.is_file()}
    return set_of_page


def pictures(galleries: dict[Path, str], out: Path) -> dict[str, list[dict[str, str]]]:
    """Return, by case, its pictures' titles, and addresses as seen from the folder ``out``."""
    links_of_case: dict[str, list[dict[str, str]]] = {}
    for page, name in galleries.items():
        folder = Path(os.path.relpath(page.parent, Path(out).resolve())).as_posix()
        title = f"{name}, {'worst validation cases' if 'validation' in page.parent.name else 'hardest training cases'}"
        for place, case, picture in _ENTRY.findall(page.read_text(encoding="utf-8")):
            links = {"page": f"{quote(folder)}/{page.name}#{place}", "picture": f"{quote(folder)}/{unescape(picture)}"}
            links_of_case.setdefault(unescape(case), []).append({"title": title, **links})
    return links_of_case


def link_back(page: Path, report: Path) -> None:
    """Make a gallery's page link to a report; pages of earlier versions are left alone."""
    text = page.read_text(encoding="utf-8")
    linked = re.sub(r'<p id="report">.*?</p>', lambda _: report_link(page.parent, report), text, count=1)
    if linked != text:
        with atomic_write(page) as file:
            file.write_text(linked, encoding="utf-8")
