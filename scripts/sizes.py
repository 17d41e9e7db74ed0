"""Print how large the project is, and in how many places one truth is kept.

python scripts/sizes.py [CHECKOUT]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

COLUMN = "before"
"""A column of the sampler's table, which no other name equals."""

HOSTS = ("training", "hosts", "nnunetv1", "nnunetv2")
"""Folders of the package, of now and of before, in which names of nnU-Net's and PyTorch's are replaced."""

REPLACES = re.compile(r"\bsetattr\(|\.__globals__|^\s+(?!self\b)\w+\.\w+ = (?!.*\bself\.table\b)", re.MULTILINE)
"""A name of somebody else's is given another value."""


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield each text of the code, and the name of each attribute that a class declares."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ClassDef):
            yield from (part.target.id for part in node.body if isinstance(part, ast.AnnAssign))


def main(root: Path) -> None:
    """Print the figures of a checkout."""
    code = {
        folder: {file: file.read_text(encoding="utf-8") for file in sorted((root / folder).rglob("*.py"))}
        for folder in ("hws_nnunet", "scripts", "tests")
    }
    trees = {file: ast.parse(text) for file, text in code["hws_nnunet"].items()}
    for folder, files in code.items():
        print(f"lines of {folder}: {sum(len(text.splitlines()) for text in files.values()):,}")
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    largest = max(classes, key=lambda node: node.end_lineno - node.lineno)
    print(f"largest class: {largest.name}, {largest.end_lineno - largest.lineno + 1} lines")
    print(
        f"places that name the column {COLUMN!r}: {sum(list(strings(tree)).count(COLUMN) for tree in trees.values())}"
    )
    hosts = [file for file in trees if file.relative_to(root / "hws_nnunet").parts[0] in HOSTS]
    replacing = [file.name for file in hosts if REPLACES.search(code["hws_nnunet"][file])]
    print(f"files that replace a foreign name: {len(replacing)} ({', '.join(replacing)})")
    parsing = [file.name for file, tree in trees.items() if "metric_per_case" in strings(tree)]
    print(f"files that parse summary.json: {len(parsing)} ({', '.join(parsing)})")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve())
