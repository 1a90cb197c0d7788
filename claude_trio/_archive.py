"""What a backend remembers of the conversations that its processes have had.

The transcripts are the CLI's own files. Here is only where they lie, and how far into each of them a
conversation had come after each exchange, so that another one can go on from there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ._protocol.history import Exchange, shared
from ._protocol.javascript import digest
from ._protocol.messages import THINKING, Block
from ._protocol.preamble import preamble_of
from .events import AssistantMessage, Event

_MOST_CONVERSATIONS: Final = 64
_MOST_THOUGHTS: Final = 65_536


@attrs.frozen
class Prefix:
    """The beginning of a conversation, in the CLI's own records.

    Attributes:
        data: The lines.
        leaf: The record that what comes next hangs on.
        length: How many exchanges it holds.
    """

    data: bytes
    leaf: str
    length: int


@attrs.define(eq=False)
class _Lived:
    """One transcript, and the record at which each of its exchanges has ended, where that is known."""

    options: BackendOptions
    exchanges: tuple[Exchange, ...] = ()
    ends: dict[int, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Archive:
    """The conversations of one backend, the newest 64 of them."""

    _lived: dict[Path, _Lived] = attrs.field(factory=dict)
    #: What was thought, and by which model, in the caller's words.
    _thoughts: dict[str, str | None] = attrs.field(factory=dict)
    _preambles: list[_Preamble] = attrs.field(factory=list)

    def remember(
        self,
        transcript: Path,
        exchanges: tuple[Exchange, ...],
        events: Sequence[Event],
        *,
        fresh: bool,
    ) -> None:
        """Take note of a turn that has been completed.

        Args:
            transcript: Its file.
            exchanges: What the conversation has lived through, this turn included.
            events: Those of this turn.
            fresh: Whether the CLI has begun this transcript itself.
        """
        answers = [
            event
            for event in events
            if isinstance(event, AssistantMessage) and event.parent_tool_use_id is None
        ]
        if not answers or answers[-1].uuid is None:
            return
        lived = self._lived.pop(transcript, None) or _Lived()
        lived.exchanges = exchanges
        lived.ends = {n: end for n, end in lived.ends.items() if n < len(exchanges)}
        lived.ends[len(exchanges)] = answers[-1].uuid
        self._lived[transcript] = lived
        _bound(self._lived, _MOST_CONVERSATIONS)
        for block in (block.to_dict() for answer in answers for block in answer.content):
            if block["type"] in THINKING:
                self._thoughts[digest(block)] = None
        _bound(self._thoughts, _MOST_THOUGHTS)
        if fresh and not self._preamble:
            self._unread = transcript

    def has_thought(self, block: Block) -> bool:
        """Whether a process of this backend has thought this."""
        return (
            digest({"signature": "", **block}) in self._thoughts or digest(block) in self._thoughts
        )

    def longest_prefix(self, exchanges: Sequence[Exchange]) -> Prefix | None:
        """Return the longest beginning of a conversation that stands in a transcript of ours."""
        found = [
            (max(ends), path, lived.ends)
            for path, lived in self._lived.items()
            if (common := shared(exchanges, lived.exchanges))
            and (ends := [n for n in lived.ends if n <= common])
        ]
        for length, path, known in sorted(found, key=lambda each: -each[0]):
            if (data := _lines_until(path, known[length])) is not None:
                return Prefix(data, known[length], length)
        return None

    def preamble(self) -> tuple[Mapping[str, Any], ...]:
        """Return what the CLI has told the model beside the first message of a conversation."""
        if self._unread is not None:
            with contextlib.suppress(OSError, ValueError), self._unread.open("rb") as file:
                self._preamble = preamble_of(_records(file))
            self._unread = None
        return self._preamble


def _bound(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _records(lines: Iterator[bytes]) -> Iterator[Mapping[str, Any]]:
    return (record for line in lines if isinstance(record := json.loads(line), dict))


def _lines_until(path: Path, leaf: str) -> bytes | None:
    """Return the lines of a transcript up to a record; None if they cannot be read."""
    lines = []
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        for line in file:
            lines.append(line)
            if leaf.encode() in line and json.loads(line).get("uuid") == leaf:
                return b"".join(lines)
    return None
