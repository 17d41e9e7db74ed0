"""docs/compatibility.md is what the results make."""

from tests.modes.results import DOCS, page


def test_the_page_is_made_of_the_results():
    assert (DOCS / "compatibility.md").read_text(encoding="utf-8") == page()
