"""One HTTP/1.1 connection of a server, h11 on a trio stream: a whole request in, an answer out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import h11
import trio


@attrs.frozen
class HttpRequest:
    """A request.

    Attributes:
        method: The method, as it was sent.
        target: The path and the query, as they were sent.
        headers: By their names in lower case; of a name that comes twice the last.
        body: What came behind the head; empty when only the head is known.
    """

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)


class Refused(Exception):  # noqa: N818 - an answer, not an error of ours
    """A request that gets an HTTP status and no more."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


def admit_all(_: HttpRequest) -> None:
    """Admit a request, whatever its head says."""


@attrs.define(eq=False)
class HttpConnection:
    """The server's side of a connection.

    Args:
        stream: The connection; closed by whoever opened it.
        max_body: How many bytes the body of a request may have; None for any number.
    """

    stream: trio.SocketStream
    max_body: int | None = None
    _h11: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))
    over: bool = False

    async def receive(self, admit: Callable[[HttpRequest], None] = admit_all) -> HttpRequest | None:
        """Wait for a whole request.

        Args:
            admit: Called with the head, before any of the body is taken.

        Returns:
            The request; None when the client has hung up.

        Raises:
            Refused: By `admit`, or because the body is too large.
            h11.RemoteProtocolError: What comes is not HTTP.
        """
        head: HttpRequest | None = None
        body = bytearray()
        while True:
            await trio.lowlevel.checkpoint()
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._h11.receive_data(await self._take())
            elif isinstance(event, h11.Request):
                head = _head(event)
                admit(head)
                self._refuse_size(int(head.headers.get("content-length", "0")))
            elif isinstance(event, h11.Data):
                body += event.data
                self._refuse_size(len(body))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return attrs.evolve(head, body=bytes(body))
            else:
                return None

    def _refuse_size(self, size: int) -> None:
        if self.max_body is not None and size > self.max_body:
            raise Refused(413, "too large")

    async def watch(self, scope: trio.CancelScope, most: float = math.inf) -> None:
        """Cancel a scope when the client hangs up; meanwhile keep what it sends.

        Args:
            scope: The scope.
            most: How many bytes it may send meanwhile; with more it is taken to have hung up.
        """
        await trio.lowlevel.checkpoint()
        while most >= 0 and (data := await self._take()):
            most -= len(data)
            self._h11.receive_data(data)
        self.over = True
        scope.cancel(reason="the client hung up")

    async def _take(self) -> bytes:
        try:
            return bytes(await self.stream.receive_some())
        except trio.BrokenResourceError:
            return b""  # noqa: ASYNC910 - the end is read once

    async def send(self, event: h11.Event) -> None:
        """Send a part of the answer."""
        await self.stream.send_all(self._h11.send(event) or b"")

    async def send_head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Send the head of an answer."""
        fields = {"content-type": content_type, **headers}
        await self.send(h11.Response(status_code=status, headers=list(fields.items())))

    async def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer, whose body is JSON or empty."""
        length = {"content-length": str(len(body))}
        await self.send_head(status, "application/json", {**headers, **length})
        if body:
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def send_json(self, status: int, headers: Mapping[str, str], value: Any) -> None:
        """Send a whole answer, with a JSON value or, for None, without a body."""
        body = b"" if value is None else json.dumps(value).encode()
        await self.send_whole(status, headers, body)

    def next_cycle(self) -> bool:
        """Get ready for the next request. False: there will be none."""
        if self.over or self._h11.our_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True


def _head(event: h11.Request) -> HttpRequest:
    return HttpRequest(
        event.method.decode("ascii"),
        event.target.decode("latin-1"),
        {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
    )
