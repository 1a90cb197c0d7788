"""`MessageResponse`: the answer to a request of the Messages API, as an ASGI application sends it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias, final

import trio

from ._message_channel import MessageChannel
from ._protocol.message_errors import error_response
from ._protocol.message_request import MessagesRequest
from ._protocol.message_stream import PING, Shown, StreamEvent, to_sse
from ._util import one_exception
from .events import Event

#: As ASGI has them; no toolkit is needed.
Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_PING_INTERVAL: Final = 15.0  # seconds


@final
class MessageResponse:
    """Answers a request by a turn: an ASGI application, for a server that runs on trio.

    The body of the request is to have been read. The answer is one message, or, if the request asks for
    that, a stream, which begins with the model's first words and has a ping now and then from there on. A
    client that goes away interrupts the turn.

    Args:
        turn: The turn that answers the request.
        request: The request.
        shown: Which of the model's blocks the message has; see `MessageStream`.
        request_id: The server's name for the request.
        ping_interval: Seconds between two pings.
    """

    def __init__(
        self,
        turn: trio.abc.ReceiveChannel[Event],
        request: MessagesRequest,
        *,
        shown: Shown = "text",
        request_id: str | None = None,
        ping_interval: float = _PING_INTERVAL,
    ) -> None:
        self._channel = MessageChannel(turn, request, shown=shown, request_id=request_id)
        self._streamed = request.stream
        self._request_id = request_id
        self._ping_interval = ping_interval

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; see the ASGI specification.

        Cancelling closes the turn, with all that closing a `Turn` does and waits for.

        Raises:
            BackendError: The turn failed before anything was sent.
            Exception: Whatever went wrong otherwise. A stream that has begun has ended with an
                ``error`` event; such a failure of the turn itself is not raised.
        """
        del scope
        head: Message | None = None
        body: bytes | None = None
        failure: Exception | None = None
        with one_exception() as ours:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, receive, nursery.cancel_scope)
                with ours:
                    async with self._channel:
                        if self._streamed:
                            failure = await self._stream(send)
                            body = b""
                        else:
                            whole = await self._channel.get_final_message()
                            body = json.dumps(whole).encode("ascii")
                            head = self._head("application/json", len(body))
                nursery.cancel_scope.cancel(reason="the turn is over")
        # Nobody watches from here on: servers tell of a disconnection behind the last byte, too.
        if head is not None:
            await send(head)
        if body is not None:
            await send({"type": "http.response.body", "body": body})
        if failure is not None:
            raise failure

    async def _stream(self, send: Send) -> Exception | None:
        """Send the events of a stream, and return what has broken it."""
        one_at_a_time = trio.Lock()

        async def say(event: Mapping[str, Any]) -> None:
            async with one_at_a_time:
                await send({"type": "http.response.body", "body": to_sse(event), "more_body": True})

        async def ping() -> None:
            while True:
                await trio.sleep(self._ping_interval)
                await say(PING)

        event: StreamEvent | None = await self._channel.receive()
        failure = None
        await send(self._head("text/event-stream"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            while event is not None:
                await say(event)
                event, failure = await self._next()
            nursery.cancel_scope.cancel(reason="all is said")
        if failure is not None:
            await say(error_response(failure, request_id=self._request_id).to_dict())
        return failure

    async def _next(self) -> tuple[StreamEvent | None, Exception | None]:
        try:
            return await self._channel.receive(), None
        except trio.EndOfChannel:
            return None, None  # noqa: ASYNC910 - a read that raises has waited
        except Exception as exc:  # noqa: BLE001 - a defect: the client is told, and it is raised later
            return None, exc  # noqa: ASYNC910 - likewise

    def _head(self, kind: str, length: int | None = None) -> Message:
        headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-cache")]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if self._request_id is not None:
            headers.append((b"request-id", self._request_id.encode()))
        return {"type": "http.response.start", "status": 200, "headers": headers}


async def _watch(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel(reason="the client went away")
