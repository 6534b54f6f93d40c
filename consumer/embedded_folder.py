"""Folders of embedded servers: locked by whoever needs them, removed where nobody does any more."""

import fcntl
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO

_PREFIX = "ebbtide-embedded-"
_NEW_FOLDER_S = 60.0


def new_folder_name(name: str) -> Path:
    """A folder in the system's place for temporary files that is not there yet."""
    return Path(tempfile.gettempdir()).absolute() / f"{_PREFIX}{name}-{secrets.token_hex(6)}"


def lock(folder: Path) -> IO[bytes]:
    """Mark a folder as in use, for as long as the file or an inherited copy of it is open."""
    owned = (folder / "owned").open("wb")
    fcntl.flock(owned, fcntl.LOCK_EX)
    return owned


def remove_abandoned_folders() -> None:
    """Remove what is left where even the guard was killed: folders that no living process holds locked."""
    for folder in Path(tempfile.gettempdir()).absolute().glob(f"{_PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """A lock rather than a process id: ids are reused, and differ between containers that share /tmp."""
    try:
        if time.time() - folder.stat().st_mtime < _NEW_FOLDER_S:
            return False  # its owner may be about to lock it
        with (folder / "owned").open("rb") as owned:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True
