"""A list of messages into a transcript that `claude --resume` takes up.

The record that is last is the new prompt: a CLI started with ``--reply-on-resume`` answers it at
once, and nothing of it passes through the input box, so nothing of it is interpreted.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from .keys import encodable, normalized
from .messages import THINKING, Block, Said

#: The model name that the CLI takes for "none in particular", without a notice.
_NO_MODEL: Final = "<synthetic>"
# Says who wrote a record; the CLI reads it and draws no conclusion.
_VERSION: Final = "2.1.0"
#: The attachment by which the CLI tells a model something in the system's role.
_REMINDER: Final = "critical_system_reminder"
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


@attrs.frozen
class Message:
    """One message of the API, as it is written: neighbours in one role are joined."""

    role: str
    blocks: tuple[Block, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the message as the API is to receive it."""
        return {"role": self.role, "content": [dict(block) for block in self.blocks]}


@attrs.frozen
class Transcript:
    """What a transcript says, and the lines that say it.

    Attributes:
        data: The lines.
        uuids: The names of the records, in order; each is the child of the one before.
        messages: The user's and the assistant's messages in it.
    """

    data: bytes
    uuids: tuple[str, ...]
    messages: tuple[Message, ...]


def write_transcript(
    messages: Sequence[Said],
    *,
    session_id: str,
    cwd: str,
    model: str | None,
    now: datetime.datetime,
    may_think: Callable[[Said, Block], bool] = lambda _, __: False,
    preamble: Sequence[Mapping[str, Any]] = (),
    parent: str | None = None,
) -> Transcript:
    """Return the transcript that holds these messages, the new prompt last.

    Neighbours in the same role become one record, as the API would make them one message: the CLI
    would join them too, and add line breaks. Blank texts, and messages that are empty without them,
    are left out, since the API refuses them. Half of a surrogate pair becomes U+FFFD.

    Args:
        messages: The conversation.
        session_id: The id of the new session; also the name of its file.
        cwd: The directory of the session, links resolved.
        model: The model of the session, or None for the CLI's default.
        now: The time written into each record.
        may_think: Whether the model may see a thinking block of a message again. Default: none.
        preamble: What the CLI has told the model beside the first message of a conversation.
        parent: The record that the first one follows, where these lines are put behind others.
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
    uuids: list[str] = []
    merged = _merged(messages, may_think, first=parent is None)

    def add(fields: Mapping[str, Any]) -> None:
        own = str(uuid.uuid4())
        record = {"parentUuid": uuids[-1] if uuids else parent, **fields, "uuid": own, **common}
        lines.append(json.dumps(record, separators=(",", ":")) + "\n")
        uuids.append(own)

    for number, message in enumerate(merged):
        if message.role == "system":
            reminder = "\n\n".join(block["text"] for block in message.blocks)
            add({"type": "attachment", "attachment": {"type": _REMINDER, "content": reminder}})
            continue
        add({"type": message.role, "message": _api_message(message, model)})
        if number == 0 and parent is None:
            for attachment in preamble:
                add(attachment)
    said = tuple(message for message in merged if message.role != "system")
    return Transcript("".join(lines).encode(), tuple(uuids), said)


def end_record(leaf: str | None, session_id: str, **more: bool) -> bytes:
    """Return the record that says where a transcript ends, as the CLI writes it behind each turn.

    Behind a prompt that is added to records of the CLI's own it is needed: there may be an older one,
    and if that names a record on which nothing hangs, the prompt is not seen.

    Args:
        leaf: The uuid of the last record.
        session_id: The id of the session.
        **more: More fields.
    """
    record = {"type": "last-prompt", "leafUuid": leaf, **more, "sessionId": session_id}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _api_message(message: Message, model: str | None) -> dict[str, Any]:
    if message.role == "user":
        return message.to_dict()
    # The CLI leaves thinking out if the message is of another model than the session; what the
    # caller calls the model may be an alias of it.
    thinks = any(block["type"] in THINKING for block in message.blocks)
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model if model is not None and not thinks else _NO_MODEL,
        "content": [dict(block) for block in message.blocks],
        "stop_reason": "tool_use" if message.blocks[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        # The CLI measures the context by the last usage; zero means: do not compact.
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def _merged(
    messages: Sequence[Said], may_think: Callable[[Said, Block], bool], *, first: bool
) -> list[Message]:
    merged: list[Message] = []
    #: What the system says to a message of the user's, by the place of that message.
    reminders: dict[int, tuple[Block, ...]] = {}
    for message in messages:
        kept = [b for b in message.blocks if b["type"] not in THINKING or may_think(message, b)]
        blocks = tuple(_encodable(b) for b in kept if b["type"] != "text" or normalized(b["text"]))
        # Without words, thinking is left out by the CLI, and the neighbours are joined.
        if all(block["type"] in THINKING for block in blocks):
            continue
        if message.role == "system":
            behind = bool(merged) and merged[-1].role == "user"
            place = len(merged) - behind
            reminders[place] = (*reminders.get(place, ()), *blocks)
            continue
        if merged and merged[-1].role == message.role:
            blocks = (*merged.pop().blocks, *blocks)
        merged.append(Message(message.role, blocks))
    for place, said in reversed(reminders.items()):
        # The model gets it behind the user's message. Its record stands before: behind a tool's
        # result it is lost on models that know no system messages in a conversation. But nothing
        # stands before the first message.
        merged.insert(1 if first and place == 0 else place, Message("system", said))
    return merged


def _encodable(value: Any) -> Any:
    """Return a value of JSON with U+FFFD for what is no character: half of a surrogate pair."""
    match value:
        case str():
            return encodable(value)
        case Mapping():
            return {_encodable(str(key)): _encodable(item) for key, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
    return value
