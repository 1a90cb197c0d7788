"""Events as ``claude -p`` prints them: the objects of its output formats ``json`` and ``stream-json``.

A field has the name that it has there wherever the fact is known here; what is not known is left out.
On top there are, in a result, `kind`, `resumed`, `context_window` and `rate_limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..errors import BackendError
from ..events import (
    AssistantMessage,
    Event,
    ResultMessage,
    SystemMessage,
    TextDelta,
    Usage,
    UserMessage,
)

#: How a turn may end without having failed.
_ENDED: Final = frozenset({"success", "local_command", "stopped_by_hook"})

#: Bounds that end a turn.
_BOUNDS: Final = frozenset({"error_max_turns", "error_max_budget_usd"})


def print_session(
    *, session_id: str, cwd: str, permission_mode: str, version: str | None
) -> dict[str, Any]:
    """Return the object that comes first in a stream.

    Args:
        session_id: The conversation.
        cwd: The directory that the CLI works in.
        permission_mode: What happens to calls of tools that no rule allows.
        version: The CLI's version, if it is known.
    """
    return {
        "type": "system",
        "subtype": "init",
        "cwd": cwd,
        "session_id": session_id,
        "permissionMode": permission_mode,
        "claude_code_version": version,
    }


def print_event(event: Event) -> dict[str, Any]:
    """Return the object for an event of a turn, or of a transcript."""
    common = {
        "session_id": event.session_id,
        "uuid": event.uuid,
        "timestamp": event.timestamp,
    }
    match event:
        case AssistantMessage():
            printed = {
                "type": "assistant",
                "message": {**event.to_dict(), **_message(event)},
                "parent_tool_use_id": event.parent_tool_use_id,
                **common,
                "request_id": event.raw.get("requestId"),
            }
            return {**printed, "error": event.error} if event.error else printed
        case UserMessage():
            printed = {
                "type": "user",
                "message": {**event.to_dict(), **_message(event)},
                "parent_tool_use_id": event.parent_tool_use_id,
                **common,
            }
            result = event.raw.get("toolUseResult")
            return {**printed, "tool_use_result": result} if result is not None else printed
        case SystemMessage():
            return {**event.data, "type": "system", "subtype": event.subtype, **common}
        case TextDelta():
            delta = {"type": "content_block_delta", "delta": event.to_dict()}
            return {
                "type": "stream_event",
                "event": delta,
                "parent_tool_use_id": event.parent_tool_use_id,
                **common,
            }
        case ResultMessage():
            return print_result(event)


def print_result(result: ResultMessage, error: BackendError | None = None) -> dict[str, Any]:
    """Return the object that comes last in a stream, and is all there is in the format ``json``.

    Args:
        result: How the turn ended.
        error: What it failed with.
    """
    ended = error is None and result.subtype in _ENDED
    kind = error.kind if error is not None else None if ended else result.subtype
    limits = result.rate_limits
    printed: dict[str, Any] = {
        "type": "result",
        "subtype": "success" if ended else _subtype(result, error),
        "is_error": not ended or result.is_error,
        "duration_ms": result.duration_ms,
        "duration_api_ms": result.duration_api_ms,
        "num_turns": result.num_turns,
        "result": result.result,
        "stop_reason": result.stop_reason,
        "session_id": result.session_id,
        "total_cost_usd": result.total_cost_usd,
        "usage": result.usage.to_dict(),
        "modelUsage": {name: _model_usage(used) for name, used in result.model_usage.items()},
        "kind": kind,
        "resumed": result.resumed,
        "context_window": attrs.asdict(result.context_window) if result.context_window else None,
        "rate_limits": limits and {name: attrs.asdict(one) for name, one in limits.items()},
    }
    if error is not None:
        printed["session_id"] = error.session_id or result.session_id
        printed["api_error_status"] = error.status
        if _refused_by_api(error):
            printed["result"] = error.message
        else:
            printed["errors"] = [error.message]
    elif ended:
        printed["api_error_status"] = None
    return printed


def _subtype(result: ResultMessage, error: BackendError | None) -> str:
    if error is None and result.subtype in _BOUNDS:
        return result.subtype
    # An error of the API is no error of the CLI's, so it says: see ``is_error``.
    return "success" if _refused_by_api(error) else "error_during_execution"


def _refused_by_api(error: BackendError | None) -> bool:
    """Whether the CLI has recorded an answer of the API that is an error."""
    return error is not None and any(
        isinstance(event, AssistantMessage) and event.error for event in error.partial
    )


def _message(event: AssistantMessage | UserMessage) -> Mapping[str, Any]:
    """Return the API message as it stands in the record, with what has no type here."""
    message = event.raw.get("message")
    return message if isinstance(message, Mapping) else {}


def _model_usage(used: Usage) -> dict[str, int]:
    return {
        "inputTokens": used.input_tokens,
        "outputTokens": used.output_tokens,
        "cacheReadInputTokens": used.cache_read_input_tokens,
        "cacheCreationInputTokens": used.cache_creation_input_tokens,
    }
