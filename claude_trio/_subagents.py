"""Follows the transcripts of a conversation's subagents, which lie in a directory beside its own.

Each has a small file beside it that names the tool call which started it. Both appear while a turn
runs, so they are looked for at each look: one `stat` as long as there is no subagent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from ._jsonl import CLOCK_TICK_NS, JsonlWatcher
from ._protocol.objects import parse_object
from ._protocol.records import Record
from .errors import MessageParseError


class SubagentFiles:
    """The transcripts of the subagents of one conversation.

    Args:
        transcript: The transcript of the conversation.
        on_parse_error: Called for each line that is no record.
    """

    def __init__(
        self, transcript: Path, on_parse_error: Callable[[MessageParseError], None]
    ) -> None:
        self.directory = transcript.with_suffix("") / "subagents"
        self._on_parse_error = on_parse_error
        #: By the name of the transcript: who reads it, and the tool call behind it.
        self._watchers: dict[str, tuple[JsonlWatcher, str]] = {}
        self._seen: int | None = None

    def skip_present(self) -> None:
        """Take what is there now as read."""
        for path in self.directory.glob("agent-*.jsonl"):
            watcher = JsonlWatcher(
                path, offset=path.stat().st_size, on_parse_error=self._on_parse_error
            )
            call = _tool_use_id(path.with_suffix(".meta.json")) or ""
            self._watchers[path.name] = (watcher, call)

    def read(self) -> list[tuple[Record, str]]:
        """Return the records that are new, each with the tool call whose subagent wrote it.

        Raises:
            OSError: They cannot be read; none is lost.
        """
        self._look_for_new()
        new: list[tuple[Record, str]] = []
        for watcher, tool_use_id in self._watchers.values():
            try:
                new += [(record, tool_use_id) for record in watcher.read()]
            except OSError:
                if new:
                    break  # of the others at the next look, which meets it again
                raise
        return new

    def _look_for_new(self) -> None:
        try:
            changed_at = os.stat(self.directory).st_mtime_ns  # noqa: PTH116 - at every look
        except OSError:
            return  # there is none yet
        if changed_at == self._seen:
            return
        waiting = False
        for path in sorted(self.directory.glob("agent-*.jsonl")):
            if path.name in self._watchers:
                continue
            tool_use_id = _tool_use_id(path.with_suffix(".meta.json"))
            if tool_use_id is None:
                waiting = True  # the name of its call may come after it, which changes nothing here
                continue
            watcher = JsonlWatcher(path, on_parse_error=self._on_parse_error)
            self._watchers[path.name] = (watcher, tool_use_id)
        settled = time.time_ns() - changed_at > CLOCK_TICK_NS
        self._seen = changed_at if settled and not waiting else None


def _tool_use_id(path: Path) -> str | None:
    try:
        found = (parse_object(path.read_bytes()) or {}).get("toolUseId")
    except OSError:
        return None
    return found if isinstance(found, str) else None
