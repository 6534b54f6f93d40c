"""What a change from one JSON Schema to another breaks, for those who rely on the old one. Pure.

What is read must go on accepting what its producers send; what is written must go on carrying what its
readers rely on. Properties and enum values may be added: whoever does not know one is to ignore it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SYNTAX: Final = ("format", "pattern")
_INFINITY: Final = float("inf")


def breaks_producers(old: Schema, new: Schema) -> list[str]:
    """Why records that `old` accepted may be refused by `new`, one clause each."""
    before, after = _places(old), _places(new)
    changes = []
    for path, place in after.items():
        was = before.get(path)
        if place.required and not (was and was.required) and _parent(path) in before:
            changes.append(f"`{path}` is required now")
        if was:
            changes += [f"`{path}` {change}" for change in _refused(was, place)]
    return changes


def breaks_readers(old: Schema, new: Schema) -> list[str]:
    """Why what records of `old` carried may be missing or different in those of `new`, one clause each."""
    before, after = _places(old), _places(new)
    changes = []
    for path, was in before.items():
        place = after.get(path)
        if place is None:
            changes += [f"`{path}` is gone"] if _parent(path) in after else []
            continue
        if was.required and not place.required:
            changes.append(f"`{path}` may be absent now")
        changes += [f"`{path}` may be {name} now" for name in place.types if was.type(name) is None]
    return changes


@dataclass(frozen=True)
class _Place:
    """Where a value stands in a record, and what it may be."""

    required: bool
    types: dict[str, Schema]  # JSON type to its constraints

    def type(self, name: str) -> Schema | None:
        return self.types.get(name) or (self.types.get("number") if name == "integer" else None)


def _places(schema: Schema) -> dict[str, _Place]:
    """Every place of a record: `parent.child`, `list[]`, `dict{}`; the record itself is the empty path."""
    return dict(_walk(schema, schema, "", required=True))


def _walk(node: Schema, root: Schema, path: str, required: bool) -> Iterator[tuple[str, _Place]]:
    options = [_resolved(option, root) for option in _resolved(node, root).get("anyOf", [node])]
    yield path, _Place(required, {option.get("type", "anything"): option for option in options})
    for option in options:
        for name, child in option.get("properties", {}).items():
            yield from _walk(child, root, f"{path}.{name}".lstrip("."), name in option.get("required", ()))
        for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(option.get(key), dict):
                yield from _walk(option[key], root, path + mark, required=False)


def _resolved(node: Schema, root: Schema) -> Schema:
    reference = node.get("$ref")
    return root["$defs"][reference.rsplit("/", 1)[1]] if reference else node


def _parent(path: str) -> str | None:
    if path.endswith(("[]", "{}")):
        return path[:-2]
    return path.rpartition(".")[0] if path else None


def _refused(before: _Place, after: _Place) -> Iterator[str]:
    for name, old in before.types.items():
        new = after.type(name)
        if new is None:
            yield f"may no longer be {name}"
        else:
            yield from _narrowed(old, new)


def _narrowed(old: Schema, new: Schema) -> Iterator[str]:
    for key in _LOWER:
        if new.get(key, -_INFINITY) > old.get(key, -_INFINITY):
            yield f"has a higher {key}"
    for key in _UPPER:
        if new.get(key, _INFINITY) < old.get(key, _INFINITY):
            yield f"has a lower {key}"
    for key in _SYNTAX:
        if key in new and new[key] != old.get(key):
            yield f"has a stricter {key}"
    if (values := _values(new)) is not None:
        gone = [str(value) for value in _values(old) or ["anything else"] if value not in values]
        yield from (f"may no longer be {value}" for value in gone)


def _values(node: Schema) -> list[Any] | None:
    """What an enum allows; pydantic writes one of a single value as `const`."""
    return [node["const"]] if "const" in node else node.get("enum")
