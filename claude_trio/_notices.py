"""Tells sessions at once that one of their files was written, where the system can tell.

This is a wake-up and nothing more: sessions look at their files now and then anyway, so a notice
that is lost, or a system without notices, costs time and never an event. On Linux the notices are
inotify's, of which one descriptor serves all sessions of a backend; a user has 128 of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final

import attrs
import trio

from ._util import one_exception

_IN_MODIFY: Final = 0x2
_IN_CREATE: Final = 0x100
_IN_MOVED_TO: Final = 0x80
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name behind it


@attrs.define(eq=False)
class FileNotices:
    """Calls somebody back when a file of a certain name is written in a watched directory.

    Args:
        descriptor: inotify's; None where there is none.
    """

    descriptor: int | None = None
    _callbacks: dict[bytes, Callable[[], None]] = attrs.field(factory=dict)
    _directories: set[Path] = attrs.field(factory=set)

    def watch(self, file: Path, callback: Callable[[], None]) -> bool:
        """Ask for notices of one file; return whether they will come.

        The directory is made if it is not there; the file need not be there.
        """
        if self.descriptor is None:
            return False
        if file.parent not in self._directories:
            try:
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError:
                return False
            mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
            if _libc().inotify_add_watch(self.descriptor, os.fsencode(file.parent), mask) < 0:
                return False
            self._directories.add(file.parent)
        self._callbacks[os.fsencode(file.name)] = callback
        return True

    def forget(self, file: Path) -> None:
        """Want no more notices of a file."""
        self._callbacks.pop(os.fsencode(file.name), None)

    async def run(self, scope: trio.CancelScope) -> None:  # noqa: ASYNC910 - a task
        """Deliver notices until the scope is cancelled."""
        with scope:
            while self.descriptor is not None:
                await trio.lowlevel.wait_readable(self.descriptor)
                with contextlib.suppress(BlockingIOError):
                    self._deliver(os.read(self.descriptor, 65_536))

    def _deliver(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            *_, length = _EVENT.unpack_from(data, start)
            start += _EVENT.size
            name = data[start : start + length].rstrip(b"\0")
            start += length
            if (callback := self._callbacks.get(name)) is not None:
                callback()


@contextlib.asynccontextmanager
async def open_notices() -> AsyncGenerator[FileNotices, None]:
    """Have notices for the length of a block, as far as the system gives any.

    They come to the end of the block even if it is cancelled.
    """
    descriptor = None
    if sys.platform == "linux":
        got = _libc().inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        descriptor = got if got >= 0 else None  # none left for this user: do without
    notices = FileNotices(descriptor)
    try:
        with one_exception() as body:
            async with trio.open_nursery() as nursery:
                # Made here: a task that shields itself could be cancelled before it has.
                scope = trio.CancelScope(shield=True)
                nursery.start_soon(notices.run, scope)
                try:
                    with body:
                        yield notices
                finally:
                    scope.cancel()
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
