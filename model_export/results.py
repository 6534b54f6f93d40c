"""Result rows to a file, part by part: CSV, JSON Lines (each plain, .gz, .xz or .zst) or Parquet."""

import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import BinaryIO, Final, cast

import polars as pl
import zstandard

from schemas.compressed import kind_of
from schemas.files import EventFileError

Write = Callable[[pl.DataFrame], None]
_TEXT: Final = (".csv", ".jsonl", ".ndjson")


def check_name(path: Path) -> None:
    """Raises `EventFileError` for a name that says no format which can be written."""
    suffix, compression = kind_of(path)
    if suffix == ".parquet" and compression:
        raise EventFileError(f"{path}: Parquet is compressed by itself; use .parquet")
    if suffix not in (*_TEXT, ".parquet"):
        raise EventFileError(
            f"{path}: unknown format {suffix!r}; use .csv or .jsonl, optionally .gz, .xz, .zst, or .parquet"
        )


@contextmanager
def results(path: Path) -> Iterator[tuple[Write, Path]]:
    """A function that appends rows, and a scratch folder beside `path`; `path` is replaced only by a whole result."""
    with whole_file(path) as partial:
        write = _parquet if partial.suffix == ".parquet" else _text
        with write(partial, kind_of(path)[1]) as append:
            yield append, partial.parent


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Another path to write to, in a scratch folder; what is there in the end takes the place of `path`, at once."""
    check_name(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        partial = folder / f"result{kind_of(path)[0]}"
        yield partial
        partial.replace(path)
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def _text(path: Path, compression: str) -> Iterator[Write]:
    with ExitStack() as stack:
        file = stack.enter_context(open_compressing(path, compression))
        header = path.suffix == ".csv"

        def append(rows: pl.DataFrame) -> None:
            nonlocal header
            text = rows.write_csv(include_header=header) if path.suffix == ".csv" else rows.write_ndjson()
            file.write(text.encode())
            header = False

        yield append


def open_compressing(path: Path, compression: str) -> BinaryIO:
    """A file whose content is compressed on its way (.gz, .xz, .zst), or not."""
    match compression:
        case ".gz":
            return cast("BinaryIO", gzip.open(path, "wb", compresslevel=6))
        case ".xz":
            return cast("BinaryIO", lzma.open(path, "wb"))
        case ".zst":
            return cast("BinaryIO", zstandard.open(path, "wb"))
    return path.open("wb")


@contextmanager
def _parquet(path: Path, compression: str) -> Iterator[Write]:
    parts = path.with_suffix("")
    parts.mkdir()
    names: list[Path] = []

    def append(rows: pl.DataFrame) -> None:
        names.append(parts / f"{len(names)}.parquet")
        rows.write_parquet(names[-1])

    yield append
    pl.scan_parquet(names).sink_parquet(path)
