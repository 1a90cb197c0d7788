"""Tools of the caller's own: their names in the CLI, and their results on the way there.

The CLI is offered them by a server, so it knows each under the server's name too. The caller never sees
that name: events are in the caller's words, and a history that is written is in the CLI's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from ..events import AssistantMessage, ToolResultBlock, ToolUseBlock, UserMessage
from .messages import Block, Said

#: The name of the server.
SERVER: Final = "client"
_PREFIX: Final = f"mcp__{SERVER}__"
#: Characters; the CLI puts a long result into a file, and shows the model its beginning.
_MOST_TEXT: Final = 20_000


@attrs.frozen
class ClientResult:
    """What a tool of the caller's has returned.

    Attributes:
        content: Blocks in the words of MCP.
        is_error: Whether it has failed.
    """

    content: tuple[Mapping[str, Any], ...]
    is_error: bool = False


def in_callers_words(event: AssistantMessage) -> AssistantMessage:
    """Return an event with the tools of the caller's under the names that the caller gave them."""
    content = tuple(
        attrs.evolve(block, name=block.name.removeprefix(_PREFIX))
        if isinstance(block, ToolUseBlock)
        else block
        for block in event.content
    )
    return attrs.evolve(event, content=content)


#: Begins the id of a call that the CLI has not told the id of.
MADE_UP: Final = "toolu_claude_trio_"


def find_told(call: ToolUseBlock, told: Iterable[ToolUseBlock]) -> ToolUseBlock | None:
    """Return which of the calls that were told before their records it is; None for another one."""
    for other in told:
        alike = (other.name, dict(other.input)) == (call.name, dict(call.input))
        if other.id == call.id or (alike and other.id.startswith(MADE_UP)):
            return other
    return None


def with_ids(event: UserMessage, ids: Mapping[str, str]) -> UserMessage:
    """Return an event with the results of calls under the ids that these were told by."""
    if not ids:
        return event
    content = tuple(
        attrs.evolve(block, tool_use_id=ids.get(block.tool_use_id, block.tool_use_id))
        if isinstance(block, ToolResultBlock)
        else block
        for block in event.content
    )
    return attrs.evolve(event, content=content)


def is_callers(name: object) -> bool:
    """Whether the CLI's name of a tool is that of one of the caller's."""
    return isinstance(name, str) and name.startswith(_PREFIX)


def in_words_of_cli(said: Sequence[Said], names: Collection[str]) -> tuple[Said, ...]:
    """Return messages with the tools of the caller's under the names that the CLI knows them by.

    Args:
        said: The messages.
        names: The tools that there are.
    """
    return tuple(
        attrs.evolve(message, blocks=tuple(_renamed(block, names) for block in message.blocks))
        for message in said
    )


def _renamed(block: Block, names: Collection[str]) -> Block:
    if block["type"] == "tool_use" and block.get("name") in names:
        return {**block, "name": f"{_PREFIX}{block['name']}"}
    return block


def results_of(prompt: Iterable[Block]) -> dict[str, ClientResult] | None:
    """Return the results that a message brings, by the ids of their calls.

    Returns:
        None if it brings anything else, or something that the CLI would not hand on as it is.
    """
    results: dict[str, ClientResult] = {}
    for block in prompt:
        if block["type"] != "tool_result":
            return None
        content, is_error = _content(block.get("content")), bool(block.get("is_error"))
        if content is None or (is_error and len(content) > 1):  # the CLI makes one text of them
            return None
        results[block["tool_use_id"]] = ClientResult(content, is_error)
    return results or None


def _content(content: Any) -> tuple[Mapping[str, Any], ...] | None:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
    texts: list[str] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case _:  # beside an image the CLI writes where it has put a copy
                return None
    # In the place of nothing the CLI says so in words of its own.
    exact = any(text.strip() for text in texts) and sum(map(len, texts)) <= _MOST_TEXT
    return tuple({"type": "text", "text": text} for text in texts) if exact else None
