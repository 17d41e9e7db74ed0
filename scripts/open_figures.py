"""A click on a figure opens it at its own size; mkdocs runs this (hooks), see mkdocs.yml."""

import re


def on_page_content(html: str, **_: object) -> str:
    """Called with each page: link each figure that is a paragraph of its own to its file."""
    return re.sub(r'<p>(<img [^>]*src="([^"]+)"[^>]*>)</p>', r'<p><a href="\2">\1</a></p>', html)
