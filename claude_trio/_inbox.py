"""What passes from a session to the consumer of one turn.

It belongs to neither: the session keeps no reference to the `Turn`, so a turn that a caller has
dropped is collected, and its finaliser can say so here.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable

import attrs
import trio

from ._protocol.outcome import Outcome
from .events import Event


@attrs.define(eq=False)
class Inbox:
    """What one turn has for its consumer: events, then an outcome."""

    #: Seconds by trio's clock when its prompt began to be sent.
    opened_at: float
    events: collections.deque[Event] = attrs.field(factory=collections.deque)
    outcome: Outcome | None = None
    #: Nobody will read it: the turn is to be interrupted.
    unwanted: bool = False
    #: The turn is to be interrupted, and will be read to its end.
    interrupted: bool = False
    #: Cancelled when the CLI gives no sign of life; whoever waits puts a new one here.
    watchdog: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    #: Seconds of silence that the watchdog allows.
    patience: float = math.inf
    finished: trio.Event = attrs.field(factory=trio.Event)
    _arrived: trio.Event = attrs.field(factory=trio.Event)

    def put(self, events: Iterable[Event]) -> None:
        """Add events; once the turn is unwanted they go nowhere."""
        if not self.unwanted:
            self.events.extend(events)
        self._arrived.set()

    def sign_of_life(self, at: float) -> None:
        """Say when the CLI last gave a sign of life, by trio's clock."""
        self.watchdog.deadline = at + self.patience

    def finish(self, outcome: Outcome) -> None:
        """Say how the turn ended; nothing comes after it."""
        self.outcome = outcome
        self.finished.set()
        self._arrived.set()

    async def wait(self) -> None:
        """Wait until there is an event to take, or the outcome."""
        await trio.lowlevel.checkpoint()
        while not self.events and self.outcome is None:
            self._arrived = trio.Event()
            await self._arrived.wait()
