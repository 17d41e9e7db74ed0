"""Docstrings' Sphinx roles as plain code, for the API's page; mkdocstrings loads this, see mkdocs.yml."""

from __future__ import annotations

import re

import griffe


class PlainDocstrings(griffe.Extension):
    """Turns ``:meth:`~package.Class.name``` into the name as code, and drops the ``::`` before examples."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called with each object as it is loaded."""
        if obj.docstring:
            role = r":(?:class|meth|mod|attr|data|func):`(?:~[\w.]*\.)?([^`<]+?)(?: <[^`]+>)?`"
            text = re.sub(role, r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"(?m)^\s*::\n", "\n", text)
