"""How an answer is printed: as text at its end, as text while it is written, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from ._protocol.printed import print_event, print_result, print_session
from ._session_info import SessionInfo
from .errors import BackendError
from .events import AssistantMessage, Event, ResultMessage, TextDelta, ToolUseBlock, UserMessage
from .options import BackendOptions


class Printer(Protocol):
    """Says what is to be printed of one turn, step by step."""

    def begin(self, session: SessionInfo) -> str:
        """Return what comes before the first event."""

    def event(self, event: Event) -> str:
        """Return what an event gives; the result is none of them."""

    def end(self, result: ResultMessage, error: BackendError | None = None) -> str:
        """Return what comes last.

        Args:
            result: How the turn has ended.
            error: What it has failed with.
        """


class FinalText:
    """The text of the last message, of a turn that has not failed, and nothing else."""

    def begin(self, session: SessionInfo) -> str:  # noqa: ARG002 - as in `Printer`
        """Return nothing."""
        return ""

    def event(self, event: Event) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def end(self, result: ResultMessage, error: BackendError | None = None) -> str:
        """Return the text."""
        return f"{result.result}\n" if error is None and result.result is not None else ""


@attrs.define
class LiveText:
    """Every text of the model's, while it is written; each begins on a line of its own."""

    _in_line: bool = False

    def begin(self, session: SessionInfo) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def event(self, event: Event) -> str:
        """Return a piece of text."""
        if not isinstance(event, TextDelta) or not event.text:
            return ""
        text = "\n" + event.text if event.index == 0 and self._in_line else event.text
        self._in_line = not text.endswith("\n")
        return text

    def end(self, result: ResultMessage, error: BackendError | None = None) -> str:  # noqa: ARG002
        """Return the end of the last line."""
        return "\n" if self._in_line else ""


@attrs.define
class Json:
    """Objects, one a line, with the field names of ``claude -p``.

    Args:
        options: How the turn is run.
        stream: Whether all that happens is printed, and not the result alone.
    """

    options: BackendOptions
    stream: bool

    def begin(self, session: SessionInfo) -> str:
        """Return what the conversation is."""
        if not self.stream:
            return ""
        return to_line(
            print_session(
                session_id=session.session_id,
                cwd=str(self.options.cwd),
                permission_mode=self.options.permission_mode,
                version=session.cli_version,
            )
        )

    def event(self, event: Event) -> str:
        """Return the event, unless it is what was asked: ``claude -p`` does not say that again."""
        asked = isinstance(event, UserMessage) and event.origin == "prompt"
        return to_line(print_event(event)) if self.stream and not asked else ""

    def end(self, result: ResultMessage, error: BackendError | None = None) -> str:
        """Return the result."""
        return to_line(print_result(result, error))


def to_line(printed: Mapping[str, Any]) -> str:
    """Return an object as a line of JSON."""
    return json.dumps(printed, ensure_ascii=False, separators=(",", ":")) + "\n"


def doing(event: Event) -> str:
    """Say what the model does after an event."""
    if isinstance(event, AssistantMessage):
        for block in event.content:
            if isinstance(block, ToolUseBlock):
                return f"running {block.name}"
    return "thinking"
