"""`MessageChannel`: a turn, read as the stream of one message of the Messages API."""

from __future__ import annotations

import collections
from typing import Any, final

import trio

from ._protocol.message_request import MessagesRequest
from ._protocol.message_stream import MessageStream, Shown, StreamEvent
from .errors import BackendError
from .events import Event, TextDelta


@final
class MessageChannel(trio.abc.ReceiveChannel[StreamEvent]):
    """The answer to a request of the Messages API: the events of its stream, or one message.

    Read it in either of these ways::

        turn = backend.complete(request.messages, **request.choices)

        async with MessageChannel(turn, request) as answer:
            async for event in answer: ...

        async with MessageChannel(turn, request) as answer:
            message = await answer.get_final_message()

    It is over when one API message has met its bound of tokens, where the CLI would let the model go on. Its
    turn is closed with it, behind the last event, and when a read fails or is cancelled, with all that
    closing a `Turn` does and waits for.

    Args:
        turn: The turn that answers the request.
        request: The request.
        shown: Which of the model's blocks the message has; see `MessageStream`.
        request_id: The server's name for the request; an ``error`` event bears it.
    """

    def __init__(
        self,
        turn: trio.abc.ReceiveChannel[Event],
        request: MessagesRequest,
        *,
        shown: Shown = "text",
        request_id: str | None = None,
    ) -> None:
        self._turn = turn
        self._live = request.stream
        self._made = MessageStream(
            shown=shown,
            client_tools=request.client_tools,
            model=request.model,
            stop_at_limit=True,
            request_id=request_id,
        )
        self._events: collections.deque[StreamEvent] = collections.deque()
        self._failure: BackendError | None = None
        self._busy = False
        self._closed = False

    async def receive(self) -> StreamEvent:
        """Return the next event of the stream, as data.

        A failure before the first event is raised. One behind it is an event of the stream, the last one, as
        in the API. Cancelled, it closes the turn first.

        Raises:
            trio.EndOfChannel: The message is over.
            trio.ClosedResourceError: It was closed, or a read has failed or was cancelled.
            trio.BusyResourceError: Another task is reading it.
            BackendError: The turn failed before it said anything.
        """
        if self._closed:
            raise trio.ClosedResourceError("this answer has been closed")
        if self._busy:
            raise trio.BusyResourceError("another task is reading this answer")
        self._busy = True
        try:
            while not self._events and not self._made.over:
                await self._read()
            await trio.lowlevel.checkpoint()
        except BaseException:
            await self.aclose()  # noqa: ASYNC102 - shielded and bounded inside
            raise
        finally:
            self._busy = False
        if not self._events:
            await self._turn.aclose()
            raise trio.EndOfChannel
        return self._events.popleft()

    async def get_final_message(self) -> dict[str, Any]:
        """Read the stream to its end; return the message.

        Cancelling closes the turn, as in `receive`.

        Raises:
            BackendError: The turn failed, wherever that was.
        """
        if self._failure is None:
            async for _ in self:
                pass
        if self._failure is not None:
            raise self._failure
        return self._made.message  # noqa: ASYNC910 - the loop has waited

    async def aclose(self) -> None:
        """Close the turn, which interrupts one that runs; see `Turn.aclose`."""
        self._closed = True
        await self._turn.aclose()

    async def _read(self) -> None:  # noqa: ASYNC910 - every way waits
        try:
            event = await self._turn.receive()
        except BackendError as exc:
            self._failure = exc
            self._events += self._made.fail(exc)
        else:
            # What comes at once is in its block, too, which is never taken back.
            if self._live or not isinstance(event, TextDelta):
                self._events += self._made.feed(event)
        if self._made.over:
            self._failure = self._made.failure
