"""Write the pages of commands and settings from the code; mkdocs runs this (plugin gen-files), see mkdocs.yml."""

from __future__ import annotations

import json
import re

import griffe
import mkdocs_gen_files
import typer
from typer.cli import get_docs_for_click

from hws_nnunet.commands.main import app
from hws_nnunet.config import Settings
from hws_nnunet.files import packaged

SETTINGS_HEAD = """# Settings

A file of what you change, named in `HWS_CONFIG`, sets them for a training; a trainer's `hws_settings` and the options
of `HardnessWeightedBatchSampler` know the same names.
What each does at its ends: [Method](../method.md#settings-at-their-ends).

<div class="stacked settings" markdown>

| setting | type | range | default | meaning |
|---|---|---|---|---|
"""


def settings() -> str:
    """Return the page of settings: names, ranges and defaults of the model, meanings of its docstrings."""
    properties = Settings.model_json_schema()["properties"]
    members = griffe.load("hws_nnunet.config", resolve_aliases=False)["Settings"].members
    rows = []
    for name, told in properties.items():
        kinds = [kind for kind in told.get("anyOf", [told]) if kind.get("type") != "null"]
        types = [f"`{kind['type']}`" if "enum" not in kind else "one of" for kind in kinds]
        types += ["`null`"] if len(kinds) < len(told.get("anyOf", [told])) else []
        default = json.dumps(told["default"])
        meaning = " ".join(members[name].docstring.value.split()).replace("``", "`")
        rows.append(f"| `{name}` | {' or '.join(types)} | {_range(kinds[0])} | `{default}` | {meaning} |\n")
    file = packaged("configs", "default.yaml").read_text(encoding="utf-8")
    file = f"</div>\n\n## All of them in a file\n\n`configs/default.yaml`:\n\n```yaml\n{file}```\n"
    return f"{SETTINGS_HEAD}{''.join(rows)}\n{file}"


def _range(kind: dict) -> str:
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "to below"}
    return " ".join(f"{word} {kind[key]:g}" for key, word in words.items() if key in kind)


def commands() -> str:
    """Return the page of commands, as ``typer utils docs`` makes it, with examples as blocks of code."""
    group = typer.main.get_command(app)
    text = get_docs_for_click(obj=group, ctx=typer.Context(group), name="hws-nnunet", title="Commands")
    for command in group.commands.values():  # whole sentences, which it cuts off
        text = text.replace(f": {command.get_short_help_str()}\n", f": {command.get_short_help_str(limit=1000)}\n")
    text = re.sub(r"(?m)^\x08\n", "", text)
    text = re.sub(r"(?m)^(Examples?:) (\S.*)$", r"\1\n\n  \2", text)
    return re.sub(r"(?m)^(?: {2,}\S.*\n(?:\n(?=  \S))?)+", _as_code, text)


def _as_code(block: re.Match) -> str:
    lines = [line.removeprefix("  ") for line in block[0].splitlines() if line.strip()]
    language = "{ .text .wrap }" if lines[0][0].isdigit() else "bash"  # a table of label values is no command
    return f"\n```{language}\n" + "\n".join(lines) + "\n```\n"


for path, content in (("reference/settings.md", settings()), ("reference/commands.md", commands())):
    with mkdocs_gen_files.open(path, "w") as page:
        page.write(content)
