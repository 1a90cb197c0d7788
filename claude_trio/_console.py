"""`Console`: standard input, output and error of the command line, without ever blocking the loop.

The three are shared with other programs, so they are not made non-blocking: that would change them for
everybody. Instead each read or write waits until it would not block, and then is a small one.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import unicodedata
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

#: Exit codes of a command whose output is lost.
UNWRITABLE: Final = 74
UNREAD: Final = 141

_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
#: What a pipe takes without blocking when it takes anything. A terminal promises less.
_PIECE: Final = min(select.PIPE_BUF, 256)
_CHUNK: Final = 1 << 16
_NARROW: Final = 80
_ERASE_LINE: Final = "\r\x1b[K"
#: All that a terminal would take for more than a character, but for tabs and line breaks.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class OutputError(Exception):
    """The output cannot be written; nothing else of the command has failed.

    Attributes:
        code: The exit code that says so.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {error.strerror}")
        self.code = UNREAD if isinstance(error, BrokenPipeError) else UNWRITABLE


def fill_standard_streams() -> None:
    """Open what this program was started without, so that nothing else gets its number."""
    for descriptor, name in ((_STDIN, "stdin"), (_STDOUT, "stdout"), (_STDERR, "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            mode = "r" if descriptor == _STDIN else "w"
            setattr(sys, name, open(descriptor, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115


def printable(text: str) -> str:
    """Return a text that a terminal shows and does not obey."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def colours_wanted() -> bool:
    """Whether the output goes to a person who has not said no to colours."""
    return os.isatty(_STDOUT) and not os.environ.get("NO_COLOR")


def fit(text: str, width: int) -> str:
    """Return a text on one line of a terminal, cut where it would not fit.

    Args:
        text: The text; line breaks and tabs become spaces.
        width: How many columns there are.
    """
    line = " ".join(printable(text).split())
    if sum(map(_columns_of, line)) <= width:
        return line
    shown, left = "", width - 1  # the last column is for the mark
    for character in line:
        left -= _columns_of(character)
        if left < 0:
            break
        shown += character
    return f"{shown}…"


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@attrs.define(eq=False)
class Console:
    """What the command line reads and writes.

    One task may read while others write; the pieces of two writers are never mixed.
    """

    #: Whether a person sees the output while it is written.
    live: bool = attrs.field(factory=lambda: os.isatty(_STDOUT))
    #: Whether a person sees the notes.
    watched: bool = attrs.field(factory=lambda: os.isatty(_STDERR))
    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    #: Whether what was written last has left the cursor behind something.
    _in_line: bool = False
    _progress: bool = False

    async def write(self, text: str, *, styled: bool = False) -> None:
        """Write to the output. A terminal gets only characters; another program gets all of it.

        The progress line goes, even for an empty text. Cancelling may cut the text.

        Args:
            text: The text.
            styled: Whether it holds colours, and else nothing that a terminal would obey.

        Raises:
            OutputError: It cannot be written.
        """
        if self.live and not styled:
            text = printable(text)
        async with self._lock:
            await self._erase()
            try:
                await _write(_STDOUT, text)
            except OSError as exc:
                raise OutputError(exc) from exc
            if text:
                self._in_line = not text.endswith("\n")

    async def note(self, text: str) -> None:
        """Write a line of its own to where errors go; if that is gone, nothing."""
        async with self._lock:
            await self._erase()
            # On a terminal both are the same screen.
            begin = "\n" if self._in_line and self.live and self.watched else ""
            self._in_line = self._in_line and not begin
            await _tell(f"{begin}{printable(text)}\n")

    async def progress(self, text: str) -> None:
        """Show a line that the next one replaces, where a person sees it and nothing is in its way."""
        async with self._lock:
            if self.watched and not (self._in_line and self.live):
                await _tell(f"{_ERASE_LINE}{fit(text, _columns())}")
                self._progress = True

    async def _erase(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._progress:
            self._progress = False
            await _tell(_ERASE_LINE)

    async def read_input(self, patience: float | None = None) -> bytes | None:
        """Read the input to its end.

        Cancelling loses what had been read.

        Args:
            patience: Seconds to wait for its first byte; default: any time.

        Returns:
            What there was; None if nothing came in time.
        """
        with trio.move_on_after(float("inf") if patience is None else patience) as limit:
            await _until(trio.lowlevel.wait_readable, _STDIN)
        if limit.cancelled_caught:
            return None
        chunks: list[bytes] = []
        while chunk := os.read(_STDIN, _CHUNK):
            chunks.append(chunk)
            await _until(trio.lowlevel.wait_readable, _STDIN)
        return b"".join(chunks)


async def _write(descriptor: int, text: str) -> None:
    # Half of a surrogate pair stands in no UTF-8; in JSON this is its escape.
    data = memoryview(text.encode("utf-8", "backslashreplace"))
    await trio.lowlevel.checkpoint()
    while data:
        await _until(trio.lowlevel.wait_writable, descriptor)
        data = data[os.write(descriptor, data[:_PIECE]) :]


async def _tell(text: str) -> None:
    await trio.lowlevel.checkpoint()
    with contextlib.suppress(OSError):  # where errors go is gone, so nobody wants to know
        await _write(_STDERR, text)


async def _until(ready: Callable[[int], Awaitable[None]], descriptor: int) -> None:
    await trio.lowlevel.checkpoint()
    with contextlib.suppress(PermissionError):  # a file never lets anybody wait
        await ready(descriptor)


def _columns() -> int:
    with contextlib.suppress(OSError):
        return os.get_terminal_size(_STDERR).columns or _NARROW
    return _NARROW
