"""`open_backend`, the backend and its sessions; each turn's consumer is in `_turn`."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from ._cli import find_cli
from ._cold import Cold
from ._fleet import Call, Fleet
from ._host.host import open_host
from ._inbox import Inbox
from ._launch import config_directory, config_file
from ._lock import remove_left_locks
from ._notices import open_notices
from ._opening import Past
from ._prompter import Unusable
from ._protocol import failures, keys
from ._protocol.history import Conversation, parse_messages
from ._session import Session
from ._session_info import SessionInfo
from ._start_files import start_files
from ._trust import accept_trust
from ._turn import Turn
from ._util import NoPublicConstructor, one_exception
from ._ways import Ways
from .errors import StartupError
from .events import SystemMessage
from .options import BackendOptions, Effort, PermissionMode


@attrs.define(eq=False, repr=False)
class ClaudeCodeBackend(metaclass=NoPublicConstructor):
    """The conversations that a program has with the CLI. Made by `open_backend`, closed by its end."""

    options: BackendOptions
    _nursery: trio.Nursery
    _fleet: Fleet
    _cold: Cold

    def __repr__(self) -> str:
        state = "closed" if self._fleet.closed else f"{len(self._sessions)} sessions"
        return f"<ClaudeCodeBackend cwd={str(self.options.cwd)!r} {state}>"

    @property
    def _sessions(self) -> list[Session]:
        return self._fleet.sessions

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The processes that the backend has now, as they are now, the oldest first."""
        return tuple(session.info for session in self._sessions)

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        session_id: str | None = None,
        fork: bool = False,
        model: str | None = None,
        effort: Effort | None = None,
        permission_mode: PermissionMode | None = None,
        system_prompt: str | None = None,
        thinking: Mapping[str, Any] | None = None,
        max_output_tokens: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        client_tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> Turn:
        """Return the turn that answers a list of messages; it begins when it is first read.

        The last message is the user's new one; what stands before it is the conversation so far.
        The live process that has lived through exactly that conversation gets the new message
        typed into it. An empty conversation starts a new process. For any other a transcript is
        written from the messages, and a process is started on it.

        A reply may be given back as a string or as text blocks, with or without its thinking, with
        or without its rounds of tool_use and tool_result: each of these finds the process.

        A choice that the live process was not started with ends it, and starts another one on its
        transcript: that takes a second or two, and the conversation is the same.

        With `session_id` the conversation so far is what a transcript holds, of this backend or of
        a `claude` that you have run by hand in the same directory; `messages` is the new message
        alone. If that is what the transcript ends with, it is answered where it stands. With `fork`
        a copy of the transcript goes on instead, under the id that ``turn.session`` has; the
        original may be in use, and is only read.

        With `client_tools` the model may call tools that the caller answers. The turn then pauses: its events
        end with a `ResultMessage` whose ``stop_reason`` is ``tool_use``, behind the `ToolUseBlock` of each
        call. The next call of `complete`, whose messages end with an assistant's message with these blocks and
        a user's with a ``tool_result`` for each of them, goes on with the same turn in the same process.
        Where nobody comes back the process ends like an idle one, after ``options.idle_timeout``, or when its
        place is needed; the turn is lost with it, and messages that come later go on from a written
        transcript. So do results that the CLI would not hand on as they are: more than 20,000 characters,
        nothing but white space, an image, a document, several texts of one error, or another text
        beside them.

        When ``options.max_sessions`` processes are there, the turn waits for a place, without a
        limit of time, and in the order in which turns were first read. Cancelled, it leaves the line.

        Args:
            messages: As in the Messages API: mappings with ``role`` and ``content``.
            session_id: The session to continue, a UUID.
            fork: Continue from a copy of it.
            model: For this call only. Default: that of the options.
            effort: Likewise.
            permission_mode: Likewise; it also undoes ``dangerously_skip_permissions``.
            system_prompt: Likewise.
            thinking: Likewise.
            max_output_tokens: Likewise.
            extra_body: Likewise.
            client_tools: Likewise; it needs ``options.client_tools``, which may be an empty list.

        Raises:
            ValueError: The messages are not what the Messages API takes, or a choice is impossible;
                the text names the place. `session_id` is no UUID, or stands beside a history.
            TypeError: Something in them is of the wrong type; the text names the place.
            trio.ClosedResourceError: The backend has been closed.
        """
        conversation = parse_messages(messages)
        past = _check_past(session_id, conversation, fork=fork)
        if self._fleet.closed:
            raise trio.ClosedResourceError("this backend has been closed")
        chosen = {
            "model": model,
            "effort": effort,
            "permission_mode": permission_mode,
            "system_prompt": system_prompt,
            "thinking": thinking,
            "max_output_tokens": max_output_tokens,
            "extra_body": extra_body,
            "client_tools": client_tools,
        }
        if client_tools is not None and self.options.client_tools is None:
            raise ValueError(
                "client_tools needs a server that the CLI can reach: open the backend with "
                "BackendOptions(client_tools=[])"
            )
        options = _with(self.options, {k: v for k, v in chosen.items() if v is not None})
        return Turn._create(partial(self._begin, options, past), conversation, options)  # noqa: SLF001

    async def close_session(self, session_id: str) -> bool:
        """End the process of a conversation; return when it has ended.

        A turn that it is in fails with a `SessionError` of the kind ``closed``. The transcript stays,
        and the conversation can go on with another process.

        Cancelling does not shorten that, which is bounded by ``options.exit_grace``.

        Args:
            session_id: The conversation, as in `SessionInfo`.

        Returns:
            Whether there was such a process.
        """
        return await self._fleet.end(session_id)

    async def compact(self, session_id: str, instructions: str = "") -> SystemMessage:
        """Have a conversation compacted, as the CLI's own command does; return when that is done.

        The model writes a summary, and from then on is given that in the place of what was said. For you
        nothing changes: the same messages find the same process. It must be idle. A process that is
        started for the conversation later on is told your messages, and not the summary.

        Cancelled, or when `turn_timeout` is over, the process is interrupted, and ended if that does not
        settle it.

        Args:
            session_id: The conversation, as in `SessionInfo`.
            instructions: What the summary is to heed; one line.

        Returns:
            The CLI's record of it; ``data["compactMetadata"]`` has the tokens before and after.

        Raises:
            ValueError: The instructions cannot be typed exactly.
            SessionError: There is no such process, it is in use, or the CLI has not compacted the
                conversation: kind ``not_found``, ``in_use``, ``not_compacted``.
            BackendError: The command failed, as in `Turn.receive`.
            trio.ClosedResourceError: The backend has been closed.
        """
        text = f"/compact {instructions}".rstrip()
        way = keys.way_of(text, commands=True)
        if way == "transcript" or "\n" in text or keys.normalized(text) != text:
            raise ValueError(f"these instructions cannot be typed exactly: {instructions!r}")
        if self._fleet.closed:
            raise trio.ClosedResourceError("this backend has been closed")
        command = parse_messages([{"role": "user", "content": text}])

        async def begin(conversation: Conversation) -> tuple[Session, Inbox]:
            session = self._fleet.take(session_id)
            try:
                return session, await session.submit(conversation, way)
            except Unusable:
                raise failures.no_process(session_id) from None

        async with Turn._create(begin, command, self.options) as turn:  # noqa: SLF001
            events = [event async for event in turn]
        for event in events:
            if isinstance(event, SystemMessage) and event.subtype == "compact_boundary":
                return event
        raise failures.not_compacted(events, session_id)

    # A session that was made and not started would never end: Ctrl-C comes at a checkpoint.
    @trio.lowlevel.enable_ki_protection
    async def _begin(
        self, options: BackendOptions, past: Past | None, conversation: Conversation
    ) -> tuple[Session, Inbox]:
        """Send the conversation's prompt to the process that is to answer it."""
        call = Call(options, conversation, past)
        await self._fleet.wait_for_unwanted(call)
        session: Session | None = None
        while True:
            session, live = await self._fleet.obtain(call, instead_of=session)
            try:
                if live:
                    return session, await session.submit(call.conversation)
                return session, await session.start(self._nursery, call.conversation)
            except Unusable:
                # Where it cannot be typed exactly, or a dialog is in the way, a written transcript
                # takes anything, and makes this process superfluous: it is stopping.
                call = attrs.evolve(call, written=call.written or not live)
            except StartupError as exc:
                another = self._cold.another_way(call.conversation, exc)
                if session.origin == "fresh" or another is None:
                    raise
                call = attrs.evolve(call, conversation=another)


def _check_past(session_id: object, conversation: Conversation, *, fork: bool) -> Past | None:
    if session_id is None:
        if fork:
            raise ValueError("fork=True needs the session_id of the session to copy")
        return None
    if not isinstance(session_id, str):
        raise TypeError(f"session_id must be a str, not {session_id!r}")
    try:
        name = str(uuid.UUID(session_id))
    except ValueError:
        raise ValueError(f"session_id must be a UUID, not {session_id!r}") from None
    if len(conversation.messages) > 1:
        raise ValueError(
            "with session_id the conversation so far is in the transcript; messages must hold the new "
            f"message alone, not {len(conversation.messages)}"
        )
    return Past(name, fork)


def _with(options: BackendOptions, chosen: dict[str, Any]) -> BackendOptions:
    """Return options with what was chosen for one call."""
    if not chosen:
        return options
    if "permission_mode" in chosen:
        chosen["dangerously_skip_permissions"] = False
    return attrs.evolve(options, **chosen)


def _make_session(options: BackendOptions, *, inherited: Mapping[str, str], **more: Any) -> Session:
    """Make a session with these options, the backend's or those of a call."""
    return Session(options, environment=options.environment(inherited), **more)


@contextlib.asynccontextmanager
async def open_backend(options: BackendOptions) -> AsyncGenerator[ClaudeCodeBackend, None]:
    """Run conversations with the CLI for the length of a block.

    No process is started before the first turn, unless ``options.prestart`` asks for some. When the
    block is left, by whatever way, every process that the backend started has ended, with everything
    that those started, within ``options.exit_grace`` seconds; what cannot be ended within them is
    given up with a `ResourceWarning` that says how to find it. An exception that the block raises
    comes out as it is: the same object, in no group. A cancellation waits for the processes to end.

    Args:
        options: How the conversations are run.

    Raises:
        CLINotFoundError: There is no `claude` to run; the message says where it was looked for.
        StartupError: ``options.trust_workspace`` could not be recorded.
        ProcessError: What the CLI is to be started with could not be set up.
        ImportError: Functions are to be tools, and the package ``mcp`` is not installed.
        ValueError: One of them cannot be a tool.
        BackendError: A background task failed through a defect of this package; please report it.
    """
    inherited = dict(os.environ)
    environment = options.environment(inherited)
    program = find_cli(options.cli_path, {**os.environ, **options.env})
    directory = config_directory(environment, options.cwd)
    if options.trust_workspace:
        await accept_trust(config_file(environment, options.cwd), options.cwd)
    remove_left_locks(directory)
    # The files and the notices outlive the last session, so they are around the sessions' nursery.
    async with open_notices() as notices, open_host(options) as host:
        with start_files(options, host) as files, one_exception() as body:
            async with trio.open_nursery() as nursery:
                ways, cold = Ways(options), Cold()
                make = partial(
                    _make_session,
                    inherited=inherited,
                    program=program,
                    start_files=files,
                    config_directory=directory,
                    notices=notices,
                    ways=ways,
                    cold=cold,
                    host=host,
                )
                # Without sessions there is nobody left who could ask the host.
                fleet = Fleet(options, make, directory, ways, on_gone=host.close if host else None)
                backend = ClaudeCodeBackend._create(options, nursery, fleet, cold)  # noqa: SLF001
                if host is not None:
                    nursery.start_soon(host.run)  # its port is open already
                if options.prestart:
                    nursery.start_soon(fleet.reserve.run, nursery)
                try:
                    with body:
                        yield backend
                finally:
                    # The sessions are shielded, so it is for them to end, and not for the nursery to
                    # cancel them; each is over within its grace.
                    fleet.close()
