"""What the CLI's debug file tells of MCP servers: the only place where each connection shows."""

from __future__ import annotations

import re
from typing import Final

from ..events import SystemMessage

#: As 2.1.197 and 2.1.331 write them.
_LINE: Final = re.compile(
    r'\S+ \[\w+\] MCP server "(?P<name>[^"]+)": '
    r"(?:Successfully connected|Connection failed after [^:]*: (?P<error>.*))"
)


def parse_mcp_status(line: str, session_id: str) -> SystemMessage | None:
    """Return what a line of a debug file says of the connection to a server; None if nothing.

    Args:
        line: The line.
        session_id: The conversation of the CLI that has written it.
    """
    found = _LINE.match(line)
    if found is None:
        return None
    error = found["error"]
    data = {
        "type": "mcp_status",
        "server": found["name"],
        "status": "connected" if error is None else "failed",
        "error": error,
    }
    return SystemMessage(subtype="mcp_status", data=data, session_id=session_id)
