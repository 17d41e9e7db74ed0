"""Words: the most common breaches of CONTRIBUTING's rules in pages, docstrings, messages and names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "hws_nnunet").rglob("*.py"))
WRITTEN = {"benchmarks.md", "compatibility.md", "experiments.md", "faults.md"}
"""Pages that scripts write, and the diary."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.name not in WRITTEN),
    *ROOT.glob("configs/*.yaml"),
]
AVOIDED = {
    r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b)\w+": "say what it is, or: is not (rule 3)",
    r"\bmend(?:s|ed|ing)?\b": "remedy, correct (rule 4)",
    r"(?<! )\(e?s\)": "one or several: messages.number counts them",
    r"\btold nothing\b": "no group labels (rule 4)",
    r"\bfirst sweep\b": "warm-up pass (rule 4)",
    r"\bare out\b|\bbatch(?:es)? that (?:is|are) out\b": "in flight (rule 4)",
}
pytestmark = pytest.mark.skipif(not PAGES[1].is_file(), reason="the pages are in a checkout alone")


def breaches(text):
    """Return what breaks a rule, with its line."""
    quoted = re.sub(r"`[^`\n]*`|\"[^\"\n]*\"", lambda match: " " * len(match[0]), text)  # names and examples
    return [
        f"line {quoted[: match.start()].count(chr(10)) + 1}: {match[0]!r}: {advice}"
        for pattern, advice in AVOIDED.items()
        for match in re.finditer(pattern, quoted)
    ]


def strings(tree):
    """Return a module's docstrings and messages, in lines of their own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_patterns_see_what_they_are_for():
    assert len(breaches("It is no table(s), told nothing; the first sweep mends what batches are out of.")) == 6
    assert not breaches('It is no longer "is no table"; `mend` is quoted.')


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages(page):
    assert not breaches(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", PACKAGE, ids=lambda module: str(module.relative_to(ROOT)))
def test_docstrings_and_messages(module):
    tree = ast.parse(module.read_text(encoding="utf-8"))
    wrong = [f"line {line}, {breach}" for line, text in strings(tree) for breach in breaches(text)]
    assert not wrong


@pytest.mark.parametrize("module", PACKAGE, ids=lambda module: str(module.relative_to(ROOT)))
def test_a_variable_says_what_it_holds(module):
    functions = [
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.Lambda)
    ]
    names = {
        node.arg if isinstance(node, ast.arg) else node.id
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    }
    assert not names & {"found", "given", "known"}, "rule 6"
