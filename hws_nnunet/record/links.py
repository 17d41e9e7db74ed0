"""Where a fold's folder has its report and its galleries, so that they find each other."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from urllib.parse import quote

REPORT, PAGE = "robustness_report", "report.html"
GALLERIES = ("gallery", "gallery_validation")


def report_link(gallery: Path, report: Path) -> str:
    """Return a gallery's paragraph that links to a report; empty where the page is not there."""
    if not report.is_file():
        return '<p id="report"></p>'
    place = Path(os.path.relpath(report.resolve(), Path(gallery).resolve())).as_posix()
    return f'<p id="report"><a href="{escape(quote(place))}">Report of the results</a></p>'
