"""One connection of the loopback API: requests in, answers out, with their delays and faults.

The only module that needs h11; `open_loopback_api` imports it when it is called.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import h11
import trio

from ._replies import Cut, ErrorEvent, HttpError, Reply, fault_position, hold_position
from ._requests import RecordedRequest, classify

_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


@attrs.frozen
class Plain:
    """An answer that is no message: a status and a JSON value, or nothing for no body."""

    status: int
    value: Any


Answer: TypeAlias = Reply | HttpError | Plain
Hold: TypeAlias = Callable[[trio.Event], Awaitable[None]]


async def serve_connection(
    stream: trio.SocketStream, answer: Callable[[RecordedRequest], Answer], hold: Hold
) -> None:
    """Serve one client until it hangs up. When cancelled the connection is closed at once.

    Args:
        stream: The connection; closed at the end.
        answer: Called with each request as soon as it has arrived whole.
        hold: Awaited where a reply is to be held, with the event that releases it.
    """
    async with stream:
        connection = _Connection(stream)
        while (request := await connection.receive()) is not None:
            send = _sender(connection, answer(request), request, hold)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.watch, nursery.cancel_scope)
                with contextlib.suppress(trio.BrokenResourceError):
                    await send()
                nursery.cancel_scope.cancel()
            if not connection.next_cycle():
                return


def _sender(
    connection: _Connection, answer: Answer, request: RecordedRequest, hold: Hold
) -> Callable[[], Awaitable[None]]:
    # All shapes are made before the sending starts, so that the mistake in a made-up block is an
    # exception of its own.
    headers = {"request-id": f"req_{secrets.token_hex(12)}"}
    if isinstance(answer, Plain):
        return lambda: connection.send_json(answer.status, headers, answer.value)
    if isinstance(answer, HttpError):
        body = answer.to_body(headers["request-id"])
        return lambda: _send_error(connection, answer, headers, body, hold)
    headers |= answer.headers
    model = str(request.body.get("model"))
    if request.wants_stream:
        events = answer.to_events(model)
        return lambda: _send_stream(connection, answer, headers, events, hold)
    message = answer.to_message(model)
    return lambda: _send_message(connection, answer, headers, message, hold)


async def _send_error(
    connection: _Connection,
    error: HttpError,
    headers: Mapping[str, str],
    body: dict[str, Any],
    hold: Hold,
) -> None:
    await _before_headers(error, hold)
    await connection.send_json(error.status, {**headers, **error.headers}, body)


async def _send_message(
    connection: _Connection,
    reply: Reply,
    headers: Mapping[str, str],
    message: dict[str, Any],
    hold: Hold,
) -> None:
    await _before_headers(reply, hold)
    match reply.fault:
        case Cut(after="request"):
            connection.drop(reply.fault)
        case Cut():
            await connection.send_head(200, "application/json", headers)
            connection.drop(reply.fault)
        case ErrorEvent(kind, text):
            error = HttpError(500, type=kind, message=text)
            await connection.send_json(500, headers, error.to_body(headers["request-id"]))
        case None:
            await connection.send_head(200, "application/json", headers)
            if reply.hold_after is not None:
                await hold(reply.hold_after)
            await trio.sleep(reply.first_token_delay)
            await connection.send(h11.Data(data=json.dumps(message).encode()))
            await connection.send(h11.EndOfMessage())


async def _send_stream(
    connection: _Connection,
    reply: Reply,
    headers: Mapping[str, str],
    events: list[dict[str, Any]],
    hold: Hold,
) -> None:
    await _before_headers(reply, hold)
    fault = reply.fault
    if isinstance(fault, Cut) and fault.after == "request" and fault.events is None:
        connection.drop(fault)
        return
    await connection.send_head(200, "text/event-stream; charset=utf-8", headers)
    held_at = hold_position(events, reply.hold_block)
    last = len(events) if fault is None else fault_position(events, fault)
    before = None
    for position, event in enumerate(events[:last], start=1):
        if position == 2:
            await trio.sleep(reply.first_token_delay)
        elif before == event["type"] == "content_block_delta":
            await trio.sleep(reply.interval)
        elif event["type"] == "message_delta":
            await trio.sleep(reply.end_delay)
        before = event["type"]
        await connection.send_event(event)
        if position == held_at and reply.hold_after is not None:
            await hold(reply.hold_after)
    if isinstance(fault, Cut):
        await trio.sleep(fault.delay)
    match fault:
        case Cut(how="close" | "reset"):
            connection.drop(fault)
            return
        case ErrorEvent(kind, text):
            error = HttpError(500, type=kind, message=text)
            await connection.send_event(error.to_body(headers["request-id"]))
    await connection.send(h11.EndOfMessage())


async def _before_headers(answer: Reply | HttpError, hold: Hold) -> None:
    await trio.sleep(answer.delay)
    if answer.hold_before is not None:
        await hold(answer.hold_before)


@attrs.define(eq=False)
class _Connection:
    stream: trio.SocketStream
    _h11: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))
    _over: bool = False

    async def receive(self) -> RecordedRequest | None:
        """Wait for a whole request. None: there is none, or what comes is not HTTP."""
        await trio.lowlevel.checkpoint()
        head, body = None, bytearray()
        with contextlib.suppress(h11.RemoteProtocolError):
            while True:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    if self._h11.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        await self.stream.send_all(self._h11.send(go_on) or b"")
                    self._h11.receive_data(await self._take())
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    return _recorded(head, bytes(body))
                else:
                    break
        return None

    async def watch(self, scope: trio.CancelScope) -> None:
        """Cancel a scope when the client hangs up; meanwhile keep what it sends."""
        while data := await self._take():
            self._h11.receive_data(data)
        self._over = True
        scope.cancel(reason="the client hung up")

    async def _take(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some())
        except trio.BrokenResourceError:
            return b""  # noqa: ASYNC910 - the end is read once

    async def send(self, event: h11.Event) -> None:
        await self.stream.send_all(self._h11.send(event) or b"")

    async def send_head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        fields = {"content-type": content_type, **headers}
        await self.send(h11.Response(status_code=status, headers=list(fields.items())))

    async def send_json(self, status: int, headers: Mapping[str, str], value: Any) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        length = {"content-length": str(len(body))}
        await self.send_head(status, "application/json", {**headers, **length})
        if body:
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def send_event(self, event: Mapping[str, Any]) -> None:
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        await self.send(h11.Data(data=data.encode()))

    def drop(self, fault: Cut) -> None:
        """Let this be the last exchange, and say how the connection is to end."""
        self._over = True
        if fault.how == "reset":
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)

    def next_cycle(self) -> bool:
        """Get ready for the next request. False: there will be none."""
        if self._over or self._h11.our_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True


def _recorded(head: h11.Request, raw: bytes) -> RecordedRequest:
    method = head.method.decode("ascii")
    path = head.target.decode("latin-1").partition("?")[0]
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = None
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return RecordedRequest(method, path, headers, body, classify(method, path, body))
