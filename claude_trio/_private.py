"""Directories that only this user can enter, and files in them.

A program that runs for days must not count on its temporary files: many systems remove there what
nobody has used for a while. So whoever is about to use them has them restored.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "claude-trio-"
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700


def make_directory() -> Path:
    """Make a new directory for temporary files, which its user is to remove.

    Raises:
        OSError: It could not be made.
    """
    return Path(tempfile.mkdtemp(prefix=_PREFIX))


def restore_directory(path: Path) -> None:
    """Make a directory again if somebody has removed it.

    Its name is no secret, so somebody else may have put something in its place.

    Raises:
        OSError: It could not be made, or what is there may be entered by others.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_DIRECTORY_MODE)
    found = path.lstat()
    if not (stat.S_ISDIR(found.st_mode) and _is_ours(found, _DIRECTORY_MODE)):
        raise PermissionError(f"{path} is not the private directory that it was")


def write_file(path: Path, data: bytes) -> None:
    """Write a file, or replace it; who reads it sees the old one or the new one, each whole.

    Raises:
        OSError: It could not be written; the file is as it was.
    """
    unfinished = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with open(unfinished, "xb", opener=_open_private) as file:
            file.write(data)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


def restore_file(path: Path, data: bytes) -> None:
    """Write a file again unless it is there as it was written.

    Raises:
        OSError: It could not be written.
    """
    with contextlib.suppress(OSError):
        found = path.lstat()
        regular = stat.S_ISREG(found.st_mode) and _is_ours(found, _FILE_MODE)
        if regular and path.read_bytes() == data:
            return
    write_file(path, data)


def _is_ours(found: os.stat_result, mode: int) -> bool:
    return found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == mode
