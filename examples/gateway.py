"""A Messages API on this machine: for your own tools that speak it, to use the `claude` of your own.

It listens on the loopback interface only, and answers whoever shows the key that it prints at its start::

    pip install '.[gateway]' && python examples/gateway.py --live

    export ANTHROPIC_BASE_URL=http://127.0.0.1:8484 ANTHROPIC_API_KEY=…  # for the official clients

Without ``--live`` it needs no account: a scripted model answers, by the CLI of ``pip install claude-agent-sdk``.

It is for the person whose login it is, at the machine where that login is. The terms of your plan apply to
what you do with it. It must not serve others from one subscription, which is why it listens nowhere else and
why it will not learn to.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

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
from claude_trio.messages_api import ErrorResponse, MessageResponse, error_response, parse_request
from claude_trio.testing import RecordedRequest, Reply

MOST_BODY = 32 * 1024 * 1024
PATIENCE = 30.0  # seconds with a client that neither reads nor ends its request
PING_INTERVAL = 15.0  # seconds
LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
ALIASES = ("sonnet", "opus", "haiku")  # the CLI knows them, and any full name


async def messages(request: Request) -> ASGIApp:
    """Begin the turn that answers a request; return what sends its answer."""
    body = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > MOST_BODY:
                raise HTTPException(413, "a request may have 32 MB")
    try:
        asked = parse_request(json.loads(body))
        turn = request.app.state.backend.complete(asked.messages, **asked.choices)
    except (ValueError, TypeError, RecursionError) as exc:
        raise HTTPException(400, error_response(exc).message) from exc
    named = {"request_id": request.scope["request_id"], "ping_interval": PING_INTERVAL}
    return MessageResponse(turn, asked, shown="all", **named)


async def models(_: Request) -> JSONResponse:  # noqa: ASYNC124 - starlette awaits it
    """Return what the CLI can be asked for by an alias."""
    common = {"type": "model", "lifecycle": "active", "created_at": "1970-01-01T00:00:00Z"}
    data = [{"id": name, "display_name": name.title(), **common} for name in ALIASES]
    ends = {"first_id": ALIASES[0], "last_id": ALIASES[-1]}
    return JSONResponse({"data": data, "has_more": False, **ends})  # noqa: ASYNC910


async def refuse(  # noqa: ASYNC124 - starlette awaits it
    request: Request, exc: Exception
) -> JSONResponse:
    """Say what went wrong as the Messages API does."""
    name = {"request_id": request.scope["request_id"]}
    error, more = error_response(exc, **name), None
    if isinstance(exc, HTTPException):
        error, more = ErrorResponse(status=exc.status_code, message=exc.detail, **name), exc.headers
        if exc.status_code == 404 and request.url.path.startswith("/v1/"):
            text = f"{request.url.path}: not supported here; the CLI has no counterpart for that"
            error = ErrorResponse(status=501, message=text, passing=False, **name)
    headers = {**error.headers, **(more or {})}
    return JSONResponse(error.to_dict(), error.status, headers)  # noqa: ASYNC910


def guarded(app: ASGIApp, key: str) -> Any:  # hypercorn has types of its own
    """Let in who shows the key; name each request; hear a request out before it is refused."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["request_id"] = f"req_{secrets.token_hex(12)}"
        more = True

        async def receive_noted() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("request-id", request_id)
                length = 0
                with trio.move_on_after(PATIENCE):  # noqa: ASYNC912 - mostly all is read
                    while more and length < MOST_BODY:  # or some clients get a reset, and no answer
                        length += len((await receive_noted()).get("body", b""))
            await send(message)

        entered = app
        if scope["type"] == "http" and not is_key(Headers(scope=scope), key):
            exc = HTTPException(401, "this is not the key that the gateway has printed")
            entered = await refuse(Request(scope), exc)
        await entered(scope, receive_noted, send_named)

    return guard


def is_key(headers: Headers, key: str) -> bool:
    """Whether a request shows the key, in either of the ways that the official clients know."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    shown = [headers.get("x-api-key", ""), token if scheme.lower() == "bearer" else ""]
    return any(secrets.compare_digest(each.encode(), key.encode()) for each in shown)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a socket on the loopback interface that listens."""
    if host not in LOOPBACK:
        raise ValueError(f"{host} is no address of the loopback interface; see the terms above")
    listener = socket.create_server((host, port), family=LOOPBACK[host])
    if sys.platform == "linux":  # or hypercorn would wait for ever until such a client reads
        patience = round(PATIENCE * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
    return listener


@asynccontextmanager
async def open_gateway(
    options: BackendOptions, listener: socket.socket
) -> AsyncGenerator[tuple[str, str], None]:
    """Serve for the length of a block, at a socket that is then closed; yield the URL, and the key."""
    key = secrets.token_urlsafe(32)
    routes = [Route("/v1/messages", messages, methods=["POST"]), Route("/v1/models", models)]
    refused = (HTTPException, BackendError, ClientDisconnect, Exception)
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys(refused, refuse))
    config = Config()
    config.loglevel, config.graceful_timeout = "WARNING", 0
    with listener:
        async with open_backend(options) as backend, trio.open_nursery() as nursery:
            app.state.backend = backend
            config.bind = [f"fd://{listener.detach()}"]  # hypercorn closes it
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
    parser.add_argument("--host", default="127.0.0.1", choices=LOOPBACK)
    parser.add_argument("--port", default=8484, type=int)
    arguments = parser.parse_args()
    try:
        listener = listen(arguments.host, arguments.port)
    except (OSError, OverflowError) as exc:
        parser.error(f"port {arguments.port}: {exc}")
    async with (
        choose_model(echo) as options,
        open_gateway(chat(options), listener) as (url, key),
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
    except* BackendError as errors:
        sys.exit(str(errors.exceptions[0]))
