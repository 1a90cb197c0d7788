"""One connection of the loopback API: requests in, answers out, with their delays and faults."""

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

from .._http import HttpConnection, HttpRequest
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
        while (request := await _receive(connection)) is not None:
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


class _Connection(HttpConnection):
    async def send_event(self, event: Mapping[str, Any]) -> None:
        data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        await self.send(h11.Data(data=data.encode()))

    def drop(self, fault: Cut) -> None:
        """Let this be the last exchange, and say how the connection is to end."""
        self.over = True
        if fault.how == "reset":
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)


async def _receive(connection: _Connection) -> RecordedRequest | None:
    try:
        request = await connection.receive()
    except h11.RemoteProtocolError:
        return None  # noqa: ASYNC910 - what comes is not HTTP; the connection is closed
    return None if request is None else _recorded(request)


def _recorded(request: HttpRequest) -> RecordedRequest:
    path = request.target.partition("?")[0]
    try:
        body = json.loads(request.body) if request.body else None
    except ValueError:
        body = None
    kind = classify(request.method, path, body)
    return RecordedRequest(request.method, path, request.headers, body, kind)
