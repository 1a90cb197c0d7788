"""`Turn`: what `ClaudeCodeBackend.complete` returns, a channel of the events of one answer."""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import final

import attrs
import trio

from ._inbox import Inbox
from ._protocol import failures
from ._protocol.history import Conversation, parse_messages
from ._protocol.outcome import Outcome, make_result
from ._session import Session
from ._session_info import SessionInfo
from ._util import NoPublicConstructor
from .errors import BackendError, TurnTimeout
from .events import (
    AssistantMessage,
    ContentBlock,
    Event,
    ResultMessage,
    TextBlock,
    TextDelta,
)
from .options import BackendOptions


@final
class Turn(trio.abc.ReceiveChannel[Event], metaclass=NoPublicConstructor):
    """One question and its answer, as a channel of events. Made by `ClaudeCodeBackend.complete`.

    Read it in either of these ways; the last event is a `ResultMessage`::

        async for event in backend.complete(messages): ...

        async with backend.complete(messages) as turn:
            async for event in turn: ...

    Nothing runs on its behalf but what its consumer waits for, and nothing happens before the first
    read. A failed turn raises from the read that comes to it, after the events before it.

    **Leaving early:** with ``async with``, the end of the block interrupts a turn that is not over
    and waits until the CLI has settled. Without it, a ``break`` leaves the turn to be interrupted
    when the object is collected, with a `ResourceWarning`, or when the backend is closed.

    **Cancellation:** a read that is cancelled interrupts the turn and waits until the CLI has
    settled, before `trio.Cancelled` goes on. A CLI that does not settle within ``interrupt_grace``
    seconds, or was not ready yet, is ended, and that is waited for too, at most ``exit_grace``
    seconds. So the process can then be used again, or has ended. This departs from what trio's own
    channels do, where a cancelled receive has no effect: the alternative is an agent that goes on
    editing files after its caller has given up.
    """

    def __init__(
        self,
        begin: Callable[[Conversation], Awaitable[tuple[Session, Inbox]]],
        conversation: Conversation,
        options: BackendOptions,
    ) -> None:
        self._begin = begin
        self._conversation = conversation
        self._options = options
        self._session: Session | None = None
        self._inbox: Inbox | None = None
        self._deadline = math.inf
        self._result: ResultMessage | None = None
        self._busy = False
        self._closed = False
        self._interrupted = False
        #: Cancelled by a task that closes or interrupts the turn while another one begins it.
        self._beginning = trio.CancelScope()
        #: Set when the turn has begun, or could not.
        self._begun = trio.Event()

    def __repr__(self) -> str:
        if self._closed:
            state = "closed"
        elif self._inbox is None:
            state = "not begun"
        else:
            state = "over" if self._inbox.outcome is not None else "running"
        return f"<Turn {state}>"

    @property
    def prompt(self) -> str | None:
        r"""The new message as the model receives it; None if it is more than one text.

        It is the text that was given, with ``\n`` for every kind of line break, U+FFFD for half of a
        surrogate pair, and no white space at its end. Nothing else is ever changed.
        """
        return self._conversation.prompt_text

    @property
    def result(self) -> ResultMessage | None:
        """How the turn ended, and what it used; None until it is over. Set for a failed turn too."""
        if self._inbox is None or self._inbox.outcome is None:
            return None
        return self._inbox.outcome.result

    @property
    def session(self) -> SessionInfo | None:
        """The process that answers; None before the turn has begun."""
        return self._session.info if self._session is not None else None

    async def receive(self) -> Event:
        """Return the next event.

        When cancelled, the turn is interrupted and settled first: see the class.

        Raises:
            trio.EndOfChannel: The turn is over, and its `ResultMessage` has been read.
            trio.ClosedResourceError: `aclose` has been called, or a read was cancelled.
            trio.BusyResourceError: Another task is reading this turn.
            TurnTimeout: It took longer than ``options.turn_timeout``, or the CLI gave no sign of
                life for ``options.stall_timeout``; it has been interrupted.
            AuthError: The CLI is not logged in, or its login was refused.
            RateLimitError: A limit stopped the turn.
            ProcessError: The process could not be started, or died.
            SessionError: The conversation could not go on; ``kind`` says why.
            BackendError: Any other failure of the turn; ``kind`` says which.
        """
        if self._closed:
            raise trio.ClosedResourceError("this turn has been closed")
        if self._busy:
            raise trio.BusyResourceError("another task is reading this turn")
        self._busy = True
        try:
            inbox = await self._wait()
        except BaseException as exc:
            await self._settle()  # noqa: ASYNC102 - shielded and bounded inside
            if isinstance(exc, TurnTimeout) and self.result is not None:
                exc.result = attrs.evolve(self.result, is_error=True)
            raise
        finally:
            self._busy = False
        if self._closed:
            raise trio.ClosedResourceError("this turn was closed while it was read")
        return self._take(inbox)

    async def _wait(self) -> Inbox:
        if self._inbox is None:
            try:
                with self._beginning:
                    self._session, self._inbox = await self._begin(self._conversation)
            finally:
                self._begun.set()
            if self._closed:
                raise trio.ClosedResourceError("this turn was closed while it began")
            if self._inbox is None:
                self._inbox = _never_begun()
            self._inbox.interrupted = self._interrupted
            if self._options.turn_timeout is not None and self._deadline == math.inf:
                self._deadline = self._inbox.opened_at + self._options.turn_timeout
        inbox = self._inbox
        # The session puts the watchdog off whenever the CLI gives a sign of life.
        inbox.watchdog = trio.CancelScope()
        inbox.sign_of_life(trio.current_time())
        with trio.move_on_at(self._deadline) as limit, inbox.watchdog:
            await inbox.wait()
        if not inbox.events and inbox.outcome is None:
            if limit.cancelled_caught:
                raise self._too_late("timeout", f"took longer than {self._options.turn_timeout:g}")
            if inbox.watchdog.cancelled_caught:
                hung = f"gave no sign of life for {self._options.stall_timeout:g}"
                raise self._too_late("stalled", hung)
        if not inbox.events and inbox.outcome is not None and not self._closed:
            error = inbox.outcome.error
            if error is not None and error.kind == "not_seen":
                return await self._wait_again(inbox, error)
        return inbox

    async def _wait_again(self, inbox: Inbox, error: BackendError) -> Inbox:
        """Begin once more, by a way on which the history cannot get lost."""
        self._conversation = attrs.evolve(self._conversation, not_seen=error.message)
        self._session = self._inbox = None
        self._interrupted = inbox.interrupted
        self._beginning, self._begun = trio.CancelScope(), trio.Event()
        if self._interrupted:
            self._beginning.cancel(reason="the turn was interrupted")
        return await self._wait()

    def _too_late(self, kind: str, what: str) -> TurnTimeout:
        assert self._session is not None
        return TurnTimeout(
            f"the turn {what} seconds; it was interrupted",
            kind=kind,
            session_id=self._session.session_id,
            partial=self._session.turns.events,
        )

    def _take(self, inbox: Inbox) -> Event:
        if inbox.events:
            return inbox.events.popleft()
        outcome = inbox.outcome
        assert outcome is not None
        if self._result is not None:
            raise trio.EndOfChannel
        if outcome.error is not None:
            self._closed = True
            raise outcome.error
        self._result = outcome.result
        return outcome.result

    async def _settle(self) -> None:
        """Close the turn; interrupt it if it runs, and wait for that, whatever is cancelled."""
        self._closed = True
        self._beginning.cancel()
        if self._busy:
            # What was begun is being ended, within its grace.
            with trio.move_on_after(self._options.exit_grace + 2, shield=True):
                await self._begun.wait()
        session, inbox = self._session, self._inbox
        if session is None or inbox is None or inbox.outcome is not None:
            return  # noqa: ASYNC910 - its callers raise or check
        inbox.unwanted = True
        session.look_now()
        # The session gives up by itself after the grace; the second on top is for a slow machine.
        with trio.move_on_after(self._options.interrupt_grace + 1, shield=True):
            await inbox.finished.wait()
        if not inbox.finished.is_set():
            await session.end()

    async def interrupt(self) -> None:
        """Interrupt the turn, and wait until the CLI has settled; the turn can be read to its end.

        For another task than the one that reads. The reader gets what the model had said, and then
        a `ResultMessage` whose subtype is ``interrupted``, or the end that the turn had come to by
        itself. A CLI that does not settle within ``options.interrupt_grace`` seconds is ended, and
        the reader gets a `SessionError` of the kind ``not_settled``; one that has not taken the
        prompt yet is ended too, and the kind is ``not_accepted``.

        A turn that is still beginning is over with that, and nothing more is typed: one that waits for
        a place leaves the line; where its process is starting, or the prompt is being typed, that
        process is ended, within ``options.exit_grace`` seconds. The reader gets the `ResultMessage` alone,
        and `session` stays None.

        A turn that nobody has read yet, or that is over, is left as it is. Cancelling stops the waiting
        only: the turn is interrupted all the same, even if this was cancelled before it was called.
        """
        # What is asked for comes before the first checkpoint, where a cancellation may arrive.
        if self._inbox is None and self._busy:
            self._interrupted = True  # it is just beginning
            self._beginning.cancel(reason="the turn was interrupted")
            await self._begun.wait()
        if self._inbox is not None and self._session is not None:
            self._inbox.interrupted = True
            self._session.look_now()
            await self._inbox.finished.wait()
        await trio.lowlevel.checkpoint()

    async def steer(self, text: str) -> None:
        """Tell the model something more while the turn runs; return when the CLI has taken it.

        For another task than the one that reads. Where the model calls a tool, it is told together with
        the tool's result; otherwise the turn goes on behind the answer, with this as the CLI's
        next prompt. In both cases it is a `UserMessage` of the turn, and what the model answers belongs to
        the turn, of which it is no message that you would have to give back.

        A text is typed exactly or not at all, as a prompt is, and is never a command. It waits until the
        CLI is at work. That needs the permission mode ``dontAsk``: in the others a dialog could
        come up while the text is typed, and take its Enter for consent.

        A turn that is interrupted before the model was told takes its process with it.

        Cancelled before the typing begins, nothing is sent; later on, that stops the waiting only.

        Args:
            text: The text.

        Raises:
            ValueError: It is empty, or cannot be typed exactly; or the permission mode is another one.
            TypeError: It is no text.
            SessionError: Of the kind ``not_steered``: no turn runs, or the CLI did not take it.
        """
        if not isinstance(text, str):
            raise TypeError(f"text must be a str, not {text!r}")
        options = self._options
        if options.permission_mode != "dontAsk" or options.dangerously_skip_permissions:
            raise ValueError("steer needs permission_mode 'dontAsk', in which no dialog opens")
        words = parse_messages([{"role": "user", "content": text}])
        await trio.lowlevel.checkpoint()
        if self._session is None or self._inbox is None or self._inbox.outcome is not None:
            session_id = self._session.session_id if self._session is not None else None
            raise failures.not_steered("it does not run", session_id)
        await self._session.steer(words, self._inbox)

    async def aclose(self) -> None:
        """Close the turn. One that runs is interrupted, and the CLI settles, before this returns.

        A CLI that does not settle is ended. Cancellation does not shorten that, which is bounded by
        ``options.interrupt_grace`` and ``options.exit_grace``. Closing twice is allowed.
        """
        await self._settle()
        await trio.lowlevel.checkpoint()

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The model's text, as an iterator over strings: ``async for text in turn.text_stream``.

        With ``include_partial_messages`` these are the pieces as they are written, otherwise whole
        blocks; of subagents there is none. It reads the turn: what is no text is passed over, and
        a failed turn raises as from `receive`, which also says what cancelling does.
        """
        return _TextStream(self, partial=self._options.include_partial_messages)

    async def get_final_message(self) -> AssistantMessage:
        """Read the turn to its end; return its last API message, with all blocks of that message.

        Cancelling interrupts the turn, as in `receive`.

        Raises:
            ValueError: The model said nothing in this turn.
            BackendError: The turn failed, as in `receive`.
        """
        last: AssistantMessage | None = None
        blocks: tuple[ContentBlock, ...] = ()
        async for event in self:
            if isinstance(event, AssistantMessage) and event.parent_tool_use_id is None:
                same = last is not None and event.message_id == last.message_id
                blocks = (*blocks, *event.content) if same else event.content
                last = event
        if last is None:
            raise ValueError("the turn has no message left to read; it said nothing, or was read")
        return attrs.evolve(last, content=blocks)

    async def get_final_text(self) -> str:
        """Read the turn to its end; return the text of its last API message.

        Cancelling interrupts the turn, as in `receive`.

        Raises:
            BackendError: The turn failed, as in `receive`.
        """
        async for _ in self:
            pass
        return (self._result.result if self._result is not None else None) or ""

    def __del__(self) -> None:
        """Hand a turn that was dropped to its session, which interrupts and settles it."""
        inbox: Inbox | None = getattr(self, "_inbox", None)
        if inbox is None or inbox.outcome is not None or inbox.unwanted:
            return
        inbox.unwanted = True
        warnings.warn(
            f"{self!r} was dropped before its end and is being interrupted; "
            "use `async with` to leave a turn early",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )


def _never_begun() -> Inbox:
    """Return what there is of a turn that was interrupted before it had begun."""
    inbox = Inbox(trio.current_time())
    result = make_result("interrupted", (), duration_ms=None, elapsed=0.0)
    inbox.finish(Outcome("interrupted", result))
    return inbox


class _TextStream:
    def __init__(self, turn: Turn, *, partial: bool) -> None:
        self._turn = turn
        self._partial = partial
        self._waiting: list[str] = []

    def __aiter__(self) -> _TextStream:
        return self

    async def __anext__(self) -> str:
        while not self._waiting:
            try:
                self._take(await self._turn.receive())
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
        await trio.lowlevel.checkpoint()
        return self._waiting.pop(0)

    def _take(self, event: Event) -> None:
        if isinstance(event, TextDelta) and event.text:
            self._waiting.append(event.text)
        if self._partial or not isinstance(event, AssistantMessage):
            return
        if event.parent_tool_use_id is None and event.error is None:
            texts = [block.text for block in event.content if isinstance(block, TextBlock)]
            self._waiting += filter(None, texts)
