"""`open_backend`, the backend and its sessions; each turn's consumer is in `_turn`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from ._cli import find_cli
from ._cold import Cold
from ._inbox import Inbox
from ._launch import config_directory, config_file
from ._notices import FileNotices, open_notices
from ._prestart import Reserve
from ._protocol.history import Conversation, fingerprint, parse_messages, same_history
from ._session import NoEditor, Session, SessionInfo, Unusable
from ._start_files import StartFiles, start_files
from ._trust import accept_trust
from ._turn import Turn
from ._util import NoPublicConstructor, one_exception
from ._ways import Ways
from .errors import StartupError
from .options import BackendOptions, Effort, PermissionMode


@attrs.define(eq=False, repr=False)
class ClaudeCodeBackend(metaclass=NoPublicConstructor):
    """The conversations that a program has with the CLI. Made by `open_backend`, closed by its end."""

    options: BackendOptions
    _nursery: trio.Nursery
    _program: Path
    _environment: Mapping[str, str]
    _start_files: StartFiles
    _config_directory: Path
    _notices: FileNotices
    _ways: Ways
    _cold: Cold
    _sessions: list[Session] = attrs.field(factory=list)
    #: Sessions that can take a prompt, by the fingerprint of what they have lived through.
    _idle: dict[str, list[Session]] = attrs.field(factory=dict)
    _closed: bool = False
    _reserve: Reserve = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        make = partial(self._new_session, self.options)
        self._reserve = Reserve(self.options.prestart, make, self._add_idle)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._sessions)} sessions"
        return f"<ClaudeCodeBackend cwd={str(self.options.cwd)!r} {state}>"

    @property
    def sessions(self) -> tuple[SessionInfo, ...]:
        """The processes that the backend has now, the oldest first."""
        return tuple(session.info for session in self._sessions)

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        effort: Effort | None = None,
        permission_mode: PermissionMode | None = None,
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

        Args:
            messages: As in the Messages API: mappings with ``role`` and ``content``.
            model: For this call only. Default: that of the options.
            effort: Likewise.
            permission_mode: Likewise; it also undoes ``dangerously_skip_permissions``.

        Raises:
            ValueError: The messages are not what the Messages API takes, or a choice is impossible;
                the text names the place.
            TypeError: Something in them is of the wrong type; the text names the place.
            trio.ClosedResourceError: The backend has been closed.
        """
        conversation = parse_messages(messages)
        if self._closed:
            raise trio.ClosedResourceError("this backend has been closed")
        chosen = {"model": model, "effort": effort, "permission_mode": permission_mode}
        options = _with(self.options, {k: v for k, v in chosen.items() if v is not None})
        return Turn._create(partial(self._begin, options), conversation, options)  # noqa: SLF001

    async def _begin(
        self, options: BackendOptions, conversation: Conversation
    ) -> tuple[Session, Inbox]:
        """Send the conversation's prompt to the process that is to answer it."""
        await self._wait_for_unwanted(conversation)
        session = self._take_idle(conversation, options)
        if session is not None and session.options != options:
            await session.end()
            if self._can_go_on(session, conversation, options):
                successor = self._new_session(options, after=session)
                with contextlib.suppress(NoEditor):
                    return successor, await successor.start(self._nursery, conversation)
        elif session is not None:
            self._reserve.taken(session)
            try:
                return session, await session.submit(conversation)
            except Unusable:
                # It cannot be typed exactly, or a dialog is in the way: a written transcript takes
                # anything, and makes this process superfluous.
                session.stop()
        if self._closed:
            raise trio.ClosedResourceError("this backend has been closed")
        return await self._begin_new(options, conversation)

    async def _begin_new(
        self, options: BackendOptions, conversation: Conversation, *, written: bool = False
    ) -> tuple[Session, Inbox]:
        session = self._new_session(options, conversation, written=written)
        try:
            return session, await session.start(self._nursery, conversation)
        except NoEditor:
            written, again = True, conversation
        except StartupError as exc:
            another = self._cold.another_way(conversation, exc)
            if session.origin == "fresh" or another is None:
                raise
            again = another
        return await self._begin_new(options, again, written=written)

    def _can_go_on(
        self, ended: Session, conversation: Conversation, options: BackendOptions
    ) -> bool:
        """Whether another process can take up the transcript of one that was to end."""
        # Without a model the CLI would go on with the one that the transcript names last.
        named = options.model is not None or ended.options.model is None
        usable = ended.has_ended and ended.info.transcript.is_file()
        typed = self._ways.of(conversation) != "transcript"
        return named and usable and typed and not self._closed

    def _new_session(
        self,
        options: BackendOptions,
        conversation: Conversation | None = None,
        *,
        written: bool = False,
        after: Session | None = None,
    ) -> Session:
        session = Session(
            options,
            self._program,
            self._environment,
            self._start_files,
            self._config_directory,
            self._notices,
            self._ways,
            self._cold,
            on_idle=self._add_idle,
            on_end=self._forget,
        )
        if conversation is not None:
            session.prepare(conversation, written=written)
        if after is not None:
            session.go_on_after(after)
        self._sessions.append(session)
        return session

    async def _wait_for_unwanted(self, conversation: Conversation) -> None:
        """Let turns settle that were dropped by their consumer and that this one may continue."""
        await trio.lowlevel.checkpoint()
        for session in tuple(self._sessions):
            inbox = session.inbox
            if inbox is None or not inbox.unwanted or session.prompt is None:
                continue
            ours = [
                fingerprint(session.exchanges),
                fingerprint((*session.exchanges, session.prompt)),
            ]
            if fingerprint(conversation.exchanges) in ours:
                await inbox.finished.wait()

    def _take_idle(self, conversation: Conversation, options: BackendOptions) -> Session | None:
        exchanges = conversation.exchanges
        typed = self._ways.of(conversation) != "transcript"
        found = [
            session
            for session in self._idle.get(fingerprint(exchanges), [])
            if session.alive and same_history(exchanges, session.exchanges)
            # One that is kept ready would be of no use to a prompt that cannot be typed, or to one
            # with other options.
            if session.turn_count > 0 or (typed and session.options == options)
        ]
        found.sort(key=lambda session: session.options != options)  # stable: the oldest first
        if not found:
            return None
        self._remove_idle(found[0])
        return found[0]

    def _add_idle(self, session: Session) -> None:
        self._idle.setdefault(fingerprint(session.exchanges), []).append(session)

    def _remove_idle(self, session: Session) -> None:
        key = fingerprint(session.exchanges)
        others = [other for other in self._idle.get(key, []) if other is not session]
        if others:
            self._idle[key] = others
        else:
            self._idle.pop(key, None)

    def _forget(self, session: Session) -> None:
        self._remove_idle(session)
        self._reserve.lost(session)
        self._sessions.remove(session)

    def _close(self) -> None:
        self._closed = True
        self._reserve.scope.cancel(reason="the backend is closed")
        for session in self._sessions:
            session.stop()


def _with(options: BackendOptions, chosen: dict[str, Any]) -> BackendOptions:
    """Return options with what was chosen for one call."""
    if not chosen:
        return options
    if "permission_mode" in chosen:
        chosen["dangerously_skip_permissions"] = False
    return attrs.evolve(options, **chosen)


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
        ProcessError: The files for the CLI could not be written.
        BackendError: A background task failed through a defect of this package; please report it.
    """
    environment = options.environment(os.environ)
    program = find_cli(options.cli_path, {**os.environ, **options.env})
    directory = config_directory(environment, options.cwd)
    if options.trust_workspace:
        await accept_trust(config_file(environment, options.cwd), options.cwd)
    # The files and the notices outlive the last session, so they are around the sessions' nursery.
    async with open_notices() as notices:
        with start_files(options) as files, one_exception() as body:
            async with trio.open_nursery() as nursery:
                backend = ClaudeCodeBackend._create(  # noqa: SLF001
                    *(options, nursery, program, environment, files, directory, notices),
                    *(Ways(options), Cold()),
                )
                if options.prestart:
                    nursery.start_soon(backend._reserve.run, nursery)  # noqa: SLF001
                try:
                    with body:
                        yield backend
                finally:
                    # The sessions are shielded, so it is for them to end, and not for the nursery to
                    # cancel them; each is over within its grace.
                    backend._close()  # noqa: SLF001
