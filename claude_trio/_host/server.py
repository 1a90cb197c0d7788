"""A loopback HTTP server for the CLIs of one backend, and for nobody else.

It has a port of the system's choice and one token for each CLI. Whoever shows none of the tokens
learns nothing, not even which paths there are. Each connection carries one request: a client that
keeps a connection could otherwise send the next request into its end.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import attrs
import h11
import trio

from .._http import HttpConnection, HttpRequest, Refused
from .guest import Guest

#: Bytes; a hook is told what a tool has returned, images included.
MOST_BODY: Final = 64 * 1024 * 1024
#: Seconds that a client has for its request.
PATIENCE: Final = 30.0
#: Connections that have not shown a token yet. The longest one waiting makes room for another, so that
#: whoever only waits keeps nobody out.
MOST_STRANGERS: Final = 64
#: Bytes that may come behind a request, where nothing should.
_MOST_BEHIND: Final = 1024


@attrs.frozen
class Answer:
    """What a request is answered with.

    Attributes:
        status: The HTTP status.
        body: JSON; may be empty.
        headers: More headers.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)


Handler: TypeAlias = Callable[[Guest, HttpRequest], Awaitable[Answer]]


@attrs.define(eq=False)
class Server:
    """The server; see `open_server`."""

    port: int
    _listeners: list[trio.SocketListener]
    #: What answers each path; only POST is answered.
    routes: dict[str, Handler] = attrs.field(factory=dict)
    _guests: list[Guest] = attrs.field(factory=list)
    #: In the order in which they came.
    _strangers: dict[trio.CancelScope, None] = attrs.field(factory=dict)

    @property
    def url(self) -> str:
        """How the paths begin."""
        return f"http://127.0.0.1:{self.port}"

    def admit(self, guest: Guest) -> None:
        """Answer the requests of a session."""
        self._guests.append(guest)

    def dismiss(self, guest: Guest) -> None:
        """Answer them no more."""
        self._guests.remove(guest)

    async def run(self) -> None:
        """Serve until cancelled. Every request is a task of its own in here."""
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._serve, self._listeners, handler_nursery=nursery)

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = HttpConnection(stream, max_body=MOST_BODY)
            # Whoever hangs up is owed nothing.
            with contextlib.suppress(trio.BrokenResourceError, h11.LocalProtocolError):
                await self._answer(connection)

    async def _answer(self, connection: HttpConnection) -> None:
        try:
            found = await self._receive(connection)
        except Refused as exc:
            await _send(connection, Answer(exc.status))
            return
        except h11.RemoteProtocolError as exc:
            await _send(connection, Answer(exc.error_status_hint))
            return
        if found is None:
            return
        guest, handler, request = found
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.watch, nursery.cancel_scope, _MOST_BEHIND)
            answer = await handler(guest, request)
            with contextlib.suppress(trio.BrokenResourceError):
                await _send(connection, answer)
            nursery.cancel_scope.cancel(reason="the request was answered")

    async def _receive(
        self, connection: HttpConnection
    ) -> tuple[Guest, Handler, HttpRequest] | None:
        admitted: list[tuple[Guest, Handler]] = []

        def admit(head: HttpRequest) -> None:
            admitted.append(self._admit(head))
            self._strangers.pop(scope, None)

        with trio.move_on_after(PATIENCE) as scope:
            if len(self._strangers) >= MOST_STRANGERS:
                longest = next(iter(self._strangers))
                del self._strangers[longest]
                longest.cancel(reason="another one came, and it had not said who it is")
            self._strangers[scope] = None
            try:
                request = await connection.receive(admit)
            finally:
                self._strangers.pop(scope, None)
            return None if request is None else (*admitted[0], request)
        raise Refused(408, "too slow")

    def _admit(self, head: HttpRequest) -> tuple[Guest, Handler]:
        shown = head.headers.get("authorization", "").encode()
        guest = next(
            (
                guest
                for guest in self._guests
                if secrets.compare_digest(f"Bearer {guest.token}".encode(), shown)
            ),
            None,
        )
        if guest is None:
            raise Refused(401, "who is this")
        if head.headers.get("host") != f"127.0.0.1:{self.port}":
            raise Refused(421, "another host")
        if "origin" in head.headers:
            raise Refused(403, "a web page")
        handler = self.routes.get(head.target)
        if handler is None:
            raise Refused(404, "no such path")
        if head.method != "POST":
            raise Refused(405, "POST only")
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "JSON only")
        return guest, handler


async def _send(connection: HttpConnection, answer: Answer) -> None:
    headers = {"connection": "close", **answer.headers}
    await connection.send_whole(answer.status, headers, answer.body)


@contextlib.asynccontextmanager
async def open_server() -> AsyncGenerator[Server, None]:
    """Listen on the loopback interface for the length of a block; `Server.run` answers.

    Raises:
        OSError: There is no port to be had.
    """
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    try:
        yield Server(listeners[0].socket.getsockname()[1], listeners)
    finally:
        for listener in listeners:
            listener.socket.close()
        await trio.lowlevel.cancel_shielded_checkpoint()
