"""Tables in the documentation say what the code does."""

from pathlib import Path

from consumer.resolve import RESOLUTIONS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_resolve_table_is_the_code_s() -> None:
    """docs/exactly_once.md shows each row of the table by which claims are decided, in its order."""
    page = (DOCS / "exactly_once.md").read_text()
    shown = page.split("<!-- resolve table")[1].split("<!-- end of resolve table -->")[0].splitlines()[3:]
    assert shown == [f"| {row.changelog} | {row.view} | `{row.outcome.name}` | {row.action} |" for row in RESOLUTIONS]
