"""How a backend continues a conversation that no live process has lived through."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import attrs

from ._archive import Archive
from ._protocol.client_tools import in_words_of_cli
from ._protocol.concat import concat_messages
from ._protocol.history import Conversation, messages_after
from ._protocol.messages import Block, Said
from ._protocol.transcript import end_record, write_transcript
from ._protocol.verify import HistoryCheck
from .errors import StartupError
from .events import SystemMessage
from .options import BackendOptions

#: 2.1.197 sends the newest so many images and documents, and leaves the others out.
_MOST_MEDIA: Final = 80


@attrs.frozen
class Beginning:
    """What a process is started on.

    Attributes:
        data: The transcript.
        check: Judges whether the model has seen it; None if that is not in question.
        notes: What the caller is to be told.
    """

    data: bytes
    check: HistoryCheck | None = None
    notes: tuple[SystemMessage, ...] = ()


@attrs.define(eq=False)
class Cold:
    """Writes the transcripts of one backend."""

    archive: Archive = attrs.field(factory=Archive)
    #: Whether the CLI answers the history that it is started on when it is told to by a flag.
    _has_flag: bool = True

    @property
    def flags(self) -> tuple[str, ...]:
        """The arguments by which a process answers the history that it resumes."""
        return ("--reply-on-resume",) if self._has_flag else ()

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which it does so where it does not know the flag."""
        return {} if self._has_flag else {"CLAUDE_CODE_RESUME_INTERRUPTED_TURN": "1"}

    def another_way(self, conversation: Conversation, error: StartupError) -> Conversation | None:
        """Return how to begin after a start on a written history has failed; None if in no way.

        Args:
            conversation: The conversation.
            error: What the start has failed with.
        """
        if error.kind == "flag" and self._has_flag and "--reply-on-resume" in error.screen_tail:
            self._has_flag = False
            return conversation
        if error.kind == "resume" and conversation.exchanges and conversation.not_seen is None:
            return attrs.evolve(conversation, not_seen=error.message)
        return None

    def begin(
        self, conversation: Conversation, session_id: str, options: BackendOptions
    ) -> Beginning:
        """Return what a new process is to be started on, to answer the new prompt.

        Args:
            conversation: The conversation.
            session_id: The name of the new session.
            options: How it is run.
        """
        messages, prefix = conversation.messages, None
        preamble: Sequence[Mapping[str, Any]] = ()
        retold = options.history == "concat_message" or conversation.not_seen is not None
        notes: list[SystemMessage] = []
        if conversation.not_seen is not None:
            notes.append(_note("history_retold", conversation.not_seen, session_id))
        if not conversation.exchanges:
            retold = False
        elif retold:
            messages = concat_messages(messages)
        elif prefix := self.archive.longest_prefix(conversation.exchanges, options):
            messages = messages_after(conversation, prefix.length)
        else:
            preamble = self.archive.preamble(options)
        media = sum(_count_media(block) for said in messages for block in said.blocks)
        if media > _MOST_MEDIA:
            much = (
                f"there are {media} images and documents; some CLIs send the newest {_MOST_MEDIA}"
            )
            notes.append(_note("history_media", much, session_id))
        names = {tool["name"] for tool in options.client_tools or ()}
        written = write_transcript(
            in_words_of_cli(messages, names),
            session_id=session_id,
            cwd=str(options.cwd),
            model=options.model,
            now=datetime.datetime.now(datetime.UTC),
            may_think=partial(self._may_think, options),
            preamble=preamble,
            parent=prefix.leaf if prefix is not None else None,
        )
        data = written.data
        if prefix is not None:
            data = prefix.data + data + end_record(written.uuids[-1], session_id)
        return Beginning(data, None if retold else HistoryCheck(written), tuple(notes))

    def _may_think(self, options: BackendOptions, said: Said, block: Block) -> bool:
        """Whether the model is the one that has thought this; of another one, the API refuses it."""
        named = said.model is not None and said.model == options.model
        return named or self.archive.has_thought(block, options)


def _note(subtype: str, reason: str, session_id: str) -> SystemMessage:
    data = {"type": subtype, "reason": reason}
    return SystemMessage(subtype=subtype, data=data, session_id=session_id)


def _count_media(block: Block) -> int:
    if block["type"] in {"image", "document"}:
        return 1
    inside = block.get("content")
    parts = inside if block["type"] == "tool_result" and isinstance(inside, list) else []
    return sum(
        part.get("type") in {"image", "document"} for part in parts if isinstance(part, dict)
    )
