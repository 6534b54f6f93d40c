"""The sentences of alerts in every language, from `consumer/locale`: checked whole before the first alert.

`python -m consumer.catalogues` compiles every .po file there to the .mo file beside it.
"""

import re
from collections.abc import Iterator
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Final

from consumer.core.reason_texts import MESSAGES, PLURALS, Languages
from consumer.errors import ConfigurationError
from consumer.po import CatalogueError, Entry, compiled, parse

LOCALE: Final = Path(__file__).parent / "locale"
LANGUAGES: Final = ("en", "zh")
DOMAIN: Final = "ebbtide"


def load_languages(locale: Path = LOCALE) -> Languages:
    """Translations by language; raises `ConfigurationError` with file, line and reason if one is missing."""
    return {language: _loaded(_source(locale, language)) for language in LANGUAGES}


def _source(locale: Path, language: str) -> Path:
    return locale / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def _loaded(source: Path) -> GNUTranslations:
    try:
        entries = _read(source)
        binary = source.with_suffix(".mo").read_bytes()
    except (CatalogueError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the sentences of alerts: {error}") from error
    for problem in problems(entries, str(source)):
        raise ConfigurationError(problem)
    if binary != compiled(entries.values()):
        raise ConfigurationError(
            f"{source.with_suffix('.mo')} is not what {source.name} compiles to: run `python -m consumer.catalogues`"
        )
    return GNUTranslations(BytesIO(binary))


def _read(source: Path) -> dict[str, Entry]:
    return parse(source.read_text(encoding="utf-8"), str(source))


def problems(entries: dict[str, Entry], name: str) -> Iterator[str]:
    """What is wrong with a catalogue: file, line and reason, one message each."""
    end = max((entry.line for entry in entries.values()), default=1)
    forms = _plural_forms(entries)
    for source, plural in (*((message, "") for message in MESSAGES), *PLURALS):
        entry = entries.get(source)
        if entry is None:
            yield f"{name}:{end}: the last entry is here, and there is none for {source!r}"
        elif entry.plural != plural:
            yield f"{name}:{entry.line}: the plural of {source!r} must be {plural!r}, not {entry.plural!r}"
        elif not entry.is_translated:
            yield f"{name}:{entry.line}: {source!r} is not translated{', but fuzzy' if entry.is_fuzzy else ''}"
        elif len(entry.translations) != (forms if plural else 1):
            yield f"{name}:{entry.line}: {source!r} must have {forms if plural else 1} translations (Plural-Forms)"
        else:
            yield from _misnamed(entry, name)


def _plural_forms(entries: dict[str, Entry]) -> int:
    header = entries[""].translations.get(0, "") if "" in entries else ""
    found = re.search(r"nplurals=(\d+)", header)
    return int(found[1]) if found else 0


def _misnamed(entry: Entry, name: str) -> Iterator[str]:
    """Translations that ask for what the sentence does not have, or leave out what it says."""
    expected = _fields(entry.source)
    for translation in entry.translations.values():
        if _fields(translation) != expected:
            yield f"{name}:{entry.line}: {translation!r} must have the fields {sorted(expected)}"


def _fields(text: str) -> set[str]:
    try:
        return {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except ValueError:
        return {"a brace that is not closed"}


def compile_all(locale: Path = LOCALE) -> None:
    """Write every .mo file."""
    for language in LANGUAGES:
        source = _source(locale, language)
        source.with_suffix(".mo").write_bytes(compiled(_read(source).values()))


if __name__ == "__main__":
    compile_all()
