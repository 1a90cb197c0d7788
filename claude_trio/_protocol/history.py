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

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from ..events import AssistantMessage, Event, UserMessage
from .keys import normalized

#: A content block in the shape of the Messages API.
Block: TypeAlias = Mapping[str, Any]
#: A field that a block of a type must have, as a string.
_NEEDED: Final[Mapping[str, str]] = {
    "text": "text",
    "tool_use": "id",
    "tool_result": "tool_use_id",
}
#: The joints at which the texts of a reply may have been put together.
_JOINTS: Final = ("", "\n", "\n\n")


@attrs.frozen
class Said:
    """One message: who said it, and its blocks, without cache marks."""

    role: str
    blocks: tuple[Block, ...]


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

    @property
    def prompt_text(self) -> str | None:
        """The new prompt as one text; None if it is more than that."""
        return plain_text(self.prompt)


def parse_messages(messages: object) -> Conversation:
    """Check a list of messages and cut it into exchanges.

    Raises:
        ValueError: The list is empty, does not end with a user's message, or holds something that
            the Messages API would refuse; the text names the place.
        TypeError: Something in it is of the wrong type; the text names the place.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of messages, not {type(messages).__name__}")
    said = tuple(_said(message, f"messages[{i}]") for i, message in enumerate(messages))
    if not said:
        raise ValueError("messages is empty; it must end with the user's new message")
    if said[-1].role != "user":
        raise ValueError("messages must end with a message whose role is 'user'")
    if said[0].role != "user":
        raise ValueError("messages[0] must have the role 'user'; nothing comes before it")
    _pair_tools(said)
    exchanges: list[Exchange] = []
    for message in said[:-1]:
        if message.role == "user" and not _is_tool_result(message):
            exchanges.append(Exchange(message.blocks))
        else:
            last = exchanges[-1]
            exchanges[-1] = attrs.evolve(last, reply=(*last.reply, message))
    return Conversation(tuple(exchanges), said[-1].blocks, said)


def _said(message: object, where: str) -> Said:
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(message).__name__}")
    role = message.get("role")
    if role not in {"user", "assistant"}:
        raise ValueError(f"{where}.role must be 'user' or 'assistant', not {role!r}")
    content = message.get("content")
    if isinstance(content, str):
        blocks: tuple[Block, ...] = ({"type": "text", "text": content},)
    elif isinstance(content, Sequence) and not isinstance(content, bytes):
        blocks = tuple(_block(b, f"{where}.content[{i}]") for i, b in enumerate(content))
    else:
        raise TypeError(f"{where}.content must be a string or a list of blocks, not {content!r}")
    if role == "user":
        blocks = _as_sent(blocks)
        if not blocks:
            raise ValueError(f"{where}.content is empty; a user's message must say something")
    return Said(role, blocks)


def _block(block: object, where: str) -> Block:
    if not isinstance(block, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(block).__name__}")
    if not isinstance(block.get("type"), str):
        raise TypeError(f"{where}.type must be a string, not {block.get('type')!r}")
    key = _NEEDED.get(block["type"])
    if key is not None and not isinstance(block.get(key), str):
        raise TypeError(f"{where}.{key} must be a string, not {block.get(key)!r}")
    plain = {str(key): value for key, value in block.items() if key != "cache_control"}
    try:
        json.dumps(plain, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{where} cannot be written as JSON: {exc}") from None
    return plain


def _as_sent(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return a user's blocks as the model gets them: none that is blank, and the end normalised.

    It is done here, before anything else, so that the fingerprint is made of what is sent.
    """
    said = [block for block in blocks if block["type"] != "text" or normalized(block["text"])]
    if said and said[-1]["type"] == "text":
        said[-1] = {**said[-1], "text": normalized(str(said[-1]["text"]))}
    return tuple(said)


def _pair_tools(said: Sequence[Said]) -> None:
    """Refuse calls without a result, and results without a call.

    A transcript with such a call in it loses the whole reply around it, silently, in the CLI. As for
    the API, neighbours in one role are one message.
    """
    known: set[str] = set()
    open_calls: dict[str, str] = {}  # by id, where each stands
    role = "user"
    for i, message in enumerate(said):
        if message.role == "assistant" != role:
            _require_answered(open_calls)
        role = message.role
        for j, block in enumerate(message.blocks):
            where = f"messages[{i}].content[{j}]"
            if block["type"] == "tool_use":
                if role != "assistant":
                    raise ValueError(f"{where} is a tool_use; only an assistant's message has one")
                if block["id"] in known:
                    raise ValueError(f"{where}.id is {block['id']!r}, as that of a tool_use before")
                known.add(block["id"])
                open_calls[block["id"]] = where
            elif block["type"] == "tool_result":
                if role != "user":
                    raise ValueError(f"{where} is a tool_result; only a user's message has one")
                if open_calls.pop(block["tool_use_id"], None) is None:
                    raise ValueError(
                        f"{where} is a tool_result for {block['tool_use_id']!r}; the message before "
                        "it has no such tool_use, or it has a result already"
                    )
    _require_answered(open_calls)


def _require_answered(open_calls: Mapping[str, str]) -> None:
    for name, where in open_calls.items():
        raise ValueError(
            f"{where} is a tool_use ({name!r}) without a tool_result in the next user's message; "
            "give its result too, or leave both out"
        )


def _is_tool_result(message: Said) -> bool:
    return any(block["type"] == "tool_result" for block in message.blocks)


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


def fingerprint(exchanges: Sequence[Exchange]) -> str:
    """Return a digest of what the user said in these exchanges: the key of a conversation."""
    said = [[_canonical(block) for block in exchange.prompt] for exchange in exchanges]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def same_history(given: Sequence[Exchange], lived: Sequence[Exchange]) -> bool:
    """Whether a history that a caller gives is the one that a conversation has lived through."""
    return fingerprint(given) == fingerprint(lived) and all(
        _same_reply(ours.reply, theirs.reply) for ours, theirs in zip(given, lived, strict=True)
    )


def _same_reply(given: Sequence[Said], lived: Sequence[Said]) -> bool:
    tools = _pick(given, ("tool_use", "tool_result"))
    if tools and tools != _pick(lived, ("tool_use", "tool_result")):
        return False
    thoughts = _pick(lived, ("thinking", "redacted_thinking"))
    if any(thought not in thoughts for thought in _pick(given, ("thinking", "redacted_thinking"))):
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


def _pick(said: Sequence[Said], kinds: tuple[str, ...]) -> list[Block]:
    picked = [
        _canonical(block)
        for message in said
        for block in message.blocks
        # What a user says beside a tool's result counts as well.
        if block["type"] in kinds or (message.role == "user" and "tool_result" in kinds)
    ]
    # Tools end in any order, and a caller may group their results as the API does.
    return sorted(picked, key=lambda block: json.dumps(block, sort_keys=True))


_KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "tool_use": ("type", "id", "name", "input"),
    "thinking": ("type", "thinking"),
}


def _canonical(block: Block) -> Block:
    match block["type"]:
        case "text":
            return {"type": "text", "text": block["text"]}
        case "tool_result":
            content = block.get("content") or ""
            if isinstance(content, str):
                content = [{"type": "text", "text": content}] if content else []
            return {
                "type": "tool_result",
                "tool_use_id": block.get("tool_use_id"),
                "content": content,
                "is_error": bool(block.get("is_error", False)),
            }
        case kind if kind in _KEPT:
            return {key: block.get(key) for key in _KEPT[kind]}
    return dict(block)
