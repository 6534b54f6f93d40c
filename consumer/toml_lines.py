"""Where in a TOML file each key stands, which the standard library's parser does not tell."""

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping

KeyPath = tuple[str | int, ...]  # as ("tiers", 0, "threshold")


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of the nearest table around it; 1 where there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line on which every key and table of a valid TOML text begins, from 1.

    What is nested in a value (an inline table, an array of them) counts to the line on which the value begins.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    seen: Counter[KeyPath] = Counter()  # how many elements each array of tables has so far
    for start, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _table(content, seen)
            lines.setdefault(table, start)
        else:
            for path in _paths(content, table):
                lines.setdefault(path, start)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers and assignments with the line on which they begin; a value goes on until the parser is content."""
    pending, start = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        pending, start = (f"{pending}\n{line}", start) if pending else (line, number)
        try:
            tomllib.loads(pending)
        except tomllib.TOMLDecodeError:
            continue
        yield start, pending
        pending = ""


def _table(header: object, seen: Counter[KeyPath]) -> KeyPath:
    """The path that a header opens; within an array of tables it is the latest element that is meant."""
    path: KeyPath = ()
    while header:
        if isinstance(header, list):
            path = (*path, seen[path])
            seen[path[:-1]] += 1
            header = header[0]
        elif isinstance(header, dict):
            [(name, header)] = header.items()
            path = (*path, name)
            if isinstance(header, dict) and seen[path]:
                path = (*path, seen[path] - 1)
    return path


def _paths(value: object, path: KeyPath) -> Iterator[KeyPath]:
    items: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        items = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))
