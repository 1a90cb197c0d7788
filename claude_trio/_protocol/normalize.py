"""Records into events.

One record gives at most one event. A block that does not fit its type is kept as an `UnknownBlock`
rather than costing the rest of its message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import cattrs

from ..events import (
    AssistantMessage,
    ContentBlock,
    Event,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    UnknownBlock,
    Usage,
    UserMessage,
)
from .records import CONVERTER, Record

#: Record types by which the CLI keeps its own books. They are in the transcript, and a
#: `JsonlWatcher` delivers them, but they say nothing about the conversation and some are large
#: (60 KB in a turn of one word), so a turn does not yield them.
BOOKKEEPING: Final = frozenset(
    {
        "agent-name",
        "ai-title",
        "api-request",
        "api-request-blob",
        "api-request-shape",
        "atis-latch",
        "attachment",
        "cost-state",
        "custom-title",
        "file-history-delta",
        "file-history-snapshot",
        "last-prompt",
        "mode",
        "permission-mode",
        "queue-operation",
        "summary",
        "tools-used",
    }
)

#: How the CLI begins the record by which it marks an interrupted turn.
INTERRUPT_MARK: Final = "[Request interrupted by user"


def normalize(record: Record, *, parent_tool_use_id: str | None = None) -> Event | None:
    """Return the event that a record stands for.

    Args:
        record: A record of a transcript, as `parse_record` returns it.
        parent_tool_use_id: The tool call whose subagent wrote the record, where one did.

    Returns:
        The event; None for the types in `BOOKKEEPING`, but for an attachment that tells of servers
        that failed, which is a `SystemMessage` of the subtype ``mcp_failed``, and for one by which a
        running turn took up a prompt, which is a `UserMessage`. A type that is not known becomes a
        `SystemMessage` with the type as its subtype.
    """
    failed, absorbed = _failed_servers(record), record.absorbed_prompt
    if record.type in BOOKKEEPING and not failed and absorbed is None:
        return None
    common: dict[str, Any] = {
        "session_id": record.session_id,
        "uuid": record.uuid,
        "timestamp": record.timestamp,
        "parent_tool_use_id": parent_tool_use_id,
        "raw": record.raw,
    }
    if record.type == "assistant":
        return AssistantMessage(
            content=structure_blocks(record),
            model=_text(record.message.get("model")),
            message_id=_text(record.message.get("id")),
            stop_reason=_text(record.message.get("stop_reason")),
            usage=structure_usage(record.message.get("usage")),
            error=_text(record.raw.get("error")) if record.is_api_error else None,
            **common,
        )
    if absorbed is not None:
        return UserMessage(
            content=(TextBlock(absorbed),), origin=_absorbed_origin(record), **common
        )
    if record.type == "user":
        content = structure_blocks(record)
        return UserMessage(content=content, origin=_origin(record, content), **common)
    subtype = "mcp_failed" if failed else record.subtype or record.type
    return SystemMessage(subtype=subtype, data=record.raw, **common)


def _failed_servers(record: Record) -> bool:
    """Whether the record tells of MCP servers that could not be reached."""
    attachment = record.raw.get("attachment") if record.type == "attachment" else None
    return isinstance(attachment, Mapping) and bool(attachment.get("failedMcpServers"))


def _absorbed_origin(record: Record) -> str:
    # A task that has ended is told of in the same way.
    mode = record.raw.get("attachment", {}).get("commandMode")
    return "prompt" if mode == "prompt" else "auto"


def structure_blocks(record: Record) -> tuple[ContentBlock, ...]:
    """Return the typed blocks of a record's message."""
    return tuple(_block(raw) for raw in record.blocks)


def structure_usage(raw: object) -> Usage:
    """Return the token counts of an API message; a count that is missing or no number is 0."""
    if not isinstance(raw, Mapping):
        return Usage()
    return Usage(
        **{name: n for name in _USAGE_FIELDS if type(n := raw.get(name)) is int and n >= 0}
    )


_USAGE_FIELDS: Final = tuple(Usage().to_dict())


def _block(raw: Mapping[str, Any]) -> ContentBlock:
    try:
        return CONVERTER.structure(raw, ContentBlock)  # type: ignore[arg-type]  # a union
    except (cattrs.BaseValidationError, TypeError):
        return UnknownBlock(type=str(raw.get("type", "")), raw=raw)


def _origin(record: Record, content: tuple[ContentBlock, ...]) -> str:
    if any(isinstance(block, ToolResultBlock) for block in content):
        return "tool"
    if record.is_command or (record.prompt_source in {"typed", "queued"} and not record.is_meta):
        return "prompt"
    if record.text.startswith(INTERRUPT_MARK):
        return "interrupt"
    return "auto" if record.prompt_source == "system" else "cli"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
