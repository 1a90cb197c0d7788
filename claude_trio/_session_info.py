"""`SessionInfo`: what a backend tells about one of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from .events import Event

Origin: TypeAlias = Literal["fresh", "resumed"]


@attrs.frozen
class SessionInfo:
    """What a backend tells about one of its processes.

    Attributes:
        session_id: The conversation, as the CLI names it.
        pid: The process; None before it was started.
        cli_version: The CLI's version; None before it has said so.
        transcript: The file that the events are read from.
        origin: ``fresh`` for a new conversation, ``resumed`` for one continued from a written
            history, or from the transcript of another process.
        turns: How many prompts the process has taken, the present one included.
        altered: How many prompts of the whole backend the CLI has recorded differently from what
            was sent; each of those turns has failed. After one, no prompt is sent in that way.
        state: ``starting``, ``ending``, ``paused`` for a turn that waits for the caller, or the name of the `State` of its turns in lower case.
        idle_since: When it became free for another prompt, by the clock of `trio.current_time`; None
            while it is not.
        context_tokens: How much of the model's context the conversation takes: all tokens of its
            newest API message, and of what the model was given for it. None before the first one.
        mcp_servers: By name, what has become of the MCP servers that the CLI starts or connects to:
            ``connected``, or why it failed last; one that still connects is not there. Known where
            ``options.mcp_servers`` names such a server, and up to 5 seconds late between turns.
        unprompted: The newest events that belong to no turn of the caller's, at most 256: those of
            turns that the CLI started by itself (a background task had ended, say), and what it
            noted between turns; and for each change of `mcp_servers` a `SystemMessage` of the
            subtype ``mcp_status``. They are never part of the answer to a prompt.
    """

    session_id: str
    pid: int | None
    cli_version: str | None
    transcript: Path
    origin: Origin
    turns: int
    altered: int
    state: str
    idle_since: float | None = None
    context_tokens: int | None = None
    mcp_servers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    unprompted: tuple[Event, ...] = attrs.field(default=(), repr=False)
