"""`Pool`: the places of a backend's processes, the idle ones by age, and who waits for a place.

Bookkeeping only: nothing here waits or runs a process, and every method returns at once. The rules are
those of `trio.CapacityLimiter`: who asks first is served first, and a place that comes free goes to
whoever waits, before anybody new can take it. Only a session that nobody before needs is given out of
turn: to one who continues just that conversation. Whoever was served a session that turned out to be of
no use has had its turn, and does not stand in line again behind those who came later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.define(eq=False)
class Ticket(Generic[T]):
    """One who asks for a session, or for the place of a new one.

    Args:
        name: What an idle session must be known under to be of use.
        fits: How well such a session would do: 0 for not at all. Of equals, the least recently used
            one is taken.
        spare: Whether the place is for a process to be kept ready. It is given only when nobody else
            waits.
        again: Whether it is for one who was served before, and has lost what it got: it comes before
            everybody else.
        serve: Called once, when this has been served: `session` then is an idle session, which is now
            busy, or None for a place that is free and held for this ticket.
    """

    name: str | None = None
    fits: Callable[[T], int] = attrs.field(default=lambda _: 1)
    spare: bool = False
    again: bool = False
    serve: Callable[[], object] = lambda: None
    session: T | None = None


@attrs.define(eq=False)
class Pool(Generic[T]):
    """What every session of a backend is doing, as far as others have to wait for it.

    Args:
        size: How many sessions there may be at a time; None for any number.
        evict: Called with an idle session that has to end, so that another one can have its place.
            It is to return at once; `leave` is to be called when the session has ended.
    """

    size: int | None
    _evict: Callable[[T], object]
    #: Who holds a place: sessions, those that are ending too, and tickets that were given one.
    _holders: set[T | Ticket[T]] = attrs.field(factory=set)
    #: The idle sessions, the least recently used one first, and what each is known under.
    _idle: dict[T, frozenset[str]] = attrs.field(factory=dict)
    #: Of the idle ones, those that are kept ready and have never been used.
    _spares: set[T] = attrs.field(factory=set)
    _ending: set[T] = attrs.field(factory=set)
    _queue: dict[Ticket[T], None] = attrs.field(factory=dict)
    #: What the session of a ticket was, should the ticket be given back.
    _taken: dict[Ticket[T], tuple[frozenset[str], bool]] = attrs.field(factory=dict)

    @property
    def idle(self) -> tuple[T, ...]:
        """The sessions that can take a prompt, the least recently used one first."""
        return tuple(self._idle)

    @property
    def places(self) -> int:
        """How many places are held."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """How many wait to be served."""
        return len(self._queue)

    def ask(self, ticket: Ticket[T]) -> None:
        """Stand in line for a session or a place. It may be served at once.

        An idle session that fits is taken; else a free place; else the least recently used idle
        session is evicted, and its place is given away when it has ended; else it waits.
        """
        self._queue[ticket] = None
        self._settle()

    def withdraw(self, ticket: Ticket[T]) -> None:
        """Leave the line, or give back what was given."""
        self._queue.pop(ticket, None)
        self._holders.discard(ticket)
        session, was = ticket.session, self._taken.pop(ticket, None)
        there = session in self._holders and session not in self._ending
        if session is not None and was is not None and there:
            self.rest(session, *was)
        else:
            self._settle()

    def enter(self, ticket: Ticket[T], session: T) -> None:
        """Pass the place of a ticket on to a new session, which is busy."""
        self._holders.remove(ticket)
        self._holders.add(session)

    def keep(self, ticket: Ticket[T]) -> None:
        """Say that the session of a ticket is being used: it cannot be given back any more."""
        del self._taken[ticket]

    def rest(self, session: T, names: Iterable[str], spare: bool = False) -> None:  # noqa: FBT001, FBT002
        """Say that a session can take a prompt.

        Args:
            session: It; it must hold a place.
            names: What it is known under.
            spare: Whether it was never used, and is to be kept ready.
        """
        self._idle[session] = frozenset(names)
        if spare:
            self._spares.add(session)
        self._settle()

    def expect(self, session: T) -> None:
        """Say that a session is being ended: for its place no other one has to go."""
        if session in self._holders:
            self._remove_idle(session)
            self._ending.add(session)

    def leave(self, session: T) -> None:
        """Say that a session has ended, whatever it was doing; its place is free."""
        self._remove_idle(session)
        self._ending.discard(session)
        self._holders.discard(session)
        self._settle()

    def close(self) -> None:
        """Serve everybody who waits with nothing: neither a session nor a place."""
        queue, self._queue = self._queue, {}
        for ticket in queue:
            ticket.serve()

    # -- the rules ----------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Serve who can be served, and make room for who cannot. Called after every change."""
        coming = len(self._ending)  # each of these places is for one who waits, the first first
        for ticket in sorted(self._queue, key=lambda each: (each.spare, not each.again)):
            if self._serve(ticket):
                continue
            if coming:
                coming -= 1
                continue
            victim = self._victim(spare=ticket.spare)
            if victim is None:
                break
            self.expect(victim)
            self._evict(victim)

    def _serve(self, ticket: Ticket[T]) -> bool:
        named = [session for session, names in self._idle.items() if ticket.name in names]
        best = max(named, key=ticket.fits, default=None)
        if best is not None and ticket.fits(best):
            self._taken[ticket] = (self._idle[best], best in self._spares)
            self._remove_idle(best)
            ticket.session = best
        elif self.size is None or len(self._holders) < self.size:
            self._holders.add(ticket)
        else:
            return False
        del self._queue[ticket]
        ticket.serve()
        return True

    def _victim(self, *, spare: bool) -> T | None:
        """Return the session to evict: one that is kept ready only if there is no other one.

        Args:
            spare: Whether it is to make room for one to be kept ready.
        """
        used = (session for session in self._idle if session not in self._spares)
        return next(used, None) or (None if spare else next(iter(self._idle), None))

    def _remove_idle(self, session: T) -> None:
        self._idle.pop(session, None)
        self._spares.discard(session)
