"""gettext catalogues: the source (.po) read, and compiled to what the `gettext` module loads (.mo). Pure.

What GNU gettext calls for and the catalogues here use: msgid, msgid_plural, msgstr, msgstr[n], continued lines,
comments and the fuzzy flag; no contexts, no obsolete entries. (GNU gettext manual, "The Format of PO Files" and "The
Format of GNU MO Files".)
"""

import ast
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_KEYWORD = re.compile(r'(msgid|msgid_plural|msgstr|msgstr\[(\d)\])\s+(".*")')
_MAGIC = 0x950412DE


class CatalogueError(Exception):
    """A catalogue cannot be used; the message says which, where and why."""


@dataclass
class Entry:
    """One message and its translations; several if it has plural forms."""

    line: int
    is_fuzzy: bool = False
    source: str = ""
    plural: str = ""
    translations: dict[int, str] = field(default_factory=dict)

    @property
    def is_translated(self) -> bool:
        """Whether every form says something that a translator has seen."""
        return bool(self.translations) and all(self.translations.values()) and not self.is_fuzzy


def parse(text: str, name: str) -> dict[str, Entry]:
    """The entries of a .po file by msgid; raises `CatalogueError` naming file and line."""
    entries: dict[str, Entry] = {}
    for entry in _entries(text, name):
        if entry.source in entries:
            raise CatalogueError(f"{name}:{entry.line}: {entry.source!r} is translated twice")
        entries[entry.source] = entry
    return entries


def _entries(text: str, name: str) -> Iterator[Entry]:
    entry, last, is_fuzzy = Entry(0), "", False
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if not line or line.startswith("#"):
            is_fuzzy = is_fuzzy or (line.startswith("#,") and "fuzzy" in line)
            continue
        found = _KEYWORD.fullmatch(line if not line.startswith('"') else f"{last} {line}")
        if not found or (found[1] != "msgid" and not entry.line):
            raise CatalogueError(f"{name}:{number}: neither a comment nor part of a message: {line!r}")
        if found[1] == "msgid" and not line.startswith('"'):
            if entry.line:
                yield entry
            entry, is_fuzzy = Entry(number, is_fuzzy), False
        last = found[1]
        _extend(entry, last, int(found[2] or 0), _unquoted(found[3], f"{name}:{number}"))
    if entry.line:
        yield entry


def _extend(entry: Entry, keyword: str, form: int, value: str) -> None:
    if keyword == "msgid":
        entry.source += value
    elif keyword == "msgid_plural":
        entry.plural += value
    else:
        entry.translations[form] = entry.translations.get(form, "") + value


def _unquoted(quoted: str, where: str) -> str:
    try:
        return str(ast.literal_eval(quoted))
    except (SyntaxError, ValueError) as error:
        raise CatalogueError(f"{where}: {quoted} is no quoted text") from error


def compiled(entries: Iterable[Entry]) -> bytes:
    """A .mo file: where sources and translations begin, sorted, then the texts. Untranslated ones are left out."""
    pairs = sorted(
        (
            "\0".join([entry.source, entry.plural] if entry.plural else [entry.source]).encode(),
            "\0".join(text for _, text in sorted(entry.translations.items())).encode(),
        )
        for entry in entries
        if entry.is_translated
    )
    texts = [source for source, _ in pairs] + [translation for _, translation in pairs]
    tables_at = 7 * 4
    at = tables_at + 8 * len(texts)
    places = []
    for text in texts:
        places += [len(text), at]
        at += len(text) + 1
    header = struct.pack("<7I", _MAGIC, 0, len(pairs), tables_at, tables_at + 8 * len(pairs), 0, tables_at)
    return header + struct.pack(f"<{len(places)}I", *places) + b"".join(text + b"\0" for text in texts)
