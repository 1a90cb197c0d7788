"""`SessionLock`: only one of our backends at a time has a process in one conversation.

The CLI itself takes no such lock: two of it append to one transcript, and one of them is not seen any
more afterwards. A CLI that somebody else has started does not know this lock either; what can be told
of one is in its status file (`user_of`).

The lock is `flock(2)` on an empty file in a directory of this package's own, beside the CLI's
directories. The kernel releases it when the program ends, in whatever way. The file is removed with the
lock, and the directory with the last one. What a killed program leaves of them locks nothing, and is
removed by a backend that is opened later.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

_NAME: Final = "claude_trio-locks"
#: Seconds after which a file without a lock was left. A younger one may be just about to be locked.
_LEFT: Final = 60.0
_DECODER: Final = json.JSONDecoder()
_SLACK: Final = 2.0  # seconds by which the clocks of a status file and of the system may differ


class SessionLock:
    """The lock on one conversation; held from when it was made until `release`.

    A copy of this program that it forks without starting another one would hold it too.

    Args:
        config_directory: Where the CLI keeps its sessions.
        session_id: The conversation.

    Raises:
        BlockingIOError: Another backend has it, of this program or of another one.
        OSError: There can be no lock here.
    """

    def __init__(self, config_directory: Path, session_id: str) -> None:
        self._path = config_directory / _NAME / session_id
        self._descriptor = _lock(self._path)

    def release(self) -> None:
        """Give the lock back. Doing so twice is allowed."""
        if self._descriptor >= 0:
            # In this order: who has opened the file meanwhile finds that it is not there any more.
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = -1
            with contextlib.suppress(OSError):  # others are held
                self._path.parent.rmdir()


def _lock(path: Path) -> int:
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            # Not inherited by programs that are started: they would hold it.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the last lock was released, and the directory went with it
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was released, and its file removed, between the two calls


def is_locked(config_directory: Path, session_id: str) -> bool:
    """Return whether another backend has a conversation now, of this program or of another one."""
    if not (config_directory / _NAME / session_id).exists():
        return False  # and no lock is taken, which would be in the way of who wants it just now
    try:
        SessionLock(config_directory, session_id).release()
    except BlockingIOError:
        return True
    except OSError:
        return False  # there can be no lock; who takes it is told
    return False


def remove_left_locks(config_directory: Path) -> None:
    """Remove the files of locks that programs held when they were killed."""
    with contextlib.suppress(OSError):
        for path in (config_directory / _NAME).iterdir():
            with contextlib.suppress(OSError):  # it is held
                if time.time() - path.stat().st_mtime > _LEFT:
                    SessionLock(config_directory, path.name).release()


def user_of(config_directory: Path, session_id: str) -> int | None:
    """Return the pid of a CLI that is in a conversation now, whoever started it; None if none is."""
    for pid in _claimants(config_directory, session_id):
        return pid
    return None


def _claimants(config_directory: Path, session_id: str) -> Iterator[int]:
    try:
        files = [*(config_directory / "sessions").glob("*.json")]
    except OSError:
        return
    for file in files:
        try:
            # It is rewritten in place: for a moment the end of what stood there is behind it.
            status, _ = _DECODER.raw_decode(file.read_text(encoding="utf-8", errors="replace"))
            pid, claims = int(file.stem), status["sessionId"] == session_id
            # A CLI that was killed leaves its file, and its pid comes round again.
            started = status["startedAt"] / 1000 + _SLACK
            if claims and psutil.Process(pid).create_time() <= started:
                yield pid
        except (
            *(OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError),
            psutil.Error,
        ):
            continue  # none of a CLI, or of a process that is gone
