"""The table of what is bought next, as `ebbtide train next-items` writes it."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from consumer.core.triggers import NextItems
from consumer.errors import ConfigurationError

_TABLE = TypeAdapter(dict[str, tuple[str, ...]])


def load_next_items(path: Path | None) -> NextItems:
    """Item to the items bought next; empty without a file. Raises `ConfigurationError`."""
    if path is None:
        return {}
    try:
        return _TABLE.validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"next_items_file: cannot read {path}: {error.strerror or error}") from error
    except ValidationError as error:
        [first, *_] = error.errors(include_url=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"next_items_file: {path} is no table of `ebbtide train next-items`: {where}{': ' if where else ''}"
            f"{first['msg']}"
        ) from error
