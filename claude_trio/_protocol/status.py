"""The CLI's status file, ``sessions/<pid>.json``: what it says, and whether it is about our child.

The transcript does not tell everything: an interrupt before the first word leaves no record, and a
dialog leaves silence. This small file, which the CLI rewrites in place, does.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from .objects import parse_object

#: The states in which the CLI waits for a prompt (``shell``: idle, with a background shell).
AT_REST: Final = frozenset({"idle", "shell"})
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@attrs.frozen
class Status:
    """One reading of a status file.

    Attributes:
        state: ``idle``, ``busy``, ``shell`` or ``waiting``; None until the CLI is ready.
        waiting_for: What a CLI that is ``waiting`` waits for, for example ``permission prompt``.
        changed_at: When `state` last changed, in milliseconds since the epoch, by the CLI's clock.
        session_id: The conversation that the process is in now.
        version: The CLI's version.
    """

    state: str | None = None
    waiting_for: str | None = None
    changed_at: int | None = None
    session_id: str | None = None
    version: str | None = None

    @property
    def at_rest(self) -> bool:
        """Whether the CLI waits for a prompt."""
        return self.state in AT_REST


def parse_status(data: bytes) -> Status | None:
    """Return what a status file says; None if it is being rewritten and must be read again."""
    raw = parse_object(data)
    if raw is None:
        return None

    def text(key: str) -> str | None:
        return value if isinstance(value := raw.get(key), str) else None

    session_id = text("sessionId")
    changed_at = raw.get("statusUpdatedAt")
    return Status(
        state=text("status"),
        waiting_for=text("waitingFor"),
        changed_at=changed_at if isinstance(changed_at, int) else None,
        # The transcript is named by it, so anything else would be another file.
        session_id=session_id if _ID.fullmatch(session_id or "") else None,
        version=text("version"),
    )
