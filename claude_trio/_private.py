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
from typing import Final, Self

import attrs

_PREFIX: Final = "claude-trio-"
_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = 0o077


@attrs.frozen
class PrivateDirectory:
    """A directory for temporary files, which its user is to remove.

    Attributes:
        path: Where it is.
    """

    path: Path
    #: What it was like when it was new: some file systems have owners and modes of their own.
    _owner: int
    _mode: int

    @classmethod
    def make(cls) -> Self:
        """Make a new one.

        Raises:
            OSError: It could not be made.
        """
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        made = path.lstat()
        return cls(path, made.st_uid, made.st_mode)

    def restore(self) -> None:
        """Make it again if somebody has removed it.

        Its name is no secret, so somebody else may have put something in its place.

        Raises:
            OSError: It could not be made, or what is there may be entered by others.
        """
        with contextlib.suppress(FileExistsError):
            self.path.mkdir(mode=_DIRECTORY_MODE)
        found = self.path.lstat()
        if (self._owner, self._mode) != (found.st_uid, found.st_mode):
            raise PermissionError(f"{self.path} is not the private directory that it was")


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
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and not mode & _OTHERS and path.read_bytes() == data:
            return
    write_file(path, data)
