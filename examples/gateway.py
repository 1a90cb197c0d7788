"""A Messages API on this machine: for your own tools that speak it, to use the `claude` of your own.

It listens on the loopback interface only, and answers whoever shows the key that it prints at its start::

    python examples/gateway.py --live        # without: a scripted model, no account

    export ANTHROPIC_BASE_URL=http://127.0.0.1:8484 ANTHROPIC_API_KEY=…  # for the official clients

It is for the person whose login it is, at the machine where that login is. The terms of your plan apply to
what you do with it. It must not serve others from one subscription, which is why it listens nowhere else and
why it will not learn to.

Needs ``pip install "claude-trio[gateway,tools]"``: hypercorn, an ASGI server that runs on trio, and mcp for tools.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import secrets
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio
from common import choose_model
from hypercorn.config import Config
from hypercorn.trio import serve

from claude_trio import BackendError, BackendOptions, ClaudeCodeBackend, TextDelta, open_backend
from claude_trio.messages_api import (
    ErrorResponse,
    MessageStream,
    error_response,
    parse_request,
    to_sse,
)
from claude_trio.testing import RecordedRequest, Reply

MOST_BODY = 32 * 1024 * 1024
ALIASES = ("sonnet", "opus", "haiku")  # the CLI knows them, and any full name
NONE: Mapping[str, str] = {}
NOT_HERE = ("/v1/messages/", "/v1/models/", "/v1/files", "/v1/complete", "/v1/skills", "/v1/agents")


class Refused(Exception):  # noqa: N818 - an answer
    """A request that gets no further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.response = ErrorResponse(status=status, message=message)


@attrs.define
class Client:
    """One request, by the two functions that ASGI gives for it."""

    scope: Any
    receive: Callable[[], Awaitable[Any]]
    send: Callable[[Any], Awaitable[None]]
    request_id: str = attrs.field(factory=lambda: f"req_{secrets.token_hex(12)}")
    begun: bool = False

    async def read(self, key: str) -> bytes:
        """Check the key, and what the client takes this for; return the body."""
        headers = dict(self.scope["headers"])
        shown = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not secrets.compare_digest(headers.get(b"x-api-key", shown), key.encode()):
            raise Refused(401, "this is not the key that the gateway has printed")
        if not is_here(headers.get(b"host", b"").decode("latin-1")):
            raise Refused(403, "this is no name of the loopback interface")
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the request has no end")
            body += message.get("body", b"")
            if len(body) > MOST_BODY:
                raise Refused(413, "a request may have 32 MB")
            if not message.get("more_body"):
                return bytes(body)

    async def watch(self, scope: trio.CancelScope) -> None:
        """Cancel a scope when the client goes away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        scope.cancel(reason="the client went away")

    async def begin(  # noqa: ASYNC910 - what comes next waits
        self, status: int, kind: str, headers: Mapping[str, str]
    ) -> None:
        """Send the head of the answer, once."""
        if not self.begun:
            self.begun = True
            fields = {"content-type": kind, "request-id": self.request_id, **headers}
            pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
            await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def end(self, value: Any, status: int = 200, headers: Mapping[str, str] = NONE) -> None:
        """Send a whole answer."""
        await self.begin(status, "application/json", headers)
        await self.send({"type": "http.response.body", "body": json.dumps(value).encode()})

    async def refuse(self, error: ErrorResponse) -> None:
        """Send an error."""
        error = attrs.evolve(error, request_id=error.request_id or self.request_id)
        await self.end(error.to_dict(), error.status, error.headers)

    async def stream(self, events: Iterable[Mapping[str, Any]], *, over: bool) -> None:
        """Send a part of a stream; the first part begins it."""
        await trio.lowlevel.checkpoint()
        if data := b"".join(to_sse(event) for event in events):
            await self.begin(200, "text/event-stream", {"cache-control": "no-cache"})
            await self.send({"type": "http.response.body", "body": data, "more_body": not over})


async def serve_client(backend: ClaudeCodeBackend, key: str, client: Client) -> None:
    """Answer a request, unless the client goes away: then its turn is interrupted."""
    try:
        body = await client.read(key)
    except Refused as exc:
        await client.refuse(exc.response)
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.watch, nursery.cancel_scope)
        try:
            await serve_path(backend, body, client)
        except Refused as exc:
            await client.refuse(exc.response)
        except BackendError as exc:
            await client.refuse(error_response(exc, request_id=client.request_id))
        nursery.cancel_scope.cancel(reason="the request was answered")


async def serve_path(  # noqa: ASYNC910 - each path waits, or raises
    backend: ClaudeCodeBackend, body: bytes, client: Client
) -> None:
    """Answer what a path stands for."""
    match client.scope["method"], client.scope["path"]:
        case "POST", "/v1/messages":
            await serve_message(backend, body, client)
        case "GET", "/v1/models":
            await client.end(models())
        case _, str(path) if path.startswith(NOT_HERE):
            raise Refused(501, f"{path}: an interactive CLI has no counterpart for that")
        case method, path:
            raise Refused(404, f"there is no {method} {path}")


async def serve_message(backend: ClaudeCodeBackend, body: bytes, client: Client) -> None:
    """Answer a request by a turn."""
    try:
        asked = parse_request(json.loads(body))
        turn = backend.complete(asked.messages, **asked.choices)
    except (ValueError, TypeError, RecursionError) as exc:
        raise Refused(400, str(exc)) from exc
    made = MessageStream(
        shown="all", client_tools=asked.client_tools, model=asked.model, stop_at_limit=True
    )
    failure: BackendError | None = None
    async with turn:  # the end of the block interrupts a turn that is not over
        try:
            async for event in turn:
                if asked.stream:
                    events = made.feed(event)
                    await client.stream(events, over=made.over)
                elif not isinstance(event, TextDelta):
                    made.feed(event)
                if made.over:
                    break
        except BackendError as exc:
            failure = exc
    if failure is not None:
        events = made.fail(failure)  # raises it where nothing was said yet
        if not asked.stream and events[-1]["type"] == "error":
            raise failure
        await client.stream(events if asked.stream else (), over=True)
    if not asked.stream:
        await client.end(made.message)


def is_here(host: str) -> bool:
    """Whether a client means the loopback interface, and not a name that somebody has pointed at it."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def models() -> dict[str, Any]:
    """Return what the CLI can be asked for by an alias."""
    common = {"type": "model", "lifecycle": "active", "created_at": "1970-01-01T00:00:00Z"}
    data = [{"id": name, "display_name": name.title(), **common} for name in ALIASES]
    return {"data": data, "has_more": False, "first_id": ALIASES[0], "last_id": ALIASES[-1]}


@asynccontextmanager
async def open_gateway(
    options: BackendOptions, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[tuple[str, str], None]:
    """Serve for the length of a block; yield the URL, and the key."""
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} is no address of the loopback interface; see the terms above")
    key = secrets.token_urlsafe(32)

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ASYNC910 - as above
        while scope["type"] == "lifespan":  # hypercorn wants to hear that it may start, and end
            await send({"type": f"{(await receive())['type']}.complete"})
        if scope["type"] == "http":
            await serve_client(backend, key, Client(scope, receive, send))

    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 0
    async with open_backend(options) as backend, trio.open_nursery() as nursery:
        [url] = await nursery.start(partial(serve, app, config, mode="asgi"))
        yield url, key
        nursery.cancel_scope.cancel(reason="the gateway is closed")


def chat(options: BackendOptions, **more: Any) -> BackendOptions:
    """Return options for a model and nothing around it, which streams and takes its clients' tools."""
    return BackendOptions.for_chat(
        cwd=options.cwd,
        cli_path=options.cli_path,
        env=options.env,
        include_partial_messages=True,
        client_tools=(),
        **more,
    )


def echo(request: RecordedRequest) -> Reply:
    """Be the model, where there is none."""
    return Reply(f"You said: {request.prompt}")


async def main() -> None:
    """Run it until it is interrupted."""
    parser = argparse.ArgumentParser(description="A Messages API for your own `claude`.")
    parser.add_argument("--live", action="store_true", help="use your own, logged-in `claude`")
    parser.add_argument("--host", default="127.0.0.1", help="an address of the loopback interface")
    parser.add_argument("--port", type=int, default=8484)
    arguments = parser.parse_args()
    async with (
        choose_model(echo) as options,
        open_gateway(chat(options), arguments.host, arguments.port) as (url, key),
    ):
        # A KeyboardInterrupt that meets a request would end that one, and not the program.
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            print(f"export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}", flush=True)
            await anext(signals)


if __name__ == "__main__":
    try:
        trio.run(main)
    except* KeyboardInterrupt:
        pass
