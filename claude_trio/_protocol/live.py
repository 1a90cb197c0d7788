"""The text that the CLI shows while the model writes it, brought in line with the transcript.

The CLI tells a `MessageDisplay` hook what it shows, line by line: one stream of pieces for each API
message, in which the texts of all its blocks follow one another without a mark between them. The
transcript has the blocks, later. A stream and an API message have no name in common; they belong
together by their order and by their text.

What is promised, whatever the hook loses, repeats or brings late: the pieces of an API message, joined,
are the texts of its blocks, joined; the last piece before a block completes the text up to that
block's end; no piece of a block comes behind it. When a stream turns out to be something else, as
when a request was repeated, the text begins again with a piece whose index is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ..events import AssistantMessage, Event, TextBlock, TextDelta, UserMessage


@attrs.define(eq=False)
class _Stream:
    prompt_id: str | None
    text: str = ""
    complete: bool = False
    _next: int = 0
    _early: dict[int, tuple[str, bool]] = attrs.field(factory=dict)

    def add(self, index: int, delta: str, *, final: bool) -> None:
        if index < self._next:
            return
        self._early[index] = (delta, final)
        while self._next in self._early:
            piece, last = self._early.pop(self._next)
            self.text += piece
            self.complete |= last
            self._next += 1


@attrs.define(eq=False)
class LiveText:
    """The live text of one conversation, a turn at a time."""

    #: What the CLI calls the prompts of the present turn; None until the first one was taken.
    _prompts: set[str | None] | None = None
    _streams: dict[str, _Stream] = attrs.field(factory=dict)
    _done: set[str] = attrs.field(factory=set)
    #: The API message whose blocks are coming; None before the first one of a stream.
    _message: str | None = None
    _stream: str | None = None
    _durable: str = ""
    _emitted: str = ""
    _index: int = 0
    _session_id: str | None = None
    #: The API message before that, and the text of its blocks.
    _past: tuple[str | None, str] = (None, "")
    #: The last one whose text was seen to its end, and its next index.
    _finished: tuple[str | None, int] = (None, 0)

    def begin(self, *, resumed: bool) -> None:
        """Begin a turn.

        Args:
            resumed: Whether the CLI answers a prompt that it found in its transcript; it has no name
                for that one.
        """
        self._done |= self._streams.keys()
        self._streams.clear()
        self._prompts = {None} if resumed else None
        self._restart()

    def feed(self, body: Mapping[str, Any]) -> None:
        """Take what the hook was told."""
        match body:
            case {"message_id": str(name), "index": int(index), "delta": str(delta)}:
                pass
            case _:
                return
        if name in self._done:
            return
        prompt_id = body.get("prompt_id")
        known = prompt_id if isinstance(prompt_id, str) else None
        stream = self._streams.setdefault(name, _Stream(known))
        stream.add(index, delta, final=body.get("final") is True)
        if isinstance(session_id := body.get("session_id"), str):
            self._session_id = session_id

    def take(self) -> list[TextDelta]:
        """Return the piece that can be shown now, if there is one; nothing before the prompt was taken."""
        if self._prompts is None:
            return []
        self._choose()
        if self._stream is None:
            return []
        text = self._streams[self._stream].text
        if not text.startswith(self._emitted):
            return []
        return self._piece(text[len(self._emitted) :])

    def before(self, event: Event) -> list[TextDelta]:
        """Return the pieces that have to come before an event of the turn."""
        if isinstance(event, UserMessage):
            # A prompt that the running turn took up has no name of its own.
            if event.origin == "prompt" and event.raw.get("type") != "attachment":
                known = event.raw.get("promptId")
                self._prompts = {*(self._prompts or ()), known if isinstance(known, str) else None}
            return []
        if not isinstance(event, AssistantMessage) or event.parent_tool_use_id or event.error:
            return []
        pieces: list[TextDelta] = []
        self._session_id = event.session_id or self._session_id
        for block in event.content:
            if isinstance(block, TextBlock):
                pieces += self._complete(event.message_id or "", block.text)
        return pieces

    def _complete(self, message: str, text: str) -> list[TextDelta]:
        if message != self._message:
            finished, index = self._finished
            if message == finished and not text:  # an empty block behind all the others
                return [TextDelta(text="", index=index, final=True, session_id=self._session_id)]
            self._bind(message, text)
        self._durable += text
        if self._emitted.startswith(self._durable):
            return self._piece("", final=True)
        if not self._durable.startswith(self._emitted):
            self._drop()
            self._emitted, self._index = "", 0
        return self._piece(self._durable[len(self._emitted) :], final=True)

    def _piece(self, text: str, *, final: bool = False) -> list[TextDelta]:
        if not text and not final:
            return []
        piece = TextDelta(text=text, index=self._index, final=final, session_id=self._session_id)
        self._emitted += text
        self._index += 1
        return [piece]

    # -- which stream belongs to which message --------------------------------------------------

    def _bind(self, message: str, text: str) -> None:
        """Begin an API message: find the stream that is its own."""
        # It may have been left for a stream that was then taken for the next one's.
        before = self._past[1] if message == self._past[0] else ""
        unbound = self._streams[self._stream] if self._stream and self._message is None else None
        if unbound is None or not _agree(unbound.text, before + text):
            self._drop()
            self._restart()
            ours = self._ours()
            for position, name in enumerate(ours):
                if _agree(self._streams[name].text, before + text):
                    for skipped in ours[:position]:
                        self._forget(skipped)
                    self._stream = name
                    break
        self._message, self._durable = message, before

    def _choose(self) -> None:
        """Go on to the next stream when the present one has been seen to its end."""
        if self._stream is not None:
            stream = self._streams[self._stream]
            known = self._message is not None
            if known and not _agree(stream.text, self._emitted):
                # It came late, and was taken for the last message's own; it is the next one's.
                name = self._stream
                self._restart()
                self._stream = name
            elif not (known and stream.complete and stream.text == self._durable):
                return
            else:
                self._finished = (self._message, self._index)
                self._drop()
                self._restart()
        for name in self._ours():
            self._stream = name
            if self._message is not None and not _agree(self._streams[name].text, self._durable):
                self._restart()
                self._stream = name
            return

    def _ours(self) -> list[str]:
        wanted = self._prompts or set()
        return [
            name for name, s in self._streams.items() if None in wanted or s.prompt_id in wanted
        ]

    def _restart(self) -> None:
        if self._message is not None:
            self._past = (self._message, self._durable)
        self._message = self._stream = None
        self._durable = self._emitted = ""
        self._index = 0

    def _drop(self) -> None:
        if self._stream is not None:
            self._forget(self._stream)
            self._stream = None

    def _forget(self, name: str) -> None:
        del self._streams[name]
        self._done.add(name)


def _agree(a: str, b: str) -> bool:
    """Whether one of two texts begins with the other."""
    return a.startswith(b) or b.startswith(a)
