"""Lists of messages in the shape of the Messages API, and their check.

What is wrong with a list is said before anything starts, with its place in the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from .keys import normalized

#: A content block in the shape of the Messages API.
Block: TypeAlias = Mapping[str, Any]
#: Blocks by which a model thinks; whether it may see them again depends on the model.
THINKING: Final = frozenset({"thinking", "redacted_thinking"})
#: A field that a block of a type must have, as a string.
_NEEDED: Final[Mapping[str, str]] = {
    "text": "text",
    "tool_use": "id",
    "tool_result": "tool_use_id",
}
_ROLES: Final = ("user", "assistant", "system")


@attrs.frozen
class Said:
    """One message: who said it, and its blocks, without cache marks.

    Attributes:
        role: ``user``, ``assistant`` or ``system``.
        blocks: Its blocks.
        model: The model that said it, where the message names one, as the API's own do.
    """

    role: str
    blocks: tuple[Block, ...]
    model: str | None = None

    @property
    def is_tool_result(self) -> bool:
        """Whether it brings the results of tools, rather than what a user said."""
        return any(block["type"] == "tool_result" for block in self.blocks)


def check_messages(messages: object) -> tuple[Said, ...]:
    """Check a list of messages; return them with their blocks as the model is to get them.

    A list may end with any role: it may be a part of a conversation.

    Raises:
        ValueError: It holds something that the Messages API would refuse, or that the CLI would
            silently leave out; the text names the place.
        TypeError: Something in it is of the wrong type; the text names the place.
    """
    if isinstance(messages, str | bytes) or not isinstance(messages, Sequence):
        raise TypeError(f"messages must be a list of messages, not {type(messages).__name__}")
    said = tuple(_said(message, f"messages[{i}]") for i, message in enumerate(messages))
    if said and said[0].role == "system":
        raise ValueError(
            "messages[0] has the role 'system', and nothing comes before it; the system prompt is "
            "BackendOptions.system_prompt"
        )
    if said and said[0].role != "user":
        raise ValueError("messages[0] must have the role 'user'; nothing comes before it")
    _place_systems(said)
    _pair_tools(said)
    return said


def _place_systems(said: Sequence[Said]) -> None:
    """Refuse a system message between two of an assistant: the CLI would make it a user's."""
    before, place = "user", 0
    for i, message in enumerate(said):
        if message.role == "system":
            place = i
        elif message.role == before == "assistant" and place == i - 1:
            raise ValueError(
                f"messages[{place}] has the role 'system' and stands between two of an assistant; it "
                "may stand behind a user's message, or before one"
            )
        else:
            before = message.role


def _said(message: object, where: str) -> Said:
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(message).__name__}")
    role = message.get("role")
    if role not in _ROLES:
        raise ValueError(f"{where}.role must be 'user', 'assistant' or 'system', not {role!r}")
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
    if role == "assistant" and blocks and all(block["type"] in THINKING for block in blocks):
        raise ValueError(
            f"{where} holds nothing but thinking, which the CLI leaves out; leave the message out"
        )
    if role == "system" and any(block["type"] != "text" for block in blocks):
        raise ValueError(f"{where} has the role 'system' and may hold text only")
    model = message.get("model")
    return Said(role, blocks, model if isinstance(model, str) else None)


def _block(block: object, where: str) -> Block:
    if not isinstance(block, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(block).__name__}")
    if not isinstance(block.get("type"), str):
        raise TypeError(f"{where}.type must be a string, not {block.get('type')!r}")
    key = _NEEDED.get(block["type"])
    if key is not None and not isinstance(block.get(key), str):
        raise TypeError(f"{where}.{key} must be a string, not {block.get(key)!r}")
    plain = _without_cache_marks(block)
    if plain["type"] == "tool_result" and plain.get("is_error") and not _is_text(plain):
        raise ValueError(
            f"{where} is a tool_result with is_error, which may hold text only; the API refuses "
            "anything else there, and the CLI leaves it out"
        )
    try:
        json.dumps(plain, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as exc:
        raise TypeError(f"{where} cannot be written as JSON: {exc}") from None
    return plain


def _is_text(result: Block) -> bool:
    content = result.get("content")
    return not isinstance(content, list) or all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    )


def _without_cache_marks(block: Block) -> Block:
    """Return a block without the marks of a cache that is the CLI's business; four are allowed."""
    plain = {str(key): value for key, value in block.items() if key != "cache_control"}
    inside = plain.get("content")
    if plain["type"] == "tool_result" and isinstance(inside, list | tuple):
        plain["content"] = [
            {key: value for key, value in part.items() if key != "cache_control"}
            if isinstance(part, Mapping)
            else part
            for part in inside
        ]
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
        if message.role == "system":
            continue
        _require_answered(open_calls if message.role == "assistant" != role else {})
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
    _require_answered(open_calls if role == "user" else {})


def _require_answered(open_calls: Mapping[str, str]) -> None:
    for name, where in open_calls.items():
        raise ValueError(
            f"{where} is a tool_use ({name!r}) without a tool_result in the next user's message; "
            "give its result too, or leave both out"
        )
