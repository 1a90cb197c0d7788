"""`JsonlWatcher`: follows a transcript as it is written. Also the reader of the status file.

Files have no event to wait for, so both look now and then. A look is one `stat`; no descriptor stays
open between two.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from ._protocol.records import LineBuffer, Record, parse_record
from ._protocol.status import Status, parse_status
from .errors import MessageParseError
from .options import log_unreadable

_CHUNK: Final = 1 << 18
#: Two writes within one tick of the file system's clock look like one. Until a time stamp is this
#: old, what it is about is read at every look.
CLOCK_TICK_NS: Final = 100_000_000


class JsonlWatcher(trio.abc.ReceiveChannel[Record]):
    """The records of a transcript, from an offset on, as they are written.

    Use it as any receive channel (``async for record in JsonlWatcher(path)``); it never ends by
    itself. The file need not exist yet, and may be replaced. A record is delivered when its line is
    complete, and every record is delivered once, whatever its type.

    Args:
        path: The transcript.
        offset: The byte to start at; the beginning of a line.
        interval: Seconds between two looks at the file.
        on_parse_error: Called with the error for every line that is no record; the default logs it.
            What it raises comes out of `read` or `receive`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        offset: int = 0,
        interval: float = 0.1,
        on_parse_error: Callable[[MessageParseError], None] = log_unreadable,
    ) -> None:
        self.path: Path = Path(path)
        self.interval = interval
        self._on_parse_error = on_parse_error
        self._offset = offset
        self._file_id: tuple[int, int] | None = None
        self._lines = LineBuffer()
        self._unparsed: collections.deque[bytes] = collections.deque()
        self._ready: collections.deque[Record] = collections.deque()
        self._closed = False
        #: Whether the last look stopped at its bound, before the end of the file.
        self.behind: bool = False

    def __repr__(self) -> str:
        return f"<JsonlWatcher {str(self.path)!r} at byte {self._offset}>"

    def read(self) -> list[Record]:
        """Look once, without waiting; return the records of the lines that were completed.

        At most a quarter of a megabyte is read in one look; `behind` tells whether that was all.
        """
        self._look()
        records = [*self._ready]
        self._ready.clear()
        return records

    def _look(self) -> None:
        # Lines and records are kept in the object: the callback may raise between two of them.
        data = self._read_bytes()  # first: it may begin a new buffer
        self._unparsed.extend(self._lines.feed(data))
        while self._unparsed:
            line = self._unparsed.popleft()
            if not line.strip():
                continue
            try:
                record = parse_record(line)
            except MessageParseError as error:
                self._on_parse_error(error)
            else:
                self._ready.append(record)

    def _start_over(self) -> None:
        """The file was deleted, replaced or cut: what stands there next is new from its start."""
        self._file_id, self._offset, self._lines = None, 0, LineBuffer()

    def _read_bytes(self) -> bytes:
        self.behind = False
        try:
            found = os.stat(self.path)  # noqa: PTH116 - called some hundred times a second
        except FileNotFoundError:
            if self._file_id is not None:
                self._start_over()
            return b""
        if self._file_id == (found.st_dev, found.st_ino) and found.st_size == self._offset:
            return b""
        try:
            with self.path.open("rb", buffering=0) as file:
                # Of what was opened: another file may have taken the name meanwhile.
                found = os.fstat(file.fileno())
                file_id = (found.st_dev, found.st_ino)
                if self._file_id not in {None, file_id} or found.st_size < self._offset:
                    self._start_over()
                self._file_id = file_id
                file.seek(self._offset)
                data = file.read(_CHUNK) or b""
        except FileNotFoundError:
            return b""
        self._offset += len(data)
        self.behind = len(data) == _CHUNK
        return data

    async def receive(self) -> Record:
        """Return the next record, waiting for it as long as it takes.

        Cancelling loses nothing: the record comes with the next call.

        Raises:
            trio.ClosedResourceError: `aclose` has been called.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._ready:
                return self._ready.popleft()
            self._look()
            await trio.sleep(0 if self._ready or self.behind else self.interval)
        raise trio.ClosedResourceError("this watcher has been closed")

    async def aclose(self) -> None:
        """Stop watching; later calls of `receive` raise. Cancelling it does not undo that."""
        self._closed = True
        await trio.lowlevel.checkpoint()


def create_transcript(path: Path, data: bytes) -> None:
    """Make a transcript that is complete from the moment it has its name.

    Raises:
        OSError: It could not be written, or there is one already.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.link(unfinished, path)  # unlike a rename, it fails where the name is taken
    finally:
        unfinished.unlink()


def append(path: Path, data: bytes) -> int:
    """Add to a transcript that is there, all or nothing; return its size then.

    Raises:
        OSError: There is none, or it could not be written; it is as it was.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        before = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError:
            os.ftruncate(descriptor, before)  # half a line would spoil the next one
            raise
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


class StatusFile:
    """The status file of one CLI process, ``sessions/<pid>.json``.

    Args:
        config_directory: Where the CLI keeps its sessions.
        pid: The CLI's process.
    """

    def __init__(self, config_directory: Path, pid: int) -> None:
        self.path = config_directory / "sessions" / f"{pid}.json"
        self._seen: tuple[int, int] | None = None
        self._status: Status | None = None
        #: Whether the file was there when it was last looked for.
        self.found: bool = False

    def read(self) -> Status | None:
        """Return what the file says now; None while there is none, or it was never to be reached.

        Raises:
            OSError: It was read before and cannot be read now.
        """
        self.found = False
        try:
            found = os.stat(self.path)  # noqa: PTH116 - called some hundred times a second
            self.found = True
            seen = (found.st_mtime_ns, found.st_size)
            if seen != self._seen or time.time_ns() - found.st_mtime_ns < CLOCK_TICK_NS:
                status = parse_status(self.path.read_bytes())
                # Half rewritten: keep what was read before, and read again at the next look.
                if status is not None:
                    self._seen, self._status = seen, status
        except OSError as exc:
            if self._status is not None and not isinstance(exc, FileNotFoundError):
                raise
            self._seen = self._status = None
        return self._status

    def remove(self, session_id: str) -> None:
        """Delete the file, and the key beside it, of a process that cannot do it any more.

        Args:
            session_id: The conversation of that process; the file of another one is left alone.
        """
        status = self.read()
        if status is None or status.session_id != session_id:
            return
        for path in (self.path, *self.path.parent.glob(f"{self.path.stem}.*.key")):
            path.unlink(missing_ok=True)
