r"""Bytes of a transcript into lines, and lines into records; neither step loses anything.

A transcript is one JSON object for each line, appended by the CLI. Lines end at ``\n`` bytes and at
nothing else: JSON may hold U+2028 and a read may end inside a character.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from ..errors import MessageParseError
from .converter import make_converter

_COMMANDS: Final = ("<command-name>", "<command-message>", "<bash-input>")


class LineBuffer:
    """Cuts a stream of bytes into complete lines, however the bytes arrive."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        r"""Take more bytes; return the lines that they completed, without their ``\n``."""
        head, *rest = data.split(b"\n")
        # The unfinished line stays a list of chunks: joining it at every read would make one long
        # line cost the square of its length.
        self._chunks.append(head)
        if not rest:
            return []
        lines = [b"".join(self._chunks), *rest[:-1]]
        self._chunks = [rest[-1]]
        return lines

    @property
    def pending(self) -> bytes:
        r"""The bytes after the last ``\n``: a line that is still being written."""
        return b"".join(self._chunks)


@attrs.frozen(kw_only=True)
class Record:
    """One line of a transcript: the fields that every part reads, and the whole of it in `raw`."""

    type: str
    subtype: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    session_id: str | None = None
    timestamp: str | None = None
    prompt_id: str | None = None
    prompt_source: str | None = None
    is_meta: bool = False
    is_sidechain: bool = False
    is_api_error: bool = False
    message: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)

    @property
    def content(self) -> str | list[Mapping[str, Any]]:
        """The message's content, as written; empty where there is none."""
        content = self.message.get("content", "")
        return content if isinstance(content, str | list) else ""

    @property
    def blocks(self) -> list[Mapping[str, Any]]:
        """The message's content as a list of blocks; a string is one text block."""
        if isinstance(self.content, str):
            return [{"type": "text", "text": self.content}]
        return [block for block in self.content if isinstance(block, dict)]

    @property
    def text(self) -> str:
        """The text blocks of the message, joined."""
        return "".join(
            block["text"]
            for block in self.blocks
            if block.get("type") == "text" and isinstance(block.get("text"), str)
        )

    @property
    def absorbed_prompt(self) -> str | None:
        """The text of a prompt that was sent while a turn ran, and that this turn has taken up."""
        attachment = self.raw.get("attachment")
        if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
            return None
        prompt = attachment.get("prompt")
        return prompt if isinstance(prompt, str) else None

    @property
    def last_words(self) -> dict[str, str | None]:
        """The last words of the subagent whose result this is, by its call; None if it goes on."""
        result = self.raw.get("toolUseResult")
        calls = [block.get("tool_use_id") for block in self.blocks]
        if not isinstance(result, dict) or "agentId" not in result or len(calls) != 1:
            return {}
        if result.get("status") != "completed":
            return {str(calls[0]): None}
        content = result.get("content")
        blocks = content if isinstance(content, list) else []
        texts = [block["text"] for block in blocks if isinstance(block, dict) and "text" in block]
        return {str(calls[0]): str(texts[-1]) if texts else ""}

    @property
    def is_command(self) -> bool:
        """Whether it is a command that was given to the CLI, which it writes in tags of its own."""
        return self.type == "user" and not self.is_meta and self.text.startswith(_COMMANDS)


CONVERTER: Final = make_converter()
CONVERTER.register_structure_hook(
    Record,
    make_dict_structure_fn(
        Record,
        CONVERTER,
        parent_uuid=override(rename="parentUuid"),
        session_id=override(rename="sessionId"),
        prompt_id=override(rename="promptId"),
        prompt_source=override(rename="promptSource"),
        is_meta=override(rename="isMeta"),
        is_sidechain=override(rename="isSidechain"),
        is_api_error=override(rename="isApiErrorMessage"),
    ),
)


def parse_record(line: bytes) -> Record:
    """Return the record in one line of a transcript.

    Args:
        line: The line, without its line break.

    Raises:
        MessageParseError: The line is not a JSON object, or a field that every part reads has
            another type than it should; the line and the defects are in the error.
    """
    try:
        raw = json.loads(line)
    except ValueError as exc:  # UnicodeDecodeError and JSONDecodeError are both of this kind
        raise unreadable(line, (str(exc),)) from None
    except RecursionError:
        raise unreadable(line, ("nested too deeply",)) from None
    if not isinstance(raw, dict):
        raise unreadable(line, (f"expected an object, got {type(raw).__name__}",))
    # The CLI writes null for what it does not know; for us that is the same as leaving it out.
    known = {key: value for key, value in raw.items() if value is not None}
    try:
        return CONVERTER.structure({**known, "raw": raw}, Record)
    except cattrs.BaseValidationError as exc:
        raise unreadable(line, tuple(cattrs.transform_error(exc))) from None


def unreadable(line: bytes, problems: tuple[str, ...]) -> MessageParseError:
    """Return the error for a line that cannot be taken as a record."""
    shown = line[:80].decode("utf-8", "backslashreplace") + ("…" if len(line) > 80 else "")
    return MessageParseError(
        f"cannot read this line of the transcript ({'; '.join(problems)}): {shown}",
        kind="unreadable",
        line=line,
        problems=problems,
    )
