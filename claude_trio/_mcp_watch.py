"""`McpWatch`: which MCP servers one CLI has connected to."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import attrs

from ._protocol.mcp_status import parse_mcp_status
from .events import SystemMessage

_MOST: Final = 1 << 20  # bytes that are read at one look


@attrs.define(eq=False)
class McpWatch:
    """Reads the debug file of one process.

    Args:
        path: Where the process writes it; None if nothing is to be known.
    """

    path: Path | None = None
    #: What was told last, by server: ``connected``, or why it is not.
    servers: dict[str, str] = attrs.field(factory=dict)
    _offset: int = 0

    def create(self) -> None:
        """Make the file, which nobody else can read: the CLI itself would let others."""
        if self.path is not None:
            with contextlib.suppress(OSError):  # then there is nothing to be read
                self.path.touch(mode=0o600)

    def remove(self) -> None:
        """Remove the file of a process that has ended."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def read(self, session_id: str) -> list[SystemMessage]:
        """Return what has become of servers since the last look. What cannot be read is not there.

        Args:
            session_id: The conversation.
        """
        told: list[SystemMessage] = []
        for line in self._new_lines():
            event = parse_mcp_status(line.decode(errors="replace"), session_id)
            if event is None:
                continue
            server, state = event.data["server"], event.data["error"] or event.data["status"]
            if self.servers.get(server) != state:  # it is tried again, and again
                self.servers[server] = state
                told.append(event)
        return told

    def _new_lines(self) -> list[bytes]:
        if self.path is None:
            return []
        try:
            if os.stat(self.path).st_size <= self._offset:  # noqa: PTH116 - called at every look
                return []
            with self.path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read(_MOST)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1] or (data if len(data) == _MOST else b"")
        self._offset += len(whole)
        return whole.splitlines()
