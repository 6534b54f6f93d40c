"""The table of what is bought next, as the service reads it."""

from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.next_items import load_next_items


def test_a_table_is_read(tmp_path: Path) -> None:
    """Item to items, in order; no file is an empty table."""
    (tmp_path / "next.json").write_text('{"a": ["b", "c"], "é": []}')
    assert load_next_items(tmp_path / "next.json") == {"a": ("b", "c"), "é": ()}
    assert load_next_items(None) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "is no table of `ebbtide train next-items`: Input should be an object"),
        ('{"a": [1]}', "is no table of `ebbtide train next-items`: a.0: Input should be a valid string"),
        ("{", "is no table of `ebbtide train next-items`: Invalid JSON"),
        (None, "cannot read .*next.json: No such file or directory"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    """The error names the setting, the file and what is wrong with it."""
    path = tmp_path / "next.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=f"next_items_file: .*{reason}"):
        load_next_items(path)
