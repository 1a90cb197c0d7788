"""What the scripted model says: replies, errors and faults, and their shapes in the Messages API.

Pure values: nothing here knows sockets or trio's scheduler; events are only carried.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import attrs
import trio

from .._protocol.message_errors import ERROR_TYPES

#: A content block in the shape of the Messages API.
Block: TypeAlias = Mapping[str, Any]


def text(content: str) -> dict[str, Any]:
    """Make a text block.

    Args:
        content: The text.
    """
    return {"type": "text", "text": content}


def thinking(content: str, signature: str = "bG9vcGJhY2s=") -> dict[str, Any]:
    """Make a thinking block.

    Args:
        content: What is thought.
        signature: Default: a made-up one.
    """
    return {"type": "thinking", "thinking": content, "signature": signature}


def redacted_thinking(data: str = "bG9vcGJhY2s=") -> dict[str, Any]:
    """Make a block of thinking that nobody can read.

    Args:
        data: It, encrypted. Default: made up.
    """
    return {"type": "redacted_thinking", "data": data}


# Not `input`, the API's name: it would hide the built-in.
def tool_use(name: str, arguments: Mapping[str, Any], id: str | None = None) -> dict[str, Any]:  # noqa: A002
    """Make a tool call.

    Args:
        name: The tool, such as ``Bash``.
        arguments: Its ``input``.
        id: The id that the tool's result will name. Default: a new one.
    """
    call_id = f"toolu_{secrets.token_hex(12)}" if id is None else id
    return {"type": "tool_use", "id": call_id, "name": name, "input": dict(arguments)}


@attrs.frozen
class Cut:
    """A fault: the answer ends too early.

    Args:
        after: ``"request"``: nothing is answered. ``"headers"``: nothing but the headers. A
            number: so many content blocks were finished; 0 is right after ``message_start``.
        events: Counts events of the stream instead, and overrides `after`.
        how: ``"close"``: the connection is closed. ``"reset"``: it is reset. ``"end"``: the body
            ends in good order, but without ``message_stop``.
        delay: Seconds between what was sent and the end. A client that gets both at once may
            never look at what was sent.
    """

    after: Literal["request", "headers"] | int = 1
    events: int | None = attrs.field(default=None, kw_only=True)
    how: Literal["close", "reset", "end"] = attrs.field(default="close", kw_only=True)
    delay: float = attrs.field(default=0.0, kw_only=True)


@attrs.frozen
class ErrorEvent:
    """A fault: the stream reports an error, and ends.

    An answer that is no stream becomes the HTTP error with this `type` and `message`.

    Args:
        type: The type of error.
        message: Its text.
        after: The number of content blocks that were finished; 0 is right after ``message_start``.
        events: Counts events of the stream instead, and overrides `after`.
    """

    type: str = "overloaded_error"
    message: str = "Overloaded"
    after: int = attrs.field(default=1, kw_only=True)
    events: int | None = attrs.field(default=None, kw_only=True)


@attrs.frozen(init=False)
class Reply:
    """One message of the scripted model, and how it is sent.

    Args:
        *blocks: Content blocks, made by `text`, `thinking`, `redacted_thinking` and `tool_use`, or
            any other dict; a string is a text block.
        stop_reason: Default: ``tool_use`` if there is a tool call, else ``end_turn``. None is sent
            as null.
        usage: Token counts that replace or add to the made-up ones.
        message_id: Default: a new one each time it is sent.
        headers: More HTTP headers of the response.
        delay: Seconds before the response headers.
        first_token_delay: Seconds between ``message_start`` and the first content block.
        interval: Seconds between two deltas.
        end_delay: Seconds between the last content block and the stop reason.
        chunk: Characters in a delta. With 4 a delta is about a token, and `interval` is the time
            that the model takes for one.
        hold_before: Nothing is sent, not even headers, until this is set.
        hold_after: After the first delta of block `hold_block` (after its start, if it has no
            delta) nothing is sent until this is set. One that is never set makes a stalled stream;
            leaving `open_loopback_api` ends it. An answer that is no stream is held behind its
            headers.
        hold_block: The index of the block that `hold_after` means.
        fault: What goes wrong, if anything does.
    """

    blocks: tuple[Block, ...]
    stop_reason: str | None
    usage: Mapping[str, Any]
    message_id: str | None
    headers: Mapping[str, str]
    delay: float
    first_token_delay: float
    interval: float
    end_delay: float
    chunk: int
    hold_before: trio.Event | None
    hold_after: trio.Event | None
    hold_block: int
    fault: Cut | ErrorEvent | None

    def __init__(
        self,
        *blocks: str | Block,
        stop_reason: str | None = "auto",
        usage: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        first_token_delay: float = 0.0,
        interval: float = 0.0,
        end_delay: float = 0.0,
        chunk: int = 24,
        hold_before: trio.Event | None = None,
        hold_after: trio.Event | None = None,
        hold_block: int = 0,
        fault: Cut | ErrorEvent | None = None,
    ) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1 character, not {chunk}")
        content = tuple(text(block) if isinstance(block, str) else block for block in blocks)
        if stop_reason == "auto":
            calls = any(block.get("type") == "tool_use" for block in content)
            stop_reason = "tool_use" if calls else "end_turn"
        self.__attrs_init__(
            blocks=content,
            stop_reason=stop_reason,
            usage=usage or {},
            message_id=message_id,
            headers=headers or {},
            delay=delay,
            first_token_delay=first_token_delay,
            interval=interval,
            end_delay=end_delay,
            chunk=chunk,
            hold_before=hold_before,
            hold_after=hold_after,
            hold_block=hold_block,
            fault=fault,
        )

    def to_message(self, model: str) -> dict[str, Any]:
        """Return the finished message, as an answer without a stream holds it.

        Args:
            model: The name of the model that the message says it is from.
        """
        written = sum(len(json.dumps(block)) for block in self.blocks) // 4 + 1
        usage = {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": written,
            "service_tier": "standard",
            **self.usage,
        }
        return {
            "id": self.message_id or f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [dict(block) for block in self.blocks],
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def to_events(self, model: str) -> list[dict[str, Any]]:
        """Return the data of all events of the stream, one after another.

        Args:
            model: The name of the model that the message says it is from.
        """
        message = self.to_message(model)
        usage = message["usage"]
        start = {
            **message,
            "content": [],
            "stop_reason": None,
            "usage": {**usage, "output_tokens": min(1, usage["output_tokens"])},
        }
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(message["content"]):
            shell, deltas = _start_and_deltas(block, self.chunk)
            events.append({"type": "content_block_start", "index": index, "content_block": shell})
            events += (
                {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
            )
            events.append({"type": "content_block_stop", "index": index})
        end = {"stop_reason": self.stop_reason, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": end, "usage": usage})
        events.append({"type": "message_stop"})
        return events


@attrs.frozen
class HttpError:
    """An answer that is an HTTP error.

    Args:
        status: The status code.
        type: The type of error in the body. Default: the API's own for this status.
        message: Its text.
        headers: More HTTP headers, such as ``retry-after``.
        delay: Seconds before the response headers.
        hold_before: Nothing is sent until this is set.
    """

    status: int
    type: str = attrs.field(
        default=attrs.Factory(lambda e: ERROR_TYPES.get(e.status, "api_error"), takes_self=True),
        kw_only=True,
    )
    message: str = attrs.field(default="made-up error", kw_only=True)
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)
    delay: float = attrs.field(default=0.0, kw_only=True)
    hold_before: trio.Event | None = attrs.field(default=None, kw_only=True)

    def to_body(self, request_id: str) -> dict[str, Any]:
        """Return the JSON body.

        Args:
            request_id: The id that the response's header ``request-id`` has too.
        """
        error = {"type": self.type, "message": self.message}
        return {"type": "error", "error": error, "request_id": request_id}


def fault_position(events: list[dict[str, Any]], fault: Cut | ErrorEvent) -> int:
    """Return how many events are sent before a fault, at most all of them.

    Args:
        events: The whole stream.
        fault: The fault; not one that ends the answer before its headers.
    """
    if fault.events is not None:
        return min(fault.events, len(events))
    if fault.after == "headers":
        return 0
    if fault.after == 0:
        return 1
    finished = 0
    for position, event in enumerate(events, start=1):
        finished += event["type"] == "content_block_stop"
        if finished == fault.after:
            return position
    return len(events)


def hold_position(events: list[dict[str, Any]], block: int) -> int:
    """Return how many events are sent before the stream is held in a block.

    Args:
        events: The whole stream.
        block: The index of the block; if there is none the stream is held after its first event.
    """
    for wanted in ("content_block_delta", "content_block_start"):
        for position, event in enumerate(events, start=1):
            if event["type"] == wanted and event["index"] == block:
                return position
    return 1


def _start_and_deltas(block: Block, chunk: int) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Take a block apart: what its start holds, and what its deltas add."""
    match block.get("type"):
        case "text":
            deltas = ({"type": "text_delta", "text": p} for p in _pieces(block["text"], chunk))
            return {**block, "text": ""}, deltas
        case "thinking":
            return {**block, "thinking": "", "signature": ""}, _thinking_deltas(block, chunk)
        case "tool_use" | "server_tool_use":
            arguments = json.dumps(block["input"], ensure_ascii=False)
            pieces = _pieces(arguments, chunk)
            deltas = ({"type": "input_json_delta", "partial_json": p} for p in pieces)
            return {**block, "input": {}}, deltas
        case _:
            return dict(block), iter(())


def _thinking_deltas(block: Block, chunk: int) -> Iterator[dict[str, Any]]:
    for piece in _pieces(block["thinking"], chunk):
        yield {"type": "thinking_delta", "thinking": piece}
    yield {"type": "signature_delta", "signature": block.get("signature", "")}


def _pieces(content: str, size: int) -> Iterator[str]:
    return (content[i : i + size] for i in range(0, len(content), size))
