"""Functions of this program as MCP servers: the package ``mcp`` speaks the protocol, the host carries it."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from .._http import HttpRequest
from .._protocol.client_tools import SERVER
from ..tools import Tool
from .client import ClientCall
from .guest import Guest, NoAnswer
from .server import Answer

if TYPE_CHECKING:
    from mcp.server import MCPServer, Server, ServerRequestContext
    from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult

_logger = logging.getLogger("claude_trio")
#: Whose CLI has sent the request that is being answered.
_CALLER: contextvars.ContextVar[Guest] = contextvars.ContextVar("caller")
#: Seconds from the moment when the CLI was told of the tools until its next request has them for
#: certain; observed: at 20 ms never, at 100 ms mostly, from 250 ms on always.
_MARGIN: Final = 0.3
_SHARE: Final = 0.4
#: Seconds that anybody waits for that.
_PATIENCE: Final = 15.0
#: Where newer CLIs say which call of the model's theirs is.
_CALL_ID: Final = "claudecode/toolUseId"
#: The variable that names the file by which a CLI learns that its tools are known.
_KNOWN: Final = "CLAUDE_TRIO_TOOLS_KNOWN"
#: What holds a CLI that answers a prompt of its transcript until then, as its SessionStart hook, for at
#: most 15 seconds. A CLI goes without the tools that are not known when it begins its first turn.
_WAIT: Final = f'n=0; while [ ! -e "${_KNOWN}" ] && [ $n -lt 300 ]; do n=$((n+1)); sleep 0.05; done'


class ToolServers:
    """The servers of one backend.

    Args:
        servers: The tools of each, by its name.
        client: Whether there is one for the tools that the caller answers itself, which are another list
            for each CLI.

    Raises:
        ImportError: The package ``mcp`` is missing.
        ValueError: A tool cannot be offered: two of a name, or a type that has no JSON schema.
    """

    def __init__(
        self, servers: Mapping[str, Sequence[Tool[..., Any]]], *, client: bool = False
    ) -> None:
        self._nursery: trio.Nursery
        self._servers: dict[str, MCPServer[Any] | Server[Any]] = {
            name: _server(name, tools) for name, tools in servers.items()
        }
        if client:
            self._servers[SERVER] = _client_server()
        self._apps = {
            name: server.streamable_http_app(json_response=True, stateless_http=True)
            for name, server in self._servers.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the servers."""
        return tuple(self._servers)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Have the servers ready for the length of a block."""
        async with contextlib.AsyncExitStack() as stack:
            for server in self._servers.values():
                await stack.enter_async_context(server.session_manager.run())
            async with trio.open_nursery() as self._nursery:
                yield
                self._nursery.cancel_scope.cancel(reason="the backend is closed")

    @staticmethod
    def settings() -> dict[str, Any]:
        """Return the settings that hold a CLI's first request until its tools are known."""
        hook = {"type": "command", "command": _WAIT, "timeout": 30}
        return {"hooks": {"SessionStart": [{"hooks": [hook]}]}}

    @staticmethod
    def environment(guest: Guest, directory: Path, *, held: bool) -> dict[str, str]:
        """Return what the environment of a CLI needs for that.

        Args:
            guest: The session.
            directory: Where it may be left a file.
            held: Whether it is to be held; not if it is given its first prompt later.
        """
        if not held:
            return {_KNOWN: str(directory)}  # which is there
        guest.known_file = directory / f"{secrets.token_hex(8)}.known"
        return {_KNOWN: str(guest.known_file)}

    @staticmethod
    async def wait(guest: Guest) -> None:
        """Wait until a CLI knows its tools, or for as long as it would be held."""
        await trio.lowlevel.checkpoint()
        if not guest.servers:
            return
        with trio.move_on_after(_PATIENCE):
            await guest.known.wait()

    async def answer(self, name: str, guest: Guest, request: HttpRequest) -> Answer:
        """Answer a request to one of the servers."""
        _CALLER.set(guest)
        scope, sent = _asgi_scope(request), _Sent()
        try:
            await self._apps[name](scope, _Body(request.body), sent.send)
        except Exception:
            # Of another package: what it cannot take is to cost this request alone.
            _logger.exception("a request to the tools of %s failed", name)
            return Answer(500)  # noqa: ASYNC910 - the caller sends it
        if _method(request.body) == "tools/list":
            guest.listed.add(name)
            if guest.servers <= guest.listed:
                self._nursery.start_soon(self._tell, guest)
        return Answer(sent.status, bytes(sent.body), sent.headers)

    async def _tell(self, guest: Guest) -> None:
        # On a busy machine everything takes longer, and how much is told by the time until now.
        elapsed = trio.current_time() - guest.admitted_at
        await trio.sleep(max(_MARGIN, _SHARE * elapsed))
        guest.known.set()
        with contextlib.suppress(OSError):  # without it the CLI waits a while, and then goes on
            if guest.known_file is not None:
                guest.known_file.touch(mode=0o600)


@contextlib.contextmanager
def _needs_mcp() -> Generator[None, None, None]:
    try:
        yield
    except ModuleNotFoundError as exc:
        message = "tools of yours need the package mcp; install claude-trio[tools]"
        raise ImportError(message, name=exc.name) from exc


def _client_server() -> Server[Any]:
    """Return the server of the tools that the caller answers: what it has is the guest's."""
    with _needs_mcp():
        from mcp import types  # noqa: PLC0415 - an extra
        from mcp.server import Server  # noqa: PLC0415 - an extra

    async def list_tools(_: ServerRequestContext[Any], __: object) -> ListToolsResult:
        await trio.lowlevel.checkpoint()
        return types.ListToolsResult(
            tools=[types.Tool(**tool) for tool in _CALLER.get().calls.tools]
        )

    async def call_tool(
        _: ServerRequestContext[Any], params: CallToolRequestParams
    ) -> CallToolResult:
        guest = _CALLER.get()
        told = dict(params.meta or {}).get(_CALL_ID)
        call = ClientCall(
            params.name, params.arguments or {}, told if isinstance(told, str) else None
        )
        guest.session.look_now()
        try:
            result = await guest.run(guest.calls.wait, call)
        except NoAnswer as exc:
            await trio.lowlevel.checkpoint()
            text = types.TextContent(type="text", text=str(exc))
            return types.CallToolResult(content=[text], is_error=True)
        return types.CallToolResult.model_validate(
            {"content": list(result.content), "isError": result.is_error}
        )

    return Server(SERVER, on_list_tools=list_tools, on_call_tool=call_tool)


def _server(name: str, tools: Sequence[Tool[..., Any]]) -> MCPServer[Any]:
    with _needs_mcp():
        from mcp.server import MCPServer  # noqa: PLC0415 - an extra
    names = [tool.name for tool in tools]
    if doubled := {each for each in names if names.count(each) > 1}:
        raise ValueError(f"mcp_servers[{name!r}] has several tools named {', '.join(doubled)}")
    with _own_logging():
        # What it offers never changes, so nobody has to listen for that.
        server: MCPServer[Any] = MCPServer(name, subscriptions=False)
    for tool in tools:
        try:
            server.add_tool(
                _in_turn(tool),
                name=tool.name,
                description=tool.description,
                # Else the model would read a text as ``{"result": "…"}``.
                structured_output=False,
            )
        except Exception as exc:  # pydantic's, for a type that it does not know
            raise ValueError(
                f"mcp_servers[{name!r}]: the parameters of {tool.name} cannot be described to the "
                f"model: {exc}"
            ) from exc
    return server


def _in_turn(tool: Tool[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a tool's function as one that is cancelled with its turn, and whose errors are told."""
    from mcp.server.mcpserver.exceptions import ToolError  # noqa: PLC0415 - an extra

    @functools.wraps(tool.function)
    async def run(*arguments: Any, **named: Any) -> Any:
        try:
            return await _CALLER.get().run(tool.function, *arguments, **named)
        except (NoAnswer, ToolError) as exc:
            raise ToolError(str(exc)) from exc
        except Exception as exc:
            _logger.info("the tool %s raised: %r", tool.name, exc, exc_info=exc)
            raise ToolError(str(exc) or type(exc).__name__) from exc

    return run


@contextlib.contextmanager
def _own_logging() -> Generator[None, None, None]:
    """Keep the package from installing handlers of its own; it leaves a root that has one alone."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


# -- one request to an ASGI application, which answers in one piece -----------------------------------


class _Body:
    def __init__(self, body: bytes) -> None:
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def __call__(self) -> dict[str, Any]:
        if self._messages:
            await trio.lowlevel.checkpoint()
            return self._messages.pop()
        # When the client hangs up, the task that serves it is cancelled.
        await trio.sleep_forever()
        raise AssertionError


class _Sent:
    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[str, str] = {}
        self.body = bytearray()

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in message.get("headers", ())
                if name.lower() not in {b"content-length", b"content-type", b"connection"}
            }
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")


def _asgi_scope(request: HttpRequest) -> dict[str, Any]:
    host, _, port = request.headers["host"].partition(":")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": [(k.encode("ascii"), v.encode("latin-1")) for k, v in request.headers.items()],
        "client": ("127.0.0.1", 0),
        "server": (host, int(port)),
    }


def _method(body: bytes) -> str | None:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return message.get("method") if isinstance(message, dict) else None
