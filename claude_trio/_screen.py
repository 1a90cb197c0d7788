"""The last screenful of a terminal: bytes are kept, and rendered only when somebody asks."""

from __future__ import annotations

import collections
import re
from typing import Final

import pyte

_SEQUENCE: Final = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|.)?", re.DOTALL)
# The kitty keyboard's and xterm's own, which pyte would take for text in part.
_PRIVATE: Final = re.compile(rb"\x1b\[[<=>][0-?]*[ -/]*[@-~]")
# Enough for several full repaints of a large screen; the newest is what counts.
_KEPT_BYTES: Final = 65_536


class Screen:
    """Keeps the newest output of a program and shows what a terminal would show of it.

    Args:
        rows: The height of the terminal in lines.
        columns: The width of the terminal in cells.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._size = (columns, rows)
        self._chunks: collections.deque[bytes] = collections.deque()
        self._kept = 0

    def feed(self, data: bytes) -> None:
        """Take output; the oldest beyond a bound is let go."""
        self._chunks.append(data)
        self._kept += len(data)
        while self._kept - len(self._chunks[0]) >= _KEPT_BYTES:
            self._kept -= len(self._chunks.popleft())

    def resize(self, rows: int, columns: int) -> None:
        """Render at another size from now on."""
        self._size = (columns, rows)

    def render(self) -> str:
        """Return the lines on the screen, without blanks at their ends and blank lines around."""
        screen = pyte.Screen(*self._size)
        stream = pyte.ByteStream(screen)
        # Cut before each escape sequence: pyte raises at some that it does not know, and then only
        # that one is left out.
        first, *sequences = _PRIVATE.sub(b"", b"".join(self._chunks)).split(b"\x1b")
        for data in (first, *(b"\x1b" + sequence for sequence in sequences)):
            try:
                stream.feed(data)
            except Exception:  # noqa: BLE001 - whatever it is, the rest can still be drawn
                stream = pyte.ByteStream(screen)
                stream.feed(_SEQUENCE.sub(b"", data))
        # Not `screen.display`: it raises where a wide character was half overwritten. And without
        # blanks only: the CLI's empty input box ends in a no-break space.
        columns, rows = self._size
        lines = [
            "".join(screen.buffer[y][x].data for x in range(columns)).rstrip(" ")
            for y in range(rows)
        ]
        return "\n".join(lines).strip("\n")

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of text on the screen, blank ones left out."""
        text = [line for line in self.render().split("\n") if line.strip()]
        return "\n".join(text[-lines:])
