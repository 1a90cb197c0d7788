"""The files by which a CLI tells what it does, and when to look at them.

A session looks at its transcript and its status file each time it wakes up. It wakes up at once when
a notice comes, and otherwise after an interval: short where there are no notices, long where the
interval only has to let time-outs be noticed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from ._jsonl import JsonlWatcher, StatusFile, append, create_transcript
from ._notices import FileNotices
from ._protocol.records import Record
from ._protocol.status import Status
from ._protocol.transcript import project_key
from ._subagents import SubagentFiles
from .errors import MessageParseError
from .options import log_unreadable

# Seconds between two looks: while something is expected, and at rest.
_NOTIFIED_INTERVALS: Final = (0.1, 5.0)
_POLLED_INTERVALS: Final = (0.01, 0.5)


class SessionFiles:
    """The transcript and the status file of one conversation.

    Args:
        config_directory: Where the CLI keeps its sessions.
        cwd: The directory that it works in, links resolved.
        session_id: The conversation.
        notices: Tells when a file was written.
        on_parse_error: Called for each line of a transcript that is no record.
    """

    def __init__(
        self,
        config_directory: Path,
        cwd: Path,
        session_id: str,
        notices: FileNotices,
        on_parse_error: Callable[[MessageParseError], None] = log_unreadable,
    ) -> None:
        key = project_key(str(cwd))
        self.transcript: Path = config_directory / "projects" / key / f"{session_id}.jsonl"
        self.status = Status()
        self._config_directory = config_directory
        self.session_id = session_id
        self._notices = notices
        self._on_parse_error = on_parse_error
        self._watcher = JsonlWatcher(self.transcript, on_parse_error=on_parse_error)
        self._subagents = SubagentFiles(self.transcript, on_parse_error)
        self._status_file: StatusFile | None = None
        self._believed = False
        self._undo: Callable[[], object] = lambda: None
        self._intervals = _POLLED_INTERVALS
        self._wake = trio.Event()

    def begin_with(self, history: bytes) -> None:
        """Write the transcript that the CLI is to take up; what it adds is what will be read.

        Raises:
            OSError: It could not be written.
        """
        create_transcript(self.transcript, history)
        self._undo = self.transcript.unlink
        self._watcher = JsonlWatcher(
            self.transcript, offset=len(history), on_parse_error=self._on_parse_error
        )

    def begin_at_end(self, added: bytes = b"", undo: bytes = b"") -> None:
        """Take up a transcript that another process has written; what follows will be read.

        Args:
            added: What to add to it first.
            undo: What to add if the process that is to read it does not get ready.

        Raises:
            OSError: It cannot be read, or written; then it is as it was.
        """
        size = append(self.transcript, added)
        if undo:
            self._undo = partial(_append, self.transcript, undo)
        self._watcher = JsonlWatcher(
            self.transcript, offset=size, on_parse_error=self._on_parse_error
        )
        self._subagents.skip_present()

    def follow(self, session_id: str) -> None:
        """Go on with another conversation of the same process, which it has just begun.

        Args:
            session_id: The new conversation.
        """
        self._notices.forget(self.transcript)
        self.session_id = session_id
        self.transcript = self.transcript.with_name(f"{session_id}.jsonl")
        self._watcher = JsonlWatcher(self.transcript, on_parse_error=self._on_parse_error)
        self._subagents = SubagentFiles(self.transcript, self._on_parse_error)
        if not self._notices.watch(self.transcript, self.look_now):
            self._intervals = _POLLED_INTERVALS

    @contextlib.contextmanager
    def attached(self, pid: int) -> Generator[None, None, None]:
        """Follow the files of a process for the length of a block, and tidy up behind it.

        Args:
            pid: The process.
        """
        status_file = self._status_file = StatusFile(self._config_directory, pid)
        told = [
            self._notices.watch(file, self.look_now) for file in (self.transcript, status_file.path)
        ]
        self._intervals = _NOTIFIED_INTERVALS if all(told) else _POLLED_INTERVALS
        try:
            yield
        finally:
            for file in (self.transcript, status_file.path):
                self._notices.forget(file)

    def tidy_up(self, *, used: bool) -> None:
        """Remove the status file of a process that has ended and could not do it itself.

        Args:
            used: Whether the process has got ready; if not, what was written for it is undone.
        """
        with contextlib.suppress(OSError):
            if not used:
                self._undo()
        with contextlib.suppress(OSError):
            if self._status_file is not None:
                self._status_file.remove(self.session_id)

    def read_records(self) -> list[Record]:
        """Return the records that are new in the transcript, up to a bound."""
        return self._watcher.read()

    def read_subagents(self) -> list[tuple[Record, str]]:
        """Return the new records of subagents, each with the tool call that started its subagent."""
        return self._subagents.read()

    @property
    def behind(self) -> bool:
        """Whether `read_records` stopped at its bound, before the end of the transcript."""
        return self._watcher.behind

    def read_last_records(self) -> Iterator[Record]:
        """Return all records that are new, of a process that writes no more, as they are read."""
        yield from self._watcher.read()
        while self._watcher.behind:
            yield from self._watcher.read()

    def read_status(self) -> Status:
        """Return what the status file says now; an empty status while it says nothing."""
        status = self._status_file.read() if self._status_file is not None else None
        if status is not None and status.session_id == self.session_id:
            self._believed = True
        # A process that was killed leaves its file behind, and its pid comes round again. Once the
        # file was known for the own one, another id in it means another conversation of the same
        # process.
        if status is None or not self._believed:
            status = Status(version=self.status.version)
        self.status = status
        return status

    @property
    def has_status_file(self) -> bool:
        """Whether the process had a status file when it was last looked for."""
        return self._status_file is not None and self._status_file.found

    def look_now(self) -> None:
        """End the waiting for the next look."""
        self._wake.set()

    def begin_look(self) -> None:
        """Say that a look begins: a notice from now on is for the next one."""
        self._wake = trio.Event()

    async def wait_for_next_look(self, *, active: bool, reading: bool) -> None:
        """Wait until it is time to look again. Cancelling ends the waiting only.

        Args:
            active: Whether something is expected to happen.
            reading: Whether the next look will read the transcript.
        """
        interval = self._intervals[0 if active else 1]
        if reading and self.behind:
            interval = 0.0
        with trio.move_on_after(interval):
            await self._wake.wait()


def _append(path: Path, line: bytes) -> None:
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
        file.write(b"\n" + line if torn else line)
