"""`Fleet`: the sessions of a backend, and which of them a conversation gets."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Final

import attrs
import trio

from ._lock import is_locked, user_of
from ._opening import Past
from ._pool import Pool, Ticket
from ._prestart import Reserve
from ._protocol import failures
from ._protocol.history import Conversation, fingerprint, same_history
from ._session import Session
from ._ways import Ways
from .errors import SessionError
from .options import BackendOptions

_ORPHAN_GRACE: Final = 3.0  # seconds for a CLI whose owner was killed to end by itself
_ORPHAN_INTERVAL: Final = 0.05  # seconds between two looks meanwhile


@attrs.frozen
class Call:
    """What a session is wanted for.

    Attributes:
        options: The backend's, with what was chosen for this call.
        conversation: The conversation and its new prompt.
        past: The transcript that it goes on from, where it is named.
        written: Whether the prompt is not to be typed, since that was tried.
    """

    options: BackendOptions
    conversation: Conversation
    past: Past | None = None
    written: bool = False


@attrs.define(eq=False)
class Fleet:
    """Every session that a backend has, from its making until its process has ended.

    Args:
        options: The backend's.
        make: Makes a session with these options, the backend's or those of a call; it is given what
            to call when the session is idle, and when it has ended.
        config_directory: Where the CLI keeps its sessions.
        ways: How prompts get to the CLI.
        on_gone: Called when the fleet is closed and its last session has ended.
    """

    options: BackendOptions
    _make: Callable[..., Session]
    _config_directory: Path
    _ways: Ways
    _on_gone: Callable[[], None] | None = None
    #: The oldest one first.
    sessions: list[Session] = attrs.field(factory=list)
    closed: bool = False
    pool: Pool[Session] = attrs.field(init=False)
    reserve: Reserve = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pool = Pool(self.options.max_sessions, self._evict)
        self.reserve = Reserve(self.options.prestart, self._make_spare, self._rest)

    async def obtain(self, call: Call, instead_of: Session | None = None) -> tuple[Session, bool]:
        """Wait for the session that has lived through a conversation, or for the place of a new one.

        Whoever calls must submit to it, or start it, before the next checkpoint. When cancelled, or
        when it raises, nothing has been taken.

        Args:
            call: What it is wanted for.
            instead_of: What was got before for this call, and was of no use; it is ending.

        Returns:
            The session, and whether it is a live one; a new one is still to be started.

        Raises:
            SessionError: Somebody else is in the conversation, or its history cannot be written.
            trio.ClosedResourceError: The backend has been closed.
        """
        useless = instead_of
        while True:
            if useless is not None:
                self.pool.expect(useless)
            again = useless is not None or call.conversation.not_seen is not None
            ticket = await self._stand_in_line(call, again=again)
            session = ticket.session
            if session is None:
                return self._admit(ticket, call.options, partial(_begin, call)), False
            self.pool.keep(ticket)
            self.reserve.taken(session)
            useless = session
            if not session.claim():
                continue
            if session.options == call.options:
                return session, True
            # It was not started with what was chosen; another one may take up its transcript.
            self.pool.expect(session)
            ticket = await self._wait_for(Ticket(again=True), ending=session)
            if call.past is None and self._can_be_taken_up(session, call):
                with contextlib.suppress(SessionError):  # somebody else has done so
                    go_on = methodcaller("go_on_after", session)
                    return self._admit(ticket, call.options, go_on), False
            self.pool.withdraw(ticket)

    def _can_be_taken_up(self, ended: Session, call: Call) -> bool:
        # Without a model the CLI would go on with the one that the transcript names last.
        named = call.options.model is not None or ended.options.model is None
        return (
            named and self._is_typed(call) and ended.has_ended and ended.info.transcript.is_file()
        )

    def _is_typed(self, call: Call) -> bool:
        return not call.written and self._ways.of(call.conversation) != "transcript"

    async def _stand_in_line(self, call: Call, *, again: bool) -> Ticket[Session]:
        past = call.past
        if past is None:
            return await self._wait_for(self._ticket(call, again=again))
        if past.fork:
            return await self._wait_for(Ticket(again=again))
        while True:
            await self._wait_until_free(past.session_id)
            ticket = await self._wait_for(Ticket(past.session_id, again=again))
            if ticket.session is not None or not self._is_taken(past.session_id):
                return ticket
            self.pool.withdraw(ticket)  # somebody has continued it meanwhile
            again = True

    def _ticket(self, call: Call, *, again: bool) -> Ticket[Session]:
        exchanges, typed = call.conversation.exchanges, self._is_typed(call)

        def fits(session: Session) -> int:
            if not (session.alive and session.takes(call.conversation)):
                return 0
            if not same_history(exchanges, session.exchanges):
                return 0
            same = session.options == call.options
            # One that is kept ready would be of no use to a prompt that cannot be typed, or to one
            # with other options.
            return 1 + same if session.turn_count > 0 or (typed and same) else 0

        return Ticket(fingerprint(exchanges), fits, again=again)

    async def _wait_for(
        self, ticket: Ticket[Session], *, ending: Session | None = None
    ) -> Ticket[Session]:
        """Wait until a ticket is served; and until a session has ended, which this ends."""
        served = trio.Event()
        ticket.serve = served.set
        self.pool.ask(ticket)
        try:
            if ending is not None:
                await ending.end()
            await served.wait()
        except BaseException:
            self.pool.withdraw(ticket)
            raise
        if self.closed:
            self.pool.withdraw(ticket)
            raise trio.ClosedResourceError("this backend has been closed")
        return ticket

    async def _wait_until_free(self, session_id: str) -> None:  # noqa: ASYNC910 - the caller waits
        """Wait until a session can be continued, if who is in it is just ending.

        Raises:
            SessionError: Somebody is in it and stays.
        """
        for session in self._named(session_id):
            if session.ending:
                await session.wait()
            elif session.idle_since is None:
                raise failures.in_use(session_id)
        # A CLI whose owner was killed ends by itself, a moment later.
        deadline = trio.current_time() + _ORPHAN_GRACE
        # Of other programs there is no event.
        while not self._named(session_id) and self._is_taken(session_id):  # noqa: ASYNC110
            if trio.current_time() > deadline:
                raise failures.in_use(session_id, user_of(self._config_directory, session_id))
            await trio.sleep(_ORPHAN_INTERVAL)

    def _is_taken(self, session_id: str) -> bool:
        """Whether somebody is in a session: we, another backend, or a CLI that anybody started."""
        directory = self._config_directory
        return (
            bool(self._named(session_id))
            or is_locked(directory, session_id)
            or user_of(directory, session_id) is not None
        )

    def _named(self, session_id: str) -> list[Session]:
        return [session for session in self.sessions if session.session_id == session_id]

    async def _make_spare(self) -> Session:
        ticket = await self._wait_for(Ticket(spare=True))
        return self._admit(ticket, self.options, methodcaller("begin", None))

    def _admit(
        self, ticket: Ticket[Session], options: BackendOptions, begin: Callable[[Session], object]
    ) -> Session:
        """Make a session, in the place that a ticket has got."""
        try:
            session = self._make(options, on_idle=self._rest, on_end=self._forget)
            begin(session)
        except BaseException:
            self.pool.withdraw(ticket)
            raise
        self.pool.enter(ticket, session)
        self.sessions.append(session)
        return session

    async def wait_for_unwanted(self, call: Call) -> None:
        """Let turns settle that were dropped by their consumer and that this one may continue."""
        await trio.lowlevel.checkpoint()
        name = call.past.session_id if call.past else fingerprint(call.conversation.exchanges)
        for session in tuple(self.sessions):
            inbox = session.inbox
            if inbox is None or not inbox.unwanted or session.prompt is None:
                continue
            after = fingerprint((*session.exchanges, session.prompt))
            if name in session.names or (name == after and not session.continued):
                await inbox.finished.wait()

    def take(self, session_id: str) -> Session:
        """Take the idle session of a conversation; whoever calls must submit to it at once.

        Raises:
            SessionError: There is none, or it is in use.
        """
        found = [session for session in self._named(session_id) if session.alive]
        if not found:
            raise failures.no_process(session_id)
        ticket: Ticket[Session] = Ticket(session_id, lambda session: session in found)
        # A paused turn is there for whoever brings its results.
        if found[0] in self.pool.idle and not found[0].turns.paused:
            self.pool.ask(ticket)
        session = ticket.session
        if session is None:
            self.pool.withdraw(ticket)
            raise failures.in_use(session_id)
        self.pool.keep(ticket)
        self.reserve.taken(session)
        if not session.claim():
            raise failures.no_process(session_id)
        return session

    async def end(self, session_id: str) -> bool:
        """End a session; return when it has ended, with whether there was one."""
        found = self._named(session_id)
        for session in found:
            self.reserve.taken(session)
            self.pool.expect(session)
            await session.end()
        await trio.lowlevel.checkpoint()
        return bool(found)

    def close(self) -> None:
        """End every session, and tell whoever waits for one. Returns at once."""
        self.closed = True
        self.reserve.scope.cancel(reason="the backend is closed")
        self.pool.close()
        for session in self.sessions:
            session.stop()
        self._tell_if_gone()

    def _tell_if_gone(self) -> None:
        if self.closed and not self.sessions and self._on_gone is not None:
            self._on_gone()

    # -- what sessions tell -------------------------------------------------------------------------

    def _rest(self, session: Session) -> None:
        if session.idle_since is not None and session not in self.pool.idle:
            session.stop()  # whoever was just given it wants the conversation that it was in
            return
        spare = session.turn_count == 0
        limit = self.options.idle_timeout
        session.rest(math.inf if limit is None or spare else limit)
        self.pool.rest(session, session.names, spare)

    def _evict(self, session: Session) -> None:
        self.reserve.taken(session)
        session.stop()

    def _forget(self, session: Session) -> None:
        self.sessions.remove(session)
        self.reserve.lost(session)
        self.pool.leave(session)
        self._tell_if_gone()


def _begin(call: Call, session: Session) -> None:
    if call.past is None:
        session.begin(call.conversation, written=call.written)
    else:
        session.go_on_from(call.past, call.conversation)
