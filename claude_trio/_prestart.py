"""`Reserve`: keeps processes ready for conversations that have not begun."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from ._session import Session
from .errors import BackendError

_logger = logging.getLogger("claude_trio")
_FIRST_PAUSE: Final = 1.0  # seconds before another attempt after one that failed; doubled up to
_LONGEST_PAUSE: Final = 60.0


@attrs.define(eq=False)
class Reserve:
    """Sessions of a backend that wait for their first prompt.

    A start that fails is nobody's failure: it is logged, and the conversation that finds no process
    ready starts its own and meets the error there.

    Args:
        size: How many are to be ready.
        make: Makes a session that the backend knows, when there is a place for it.
        offer: Called with each one that is ready; the backend gives it to whoever asks.
    """

    size: int
    _make: Callable[[], Awaitable[Session]]
    _offer: Callable[[Session], None]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _waiting: set[Session] = attrs.field(factory=set)
    _failures: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next attempt."""
        if not self._failures:
            return 0.0
        return min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE)

    async def run(self, nursery: trio.Nursery) -> None:  # noqa: ASYNC910 - a task
        """Start what is missing, one after another, until `scope` is cancelled.

        Args:
            nursery: Where the sessions run; they are ended by the backend, as all others.
        """
        with self.scope:
            while True:
                await trio.lowlevel.checkpoint()
                while len(self._waiting) >= self.size:
                    self._changed = trio.Event()
                    await self._changed.wait()
                await trio.sleep(self.pause)
                await self._start_one(nursery)

    @trio.lowlevel.enable_ki_protection  # one that was made and not started would never end
    async def _start_one(self, nursery: trio.Nursery) -> None:
        try:
            session = await self._make()
            await session.start_idle(nursery)
        except trio.ClosedResourceError:  # and so is `scope`
            return  # noqa: ASYNC910 - as below
        except BackendError as exc:
            self._failures += 1
            _logger.warning("a process that was to be kept ready did not start: %s", exc)
            return  # noqa: ASYNC910 - the caller checks, and a start takes its time
        if session.alive:
            self._waiting.add(session)
            self._offer(session)
        else:  # it died just now
            self._failures += 1

    def taken(self, session: Session) -> None:
        """Say that a session is not ready any more, and not by itself; another one takes its place."""
        if session in self._waiting:
            self._waiting.remove(session)
            self._failures = 0
            self._changed.set()

    def lost(self, session: Session) -> None:
        """Say that a session has ended. One that did so unasked counts as a start that failed."""
        if session in self._waiting:
            self._waiting.remove(session)
            self._failures += 1
            self._changed.set()
