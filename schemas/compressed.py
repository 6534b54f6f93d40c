"""Files plain or compressed (.gz, .xz, .zst), read in bounded memory; what is cut short is an error, never shorter."""

import gzip
import io
import lzma
import zlib
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO, Final, cast

import zstandard

COMPRESSED: Final = (".gz", ".xz", ".zst")
UNREADABLE: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
_CHUNK_BYTES = 64 * 1024
_COMPRESSED_BYTES = 4 * 1024  # at once; what comes out of it may be a hundred times as much


def kind_of(path: Path) -> tuple[str, str]:
    """The suffix of a file's content and that of its compression, each "" where there is none."""
    suffixes = [each.lower() for each in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED else ""
    return suffixes[-1] if suffixes else "", compression


def open_content(path: Path, compression: str) -> BinaryIO:
    """A stream of the uncompressed content; raises one of `UNREADABLE`, here or while it is read."""
    match compression:
        case ".gz":
            return cast("BinaryIO", gzip.open(path, "rb"))
        case ".xz":
            return cast("BinaryIO", lzma.open(path, "rb"))
        case ".zst":
            return cast("BinaryIO", io.BufferedReader(_ZstdReader(path), _CHUNK_BYTES))
    return path.open("rb")


def open_seekable(path: Path, compression: str) -> BinaryIO:
    """The same for formats that are read from their end: compressed content goes through a temporary file."""
    if not compression:
        return path.open("rb")
    with ExitStack() as stack:
        content = cast("BinaryIO", stack.enter_context(TemporaryFile()))
        with open_content(path, compression) as compressed:
            copyfileobj(compressed, content, _CHUNK_BYTES)
        content.seek(0)
        stack.pop_all()
    return content


class _ZstdReader(io.RawIOBase):
    """All frames, one after the other; unlike the library's readers, it notices that the last one is cut short."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            compressed = self._frame.unused_data if self._frame and self._frame.eof else b""
            compressed = compressed or self._file.read(_COMPRESSED_BYTES)
            if not compressed:
                return self._end()
            if self._frame is None or self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(self._frame.decompress(compressed))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _end(self) -> int:
        if self._frame is not None and not self._frame.eof:
            raise EOFError("compressed file ended before the end of its last frame")
        return 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
