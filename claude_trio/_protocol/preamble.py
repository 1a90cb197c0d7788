"""What the CLI tells the model at the beginning of a conversation, beside the user's first message.

It stands in the transcript, as attachments behind that message. A transcript that is written by hand
has none, and the CLI would put them beside the newest message instead: the model is told the same, but
the request has nothing in common with those before, so nothing of it is in the API's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .past import chain_of

#: Those that are about the process and its surroundings, and not about what the user said.
_TYPES: Final = frozenset(
    {
        *("environment", "model", "session_context", "date", "auto_mode", "total_tokens_reminder"),
        *("deferred_tools_delta", "agent_listing_delta", "skill_listing"),
        *("instructions", "remote_session_change"),
    }
)
_KEPT: Final = ("type", "attachment", "rendered", "renderedRole", "renderedBesideToolResult")


def preamble_of(records: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...] | None:
    """Return the preamble in the records of a transcript that the CLI has begun.

    It is what leads from the first message to its answer; the records may stand in any order, as
    2.1.197 may write an answer before its prompt.

    Returns:
        The attachments; None if the first message has no answer yet, or not all of that is there.
    """
    known = {r["uuid"]: r for r in records if isinstance(r.get("uuid"), str)}
    for answer in (record for record in known.values() if record.get("type") == "assistant"):
        between: list[Mapping[str, Any]] = []
        for record in chain_of(known, answer.get("parentUuid")):
            if record.get("type") != "attachment":
                if record.get("type") == "user" and record.get("parentUuid") is None:
                    return tuple(map(_bare, reversed([r for r in between if _is_part(r)])))
                break
            between.append(record)
    return None


def _is_part(record: Mapping[str, Any]) -> bool:
    attachment = record.get("attachment")
    return isinstance(attachment, Mapping) and attachment.get("type") in _TYPES


def _bare(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: record[key] for key in _KEPT if key in record}
