"""Reads what a CLI tells its status line, while a turn waits for it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from ._notices import FileNotices
from ._protocol.cost import NOTHING_USED, CostMeter, parse_status_line
from ._protocol.normalize import structure_usage
from ._protocol.outcome import Outcome
from ._protocol.records import Record

_PATIENCE: Final = 3.0  # seconds after a turn; 0.3 to 0.7 of them are what the CLI takes
_MARGIN: Final = 0.5  # seconds before the time-out of a turn that has ended


@attrs.define(eq=False)
class CostWatch:
    """What one process costs.

    Args:
        path: Where its status line leaves what it is told; None if nothing is to be known.
        anew: Whether the process begins to count at nothing.
    """

    path: Path | None
    anew: bool = True
    _meter: CostMeter = attrs.field(init=False)
    _seen: tuple[int, int] | None = None
    _waiting_since: float | None = None

    def __attrs_post_init__(self) -> None:
        self._meter = CostMeter(NOTHING_USED if self.anew else None)

    def attach(self, notices: FileNotices, callback: Callable[[], None]) -> None:
        """Ask for a notice of what is told."""
        if self.path is not None:
            notices.watch(self.path, callback)

    def detach(self, notices: FileNotices) -> None:
        """Want no more notices of a process that has ended, and remove what it has told."""
        if self.path is not None:
            notices.forget(self.path)
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    @property
    def told(self) -> float | None:
        """US dollars that the process has told that it cost so far; None if it has told nothing."""
        self._look()
        latest = self._meter.latest
        return None if latest is None else latest.total_cost_usd

    def begin(self) -> None:
        """A turn begins."""
        self._look()
        self._meter.begin()
        self._waiting_since = None

    def feed(self, record: Record) -> None:
        """Take the next record of the transcript."""
        if record.type == "assistant" and not (record.is_sidechain or record.is_api_error):
            self._meter.answer(structure_usage(record.message.get("usage")))

    def is_due(self, outcome: Outcome, now: float, *, until: float = math.inf) -> bool:
        """Return whether the outcome is to be kept back for what is yet to be told.

        Args:
            outcome: How the turn ended.
            now: Seconds by trio's clock.
            until: The end of all waiting, by the same clock.
        """
        if self.path is None or outcome.error is not None:
            return False
        self._look()
        if self._waiting_since is None:
            self._waiting_since = now
        ends = min(self._waiting_since + _PATIENCE, until - _MARGIN)
        return now < ends and not self._meter.complete

    def add_to(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what is known of its cost."""
        if self.path is None:
            return outcome
        self._look()
        if outcome.error is not None:
            self._meter.explain(outcome.error)
        return attrs.evolve(outcome, result=self._meter.add_to(outcome.result))

    def _look(self) -> None:
        if self.path is None:
            return
        try:
            found = os.stat(self.path)  # noqa: PTH116 - called at every look
            seen = (found.st_ino, found.st_mtime_ns)  # it is replaced, never changed
            if seen == self._seen:
                return
            line = parse_status_line(self.path.read_bytes())
        except OSError:
            return
        self._seen = seen
        if line is not None:
            self._meter.tell(line)
