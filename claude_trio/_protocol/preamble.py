"""What the CLI tells the model at the beginning of a conversation, beside the user's first message.

It stands in the transcript, as attachments behind that message. A transcript that is written by hand
has none, and the CLI would put them beside the newest message instead: the model is told the same, but
the request has nothing in common with those before, so nothing of it is in the API's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

#: Those that are about the process and its surroundings, and not about what the user said.
_TYPES: Final = frozenset(
    {
        *("environment", "model", "session_context", "date", "auto_mode", "total_tokens_reminder"),
        *("deferred_tools_delta", "agent_listing_delta", "skill_listing"),
        *("instructions", "remote_session_change"),
    }
)
_KEPT: Final = ("type", "attachment", "rendered", "renderedRole", "renderedBesideToolResult")


def preamble_of(records: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the preamble in the records of a transcript that the CLI has begun."""
    found: list[Mapping[str, Any]] = []
    begun = False
    for record in records:
        match record.get("type"):
            case "user" if not begun:
                begun = True
            case "user" | "assistant":
                break
            case "attachment" if begun and record["attachment"].get("type") in _TYPES:
                found.append({key: record[key] for key in _KEPT if key in record})
    return tuple(found)
