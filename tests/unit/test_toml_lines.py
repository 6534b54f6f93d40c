"""Where keys stand in a TOML text."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.toml_lines import KeyPath, key_lines, line_of

TEXT = '''# a comment
grace_days = 7
"quoted key" = 1

[[tiers]]
name = "a"  # [not] = a header
threshold = 0.5

[[tiers]]
name = """
[several]
lines = 1
"""
threshold = [
  1,
  2,
]
[tiers.inner]
deep = true

[quiet_hours]
from = 22:00:00
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("grace_days",), 2),
        (("quoted key",), 3),
        (("tiers", 0), 5),
        (("tiers", 0, "name"), 6),
        (("tiers", 0, "threshold"), 7),
        (("tiers", 1, "name"), 10),
        (("tiers", 1, "threshold"), 14),
        (("tiers", 1, "threshold", 1), 14),
        (("tiers", 1, "inner", "deep"), 19),
        (("quiet_hours",), 21),
        (("quiet_hours", "from"), 22),
    ],
)
def test_every_key_has_its_line(path: KeyPath, line: int) -> None:
    """In tables, in arrays of tables, and after values of several lines."""
    assert key_lines(TEXT)[path] == line


@pytest.mark.parametrize(
    ("path", "line"), [(("tiers", 1, "missing"), 9), (("quiet_hours", "to"), 21), (("nothing", 3), 1)]
)
def test_what_is_missing_is_missing_from_its_table(path: KeyPath, line: int) -> None:
    """The nearest table around it is where a person looks."""
    assert line_of(key_lines(TEXT), path) == line


def test_dotted_keys_and_inline_tables() -> None:
    """What is nested in one line stands on that line."""
    lines = key_lines('a = 1\nactions.caps = { coupon = 3, "win back" = 4 }\nb.c.d = 5')
    assert (lines["actions", "caps", "win back"], lines["b", "c"], lines["b", "c", "d"]) == (2, 3, 3)


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x7f", exclude_categories=["Cc"]), max_size=5)
VALUES = st.integers(0, 9) | st.booleans() | st.just('#[x]\n"""=') | st.lists(st.integers(0, 9), max_size=3)


@given(st.lists(st.tuples(KEYS, VALUES, st.integers(0, 2)), max_size=8, unique_by=lambda each: each[0]))
def test_every_key_of_any_table_is_found(entries: list[tuple[str, object, int]]) -> None:
    """Keys of any spelling, values over several lines, blank lines between: each is where it was written."""
    lines, where = [], {}
    for key, value, blank in entries:
        lines += [""] * blank
        where[key] = len(lines) + 1
        lines += f"{quoted(key)} = {spread(value)}".split("\n")
    text = "\n".join(lines)
    assert tomllib.loads(text) == {key: value for key, value, _ in entries}
    assert {path[0]: line for path, line in key_lines(text).items() if len(path) == 1} == where


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def spread(value: object) -> str:
    """A value over as many lines as it may have."""
    if isinstance(value, list):
        return "[\n" + "".join(f"  {each},\n" for each in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value).lower()
