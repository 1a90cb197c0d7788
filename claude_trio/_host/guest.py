"""`Guest`: one session as the host server sees it, and the callbacks that run on its behalf."""

from __future__ import annotations

import collections
import functools
import math
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import attrs
import trio

from .._protocol.live import LiveText
from ..callbacks import Allow, Deny
from .client import ClientCalls

T = TypeVar("T")
_MOST_DECISIONS: Final = 256
_DIALOG: Final = 2.0  # seconds; 0.4 were seen
_INTERRUPTED: Final = "the turn was interrupted"

#: The variable of the CLI's environment that holds its token.
TOKEN: Final = "CLAUDE_TRIO_HOST_TOKEN"  # noqa: S105 - a name


class Visitor(Protocol):
    """What a guest needs of its session."""

    session_id: str

    @property
    def in_turn(self) -> bool:
        """Whether a turn of the caller's runs that is not being interrupted."""

    def look_now(self) -> None:
        """Look at once at what has changed."""

    @property
    def cost(self) -> float | None:
        """US dollars that the process has told that it cost so far."""

    def limit_reached(self, subtype: str) -> None:
        """Say that the turn is being ended by a limit of the caller's."""

    def callback_raised(self, name: str, reason: Exception) -> None:
        """Let the turn fail by what a callback raised."""


class NoAnswer(Exception):  # noqa: N818 - between two modules, never shown
    """A callback gave none: it was cancelled with its turn, or it raised."""


@attrs.define(eq=False)
class Guest:
    """One session: its token, its running callbacks, and what is kept for it between two hooks.

    Args:
        session: The session.
        live: Takes the live text; None when nobody wants it.
        servers: The servers of tools that its CLI is told of.
    """

    session: Visitor
    live: LiveText | None = None
    servers: frozenset[str] = frozenset()
    #: The calls that the caller is to answer.
    calls: ClientCalls = attrs.field(factory=ClientCalls)
    token: str = attrs.field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    admitted_at: float = attrs.field(factory=trio.current_time)
    #: Set when its CLI knows its tools, and a file by which it can learn that.
    known: trio.Event = attrs.field(factory=trio.Event)
    known_file: Path | None = None
    #: The servers of tools that have told what they have.
    listed: set[str] = attrs.field(factory=set)
    #: How many messages of the model in this turn have called tools.
    rounds: int = 0
    #: How many messages' tools have returned, those of subagents included, and how many of the caller's own
    #: hooks have heard of that.
    batches: int = 0
    batches_heard: int = 0
    #: What the process had told of its cost before this turn, and what it told last.
    cost_before: float | None = None
    cost_seen: float | None = None
    _decisions: dict[str, collections.deque[Allow | Deny]] = attrs.field(factory=dict)
    #: When the CLI was last told something for which it opens a dialog for a moment.
    _asked_at: float = -math.inf
    _hooks: set[trio.CancelScope] = attrs.field(factory=set)
    _tools: set[trio.CancelScope] = attrs.field(factory=set)
    _closed: bool = False

    def begin_turn(self, *, resumed: bool) -> None:
        """Say that a turn begins.

        Args:
            resumed: Whether the CLI answers a prompt that it finds in its transcript.
        """
        self._closed = False
        self._decisions.clear()
        self.rounds = self.batches = self.batches_heard = 0
        self.cost_before = self.session.cost
        self.cost_seen = self.cost_before
        self.calls.forget()
        if self.live is not None:
            self.live.begin(resumed=resumed)

    def go_on(self) -> None:
        """Say that a turn goes on that has been paused."""
        self._closed = False

    def end_turn(self) -> None:
        """Say that the turn is to end: its callbacks are cancelled, and no more are called for it."""
        self._closed = True
        self._decisions.clear()
        for scope in self._hooks | self._tools:
            scope.cancel(reason="the turn was interrupted")

    def turn_ended(self) -> None:
        """Say that a turn has ended by itself: no tool of it runs on.

        When a tool has taken too long for the CLI, its turn goes on without it, and 2.1.197 does not hang up. A
        hook whose answer the CLI does not wait for, such as one that is shown the text, may run on.
        """
        self._decisions.clear()
        for scope in self._tools:
            scope.cancel(reason="the turn has ended")

    def observe(self, *, unwanted: bool) -> None:
        """Say how things stand: once the turn has ended, what the CLI asks is not about it any more.

        Args:
            unwanted: Whether a turn is being interrupted.
        """
        if not unwanted:
            self._closed = False
        elif not self._closed:
            self.end_turn()

    async def run(self, function: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
        """Call a tool of the caller's in the turn, and return what it returns.

        Raises:
            NoAnswer: It was cancelled with its turn.
        """
        return await self._run(self._tools, functools.partial(function, *arguments, **named))

    async def _run(self, scopes: set[trio.CancelScope], function: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise NoAnswer(_INTERRUPTED)
        with trio.CancelScope() as scope:
            scopes.add(scope)
            try:
                result = await function()
            finally:
                scopes.discard(scope)
            if not scope.cancel_called:  # it may have taken no notice
                return result
        raise NoAnswer(_INTERRUPTED)

    async def call(self, name: str, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Call a callback of the caller's, and return what it returns.

        Raises:
            NoAnswer: It was cancelled with its turn, or it raised, which the turn fails by.
        """
        try:
            return await self._run(self._hooks, functools.partial(function, *arguments))
        except NoAnswer:
            raise
        except Exception as exc:
            self.failed(name, exc)
            raise NoAnswer(f"{name} failed") from exc
        except BaseExceptionGroup as group:
            # It was cancelled because its client went, and its own nursery failed over that.
            cancelled, rest = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(rest, ExceptionGroup):
                raise
            self.failed(name, rest)
            raise cancelled from None

    def failed(self, name: str, reason: Exception) -> None:
        """Let the turn fail by what a callback raised, or by what it returned."""
        self.session.callback_raised(name, reason)

    def keep(self, key: str, decision: Allow | Deny) -> None:
        """Keep a decision for the hook that asks for it next.

        The hook does not say by which call it asks. So of decisions that differ only the newest
        counts: an earlier one was not asked for, as when a hook of the settings denied that call.
        """
        if len(self._decisions) >= _MOST_DECISIONS:
            self._decisions.pop(next(iter(self._decisions)))
        waiting = self._decisions.setdefault(key, collections.deque(maxlen=_MOST_DECISIONS))
        if waiting and waiting[-1] != decision:
            waiting.clear()
        waiting.append(decision)
        self._asked_at = trio.current_time()

    def forget(self, key: str) -> None:
        """Forget what was kept of calls like one that is decided without another hook."""
        self._decisions.pop(key, None)

    @property
    def may_open_dialog(self) -> bool:
        """Whether a dialog may be open that a hook closes, and that is not for keys."""
        return trio.current_time() - self._asked_at < _DIALOG

    def kept(self, key: str) -> Allow | Deny | None:
        """Return the decision that was kept, once."""
        waiting = self._decisions.get(key)
        if not waiting:
            return None
        decision = waiting.popleft()
        if not waiting:
            del self._decisions[key]
        return decision
