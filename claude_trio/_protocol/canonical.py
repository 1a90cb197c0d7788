"""The canonical form of a list of messages: one form for all the ways to write the same messages."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .javascript import digest
from .keys import normalized
from .messages import THINKING, Block, Said, check_messages

#: What counts of a block of a type that is known; of any other everything does.
_KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("type", "text"),
    "tool_use": ("type", "id", "name", "input"),
}


def hash_history(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return a digest of a list of messages that does not depend on how they are written.

    Two lists with the same digest are the same conversation to a backend, and to the model. It is
    the SHA-256, in hexadecimal, of the canonical form of the messages, as JSON with sorted keys:

    * a string is one block of text, and neighbours in one role are one message;
    * the order of keys and ``cache_control`` do not count, nor do ``citations`` of a text;
    * the ids of tool calls do not count, only which result is whose; nor does the order of the
      results in one message. A ``tool_result`` without content, without ``is_error``, or with a
      string is the same as with an empty list, false, or one block of text;
    * the white space at the end of a message does not count, and every line break at the end of a
      user's message is one ``\\n``; blank texts, and messages that are empty without them, are left
      out;
    * an image or a document in base64 counts by the bytes that it stands for;
    * a number counts as JavaScript has it: ``1.0`` is ``1``;
    * thinking does not count: it may be given back or left out.

    Args:
        messages: As in the Messages API, beginning with a user's; any part of a conversation.

    Raises:
        ValueError: The messages are not what the Messages API takes; the text names the place.
        TypeError: Something in them is of the wrong type; the text names the place.
    """  # noqa: D301 - the backslash is shown
    return digest(canonical_messages(check_messages(messages)))


def canonical_messages(said: Sequence[Said]) -> list[dict[str, Any]]:
    """Return the canonical form of messages, as data."""
    names: dict[str, str] = {}
    merged: list[dict[str, Any]] = []
    for message in said:
        blocks = [canonical_block(b, names) for b in message.blocks if b["type"] not in THINKING]
        blocks = [b for b in blocks if b["type"] != "text" or normalized(b["text"])]
        if merged and merged[-1]["role"] == message.role:
            merged[-1]["content"] += blocks
        elif blocks:
            merged.append({"role": message.role, "content": blocks})
    for each in merged:
        content = each["content"]
        if content[-1]["type"] == "text":
            end = normalized if each["role"] == "user" else str.rstrip
            content[-1] = {**content[-1], "text": end(content[-1]["text"])}
        each["content"] = _results_in_order(content)
    return merged


def canonical_block(block: Block, names: dict[str, str]) -> dict[str, Any]:
    """Return the canonical form of a block.

    Args:
        block: The block.
        names: The canonical names of the calls so far, by their ids; a new call is added.
    """
    kind = block["type"]
    plain = {key: value for key, value in block.items() if key != "cache_control"}
    if kind in _KEPT:
        plain = {key: block.get(key) for key in _KEPT[kind]}
    if kind.endswith("tool_use") and isinstance(block.get("id"), str):
        plain["id"] = names.setdefault(block["id"], f"call-{len(names)}")
    if isinstance(block.get("tool_use_id"), str):
        plain["tool_use_id"] = names.get(block["tool_use_id"], block["tool_use_id"])
    if kind == "tool_result":
        plain |= {
            "content": _result_content(block.get("content")),
            "is_error": bool(block.get("is_error", False)),
        }
    if isinstance(source := block.get("source"), Mapping) and source.get("type") == "base64":
        data = _bytes_of(str(source.get("data", "")))
        rest = {key: value for key, value in source.items() if key != "data"}
        plain["source"] = {**rest, "sha256": hashlib.sha256(data).hexdigest()}
    return plain


def _result_content(content: Any) -> list[Any]:
    if not content:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        canonical_block(part, {}) if isinstance(part, Mapping) and "type" in part else part
        for part in content
    ]


def _results_in_order(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Tools end in any order, and a caller may give their results back in that of the calls.
    results = (block for block in blocks if block["type"] == "tool_result")
    ordered = iter(sorted(results, key=lambda r: (len(r["tool_use_id"]), r["tool_use_id"])))
    return [next(ordered) if block["type"] == "tool_result" else block for block in blocks]


def _bytes_of(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return data.encode("utf-8", "replace")
