"""What a turn yields: frozen messages made of frozen blocks, in the shape of the Messages API.

The names and fields follow the vocabulary that users of the official SDK know. Every message
carries where it came from (`Message.raw` is the transcript record itself), so nothing that the CLI
wrote is lost by being typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs


@attrs.frozen
class TextBlock:
    """Text that the model wrote, or that a user sent."""

    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the block as the Messages API writes it."""
        return {"type": "text", "text": self.text}


@attrs.frozen
class ThinkingBlock:
    """The model's thinking, with the signature that lets it be sent back."""

    thinking: str
    signature: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the block as the Messages API writes it."""
        return {"type": "thinking", "thinking": self.thinking, "signature": self.signature}


@attrs.frozen
class ToolUseBlock:
    """The model asks for a tool; the CLI runs it."""

    id: str
    name: str
    input: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the block as the Messages API writes it."""
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": dict(self.input)}


@attrs.frozen
class ToolResultBlock:
    """What a tool returned: a text, or a tuple of raw content blocks."""

    tool_use_id: str
    content: str | tuple[Mapping[str, Any], ...] = ""
    is_error: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the block as the Messages API writes it."""
        content = self.content if isinstance(self.content, str) else [dict(b) for b in self.content]
        return {
            "type": "tool_result",
            "tool_use_id": self.tool_use_id,
            "content": content,
            "is_error": self.is_error,
        }


@attrs.frozen
class UnknownBlock:
    """A content block of a type that this package has no class for, kept as it is."""

    type: str
    raw: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the block as it was received."""
        return dict(self.raw)


ContentBlock: TypeAlias = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock | UnknownBlock


@attrs.frozen
class Usage:
    """Token counts, as the API reports them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            *(a + b for a, b in zip(attrs.astuple(self), attrs.astuple(other), strict=True))
        )

    def to_dict(self) -> dict[str, int]:
        """Return the counts as the Messages API writes them."""
        return attrs.asdict(self)


@attrs.frozen
class ContextWindow:
    """How full the context of a conversation is.

    Attributes:
        used_tokens: The tokens of the last request and of its answer, cached ones included.
        size: How many there can be.
    """

    used_tokens: int
    size: int


@attrs.frozen
class RateLimit:
    """How much of one limit of a plan is used.

    Attributes:
        used_percentage: From 0 to 100.
        resets_at: When it starts anew, in seconds since the epoch, if the CLI told.
    """

    used_percentage: float
    resets_at: float | None = None


@attrs.frozen(kw_only=True)
class Message:
    """What every event has in common.

    Attributes:
        session_id: The conversation, as the CLI names it.
        uuid: The record's own id; None where the record has none.
        timestamp: When the CLI made the record, ISO 8601, as written.
        parent_tool_use_id: The tool call whose subagent this belongs to, or None.
        raw: The record as it stands in the transcript; empty for a `ResultMessage`.
    """

    session_id: str | None = None
    uuid: str | None = None
    timestamp: str | None = None
    parent_tool_use_id: str | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


@attrs.frozen(kw_only=True)
class AssistantMessage(Message):
    """One record of the model's answer.

    The CLI writes one record for each block of an API message, all with the same `message_id`, and
    each with the `stop_reason` and the `usage` of the whole API message: count them once per id.
    `stop_reason` tells how that API message ended; it never means that the turn is over.

    Attributes:
        content: The blocks; one, in what the CLI writes.
        model: Which model wrote it.
        message_id: The id of the API message.
        stop_reason: Why that one ended.
        usage: What that one used.
        error: The CLI's word for a failed request, of which it then writes a message of its own;
            None for what a model wrote.
    """

    content: tuple[ContentBlock, ...]
    model: str | None = None
    message_id: str | None = None
    stop_reason: str | None = None
    usage: Usage = Usage()
    error: str | None = None

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    def to_dict(self) -> dict[str, Any]:
        """Return the message as the Messages API's ``Message`` object."""
        return {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block.to_dict() for block in self.content],
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage.to_dict(),
        }


@attrs.frozen(kw_only=True)
class UserMessage(Message):
    """A record in the user's role: the prompt as the CLI took it, tool results, or its own words.

    Attributes:
        content: Blocks; a prompt is one `TextBlock`, a tool's answer one `ToolResultBlock`.
        origin: Who made it: ``prompt`` (this turn's own message), ``tool`` (a result),
            ``interrupt`` (the CLI's mark of an interrupted turn), ``auto`` (by which the CLI
            starts a turn itself; ``raw["origin"]`` says why) or ``cli`` (anything else that the CLI
            says to the model in the user's role, such as a continuation).
    """

    content: tuple[ContentBlock, ...]
    origin: str = "cli"

    def to_dict(self) -> dict[str, Any]:
        """Return the message as the Messages API's message parameter."""
        return {"role": "user", "content": [block.to_dict() for block in self.content]}


@attrs.frozen(kw_only=True)
class SystemMessage(Message):
    """Anything else that the CLI records: notices, and record types that are new to this package.

    Some subtypes are this package's own:

    - ``mcp_failed``: MCP servers did not start; ``data["attachment"]["failedMcpServers"]`` has each with
      its error. Not every version of the CLI tells, and none does where there are no tools.
    - ``mcp_status``: the CLI has connected to a server, or failed to: ``data`` has ``server``, ``status``
      (``connected`` or ``failed``) and ``error``. It is part of no turn: see `SessionInfo.unprompted`.
    - ``dialog``: the CLI has opened a dialog in the turn, and it was refused because nobody here can
      answer it; ``data["waitingFor"]`` says what it asks for.
    - ``history_retold``: the model had not seen a history as it was written, so it was told again in one
      message; ``data["reason"]`` says more.
    - ``history_media``: a history has more images and documents than some CLIs send; likewise.

    Attributes:
        subtype: The record's ``subtype``, or its ``type`` where it has none.
        data: The whole record.
    """

    subtype: str
    data: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as it was written."""
        return dict(self.data)


@attrs.frozen(kw_only=True)
class ResultMessage(Message):
    """The last event of a turn: how it ended and what it used.

    Attributes:
        subtype: ``success``, or how it ended otherwise: ``error``, ``interrupted``,
            ``stopped_by_hook``, ``local_command`` (a command of the CLI printed something), or, by
            the bounds of `BackendOptions`, ``error_max_turns`` or ``error_max_budget_usd``. With
            ``paused`` it has not ended: it waits for the results of `client_tools`, and counts what
            was read since it was last given some.
        is_error: Whether the turn failed.
        result: The text of the last API message of the turn; None when there was none.
        stop_reason: The stop reason of that message.
        num_turns: How many API messages the turn took, those of subagents not counted.
        duration_ms: How long it took in milliseconds: the CLI's own figure where it gave one,
            else measured from the moment the prompt was sent.
        usage: The sum over the same API messages, each counted once.
        model: The model of the last API message.
        resumed: Whether a process was started for this turn, on what the conversation had been so
            far: none was alive that had lived through it.
        model_usage: What each model used, by its name: the sum over its API messages, those of
            subagents included.
        total_cost_usd: What the turn cost in US dollars, by the API's prices and the CLI's count,
            everything included that the CLI asked on the side; so also what it asked since the turn
            before. This and what follows only with `BackendOptions.include_cost`, and None where
            the CLI has not told in time, as after an interrupt.
        duration_api_ms: How long the CLI waited for the API, in milliseconds, counted likewise.
        context_window: How full the context is.
        rate_limits: How much of each limit of the plan is used, by its name (``five_hour``,
            ``seven_day``); only a login with a plan has any.
    """

    subtype: str
    is_error: bool
    result: str | None = None
    stop_reason: str | None = None
    num_turns: int = 0
    duration_ms: int = 0
    usage: Usage = Usage()
    model: str | None = None
    resumed: bool = False
    model_usage: Mapping[str, Usage] = attrs.field(factory=dict)
    total_cost_usd: float | None = None
    duration_api_ms: int | None = None
    context_window: ContextWindow | None = None
    rate_limits: Mapping[str, RateLimit] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        limits = self.rate_limits
        return {
            "type": "result",
            "subtype": self.subtype,
            "is_error": self.is_error,
            "result": self.result,
            "stop_reason": self.stop_reason,
            "num_turns": self.num_turns,
            "duration_ms": self.duration_ms,
            "usage": self.usage.to_dict(),
            "model": self.model,
            "resumed": self.resumed,
            "model_usage": {name: used.to_dict() for name, used in self.model_usage.items()},
            "total_cost_usd": self.total_cost_usd,
            "duration_api_ms": self.duration_api_ms,
            "context_window": attrs.asdict(self.context_window) if self.context_window else None,
            "rate_limits": limits and {name: attrs.asdict(one) for name, one in limits.items()},
            "session_id": self.session_id,
        }


@attrs.frozen(kw_only=True)
class TextDelta(Message):
    """A piece of the text that the model is writing, with ``include_partial_messages`` only.

    It is no record: the text comes again in the `TextBlock` of an `AssistantMessage`. The pieces of
    an API message, joined, are the texts of its blocks, joined.

    Attributes:
        text: The piece; may be empty when it is `final`.
        index: Its number in the text of the API message. With 0 a text begins, also one that begins
            again because the CLI repeated its request.
        final: Whether the `TextBlock` that it completes is the next event.
    """

    text: str
    index: int
    final: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the piece as the Messages API writes it in a stream."""
        return {"type": "text_delta", "text": self.text}


Event: TypeAlias = AssistantMessage | UserMessage | SystemMessage | ResultMessage | TextDelta
