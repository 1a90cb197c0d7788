"""`open_host`: what a backend's options need of the host server, and nothing else."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import trio

from .._http import HttpRequest
from .._protocol import hooks
from .._protocol.client_tools import SERVER
from .._protocol.live import LiveText
from ..callbacks import HookCallback, HookContext, HookInput
from ..errors import ProcessError
from ..options import BackendOptions
from .client import ClientCalls
from .guest import TOKEN, Guest, NoAnswer, Visitor
from .limits import Limits
from .permissions import Permissions
from .server import Answer, Server, open_server
from .tools import ToolServers

#: Seconds; a person may take a day to decide.
_A_DAY: Final = 86_400.0
_AT_ONCE: Final = 60.0
_MESSAGE: Final = "MessageDisplay"
_BATCH: Final = "PostToolBatch"

HookAnswer: TypeAlias = Callable[[Guest, Mapping[str, Any]], Awaitable[Mapping[str, Any] | None]]


@attrs.define(eq=False)
class Host:
    """The server of one backend, and what its CLIs are told of it; see `open_host`."""

    options: BackendOptions
    _server: Server
    _tools: ToolServers | None
    _entries: list[hooks.Entry] = attrs.field(factory=list)
    #: Sessions are shielded from the backend's cancellation, and may ask until they have ended.
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))

    def __attrs_post_init__(self) -> None:
        options = self.options
        permissions = Permissions.of(options)
        for matcher in permissions.matchers:
            self._register("PreToolUse", matcher, permissions.before_tool, _A_DAY, blocks=True)
            self._register("PermissionRequest", matcher, permissions.on_request, _AT_ONCE)
        if options.include_partial_messages:
            self._register(_MESSAGE, None, _show, _AT_ONCE)
        if self._tools is not None:
            for name in self._tools.names:
                self._server.routes[f"/tools/{name}"] = functools.partial(self._tools.answer, name)
        for event, groups in options.hooks.items():
            for group in groups:
                for function in group.hooks:
                    answer = functools.partial(_run_hook, function)
                    blocks = event == "PreToolUse"
                    self._register(event, group.matcher, answer, group.timeout, blocks=blocks)
        if options.max_turns is not None or options.max_budget_usd is not None:
            groups = options.hooks.get(_BATCH, ())
            own = sum(len(group.hooks) for group in groups if group.matcher is None)
            limits = Limits(options.max_turns, options.max_budget_usd, own)
            self._register(_BATCH, None, limits.after_tools, _AT_ONCE)

    def _register(
        self,
        event: str,
        matcher: str | None,
        answer: HookAnswer,
        timeout: float,
        *,
        blocks: bool = False,
    ) -> None:
        path = f"/hooks/{len(self._entries)}"
        self._entries.append(hooks.Entry(event, matcher, timeout, path, blocks))
        self._server.routes[path] = functools.partial(_answer_hook, event, answer)

    # -- what the CLIs are told -----------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        """Return the settings that the CLI needs besides the caller's: hooks, and rules for tools."""
        made = hooks.settings(self._entries, self._server.url, TOKEN)
        if self._tools is not None:
            made = hooks.merged(made, self._tools.settings())
            made["permissions"] = {"allow": [f"mcp__{name}" for name in self._tools.names]}
        return made

    def environment(self, guest: Guest, directory: Path, *, prompted: bool) -> dict[str, str]:
        """Return what a session's CLI needs in its environment.

        Args:
            guest: The session.
            directory: Where it may be left a file.
            prompted: Whether it finds its first prompt in its transcript.
        """
        if self._tools is None:
            return {TOKEN: guest.token}
        held = prompted and bool(guest.servers)
        return {TOKEN: guest.token, **self._tools.environment(guest, directory, held=held)}

    async def wait_until_ready(self, guest: Guest) -> None:
        """Wait until a session's CLI can be given its first prompt; not for ever."""
        await trio.lowlevel.checkpoint()
        if self._tools is not None:
            await self._tools.wait(guest)

    def mcp_servers(self, options: BackendOptions) -> dict[str, Any]:
        """Return the servers of tools of one process, as a configuration of MCP servers names them."""
        return {
            name: {
                "type": "http",
                "url": f"{self._server.url}/tools/{name}",
                "headers": hooks.bearer(TOKEN),
                # Else the model would have to look for the tools first.
                "alwaysLoad": True,
                # For the caller's own functions ``MCP_TOOL_TIMEOUT`` holds.
                **({"timeout": int(_A_DAY * 1000)} if name == SERVER else {}),
            }
            for name in _servers(options)
        }

    # -- its life -------------------------------------------------------------------------------

    def admit(self, session: Visitor, options: BackendOptions | None = None) -> Guest:
        """Let a session in: its CLI is answered from now on.

        Args:
            session: The session.
            options: The backend's, with what was chosen for one call.
        """
        options = options or self.options
        live = LiveText() if self.options.include_partial_messages else None
        guest = Guest(session, live, _servers(options), ClientCalls(options.client_tools or ()))
        self._server.admit(guest)
        return guest

    def dismiss(self, guest: Guest) -> None:
        """Answer a session no more; its callbacks are cancelled."""
        guest.end_turn()
        guest.known.set()  # nobody has to wait for it any more
        if guest.known_file is not None:
            with contextlib.suppress(OSError):  # the directory is removed with the backend
                guest.known_file.unlink(missing_ok=True)
            guest.known_file = None
        self._server.dismiss(guest)

    def close(self) -> None:
        """Cancel everything that runs. Returns at once."""
        self._scope.cancel(reason="the backend is closed")

    async def run(self) -> None:  # noqa: ASYNC910 - a task
        """Serve until closed, whatever is cancelled. The port is open before."""
        with self._scope:
            async with self._tools.running() if self._tools else contextlib.nullcontext():
                await self._server.run()


def _servers(options: BackendOptions) -> frozenset[str]:
    """Return the servers of tools that the CLI is told of."""
    return frozenset(options.own_servers) | ({SERVER} if options.client_tools else set())


async def _show(guest: Guest, body: Mapping[str, Any]) -> None:
    """Take a piece of live text. With three of them unanswered the CLI would drop the next."""
    if guest.live is not None:
        guest.live.feed(body)
        guest.session.look_now()
    await trio.lowlevel.checkpoint()


async def _run_hook(
    function: HookCallback, guest: Guest, body: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    event = str(body["hook_event_name"])
    name = f"the hook for {event}"
    call_id = body.get("tool_use_id")
    context = HookContext(guest.session.session_id, guest.session.in_turn)
    told: HookInput = body  # type: ignore[assignment]  # what the CLI sends, unknown keys included
    try:
        output = await guest.call(
            name, function, told, call_id if isinstance(call_id, str) else None, context
        )
        try:
            return hooks.checked_output(output)
        except (TypeError, ValueError) as exc:
            guest.failed(name, exc)
            raise NoAnswer(f"{name} failed") from exc
    except NoAnswer as exc:
        await trio.lowlevel.checkpoint()
        # A hook that may have denied the call, or the prompt, has not allowed it.
        return hooks.refusal(event, str(exc))
    finally:
        guest.batches_heard += event == _BATCH


async def _answer_hook(
    event: str, answer: HookAnswer, guest: Guest, request: HttpRequest
) -> Answer:
    body = hooks.parse_body(request.body)
    if body is None or body["hook_event_name"] != event:
        await trio.lowlevel.checkpoint()
        return Answer(400)
    return Answer(200, hooks.to_json(await answer(guest, body)))


@contextlib.asynccontextmanager
async def open_host(options: BackendOptions) -> AsyncGenerator[Host | None, None]:
    """Have a host server for the length of a block; None if the options need none.

    Raises:
        ImportError: Functions are to be tools, and the package ``mcp`` is missing.
        ValueError: A function cannot be a tool.
        ProcessError: There is no port to be had.
    """
    if not options.needs_host:
        await trio.lowlevel.checkpoint()
        yield None
        await trio.lowlevel.checkpoint()
        return
    tools = None
    if options.own_servers or options.client_tools is not None:
        tools = ToolServers(options.own_servers, client=options.client_tools is not None)
    async with contextlib.AsyncExitStack() as stack:
        try:
            server = await stack.enter_async_context(open_server())
        except OSError as exc:
            raise ProcessError(
                f"the CLI cannot be given a way back to this program: {exc}", kind="not_started"
            ) from exc
        yield Host(options, server, tools)
