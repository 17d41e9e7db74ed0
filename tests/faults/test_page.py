"""docs/faults.md is what the results make."""

from tests.faults.rows import DOCS, TITLES, page


def test_the_page_is_made_of_the_results():
    assert (DOCS / "faults.md").read_text(encoding="utf-8") == page()
    assert {file.stem for file in (DOCS / "faults").glob("*.json")} == set(TITLES)


def test_each_fault_has_a_test():
    names = set()
    for file in DOCS.parent.glob("tests/faults/test_*.py"):
        names |= {line.split("(")[0] for line in file.read_text(encoding="utf-8").splitlines()}
    assert {f"def test_{name.replace('-', '_')}" for name in TITLES} <= names
