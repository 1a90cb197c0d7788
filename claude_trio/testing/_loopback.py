"""`open_loopback_api`: a Messages API on the loopback interface, answered by a script.

It takes the place of the model behind a real CLI (``ANTHROPIC_BASE_URL``), and records what it was
asked. It speaks HTTP/1.1 by h11 and serves each connection in a task of its own nursery.
"""

from __future__ import annotations

import collections
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import trio

from .._util import one_exception
from ._reply import Block, HttpError, Reply
from ._requests import RecordedRequest, classify

try:
    import h11
except ImportError as exc:  # pragma: no cover - the tests need it
    raise ImportError("claude_trio.testing needs h11: pip install claude-trio[testing]") from exc

_READ_SIZE: Final = 65_536

Answer: TypeAlias = Reply | HttpError
Script: TypeAlias = Answer | Callable[[RecordedRequest], Answer]


@attrs.define(eq=False)
class LoopbackAPI:
    """A running loopback API. Made by `open_loopback_api`.

    Attributes:
        base_url: What the CLI's ``ANTHROPIC_BASE_URL`` is to be.
        requests: Every request so far, in the order of arrival.
        default: What answers a conversation's request when no reply is queued.
    """

    base_url: str
    requests: list[RecordedRequest] = attrs.field(factory=list)
    default: Script = attrs.field(factory=lambda: Reply("ok"))
    _queue: collections.deque[Script] = attrs.field(factory=collections.deque)
    _arrival: trio.Event = attrs.field(factory=trio.Event)

    @property
    def conversations(self) -> list[RecordedRequest]:
        """The requests that were turns of a conversation."""
        return [request for request in self.requests if request.is_conversation]

    def reply(self, *content: Block | str | Script, **how: Any) -> None:
        """Queue the answer to the next request of a conversation that has none.

        Args:
            content: Blocks and strings, for a `Reply` made of them and of `how`; or one `Reply`,
                one `HttpError`, or one function from the request to either.
            how: The other arguments of `Reply`.
        """
        first = content[0] if content else None
        if isinstance(first, Reply | HttpError) or callable(first):
            self._queue.append(first)
        else:
            self._queue.append(Reply(*content, **how))  # type: ignore[arg-type]  # blocks, by now

    def error(self, status: int, **how: Any) -> None:
        """Queue an `HttpError` as the answer to the next request of a conversation."""
        self._queue.append(HttpError(status, **how))

    async def wait_for_conversations(self, count: int) -> RecordedRequest:
        """Wait until so many requests of conversations have arrived; return the last of those."""
        await trio.lowlevel.checkpoint()
        while len(self.conversations) < count:
            self._arrival = trio.Event()
            await self._arrival.wait()
        return self.conversations[count - 1]

    def _answer(self, request: RecordedRequest) -> Answer | dict[str, Any]:
        self.requests.append(request)
        self._arrival.set()
        if request.is_conversation:
            script = self._queue.popleft() if self._queue else self.default
            return script(request) if callable(script) else script
        match request.kind:
            case "probe":
                return {}
            case "count_tokens":
                return {"input_tokens": 10}
            case "unknown":
                return HttpError(404, "not_found_error", f"{request.path} is not here")
        return Reply("made-up")

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while (request := await _read_request(connection, stream)) is not None:
                await self._respond(connection, stream, request, self._answer(request))
                if connection.our_state is not h11.DONE:
                    break
                connection.start_next_cycle()
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            pass  # the client went away, in the middle of whatever
        finally:
            # At once: a client that waits for more is to see that there is none.
            await trio.aclose_forcefully(stream)

    async def _respond(
        self,
        connection: h11.Connection,
        stream: trio.SocketStream,
        request: RecordedRequest,
        answer: Answer | dict[str, Any],
    ) -> None:
        if isinstance(answer, Reply):
            await trio.sleep(answer.delay)
            if answer.before is not None:
                await answer.before.wait()
            model = str(request.body.get("model"))
            if request.wants_stream:
                await self._stream(connection, stream, answer, model)
                return
            status, body, headers = 200, answer.message(model), {}
        elif isinstance(answer, HttpError):
            await trio.sleep(answer.delay)
            status, body, headers = answer.status, answer.body(), dict(answer.headers)
        else:
            status, body, headers = 200, answer, {}
        data = b"" if request.method == "HEAD" else json.dumps(body).encode()
        await _send(connection, stream, _head(status, "application/json", headers, len(data)))
        await _send(connection, stream, h11.Data(data=data))
        await _send(connection, stream, h11.EndOfMessage())

    async def _stream(
        self, connection: h11.Connection, stream: trio.SocketStream, reply: Reply, model: str
    ) -> None:
        await _send(connection, stream, _head(200, "text/event-stream", {}, None))
        midway = reply.midway
        for event in reply.stream(model):
            await _send(connection, stream, h11.Data(data=event))
            if b'"content_block_delta"' in event:
                await trio.sleep(reply.pause)
                if midway is not None:
                    await midway.wait()
                    midway = None
        if reply.ending == "stall":
            await trio.sleep_forever()
        if reply.ending not in {"cut", "cut_block"}:
            await _send(connection, stream, h11.EndOfMessage())


def _head(
    status: int, content_type: str, headers: Mapping[str, str], length: int | None
) -> h11.Response:
    body = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
    common = {"content-type": content_type, "request-id": "req_made_up"}
    return h11.Response(status_code=status, headers=[*(common | dict(headers)).items(), body])


async def _send(
    connection: h11.Connection,
    stream: trio.SocketStream,
    event: h11.Response | h11.Data | h11.EndOfMessage,
) -> None:
    data = connection.send(event)
    await stream.send_all(data or b"")


async def _read_request(
    connection: h11.Connection, stream: trio.SocketStream
) -> RecordedRequest | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        await trio.lowlevel.checkpoint()
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(_READ_SIZE))
            case h11.Request():
                head = event
            case h11.Data():
                body += event.data
            case h11.EndOfMessage() if head is not None:
                return _record(head, bytes(body))
            case _:  # the client has closed its side
                return None


def _record(head: h11.Request, data: bytes) -> RecordedRequest:
    method, path = head.method.decode(), head.target.decode().partition("?")[0]
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    return RecordedRequest(
        method=method,
        path=path,
        headers={name.decode(): value.decode("latin-1") for name, value in head.headers},
        body=body,
        kind=classify(method, path, body),
    )


@asynccontextmanager
async def open_loopback_api() -> AsyncGenerator[LoopbackAPI, None]:
    """Serve a Messages API on a free port of the loopback interface for the length of a block.

    Leaving the block, by whatever way, breaks every connection at once. A scripted function that
    raises ends the block with its exception.
    """
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    host, port = listener.socket.getsockname()
    api = LoopbackAPI(f"http://{host}:{port}")
    with one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(  # noqa: ASYNC113 - the port is open already
                partial(trio.serve_listeners, api._serve, [listener], handler_nursery=nursery)  # noqa: SLF001
            )
            try:
                yield api
            finally:
                nursery.cancel_scope.cancel(reason="the loopback API is closed")
