"""The events of a turn as one message of the Messages API, whole or as the events of its stream.

The whole message is made of the stream, so the two never differ in what they say.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from ..errors import BackendError
from ..events import (
    AssistantMessage,
    ContentBlock,
    Event,
    ResultMessage,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
    UserMessage,
)
from .message_errors import error_response

#: Which of the model's blocks a message has; see `MessageStream`.
Shown: TypeAlias = Literal["text", "all"]
#: An event of a stream, as data.
StreamEvent: TypeAlias = dict[str, Any]

#: Keeps a connection alive while the model is silent; may stand anywhere behind ``message_start``.
PING: Final[Mapping[str, str]] = {"type": "ping"}
_LIMITS: Final = ("max_tokens", "model_context_window_exceeded")
#: Turns that fail in the words of this package and end a message in those of the API.
_STOPS: Final[Mapping[str, str]] = {"max_output_tokens": "max_tokens", "refusal": "refusal"}
#: How a turn can end that the model has not ended.
_PAUSED: Final = frozenset(
    {"interrupted", "stopped_by_hook", "error_max_turns", "error_max_budget_usd"}
)


@attrs.define
class MessageStream:
    """Makes the stream of one message of the Messages API out of the events of one turn.

    A turn in which the CLI ran tools by itself holds several API messages, with the tools' results
    between them. To a client it is one message, made by a model that took its time: the blocks of
    all of them in order, and the sum of what they used. Tool results have no place in it, nor has what
    subagents said. A tool that the CLI ran is nothing that the client is to answer, so the stop reason
    is ``tool_use`` only if the turn waits for a tool of the client's own; a client that gives such a
    message back leaves out the calls that have no result. A turn that was interrupted, or stopped by a
    hook or a limit of its turns or its cost, has the stop reason ``pause_turn``.

    Text comes as it is written where there are `TextDelta` events, else a block at a time. With them,
    texts that follow one another in one API message are one block, and it may begin before the
    thinking that the API put in front of a part of it.

    Args:
        shown: ``text``: the model's text, and calls of the client's tools. ``all``: its thinking too,
            and each tool call.
        client_tools: The names of the client's tools.
        model: The name that the message bears if a first text comes before the CLI has told it.
        stop_at_limit: Whether the message is over when one API message has met its bound of tokens,
            where the CLI would let the model go on three times; then the turn is to be left.
        request_id: The server's name for the request, which an ``error`` event bears.
    """

    shown: Shown = "text"
    client_tools: Collection[str] = ()
    model: str = ""
    stop_at_limit: bool = False
    request_id: str | None = None
    #: Whether the message is complete; what is fed after that is not taken.
    over: bool = attrs.field(default=False, init=False)
    #: What the ``error`` event tells of, if the stream has ended with one.
    failure: BackendError | None = attrs.field(default=None, init=False)
    _head: dict[str, Any] | None = attrs.field(default=None, init=False)
    _content: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    #: Whether the last block is one of text that may go on.
    _open: bool = attrs.field(default=False, init=False)
    #: What of the text was sent before its block was there.
    _ahead: str = attrs.field(default="", init=False)
    _usage: dict[str | None, Usage] = attrs.field(factory=dict, init=False)
    _current: str | None = attrs.field(default=None, init=False)
    _stop_reason: str | None = attrs.field(default=None, init=False)
    _stop_sequence: str | None = attrs.field(default=None, init=False)

    @property
    def begun(self) -> bool:
        """Whether a ``message_start`` was made: a failure is an event of the stream from then on."""
        return self._head is not None

    @property
    def message(self) -> dict[str, Any]:
        """The message so far; a whole one when `over`.

        Raises:
            ValueError: There is nothing yet.
        """
        if self._head is None:
            raise ValueError("these events hold no answer of the model's, nor the end of a turn")
        return {
            **self._head,
            "content": [dict(block) for block in self._content],
            "stop_reason": self._stop_reason,
            "stop_sequence": self._stop_sequence,
            "usage": self._total().to_dict(),
        }

    def feed(self, event: Event) -> list[StreamEvent]:
        """Take the next event of the turn; return what it adds to the stream."""
        if self.over:
            return []
        match event:
            case TextDelta(text=text, index=index):
                return self._live(text, begins=index == 0)
            case AssistantMessage() if _is_shown(event):
                return self._answer(event)
            case UserMessage(origin="cli", parent_tool_use_id=None) if self._at_limit:
                return self._end(self._stop_reason)
            case ResultMessage():
                return [*self._start(), *self._end(self._reason(event))]
        return []

    def fail(self, error: BackendError) -> list[StreamEvent]:
        """Take how the turn has failed; return what that adds to the stream.

        A model that came to a bound, or that refuses, ends its message in good order. Any other
        failure becomes an ``error`` event.

        Raises:
            BackendError: It itself, if the stream has not begun: then the answer to the request is
                `error_response`.
        """
        if self.over:
            return []
        if (stop := _STOPS.get(error.kind)) is not None:
            known = self._stop_reason in _LIMITS and stop == "max_tokens"
            return [*self._start(), *self._end(self._stop_reason if known else stop)]
        if self._head is None:
            raise error
        self.over, self.failure = True, error
        return [error_response(error, request_id=self.request_id).to_dict()]

    # -- what events say ------------------------------------------------------------------------

    @property
    def _at_limit(self) -> bool:
        return self.stop_at_limit and self._stop_reason in _LIMITS

    def _live(self, text: str, *, begins: bool) -> list[StreamEvent]:
        if begins and self._at_limit:
            return self._end(self._stop_reason)
        if begins and self._ahead:
            return self._broken()
        self._ahead += text
        return [*self._start(), *self._text(text)]

    def _answer(self, event: AssistantMessage) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if event.message_id != self._current:
            if self._at_limit:
                return self._end(self._stop_reason)
            self._current = event.message_id
        self._usage[event.message_id] = event.usage
        self._stop_reason = event.stop_reason
        sequence = event.raw.get("message", {}).get("stop_sequence")
        self._stop_sequence = sequence if isinstance(sequence, str) else None
        events += self._start(event)
        for block in event.content:
            events += self._block(block)
            if self.over:
                break
        return events

    def _block(self, block: ContentBlock) -> list[StreamEvent]:
        if isinstance(block, TextBlock):
            if not self._ahead:
                return [*self._text(block.text), *self._stop_text()]
            if not self._ahead.startswith(block.text):
                return self._broken()
            self._ahead = self._ahead[len(block.text) :]
            return [] if self._ahead else self._stop_text()
        if isinstance(block, ToolUseBlock):
            shown = self.shown == "all" or block.name in self.client_tools
        else:
            shown = self.shown == "all"
        return [*self._stop_text(), *self._whole(block)] if shown else []

    def _reason(self, result: ResultMessage) -> str:
        if result.subtype in _PAUSED:
            return "pause_turn"
        calls = any(block["type"] == "tool_use" for block in self._content)
        reason = result.stop_reason
        if reason == "tool_use" and result.subtype == "paused" and calls:
            return reason
        return "end_turn" if reason in {None, "tool_use"} else str(reason)

    def _broken(self) -> list[StreamEvent]:
        """End a stream whose text began again, after a connection broke: it cannot be taken back."""
        return self.fail(
            BackendError(
                "the connection to the model broke, and its text began again; send the request again",
                kind="truncated",
            )
        )

    # -- the stream -------------------------------------------------------------------------------

    def _start(self, event: AssistantMessage | None = None) -> list[StreamEvent]:
        if self._head is not None:
            return []
        told = (event.message_id, event.model) if event is not None else (None, None)
        self._head = {
            "id": told[0] or f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": told[1] or self.model,
        }
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        usage = attrs.evolve(self._total(), output_tokens=0).to_dict()
        return [{"type": "message_start", "message": {**self._head, **empty, "usage": usage}}]

    def _text(self, text: str) -> list[StreamEvent]:
        if not text:
            return []
        events: list[StreamEvent] = []
        if not self._open:
            events.append(
                self._begin_block({"type": "text", "text": ""}, {"type": "text", "text": ""})
            )
            self._open = True
        self._content[-1]["text"] += text
        return [*events, self._delta({"type": "text_delta", "text": text})]

    def _stop_text(self) -> list[StreamEvent]:
        if not self._open:
            return []
        self._open = False
        return [self._end_block()]

    def _whole(self, block: ContentBlock) -> list[StreamEvent]:
        whole = block.to_dict()
        match block:
            case ThinkingBlock(thinking, signature):
                shell = {**whole, "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": thinking}] if thinking else []
                deltas.append({"type": "signature_delta", "signature": signature})
            case ToolUseBlock(_, _, arguments):
                shell = {**whole, "input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": json.dumps(dict(arguments))}]
            case _:  # such as redacted thinking
                shell, deltas = whole, []
        begin = self._begin_block(whole, shell)
        return [begin, *(self._delta(delta) for delta in deltas), self._end_block()]

    def _begin_block(self, block: dict[str, Any], shell: Mapping[str, Any]) -> StreamEvent:
        self._content.append(block)
        return {"type": "content_block_start", "index": self._index, "content_block": dict(shell)}

    def _delta(self, delta: Mapping[str, Any]) -> StreamEvent:
        return {"type": "content_block_delta", "index": self._index, "delta": dict(delta)}

    def _end_block(self) -> StreamEvent:
        return {"type": "content_block_stop", "index": self._index}

    @property
    def _index(self) -> int:
        return len(self._content) - 1

    def _end(self, reason: str | None) -> list[StreamEvent]:
        self.over, self._stop_reason = True, reason
        if reason != "stop_sequence":
            self._stop_sequence = None
        stop = {"stop_reason": reason, "stop_sequence": self._stop_sequence}
        usage = self._total().to_dict()
        return [
            *self._stop_text(),
            {"type": "message_delta", "delta": stop, "usage": usage},
            {"type": "message_stop"},
        ]

    def _total(self) -> Usage:
        return sum(self._usage.values(), Usage())


def _is_shown(event: AssistantMessage) -> bool:
    """Whether it is the model's own answer: no subagent, no error, no filler of the CLI's."""
    ours = event.error is None and event.parent_tool_use_id is None
    return ours and event.model != "<synthetic>"


def to_message(
    events: Iterable[Event],
    *,
    shown: Shown = "text",
    client_tools: Collection[str] = (),
    error: BackendError | None = None,
) -> dict[str, Any]:
    """Return the events of a turn as one message of the Messages API; see `MessageStream`.

    Args:
        events: Those of a whole turn, in order.
        shown: ``text`` or ``all``.
        client_tools: The names of the client's tools.
        error: How the turn has failed, if it did.

    Raises:
        ValueError: The events are not those of a whole turn.
        BackendError: `error`, unless it is how a message of the API ends: the model came to its
            bound, or refuses.
    """
    stream = MessageStream(shown=shown, client_tools=client_tools)
    # What was to be said at once is in the blocks, too.
    for event in events:
        if not isinstance(event, TextDelta):
            stream.feed(event)
    if error is not None:
        if error.kind not in _STOPS:
            raise error
        stream.fail(error)
    if not stream.over:
        raise ValueError("these events are not a whole turn: its ResultMessage is missing")
    return stream.message


def to_sse(event: Mapping[str, Any]) -> bytes:
    """Return an event of a stream as server-sent events write it.

    Everything but ASCII is escaped, since some clients break lines at characters that are none.
    """
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode("ascii")
