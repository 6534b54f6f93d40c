"""Catalogues: what is committed is whole, and one that is not is refused with file, line and reason."""

import gettext
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.catalogues import LANGUAGES, LOCALE, compile_all, load_languages
from consumer.core.reason_texts import DAYS, MESSAGES, PLURALS
from consumer.errors import ConfigurationError
from consumer.po import CatalogueError, compiled, parse

HEADER = (
    'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n'
    '"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
)


@pytest.fixture
def locale(tmp_path: Path) -> Path:
    """A copy of the catalogues that may be spoilt."""
    return Path(shutil.copytree(LOCALE, tmp_path / "locale"))


def po(locale: Path, language: str = "zh") -> Path:
    return locale / language / "LC_MESSAGES" / "ebbtide.po"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_committed_is_what_the_source_compiles_to(language: str) -> None:
    """Every .mo file is, byte for byte, its compiled .po file."""
    source = po(LOCALE, language)
    assert source.with_suffix(".mo").read_bytes() == compiled(parse(source.read_text("utf-8"), str(source)).values())


def test_english_says_what_the_code_says() -> None:
    """The English catalogue repeats the source, so that it can be reworded in one place without touching the code."""
    english = load_languages()["en"]
    assert all(english.gettext(message) == message for message in MESSAGES)
    assert all((english.ngettext(*plural, 1), english.ngettext(*plural, 2)) == plural for plural in PLURALS)


def test_chinese_says_everything_otherwise() -> None:
    """No sentence is left in English."""
    chinese = load_languages()["zh"]
    assert [message for message in MESSAGES if chinese.gettext(message) == message] == []
    assert [plural for plural in PLURALS if chinese.ngettext(*plural, 2) == plural[1]] == []


def entry_of(text: str, source: str) -> tuple[str, int]:
    """An entry's text, and the line of its msgid."""
    start = text.index(f'msgid "{source}"')
    return text[start:].split("\n\n")[0], text[:start].count("\n") + 1


def _emptied(entry: str) -> str:
    return entry.split("msgstr")[0] + 'msgstr ""'


def _fuzzy(entry: str) -> str:
    return "#, fuzzy\n" + entry


def _without_field(entry: str) -> str:
    before, after = entry.split("msgstr", 1)
    return before + "msgstr" + after.replace("{now}", "")


def _with_brace(entry: str) -> str:
    before, after = entry.split("msgstr", 1)
    return before + "msgstr" + after.replace("{now}", "{now")


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (_emptied, "is not translated"),
        (_fuzzy, "is not translated, but fuzzy"),
        (_without_field, "must have the fields ['before', 'now']"),
        (_with_brace, "must have the fields ['before', 'now']"),
    ],
)
def test_a_missing_translation_is_refused(locale: Path, spoilt: Callable[[str], str], reason: str) -> None:
    """A sentence that is empty, fuzzy or lacks a figure stops the start; the message names file, line and reason."""
    text = po(locale).read_text("utf-8")
    entry, line = entry_of(text, "Purchases have become rarer: every {now} lately, every {before} earlier.")
    line += spoilt is _fuzzy
    po(locale).write_text(text.replace(entry, spoilt(entry)), "utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load_languages(locale)
    assert str(refused.value).startswith(f"{po(locale)}:{line}: ")
    assert reason in str(refused.value)


def test_a_sentence_that_is_not_there_is_refused(locale: Path) -> None:
    """An entry that was deleted is named, with the line at which the file ends."""
    text = po(locale).read_text("utf-8")
    entry, _ = entry_of(text, "today")
    po(locale).write_text(text.replace(entry + "\n\n", ""), "utf-8")
    with pytest.raises(
        ConfigurationError, match=r"ebbtide\.po:\d+: the last entry is here, and there is none for 'today'"
    ):
        load_languages(locale)


def test_a_plural_form_that_is_missing_is_refused(locale: Path) -> None:
    """English needs two forms of everything that is counted."""
    source = po(locale, "en")
    source.write_text(source.read_text("utf-8").replace('msgstr[1] "{n} days"\n', ""), "utf-8")
    with pytest.raises(ConfigurationError, match=r"'\{n\} day' must have 2 translations"):
        load_languages(locale)


def test_another_plural_is_refused(locale: Path) -> None:
    """A plural that the code does not ask for would never be found."""
    source = po(locale, "en")
    source.write_text(source.read_text("utf-8").replace('msgid_plural "{n} days"', 'msgid_plural "{n} weeks"'), "utf-8")
    with pytest.raises(ConfigurationError, match=r"the plural of '\{n\} day' must be '\{n\} days'"):
        load_languages(locale)


def test_a_stale_compilation_is_refused(locale: Path) -> None:
    """A .po file that was changed without compiling it says what to run; after that, the new sentence is told."""
    po(locale).write_text(po(locale).read_text("utf-8").replace("今天", "就在今天"), "utf-8")
    with pytest.raises(ConfigurationError, match=r"ebbtide\.mo is not what ebbtide\.po compiles to: run"):
        load_languages(locale)
    compile_all(locale)
    assert load_languages(locale)["zh"].gettext("today") == "就在今天"


@pytest.mark.parametrize("name", ["ebbtide.po", "ebbtide.mo"])
def test_a_missing_file_is_refused(locale: Path, name: str) -> None:
    """The message names it."""
    (po(locale).parent / name).unlink()
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        load_languages(locale)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("msgid x\n", 1, "neither a comment nor part of a message"),
        ('# note\n\nmsgstr "before any msgid"\n', 3, "neither a comment nor part of a message"),
        ('"before any keyword"\n', 1, "neither a comment nor part of a message"),
        ('msgid "a"\nmsgstr "b" c"\n', 2, "is no quoted text"),
        ('msgid "a"\nmsgstr "b"\n\nmsgid "a"\nmsgstr "c"\n', 4, "'a' is translated twice"),
    ],
)
def test_what_is_no_catalogue_is_refused(text: str, line: int, reason: str) -> None:
    """With file, line and reason."""
    with pytest.raises(CatalogueError) as refused:
        parse(text, "x.po")
    assert str(refused.value).startswith(f"x.po:{line}: ")
    assert reason in str(refused.value)


def test_gettext_reads_what_is_compiled() -> None:
    """Continued lines, escapes, plural forms and other scripts arrive as meant; the untranslated is left out."""
    text = HEADER + (
        '# a comment\nmsgid "one\\n"\n"\\"two\\""\nmsgstr "eins "\n"zwei é 二"\n\n'
        'msgid "{n} day"\nmsgid_plural "{n} days"\nmsgstr[0] "{n} Tag"\nmsgstr[1] "{n} Tage"\n\n'
        'msgid "later"\nmsgstr ""\n'
    )
    read = gettext.GNUTranslations(io.BytesIO(compiled(parse(text, "x.po").values())))
    assert read.gettext('one\n"two"') == "eins zwei é 二"
    assert [read.ngettext(*DAYS, count) for count in (1, 2)] == ["{n} Tag", "{n} Tage"]
    assert read.gettext("later") == "later"
