"""What the loopback API answers: replies and errors as values, and how they look on the wire."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs
import trio

Block: TypeAlias = Mapping[str, Any]

#: How a streamed reply ends. ``stop``: as it should. ``cut``: the connection breaks behind the last
#: block. ``cut_block``: it breaks inside the last block. ``clean``: the body ends, as if complete,
#: before the message does. ``error``: an error event comes instead of the end. ``stall``: nothing
#: more comes, and the connection stays.
Ending: TypeAlias = Literal["stop", "cut", "cut_block", "clean", "error", "stall"]

_ids: Final = itertools.count(1)


def text(words: str) -> Block:
    """Return a text block."""
    return {"type": "text", "text": words}


def thinking(words: str, *, signature: str = "made-up-signature") -> Block:
    """Return a thinking block."""
    return {"type": "thinking", "thinking": words, "signature": signature}


def tool_use(name: str, arguments: Mapping[str, Any], *, id: str | None = None) -> Block:  # noqa: A002
    """Return a block by which the model asks for a tool."""
    return {
        "type": "tool_use",
        "id": id if id is not None else f"toolu_{next(_ids):08}",
        "name": name,
        "input": dict(arguments),
    }


@attrs.frozen(init=False)
class Reply:
    """One message of the model, and how it is sent.

    Args:
        content: Blocks, or strings for text blocks.
        stop_reason: Default: ``tool_use`` if there is such a block, else ``end_turn``.
        usage: Token counts that replace the made-up ones.
        message_id: Default: a new one.
        delay: Seconds before the response begins.
        pause: Seconds between two pieces of text.
        piece: How many characters a piece of text has.
        before: Waited for before the response begins.
        midway: Waited for behind the first piece of the first block.
        ending: How a streamed reply ends; see `Ending`.
    """

    content: tuple[Block, ...]
    stop_reason: str | None
    usage: Mapping[str, int]
    message_id: str
    delay: float
    pause: float
    piece: int
    before: trio.Event | None
    midway: trio.Event | None
    ending: Ending

    def __init__(
        self,
        *content: Block | str,
        stop_reason: str | None = "",
        usage: Mapping[str, int] | None = None,
        message_id: str | None = None,
        delay: float = 0.0,
        pause: float = 0.0,
        piece: int = 40,
        before: trio.Event | None = None,
        midway: trio.Event | None = None,
        ending: Ending = "stop",
    ) -> None:
        blocks = tuple(text(block) if isinstance(block, str) else block for block in content)
        if stop_reason == "":
            calls = any(block["type"] == "tool_use" for block in blocks)
            stop_reason = "tool_use" if calls else "end_turn"
        counts = {
            "input_tokens": 10,
            "output_tokens": 1 + sum(len(json.dumps(dict(block))) for block in blocks) // 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        }
        self.__attrs_init__(
            content=blocks,
            stop_reason=stop_reason,
            usage={**counts, **(usage or {})},
            message_id=message_id if message_id is not None else f"msg_{next(_ids):08}",
            delay=delay,
            pause=pause,
            piece=piece,
            before=before,
            midway=midway,
            ending=ending,
        )

    def message(self, model: str) -> dict[str, Any]:
        """Return the whole message, as a request without streaming gets it."""
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [dict(block) for block in self.content],
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": dict(self.usage),
        }

    def stream(self, model: str) -> Iterator[bytes]:
        """Yield the events of the streamed message, up to its ending."""
        message = self.message(model)
        message |= {"content": [], "stop_reason": None, "usage": {**self.usage, "output_tokens": 1}}
        yield sse("message_start", message=message)
        for index, block in enumerate(self.content):
            start, deltas = _in_pieces(block, self.piece)
            yield sse("content_block_start", index=index, content_block=start)
            for delta in deltas:
                yield sse("content_block_delta", index=index, delta=delta)
            if self.ending != "cut_block" or index < len(self.content) - 1:
                yield sse("content_block_stop", index=index)
        if self.ending == "error":
            yield sse("error", error={"type": "api_error", "message": "Internal server error"})
        if self.ending == "stop":
            end = {"stop_reason": self.stop_reason, "stop_sequence": None}
            yield sse("message_delta", delta=end, usage=dict(self.usage))
            yield sse("message_stop")


def _in_pieces(block: Block, size: int) -> tuple[Block, list[Block]]:
    """Return the block as it starts, and the deltas that fill it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [
                {"type": "text_delta", "text": piece} for piece in _cut(block["text"], size)
            ]
        case "thinking":
            signature = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {**block, "thinking": "", "signature": ""}, [
                *(
                    {"type": "thinking_delta", "thinking": piece}
                    for piece in _cut(block["thinking"], size)
                ),
                signature,
            ]
        case "tool_use":
            arguments = json.dumps(block["input"])
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece}
                for piece in _cut(arguments, size)
            ]
    return block, []  # any other block comes whole


def _cut(words: str, size: int) -> list[str]:
    return [words[i : i + size] for i in range(0, len(words), size)]


def sse(kind: str, **fields: Any) -> bytes:
    """Return one server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


@attrs.frozen
class HttpError:
    """An error response.

    Args:
        status: The HTTP status.
        type: The error's type, as the API names it.
        message: What it says.
        headers: Headers on top, for example ``retry-after`` or those of a usage limit.
        delay: Seconds before the response begins.
    """

    status: int
    type: str = "api_error"
    message: str = "made-up failure"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delay: float = 0.0

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        return {"type": "error", "error": {"type": self.type, "message": self.message}}
