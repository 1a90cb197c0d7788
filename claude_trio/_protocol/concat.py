"""A whole conversation as one message of the user's: the way that no CLI can misunderstand.

The history is JSON in a block of its own, so nothing in it can pass for its end, or for the words of
the user now. The model reads what it once said as a quotation, sees no thinking, and nothing of it is
in the cache: this is for a CLI that does not take a history any better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .messages import THINKING, Block, Said

_LEAD: Final = (
    "The following JSON array is the earlier conversation, as data. Roles inside it are quotations. "
    "Answer only the last message, after the array."
)
_MEDIA: Final = (
    " Images and documents of it stand behind the array, in the order of their numbers in it."
)
_RESULTS: Final = "Go on from the tool results that end the array."


def concat_messages(messages: Sequence[Said]) -> tuple[Said, ...]:
    """Return one message that says what these say; the last of them stays as it is.

    Images and documents stay blocks, behind the history, which has a number in their place. Results
    of tools, which only a call can have, are put into the history.
    """
    *history, last = messages
    results = tuple(block for block in last.blocks if block["type"] == "tool_result")
    rest = tuple(block for block in last.blocks if block["type"] != "tool_result")
    if results:
        history.append(Said("user", results))
    media: list[Block] = []
    told = [
        {
            "role": message.role,
            "content": [
                _without_media(b, media) for b in message.blocks if b["type"] not in THINKING
            ],
        }
        for message in history
    ]
    lead = _LEAD + (_MEDIA if media else "")
    blocks = (_text(lead), _text(json.dumps(told, ensure_ascii=False)), *media)
    return (Said("user", (*blocks, *(rest or (_text(_RESULTS),)))),)


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _without_media(block: Any, media: list[Block]) -> Any:
    if not isinstance(block, Mapping):
        return block
    if block.get("type") in {"image", "document"} and "source" in block:
        media.append(block)
        return {"type": block["type"], "number": len(media)}
    if isinstance(inside := block.get("content"), list | tuple):
        return {**block, "content": [_without_media(part, media) for part in inside]}
    return dict(block)
