"""How a session opens: on nothing, on a written history, or on a transcript that somebody has left."""

from __future__ import annotations

import datetime
from pathlib import Path

import attrs

from ._cold import Cold
from ._files import SessionFiles
from ._launch import snapshot_arguments
from ._protocol import failures
from ._protocol.history import Conversation
from ._protocol.past import (
    next_records,
    rewind_record,
    version_of,
    whole_lines,
    without_tasks,
)
from ._protocol.verify import HistoryCheck
from ._session_info import Origin, SessionInfo
from .events import Event
from .options import BackendOptions


@attrs.frozen
class Past:
    """A transcript that a conversation goes on from, whoever wrote it.

    Attributes:
        session_id: Its session.
        fork: Whether to go on in a copy, as a new session.
    """

    session_id: str
    fork: bool = False


@attrs.frozen
class Opening:
    """What a session knows when its process is started; the default is a new conversation.

    Attributes:
        origin: As in `SessionInfo`.
        before: The process whose own transcript is gone on with.
        cli_version: Which CLI has written that transcript; None if it was none.
        check: Judges whether the model has seen the history; None if that is not in question.
        notes: What the caller is to be told.
    """

    origin: Origin = "fresh"
    before: SessionInfo | None = None
    cli_version: str | None = None
    check: HistoryCheck | None = None
    notes: tuple[Event, ...] = ()

    @property
    def at_rest(self) -> bool:
        """Whether the process waits for its first prompt, and does not find it in a transcript."""
        return self.origin == "fresh" or self.before is not None

    def arguments(self, session_id: str, options: BackendOptions, cold: Cold) -> list[str]:
        """Return the arguments that tell the CLI which conversation it is in."""
        if self.origin == "fresh":
            return ["--session-id", session_id]
        answer = () if self.at_rest else cold.flags
        return ["--resume", session_id, *answer, *snapshot_arguments(options, self.cli_version)]

    def environment(self, cold: Cold) -> dict[str, str]:
        """Return the variables that tell it to answer the prompt that it finds."""
        return {} if self.at_rest else cold.environment


def open_written(
    files: SessionFiles, conversation: Conversation, cold: Cold, options: BackendOptions
) -> Opening:
    """Write a conversation's history and its prompt, to have the prompt answered.

    Raises:
        SessionError: It could not be written.
    """
    history = cold.begin(conversation, files.session_id, options)
    try:
        files.begin_with(history.data)
    except OSError as exc:
        raise failures.not_written(files.transcript, exc, files.session_id) from exc
    return Opening("resumed", check=history.check, notes=history.notes)


def open_after(files: SessionFiles, ended: SessionInfo) -> Opening:
    """Take up the transcript of a process of this backend that has ended.

    Raises:
        SessionError: It cannot be read.
    """
    try:
        files.begin_at_end()
    except OSError as exc:
        raise failures.unreadable(exc, files.session_id) from exc
    return Opening("resumed", before=ended, cli_version=ended.cli_version)


def open_past(
    files: SessionFiles, past: Past, conversation: Conversation, options: BackendOptions
) -> Opening:
    """Add a prompt to a transcript, or to a copy of it, to have it answered.

    Raises:
        SessionError: There is no such transcript, or it cannot be written; then it is as it was.
    """
    source: Path = files.transcript.with_name(f"{past.session_id}.jsonl")
    try:
        data = source.read_bytes()
        if past.fork:
            data = without_tasks(whole_lines(data))
        prompt = next_records(
            data,
            conversation.messages[-1],
            session_id=files.session_id,
            cwd=str(options.cwd),
            model=options.model,
            now=datetime.datetime.now(datetime.UTC),
        )
    except (OSError, ValueError) as exc:
        raise failures.no_transcript(source, exc, past.session_id) from exc
    try:
        if past.fork:
            files.begin_with(data + prompt)
        else:
            undo = rewind_record(data, session_id=past.session_id) if prompt else b""
            files.begin_at_end(prompt, undo)
    except OSError as exc:
        raise failures.not_written(files.transcript, exc, files.session_id) from exc
    return Opening("resumed", cli_version=version_of(data))
