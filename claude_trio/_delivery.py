"""`Delivery`: what the consumer of a turn gets, and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from ._inbox import Inbox
from ._protocol.live import LiveText
from ._protocol.records import Record
from ._protocol.turns import TurnManager
from ._protocol.verify import HistoryCheck
from .events import Event

_MOST_WAITING: Final = 256  # events that may wait for a slow consumer before reading stops


@attrs.define(eq=False)
class Delivery:
    """The way of events from the turns of one conversation to whoever consumes them.

    Args:
        turns: The turns.
        check: Whether the model has seen the history that was written; until that is settled, events
            are held. None when it is.
        live: Takes the live text; None when nobody wants it.
    """

    turns: TurnManager
    check: HistoryCheck | None = None
    live: LiveText | None = None
    #: Where the events of the turn go; None between turns.
    inbox: Inbox | None = None
    _held: list[Event] = attrs.field(factory=list)

    @property
    def unwanted(self) -> bool:
        """Whether nobody wants the prompt answered any more."""
        inbox = self.inbox
        return inbox is not None and (inbox.unwanted or inbox.interrupted or self.turns.doomed)

    @property
    def behind(self) -> bool:
        """Whether the consumer is so slow that no more is to be read.

        The file itself is the buffer: while nobody takes what was read, it is not read on. Nor is it
        while the turn waits for the caller.
        """
        if self.turns.paused:
            return True
        inbox = self.inbox
        return inbox is not None and not self.unwanted and len(inbox.events) >= _MOST_WAITING

    def put(self, events: Iterable[Event]) -> None:
        """Hand on events, behind the live text that belongs before them."""
        if self.check is not None:
            self._held.extend(events)
            return
        if self.inbox is None:
            return
        for event in events:
            if self.live is not None:
                self.inbox.put(self.live.before(event))
            self.inbox.put([event])

    def put_live(self) -> None:
        """Hand on what the CLI shows; not to a consumer that is behind, for whom it is kept."""
        if self.live is None or self.inbox is None or self.turns.outcome is not None:
            return
        held = self.check is not None or self.behind
        if not held and (pieces := self.live.take()):
            self.inbox.put(pieces)

    def verify(self, record: Record) -> str | None:
        """Let go of what was held, once it is clear that the model has seen the history.

        Returns:
            Why it has not; None as long as nothing says so.
        """
        if self.check is None:
            return None
        self.check.feed(record)
        if not self.check.answered:
            return None
        problem = self.check.problem
        self.end_check(deliver=problem is None)
        return problem

    def end_check(self, *, deliver: bool = True) -> None:
        """Hold nothing any more.

        Args:
            deliver: Whether what was held is still wanted.
        """
        held, self.check, self._held = self._held, None, []
        self.put(held if deliver else ())
