"""A list of messages into a transcript that `claude --resume` takes up.

The record that is last is the new prompt: a CLI started with ``--reply-on-resume`` answers it at
once, and nothing of it passes through the input box, so nothing of it is interpreted.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Sequence
from typing import Any, Final

from .history import Block, Said
from .keys import encodable, normalized

#: The model name that the CLI takes for "none in particular", without a notice.
_NO_MODEL: Final = "<synthetic>"
# Says who wrote a record; the CLI reads it and draws no conclusion.
_VERSION: Final = "2.1.0"
_LONGEST_KEY: Final = 200
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def project_key(cwd: str) -> str:
    """Return the name of the directory, below ``projects``, for the sessions of a directory.

    Args:
        cwd: The directory with every link resolved.
    """
    # The CLI counts as JavaScript does: in UTF-16 units, of which an emoji has two.
    raw = cwd.encode("utf-16-le", "surrogatepass")
    units = [raw[i] | raw[i + 1] << 8 for i in range(0, len(raw), 2)]
    name = "".join(chr(u) if u < 128 and chr(u).isalnum() else "-" for u in units)
    if len(name) <= _LONGEST_KEY:
        return name
    number = 0
    for unit in units:
        number = (number * 31 + unit) & 0xFFFFFFFF
    number = abs(number - (1 << 32) if number >> 31 else number)
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return f"{name[:_LONGEST_KEY]}-{digits}"


def write_transcript(
    messages: Sequence[Said],
    *,
    session_id: str,
    cwd: str,
    model: str | None,
    now: datetime.datetime,
) -> bytes:
    """Return the bytes of a transcript that holds these messages, the new prompt last.

    Thinking is left out: it is only valid for the model that thought it, which the messages do not
    name. Neighbours in the same role become one record, as the API would make them one message.

    Args:
        messages: The conversation.
        session_id: The id of the new session; also the name of its file.
        cwd: The directory of the session, links resolved.
        model: The model of the session, or None for the CLI's default.
        now: The time written into each record.
    """
    timestamp = now.astimezone(datetime.UTC).isoformat(timespec="milliseconds")
    common = {
        "isSidechain": False,
        "timestamp": timestamp.replace("+00:00", "Z"),
        "userType": "external",
        "entrypoint": "cli",
        "cwd": cwd,
        "sessionId": session_id,
        "version": _VERSION,
        "gitBranch": "",
    }
    lines: list[str] = []
    parent: str | None = None
    for role, blocks in _merged(messages):
        own = str(uuid.uuid4())
        message: dict[str, Any] = {"role": role, "content": blocks}
        if role == "assistant":
            message = {
                "id": f"msg_{uuid.uuid4().hex}",
                "type": "message",
                "role": role,
                "model": model or _NO_MODEL,
                "content": blocks,
                "stop_reason": "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn",
                "stop_sequence": None,
                # The CLI measures the context by the last usage; zero means: do not compact.
                "usage": {
                    "input_tokens": 0,
                    "output_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                },
            }
        record = {"parentUuid": parent, "type": role, "message": message, "uuid": own, **common}
        lines.append(json.dumps(record, separators=(",", ":")) + "\n")
        parent = own
    return "".join(lines).encode()


def _merged(messages: Sequence[Said]) -> list[tuple[str, list[Block]]]:
    merged: list[tuple[str, list[Block]]] = []
    for message in messages:
        blocks = [clean for block in message.blocks if (clean := _clean(block)) is not None]
        if not blocks:
            continue
        if merged and merged[-1][0] == message.role:
            merged[-1][1].extend(blocks)
        else:
            merged.append((message.role, blocks))
    return merged


def _clean(block: Block) -> Block | None:
    if block["type"] in {"thinking", "redacted_thinking"}:
        return None
    if block["type"] == "text":
        text = encodable(str(block["text"]))
        return {**block, "text": text} if normalized(text) else None
    return block
