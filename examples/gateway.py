"""A Messages API on this machine: for your own tools that speak it, to use the `claude` of your own.

It listens on the loopback interface only, and answers whoever shows the key that it prints at its start::

    python examples/gateway.py --live        # without: a scripted model, no account

    export ANTHROPIC_BASE_URL=http://127.0.0.1:8484 ANTHROPIC_API_KEY=…  # for the official clients

It is for the person whose login it is, at the machine where that login is. The terms of your plan apply to
what you do with it. It must not serve others from one subscription, which is why it listens nowhere else and
why it will not learn to.

Needs ``pip install "claude-trio[gateway]"``: starlette, and hypercorn, a server that runs it on trio.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
from common import choose_model
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_trio import BackendError, BackendOptions, open_backend
from claude_trio.messages_api import (
    PING,
    ErrorResponse,
    MessageChannel,
    error_response,
    parse_request,
    to_sse,
)
from claude_trio.testing import RecordedRequest, Reply

MOST_BODY = 32 * 1024 * 1024
PING_EVERY = 15.0  # seconds
ALIASES = ("sonnet", "opus", "haiku")  # the CLI knows them, and any full name


async def messages(request: Request) -> ASGIApp:
    """Begin the turn that answers a request; return what sends its answer."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY:
            raise HTTPException(413, "a request may have 32 MB")
    try:
        asked = parse_request(json.loads(body))
        turn = request.app.state.backend.complete(asked.messages, **asked.choices)
    except (ValueError, TypeError, RecursionError) as exc:
        raise HTTPException(400, error_response(exc).message) from exc
    return partial(answer, MessageChannel(turn, asked, shown="all"), streamed=asked.stream)


async def answer(
    channel: MessageChannel, scope: Scope, receive: Receive, send: Send, *, streamed: bool
) -> None:
    """Send what a turn says; a client that goes away interrupts the turn."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel(reason="the client went away")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            async with channel:
                if streamed:
                    await stream(channel, send)
                else:
                    await JSONResponse(await channel.get_final_message())(scope, receive, send)
        except BackendError as exc:
            await (await refuse(Request(scope), exc))(scope, receive, send)
        nursery.cancel_scope.cancel(reason="the request was answered")


async def stream(channel: MessageChannel, send: Send) -> None:
    """Send server-sent events; what fails before the first of them is no stream."""
    one_at_a_time = trio.Lock()

    async def say(event: Mapping[str, Any]) -> None:
        async with one_at_a_time:
            await send({"type": "http.response.body", "body": to_sse(event), "more_body": True})

    async def ping() -> None:
        while True:
            await trio.sleep(PING_EVERY)
            await say(PING)

    first = await channel.receive()
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with trio.open_nursery() as nursery:
        await say(first)
        nursery.start_soon(ping)
        async for event in channel:
            await say(event)
        nursery.cancel_scope.cancel(reason="the message is over")
    await send({"type": "http.response.body"})


async def models(_: Request) -> JSONResponse:  # noqa: ASYNC124 - starlette awaits it
    """Return what the CLI can be asked for by an alias."""
    common = {"type": "model", "lifecycle": "active", "created_at": "1970-01-01T00:00:00Z"}
    data = [{"id": name, "display_name": name.title(), **common} for name in ALIASES]
    ends = {"first_id": ALIASES[0], "last_id": ALIASES[-1]}
    listing = {"data": data, "has_more": False, **ends}
    return JSONResponse(listing)  # noqa: ASYNC910


async def refuse(  # noqa: ASYNC124 - starlette awaits it
    request: Request, exc: Exception
) -> JSONResponse:
    """Say what went wrong as the Messages API does."""
    error = error_response(exc)
    if isinstance(exc, HTTPException):
        error = ErrorResponse(status=exc.status_code, message=exc.detail)
        if exc.status_code == 404 and request.url.path.startswith("/v1/"):
            error = ErrorResponse(status=501, message="the CLI has no counterpart for that")
    error = attrs.evolve(error, request_id=error.request_id or request.scope["request_id"])
    return JSONResponse(error.to_dict(), error.status, error.headers)  # noqa: ASYNC910


def guarded(app: ASGIApp, key: str) -> Any:  # hypercorn has types of its own
    """Let in who shows the key; give each request a name."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["request_id"] = f"req_{secrets.token_hex(12)}"

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("request-id", request_id)
            await send(message)

        entered = app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            shown = headers.get("authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(headers.get("x-api-key", shown).encode(), key.encode()):
                exc = HTTPException(401, "this is not the key that the gateway has printed")
                entered = await refuse(Request(scope), exc)
        await entered(scope, receive, send_named)

    return guard


@asynccontextmanager
async def open_gateway(
    options: BackendOptions, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[tuple[str, str], None]:
    """Serve for the length of a block; yield the URL, and the key."""
    if not ipaddress.ip_address(host).is_loopback:
        raise ValueError(f"{host} is no address of the loopback interface; see the terms above")
    key = secrets.token_urlsafe(32)
    routes = [Route("/v1/messages", messages, methods=["POST"]), Route("/v1/models", models)]
    handlers = dict.fromkeys((HTTPException, ClientDisconnect, Exception), refuse)
    app = Starlette(routes=routes, exception_handlers=handlers)
    config = Config()
    config.loglevel, config.graceful_timeout = "WARNING", 0
    async with open_backend(options) as app.state.backend:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        config.bind = [f"fd://{listener.detach()}"]
        async with trio.open_nursery() as nursery:
            [url] = await nursery.start(partial(serve, guarded(app, key), config, mode="asgi"))
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
    except* OSError as errors:
        sys.exit(f"cannot listen there: {errors.exceptions[0]}")
