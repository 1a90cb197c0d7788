"""Lists of messages: their check, their fingerprint, and whether a live conversation is theirs.

A conversation is cut into exchanges: what a user said, and everything up to what the user said next.
The fingerprint is made of the users' words alone, so it finds every conversation that could match.
Whether one does is then decided by comparing the replies, since a caller may give a reply back in
several spellings:

* as one string, or as text blocks: the text of the last message of the turn, or of all of them,
  joined by nothing, a line break, or an empty line;
* with all, some or none of the thinking;
* with the rounds of tool_use and tool_result, or without them. What is there must be what happened:
  one call or result left out or altered, and it is another conversation.

White space at the ends of a reply does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from ..events import AssistantMessage, Event, UserMessage
from .canonical import canonical_block
from .javascript import digest
from .messages import THINKING, Block, Said, check_messages

#: The joints at which the texts of a reply may have been put together.
_JOINTS: Final = ("", "\n", "\n\n")


@attrs.frozen
class Exchange:
    """What a user said, and everything that followed until the user spoke again."""

    prompt: tuple[Block, ...]
    reply: tuple[Said, ...] = ()


@attrs.frozen
class Conversation:
    """A list of messages, checked and cut: the exchanges so far, and the new prompt."""

    exchanges: tuple[Exchange, ...]
    prompt: tuple[Block, ...]
    messages: tuple[Said, ...]
    #: Why the model did not see the messages as such, where it was tried.
    not_seen: str | None = None

    @property
    def prompt_text(self) -> str | None:
        """The new prompt as one text; None if it is more than that."""
        return plain_text(self.prompt)


def messages_after(conversation: Conversation, length: int) -> tuple[Said, ...]:
    """Return the messages behind so many exchanges, the new prompt last."""
    before = sum(1 + len(exchange.reply) for exchange in conversation.exchanges[:length])
    return conversation.messages[before:]


def parse_messages(messages: object) -> Conversation:
    """Check a list of messages and cut it into exchanges.

    Raises:
        ValueError: The list is empty, does not end with a user's message, or holds something that
            the Messages API would refuse; the text names the place.
        TypeError: Something in it is of the wrong type; the text names the place.
    """
    said = check_messages(messages)
    if not said:
        raise ValueError("messages is empty; it must end with the user's new message")
    if said[-1].role != "user":
        raise ValueError("messages must end with a message whose role is 'user'")
    exchanges: list[Exchange] = []
    for message in said[:-1]:
        if message.role == "user" and not message.is_tool_result:
            exchanges.append(Exchange(message.blocks))
        else:
            last = exchanges[-1]
            exchanges[-1] = attrs.evolve(last, reply=(*last.reply, message))
    return Conversation(tuple(exchanges), said[-1].blocks, said)


def plain_text(blocks: Sequence[Block]) -> str | None:
    """Return the text of a message that is one block of text; None if it is anything else."""
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return str(blocks[0]["text"])
    return None


def exchange_of(prompt: Sequence[Block], events: Sequence[Event]) -> Exchange:
    """Return the exchange that a finished turn was, from its prompt and its events."""
    return Exchange(tuple(prompt), tuple(_replies(events)))


def _replies(events: Sequence[Event]) -> Iterator[Said]:
    message_id: str | None = None
    blocks: list[Block] = []
    for event in events:
        if event.parent_tool_use_id is not None:
            continue  # a subagent's own conversation; what it came to is the tool's result
        if isinstance(event, AssistantMessage) and event.error is None:
            if blocks and event.message_id != message_id:
                yield Said("assistant", tuple(blocks))
                blocks = []
            message_id = event.message_id
            blocks += [block.to_dict() for block in event.content]
        elif isinstance(event, UserMessage) and event.origin == "tool":
            if blocks:
                yield Said("assistant", tuple(blocks))
                blocks = []
            yield Said("user", tuple(block.to_dict() for block in event.content))
    if blocks:
        yield Said("assistant", tuple(blocks))


def extended(exchanges: Sequence[Exchange], lived: Exchange) -> tuple[Exchange, ...]:
    """Return what a conversation has lived through with one exchange more.

    A prompt that brings the results of tools goes on with the exchange before it, as it does where
    messages are cut.
    """
    said = Said("user", lived.prompt)
    if not (exchanges and said.is_tool_result):
        return (*exchanges, lived)
    last = exchanges[-1]
    return (*exchanges[:-1], attrs.evolve(last, reply=(*last.reply, said, *lived.reply)))


def fingerprint(exchanges: Sequence[Exchange]) -> str:
    """Return a digest of what the user said in these exchanges: the key of a conversation."""
    return digest([[canonical_block(b, {}) for b in exchange.prompt] for exchange in exchanges])


def same_history(given: Sequence[Exchange], lived: Sequence[Exchange]) -> bool:
    """Whether a history that a caller gives is the one that a conversation has lived through."""
    return fingerprint(given) == fingerprint(lived) and all(
        _same_reply(ours.reply, theirs.reply) for ours, theirs in zip(given, lived, strict=True)
    )


def shared(given: Sequence[Exchange], lived: Sequence[Exchange]) -> int:
    """Return how many exchanges, from the first on, a conversation has in common with another."""
    count = 0
    for ours, theirs in zip(given, lived, strict=False):
        if not same_history((ours,), (theirs,)):
            break
        count += 1
    return count


def _same_reply(given: Sequence[Said], lived: Sequence[Said]) -> bool:
    if _systems(given) != _systems(lived):
        return False
    tools = _pick(given, _TOOLS)
    if tools and tools != _pick(lived, _TOOLS):
        return False
    thoughts = _pick(lived, THINKING)
    if any(thought not in thoughts for thought in _pick(given, THINKING)):
        return False
    texts = _texts(given)
    everything = _texts(lived)
    if not texts:  # left out, which only a reply without a word can be
        return not everything
    answers = [message for message in lived if message.role == "assistant"]
    last = _texts(answers[-1:])
    return texts in (last, everything) or (
        len(texts) == 1
        and texts[0] in {joint.join(t).strip() for t in (last, everything) for joint in _JOINTS}
    )


def _texts(said: Sequence[Said]) -> list[str]:
    texts = [
        str(block["text"]).strip()
        for message in said
        for block in message.blocks
        if message.role == "assistant" and block["type"] == "text"
    ]
    return [text for text in texts if text]


def _systems(said: Sequence[Said]) -> list[str]:
    return [
        str(block["text"])
        for message in said
        for block in message.blocks
        if message.role == "system"
    ]


_TOOLS: Final = frozenset({"tool_use", "tool_result"})
_THOUGHT: Final = ("type", "thinking", "data")


def _pick(said: Sequence[Said], kinds: frozenset[str]) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    picked = [
        {key: value for key, value in block.items() if key in _THOUGHT}
        if block["type"] in THINKING
        else canonical_block(block, names)
        for message in said
        for block in message.blocks
        # What a user says beside a tool's result counts as well.
        if block["type"] in kinds or (message.role == "user" and "tool_result" in kinds)
    ]
    # Tools end in any order, and a caller may group their results as the API does.
    return sorted(picked, key=lambda block: json.dumps(block, sort_keys=True))
