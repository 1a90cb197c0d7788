"""What a backend remembers of the conversations that its processes have had.

The transcripts are the CLI's own files. Here is only where they lie, and how far into each of them a
conversation had come after each exchange, so that another one can go on from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ._protocol.history import Exchange, shared
from ._protocol.javascript import digest
from ._protocol.messages import THINKING, Block
from ._protocol.past import lines_until, parse, without_tasks
from ._protocol.preamble import preamble_of
from .events import AssistantMessage, Event
from .options import BackendOptions

_MOST_CONVERSATIONS: Final = 64
_MOST_THOUGHTS: Final = 65_536
_MOST_PREAMBLES: Final = 8


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
class _Preamble:
    """The transcript that has a preamble; it is read when it is needed."""

    options: BackendOptions
    _transcript: Path
    _known: tuple[Mapping[str, Any], ...] | None = None

    def read(self) -> tuple[Mapping[str, Any], ...]:
        if self._known is None:
            with contextlib.suppress(OSError), self._transcript.open("rb") as file:
                self._known = preamble_of(map(parse, file))
        return self._known or ()


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
        options: BackendOptions,
        *,
        fresh: bool,
    ) -> None:
        """Take note of a turn that has been completed.

        Args:
            transcript: Its file.
            exchanges: What the conversation has lived through, this turn included.
            events: Those of this turn.
            options: How the process is run.
            fresh: Whether the CLI has begun this transcript itself.
        """
        answers = [
            event
            for event in events
            if isinstance(event, AssistantMessage) and event.parent_tool_use_id is None
        ]
        if not answers or answers[-1].uuid is None:
            return
        lived = self._lived.pop(transcript, None) or _Lived(options)
        lived.options, lived.exchanges = options, exchanges
        lived.ends = {n: end for n, end in lived.ends.items() if n < len(exchanges)}
        lived.ends[len(exchanges)] = answers[-1].uuid
        self._lived[transcript] = lived
        _bound(self._lived, _MOST_CONVERSATIONS)
        for block in (block.to_dict() for answer in answers for block in answer.content):
            if block["type"] in THINKING:
                self._thoughts[digest(block)] = options.model
        _bound(self._thoughts, _MOST_THOUGHTS)
        if fresh and all(known.options != options for known in self._preambles):
            self._preambles = [*self._preambles, _Preamble(options, transcript)][-_MOST_PREAMBLES:]

    def has_thought(self, block: Block, options: BackendOptions) -> bool:
        """Whether a process with the model of these options has thought this."""
        name = digest(block)
        return name in self._thoughts and self._thoughts[name] == options.model

    def longest_prefix(
        self, exchanges: Sequence[Exchange], options: BackendOptions
    ) -> Prefix | None:
        """Return the longest beginning of a conversation that stands in a transcript of ours.

        Args:
            exchanges: The conversation.
            options: How the process was run that has lived through it.
        """
        found = [
            (max(ends), path, lived.ends)
            for path, lived in self._lived.items()
            if lived.options == options
            and (common := shared(exchanges, lived.exchanges))
            and (ends := [n for n in lived.ends if n <= common])
        ]
        for length, path, known in sorted(found, key=lambda each: -each[0]):
            if (data := _lines_until(path, known[length])) is not None:
                return Prefix(data, known[length], length)
        return None

    def preamble(self, options: BackendOptions) -> tuple[Mapping[str, Any], ...]:
        """Return what a process with these options tells the model beside a first message."""
        return next((known.read() for known in self._preambles if known.options == options), ())


def _bound(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]


def _lines_until(path: Path, leaf: str) -> bytes | None:
    """Return the lines of a transcript up to a record; None if they cannot be read."""
    try:
        lines = lines_until(path.read_bytes(), leaf)
    except OSError:
        return None
    return None if lines is None else without_tasks(lines)
