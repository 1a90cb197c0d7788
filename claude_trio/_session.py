"""One live conversation: a process, the files that it writes, and the turn that it is in.

A session is one task (`Session.run`) in the backend's nursery. It is shielded from the cancellation
of that nursery, since an interrupted turn must be seen to settle and a process must be ended in
order; it ends when its process does, or when `stop` is called. Expected failures never leave it:
they become the outcome of the turn, and are raised where the turn is consumed.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import math
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs
import trio

from ._cold import Cold
from ._cost import CostWatch
from ._editor import Editor, open_editor
from ._files import SessionFiles
from ._host.guest import Guest
from ._host.host import Host
from ._inbox import Inbox
from ._launch import STATUS_LINE, arguments, snapshot_arguments, version_numbers
from ._lock import SessionLock
from ._notices import FileNotices
from ._protocol import failures, keys, screens
from ._protocol.history import Conversation, Exchange, exchange_of, extended, fingerprint
from ._protocol.outcome import Outcome, is_answer
from ._protocol.past import next_record, whole_lines
from ._protocol.records import Record
from ._protocol.status import Status
from ._protocol.turns import Command, State, TurnManager
from ._protocol.verify import HistoryCheck
from ._pty import PtyClaudeProcess, open_pty_process
from ._start_files import StartFiles
from ._startup import StartupWatch, exit_error, startup_error
from ._ways import Ways
from .errors import BackendError, MessageParseError, ProcessError, TurnTimeout
from .events import AssistantMessage, Event
from .options import BackendOptions

_logger = logging.getLogger("claude_trio")
_MOST_WAITING: Final = 256  # events that may wait for a slow consumer before reading stops
_PROMPT_GRACE: Final = 2.0  # seconds until an idle CLI has to take a prompt
_PROMPT_INTERVAL: Final = 0.01  # seconds between two looks meanwhile
_LAST_WORDS: Final = 0.5  # seconds for the last output of a process that has ended
_END_MARGIN: Final = 1.0  # seconds on top of a grace, for a slow machine
#: What may be over at the next look: no descriptor left, or a signal.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EINTR})
_ENTER_GAP: Final = 0.05  # seconds; 2.1.197 swallows an Enter close upon the text
#: From this version on the Enter may follow at once.
_ENTER_AT_ONCE_SINCE: Final = (2, 1, 300)

Origin: TypeAlias = Literal["fresh", "resumed"]


@attrs.frozen
class Past:
    """A transcript that a conversation goes on from, whoever wrote it.

    Attributes:
        session_id: Its session.
        fork: Whether to go on in a copy, as a new session.
    """

    session_id: str
    fork: bool = False


class Unusable(Exception):  # noqa: N818 - a signal between two modules, never shown
    """The session cannot take this prompt; another way has to be found."""


class NoEditor(Unusable):
    """The CLI does not fetch a prompt from the editor here."""


@attrs.frozen
class SessionInfo:
    """What a backend tells about one of its processes.

    Attributes:
        session_id: The conversation, as the CLI names it.
        pid: The process; None before it was started.
        cli_version: The CLI's version; None before it has said so.
        transcript: The file that the events are read from.
        origin: ``fresh`` for a new conversation, ``resumed`` for one continued from a written
            history, or from the transcript of another process.
        turns: How many prompts the process has taken, the present one included.
        altered: How many prompts of the whole backend the CLI has recorded differently from what
            was sent; each of those turns has failed. After one, no prompt is sent in that way.
        state: ``starting``, ``ending``, or the name of the `State` of its turns in lower case.
        idle_since: When it became free for another prompt, by the clock of `trio.current_time`; None
            while it is not.
        context_tokens: How much of the model's context the conversation takes: all tokens of its
            newest API message, and of what the model was given for it. None before the first one.
        unprompted: The newest events that belong to no turn of the caller's, at most 256: those of
            turns that the CLI started by itself (a background task had ended, say), and what it
            noted between turns. They are never part of the answer to a prompt.
    """

    session_id: str
    pid: int | None
    cli_version: str | None
    transcript: Path
    origin: Origin
    turns: int
    altered: int
    state: str
    idle_since: float | None = None
    context_tokens: int | None = None
    unprompted: tuple[Event, ...] = attrs.field(default=(), repr=False)


@attrs.define(eq=False)
class Session:
    """One process and its conversation.

    Args:
        options: The backend's, with what was chosen for the call that it is made for.
        program: The CLI.
        environment: Its whole environment.
        start_files: The files that it is started with.
        config_directory: Where that CLI keeps its sessions.
        notices: Tells when a file was written.
        ways: How prompts get to the CLI.
        cold: Writes what a process is started on.
        on_idle: Called when the conversation can take another prompt.
        on_end: Called when the session is over.
        host: The server that its CLI reaches callbacks by; None where none is needed.
    """

    options: BackendOptions
    program: Path
    environment: Mapping[str, str]
    start_files: StartFiles
    config_directory: Path
    notices: FileNotices
    ways: Ways
    cold: Cold
    on_idle: Callable[[Session], None]
    on_end: Callable[[Session], None]
    host: Host | None = None
    origin: Origin = "fresh"
    session_id: str = attrs.field(factory=lambda: str(uuid.uuid4()))
    #: What the conversation has lived through, as far as a caller can know it.
    exchanges: tuple[Exchange, ...] = ()
    #: It began from a transcript: before its `exchanges` there is more, which is not known.
    continued: bool = False
    #: When it became free for another prompt, by trio's clock; None while it is not.
    idle_since: float | None = None
    #: The prompt that is being answered.
    prompt: Exchange | None = None
    inbox: Inbox | None = None
    turn_count: int = 0
    turns: TurnManager = attrs.field(factory=TurnManager)
    #: It may ask the host from its start to its end.
    guest: Guest | None = None
    _files: SessionFiles = attrs.field(init=False)
    _cost: CostWatch = attrs.field(init=False)
    #: The process before, whose own transcript this one goes on with.
    _before: SessionInfo | None = None
    _process: PtyClaudeProcess | None = None
    _editor: Editor | None = None
    _way: keys.Way = "transcript"
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _started: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _start_failure: BackendError | None = None
    _defect: BackendError | None = None
    #: The CLI has begun a new, empty conversation in this turn.
    _cleared: bool = False
    #: The process was started for this turn, on what the conversation had been so far.
    _resumes: bool = False
    _context_tokens: int | None = None
    _lock: SessionLock | None = None
    #: Whether the model has seen the history that was written; None when that is settled.
    _check: HistoryCheck | None = None
    #: What the turn has for its consumer meanwhile.
    _held: list[Event] = attrs.field(factory=list)
    _notes: tuple[Event, ...] = ()
    _give_up_at: float | None = None

    def __attrs_post_init__(self) -> None:
        self._open_files()

    def _open_files(self) -> None:
        wanted = self.options.include_cost
        self._cost = CostWatch(
            self.start_files.new_status_line() if wanted else None,
            anew=self._before is None,
        )
        self._files = SessionFiles(
            self.config_directory,
            self.options.cwd,
            self.session_id,
            self.notices,
            self._unreadable,
        )

    @property
    def alive(self) -> bool:
        """Whether the process runs and has not been asked to end."""
        running = self._process is not None and self._process.running
        return running and not self._scope.cancel_called

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, and with it all that the session does."""
        return self._ended.is_set()

    @property
    def names(self) -> frozenset[str]:
        """What the conversation is known under: its id, and the fingerprint of its messages."""
        if self.continued:
            return frozenset({self.session_id})
        return frozenset({self.session_id, fingerprint(self.exchanges)})

    @property
    def info(self) -> SessionInfo:
        """What is known of the session now."""
        return SessionInfo(
            session_id=self.session_id,
            pid=self._process.pid if self._process is not None else None,
            cli_version=self._files.status.version,
            transcript=self._files.transcript,
            origin=self.origin,
            turns=self.turn_count,
            altered=self.ways.altered,
            state=self._state,
            idle_since=self.idle_since,
            context_tokens=self._context_tokens,
            unprompted=tuple(self.turns.unprompted),
        )

    @property
    def _state(self) -> str:
        if self._scope.cancel_called:
            return "ending"
        return self.turns.state.name.lower() if self._started.is_set() else "starting"

    def rest(self, limit: float) -> None:
        """Say that the conversation is free for another prompt; it ends by itself after a time.

        Args:
            limit: Seconds.
        """
        self.idle_since = trio.current_time()
        self._scope.deadline = self.idle_since + limit

    def claim(self) -> bool:
        """Take the conversation for another prompt; return whether it was still there."""
        self.idle_since = None
        if not self.alive:
            return False
        self._scope.deadline = math.inf
        return True

    # -- how it begins: one of these, once ----------------------------------------------------------

    def begin(self, conversation: Conversation | None, *, written: bool = False) -> None:
        """Lock the conversation, and write its history if it has one.

        Args:
            conversation: The conversation, its new prompt included; None if it is not known yet.
            written: Write it in any case: its first prompt is not to be typed.

        Raises:
            SessionError: The history could not be written.
        """
        with self._locked(required=False):
            if conversation is not None and (
                conversation.exchanges or written or self.ways.of(conversation) == "transcript"
            ):
                self._write_history(conversation)

    def go_on_after(self, other: Session) -> None:
        """Lock the conversation of another session, which has ended, to go on with it.

        Raises:
            SessionError: Its transcript cannot be read, or somebody else is in it.
        """
        self._before = other.info
        self.origin, self.session_id = "resumed", other.session_id
        self.exchanges, self.continued = other.exchanges, other.continued
        self._open_files()
        with self._locked(required=True):
            try:
                self._files.begin_at_end()
            except OSError as exc:
                raise failures.unreadable(exc, self.session_id) from exc

    def go_on_from(self, past: Past, conversation: Conversation) -> None:
        """Lock the conversation of a transcript, to go on with it or with a copy of it.

        Raises:
            SessionError: There is no such transcript, it cannot be written, or somebody else is in
                it.
        """
        self.origin, self.continued = "resumed", True
        source = self._files.transcript.with_name(f"{past.session_id}.jsonl")
        if not past.fork:
            self.session_id = past.session_id
            self._open_files()
        with self._locked(required=not past.fork):
            try:
                data = source.read_bytes()
                if past.fork:
                    data = whole_lines(data)
                prompt = next_record(
                    data,
                    conversation.messages[-1],
                    session_id=self.session_id,
                    cwd=str(self.options.cwd),
                    model=self.options.model,
                    now=datetime.datetime.now(datetime.UTC),
                )
                if past.fork:
                    self._files.begin_with(data + prompt)
                else:
                    self._files.begin_at_end(prompt)
            except (OSError, ValueError) as exc:
                raise failures.no_transcript(source, exc, past.session_id) from exc

    @contextlib.contextmanager
    def _locked(self, *, required: bool) -> Generator[None, None, None]:
        self._hold(required=required)
        try:
            yield
        except BaseException:
            self._release()
            raise

    def _hold(self, *, required: bool) -> None:
        """Lock the conversation against other backends.

        Args:
            required: Whether somebody else can know its id already. For one that was just made up a
                failure means that there can be no locks at all; nobody else can have it either.
        """
        try:
            self._lock = SessionLock(self.config_directory, self.session_id)
        except BlockingIOError:
            raise failures.in_use(self.session_id) from None
        except OSError as exc:
            if required:
                raise failures.not_locked(exc, self.session_id) from exc

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- the consumer's side ----------------------------------------------------------------------

    @property
    def _begins_at_rest(self) -> bool:
        """Whether the process waits for its first prompt, and does not find it in a transcript."""
        return self.origin == "fresh" or self._before is not None

    async def start(self, nursery: trio.Nursery, conversation: Conversation) -> Inbox:
        """Start the process and send the first prompt; return where its answer will be.

        To be called once, after it was said how it begins; `on_end` will be called. When cancelled, or when it
        raises, the session has ended.

        Raises:
            BackendError: The process could not be started, did not become ready in time, or did not
                take the prompt.
            NoEditor: The prompt has to be written, on another session.
        """
        try:
            if self._begins_at_rest:
                await self.start_idle(nursery)
                return await self.submit(conversation)
            self._launch(nursery)
            inbox = self._open_inbox(conversation, trio.current_time())
            self.turns.resume(trio.current_time())
            await self._wait_until_ready()
        except NoEditor:
            await self.end()  # noqa: ASYNC120 - shielded and bounded inside
            raise
        except Unusable:
            failure = self._no_prompt()
            await self.end()  # noqa: ASYNC120 - shielded and bounded inside
            raise failure from None
        except BaseException:
            await self.end()  # noqa: ASYNC102 - shielded and bounded inside
            raise
        return inbox

    async def start_idle(self, nursery: trio.Nursery) -> None:
        """Start the process; return when it takes a prompt, which no transcript holds.

        To be called once; `on_end` will be called. When cancelled, or when it raises, the session has
        ended.

        Raises:
            BackendError: The process could not be started, or did not become ready in time.
        """
        self._launch(nursery)
        try:
            await self._wait_until_ready()
            if self.host is not None and self.guest is not None:
                await self.host.wait_until_ready(self.guest)
        except BaseException:
            await self.end()  # noqa: ASYNC102 - shielded and bounded inside
            raise

    def _launch(self, nursery: trio.Nursery) -> None:
        if self.host is not None:
            self.guest = self.host.admit(self)
        nursery.start_soon(self.run)

    def _no_prompt(self) -> BackendError:
        process = self._process
        if process is None or process.running:
            return failures.no_prompt(self.session_id)
        return self._death(process, "the prompt was not sent")

    def _death(self, process: PtyClaudeProcess, what: str) -> ProcessError:
        death = process.death(what)
        death.session_id = self.session_id
        return death

    async def _wait_until_ready(self) -> None:
        with trio.move_on_after(self.options.startup_timeout) as waiting:
            await self._started.wait()
        if waiting.cancelled_caught and not self._started.is_set():
            what = f"it was not ready within {self.options.startup_timeout:g} seconds"
            self._start_failure = startup_error("timeout", what, self.session_id, self._process)
        if self._start_failure is not None:
            raise self._start_failure

    async def submit(self, conversation: Conversation) -> Inbox:
        """Type a prompt into the idle CLI and send it; return where its answer will be.

        When cancelled, or when it raises anything but `Unusable`, the session has ended: what stands
        in the input box is not known. After `Unusable` it is stopping.

        Raises:
            Unusable: The CLI takes no prompt now, or this one cannot be typed exactly. It has not
                been sent.
            TurnTimeout: The CLI did not read what was typed in the time that a turn has.
        """
        try:
            return await self._send(conversation)
        except Unusable:
            self.stop()
            raise
        except BaseException:
            await self.end()  # noqa: ASYNC102 - shielded and bounded inside
            raise

    async def _send(self, conversation: Conversation) -> Inbox:
        process, self._way = self._process, self.ways.of(conversation)
        if self._way == "transcript" or process is None:
            raise Unusable
        try:
            await self._reach_prompt(process)
            return await self._type(process, conversation)
        except ProcessError:
            pass
        # The terminal is closed a moment before the process can be reaped.
        with trio.move_on_after(_LAST_WORDS):
            await process.wait()
        raise Unusable

    async def _type(self, process: PtyClaudeProcess, conversation: Conversation) -> Inbox:
        text = conversation.prompt_text or ""
        begun = trio.current_time()
        limits = (self.options.turn_timeout, self.options.stall_timeout)
        limit = min(math.inf if seconds is None else seconds for seconds in limits)
        with trio.move_on_after(limit):
            await self._put_into_box(process, text)
            # A dialog may have come up meanwhile, and Enter would answer it.
            self._require_prompt()
            inbox = self._open_inbox(conversation, begun)
            self.turns.submit(text, trio.current_time())
            await process.write(keys.ENTER)
            return inbox
        raise TurnTimeout(
            f"the CLI did not read the prompt within {limit:g} seconds; the conversation was closed",
            kind="timeout" if limit == self.options.turn_timeout else "stalled",
            session_id=self.session_id,
        )

    async def _put_into_box(self, process: PtyClaudeProcess, text: str) -> None:
        await trio.lowlevel.checkpoint()
        if self._way == "paste":
            await process.write(keys.paste(text))
            await trio.sleep(self._enter_gap())
            return
        try:
            put = self._editor is not None and await self._editor.put(process, text)
        except OSError:  # which may pass: the next prompt may try again
            raise NoEditor from None
        if not put:
            self.ways.close("editor")
            raise NoEditor

    def look_now(self) -> None:
        """Look at once at what has changed: at the files, or at what the consumer wants."""
        self._files.look_now()

    def stop(self) -> None:
        """End the session: its process is asked to exit, then made to. Returns at once."""
        self._scope.cancel()

    async def end(self) -> None:
        """End the session, and wait until its process has ended.

        Cancellation does not shorten that, which is bounded by ``options.exit_grace``.
        """
        self.stop()
        with trio.move_on_after(self.options.exit_grace + _END_MARGIN, shield=True):
            await self._ended.wait()

    async def wait(self) -> None:
        """Wait until the session has ended. Cancelling stops the waiting only."""
        await self._ended.wait()

    def _open_inbox(self, conversation: Conversation, at: float) -> Inbox:
        self._resumes = False
        if not self.turn_count:  # later on, what was lived through says more than what is told
            if self._before is None:
                self.exchanges = conversation.exchanges
            self._resumes = self.continued or bool(self.exchanges)
        self.prompt = Exchange(conversation.prompt)
        self._cost.begin()
        self.inbox = Inbox(at, patience=self.options.stall_timeout or math.inf)
        self.inbox.put(self._notes)
        self._notes = ()
        self.turn_count += 1
        self._give_up_at = None
        if self.guest is not None:
            resumed = self.turn_count == 1 and not self._begins_at_rest
            self.guest.begin_turn(resumed=resumed)
        self._files.look_now()
        return self.inbox

    def _write_history(self, conversation: Conversation) -> None:
        self.origin = "resumed"
        beginning = self.cold.begin(conversation, self.session_id, self.options)
        self._check, self._notes = beginning.check, beginning.notes
        try:
            self._files.begin_with(beginning.data)
        except OSError as exc:
            raise failures.not_written(self._files.transcript, exc, self.session_id) from exc

    async def _reach_prompt(self, process: PtyClaudeProcess) -> None:
        """Wait until the CLI takes a prompt; close a panel that it opened after its last turn."""
        await trio.lowlevel.checkpoint()
        # The record that ends a turn may be there before the status file says that it is over.
        with trio.move_on_after(_PROMPT_GRACE):  # noqa: ASYNC912 - the loop ends it
            escaped = False
            while process.running and not (status := self._status_now()).at_rest:
                if status.state == "waiting" and not escaped:
                    escaped = True
                    await process.write(keys.ESCAPE)
                await trio.sleep(_PROMPT_INTERVAL)
        self._require_prompt()

    def _require_prompt(self) -> None:
        resting = self.turns.state in {State.IDLE, State.AUTONOMOUS}
        if not (resting and self._status_now().at_rest):
            raise Unusable

    def _status_now(self) -> Status:
        try:
            return self._look_at_status()
        except OSError as exc:  # the session's own task will say so, if it stays
            raise Unusable from exc

    def _enter_gap(self) -> float:
        version = version_numbers(self._files.status.version or "0")
        return 0.0 if self.turn_count and version >= _ENTER_AT_ONCE_SINCE else _ENTER_GAP

    # -- the session's own task -------------------------------------------------------------------

    async def run(self) -> None:  # noqa: ASYNC910 - a task, awaited by nobody
        """Own the process from its start to its end, and read what it writes."""
        try:
            with self._scope:
                await trio.lowlevel.checkpoint()  # it may have been stopped before it started
                with open_editor(self.environment) as self._editor:
                    await self._run_process()
        except ProcessError as exc:  # it could not be started
            self._start_failure = exc
        except Exception as exc:
            self._defect = BackendError(
                f"a defect of claude_trio ended session {self.session_id}: {exc!r}. Please report it",
                kind="bug",
                session_id=self.session_id,
            )
            raise self._defect from exc
        finally:
            self._end()

    async def _run_process(self) -> None:
        env = {**self._environment(), **(self._editor.environment if self._editor else {})}
        async with open_pty_process(
            self._argv(), cwd=self.options.cwd, env=env, exit_grace=self.options.exit_grace
        ) as process:
            self._process = process
            with self._files.attached(process.pid):
                self._cost.attach(self.notices, self.look_now)
                await self._attend(process)

    def _argv(self) -> list[str]:
        if self._before is not None:
            fresh_prompt = snapshot_arguments(self.options, self._before.cli_version)
            which = ["--resume", self.session_id, *fresh_prompt]
        elif self.origin == "resumed":
            which = ["--resume", self.session_id, *self.cold.flags]
        else:
            which = ["--session-id", self.session_id]
        return [str(self.program), *which, *arguments(self.options, self.start_files.flags)]

    def _environment(self) -> Mapping[str, str]:
        env = dict(self.environment)
        if self._cost.path is not None:
            env[STATUS_LINE] = str(self._cost.path)
        if self._before is None and self.origin == "resumed":
            env |= self.cold.environment
        if self.host is not None and self.guest is not None:
            prompted = not self._begins_at_rest
            env |= self.host.environment(self.guest, self.start_files.directory, prompted=prompted)
        return env

    async def _attend(self, process: PtyClaudeProcess) -> None:  # noqa: ASYNC910 - inner
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poll, process)
            await process.wait()
            nursery.cancel_scope.cancel()
        # The last records and the last screen may still be on their way.
        with trio.move_on_after(_LAST_WORDS):
            await process.drained.wait()
        try:
            self._feed(self._files.read_last_records())
        except OSError as exc:
            self._give_up(exc)
        if not self._started.is_set():
            self._start_failure = exit_error(self.session_id, process)
        self.turns.fail(self._death(process, "the turn cannot be finished"), died=True)

    async def _poll(self, process: PtyClaudeProcess) -> None:
        watch = StartupWatch(self.session_id)
        while True:
            self._files.begin_look()
            try:
                if not self._started.is_set():
                    self._check_start(watch, process)
                key = self._tick(process)
            except OSError as exc:
                key = b""
                if exc.errno not in _PASSING:
                    self._give_up(exc)
            if key:
                await self._press(key, process)
            self._close_turn()
            await self._files.wait_for_next_look(
                active=self.inbox is not None or not self._started.is_set(),
                reading=not self._consumer_is_behind(),
            )

    async def _press(  # noqa: ASYNC910 - `write` is one
        self, key: bytes, process: PtyClaudeProcess
    ) -> None:
        pressed = False
        # The terminal may be closed under us, and a CLI that is stopped reads nothing.
        with contextlib.suppress(ProcessError), trio.move_on_after(self.options.interrupt_grace):
            await process.write(key)
            pressed = True
        if not pressed:
            self.stop()

    def _give_up(self, reason: OSError) -> None:
        """End the session, because its files cannot be read."""
        failure = failures.unreadable(reason, self.session_id)
        if not self._started.is_set():
            self._start_failure = failure
            self._started.set()
        self.turns.fail(failure)
        self.stop()

    def _consumer_is_behind(self) -> bool:
        # The file itself is the buffer: while nobody takes what was read, it is not read on.
        inbox = self.inbox
        return inbox is not None and not self._unwanted and len(inbox.events) >= _MOST_WAITING

    def _tick(self, process: PtyClaudeProcess) -> bytes:
        """Look at the files once; return the key to press, if any."""
        now = trio.current_time()
        if not self._consumer_is_behind():
            self._feed(self._files.read_records())
        self._look_at_status()
        # Silence means nothing while there are records that were not read.
        unread = self._consumer_is_behind() or self._files.behind
        command = None if unread else self.turns.tick(now)
        self._deliver(self.turns.take())
        self._deliver_live()
        if self.guest is not None:
            self.guest.observe(unwanted=self._unwanted)
        if command is Command.PRESS_ENTER:
            if self._unwanted:  # what stands in the box is not known
                self.turns.fail(failures.not_accepted())
                return b""
            self.turns.entered(now)
            return keys.ENTER
        if command is Command.DISMISS:
            return keys.ESCAPE
        if self.inbox is None:
            return b""
        if self.turns.outcome is not None:
            return self._key_after(self.turns.outcome, process)
        self.inbox.sign_of_life(max(self.turns.last_change_at, process.last_output_at))
        return self._interrupt(now) if self._unwanted else b""

    @property
    def _unwanted(self) -> bool:
        """Whether nobody wants the prompt answered any more."""
        inbox = self.inbox
        return inbox is not None and (inbox.unwanted or inbox.interrupted or self.turns.doomed)

    def _feed(self, records: Iterable[Record]) -> None:
        now = trio.current_time()
        records = tuple(records)
        self._cost.feed(records)
        for record in records:
            # A tool's result, or the end of the turn: what a subagent said came before.
            if record.type in {"user", "system"}:
                self._feed_subagents(now)
            self._verify(record)
            self._deliver(self.turns.feed(record, now))
        self._feed_subagents(now)

    def _feed_subagents(self, now: float) -> None:
        for record, tool_use_id in self._files.read_subagents():
            self._deliver(self.turns.feed_subagent(record, tool_use_id, now))

    def _deliver(self, events: Iterable[Event]) -> None:
        if self._check is not None:
            self._held.extend(events)
            return
        if self.inbox is None:
            return
        for event in events:
            if self.guest is not None and self.guest.live is not None:
                self.inbox.put(self.guest.live.before(event))
            self.inbox.put([event])

    def _deliver_live(self) -> None:
        """Hand on what the CLI shows; not to a consumer that is behind, for whom it is kept."""
        live = self.guest.live if self.guest is not None else None
        if live is None or self.inbox is None or self.turns.outcome is not None:
            return
        held = self._check is not None or self._consumer_is_behind()
        if not held and (pieces := live.take()):
            self.inbox.put(pieces)

    # -- what the host server asks and tells ----------------------------------------------------

    @property
    def in_turn(self) -> bool:
        """Whether a turn of the caller's runs that is not being interrupted."""
        return self.inbox is not None and not self._unwanted

    def callback_raised(self, name: str, reason: Exception) -> None:
        """Let the turn fail by what a callback raised; it is interrupted."""
        failure = failures.answer_failed(name, reason, self.session_id)
        failure.__cause__ = reason
        if not self.turns.doom(failure):
            _logger.error("%s", failure, exc_info=reason)
        self.look_now()

    def _verify(self, record: Record) -> None:
        """Let go of what was held, once it is clear that the model has seen the history."""
        if self._check is None:
            return
        self._check.feed(record)
        if self._check.answered:
            problem = self._check.problem
            if problem is not None:
                self.turns.fail(failures.not_seen(problem, self.session_id))
            self._end_check(deliver=problem is None)

    def _end_check(self, *, deliver: bool = True) -> None:
        held, self._check, self._held = self._held, None, []
        self._deliver(held if deliver else ())

    def _look_at_status(self) -> Status:
        status = self._files.read_status()
        if status.session_id not in {None, self.session_id}:
            self._follow(str(status.session_id))
        self.turns.observe(status, trio.current_time())
        return status

    def _follow(self, session_id: str) -> None:
        """Go on with the empty conversation that the CLI has begun in the place of this one."""
        self._feed(self._files.read_last_records())
        self._files.follow(session_id)
        self._release()
        self.session_id = session_id
        self._hold(required=False)
        self._cleared = True

    def _unreadable(self, error: MessageParseError) -> None:
        error.session_id = self.session_id
        try:
            self.options.on_parse_error(error)
        except MessageParseError as exc:
            self.turns.fail(exc)
        except Exception as exc:  # noqa: BLE001 - it is the caller's; it is raised to the caller
            failure = failures.callback_failed("on_parse_error", exc, self.session_id)
            failure.__cause__ = exc
            self.turns.fail(failure)

    def _key_after(self, outcome: Outcome, process: PtyClaudeProcess) -> bytes:
        """Return the key that makes the input box ready for the next prompt."""
        if not outcome.restored:
            return b""
        text = screens.input_text(process.screen.render())
        if text is None:  # what the next prompt would be added to is not known
            self.turns.outcome = attrs.evolve(outcome, reusable=False)
        return keys.CLEAR if text else b""

    def _check_start(self, watch: StartupWatch, process: PtyClaudeProcess) -> None:
        status = self._look_at_status()
        # One that resumes may be busy before it was ever seen idle.
        ready = status.at_rest if self._begins_at_rest else status.state is not None
        if not ready:
            self._start_failure = watch.failure(process, self._files, trio.current_time())
        if ready or self._start_failure is not None:
            self._started.set()

    def _interrupt(self, now: float) -> bytes:
        """Press Esc once, when it means an interrupt; give up after the grace."""
        if self._give_up_at is None:
            self._give_up_at = now + self.options.interrupt_grace
        if self.turns.can_interrupt:
            self.turns.interrupt_sent(now)
            return keys.ESCAPE
        if now > self._give_up_at:
            grace = self.options.interrupt_grace
            self.turns.fail(failures.not_settled(grace, self.session_id))
        return b""

    def _close_turn(self, *, ended: bool = False) -> None:
        """If the turn is over, keep what it was and make the conversation available again.

        A turn that the conversation does not survive is over when its process has ended: whoever
        is told of it can count on that.

        Args:
            ended: Whether it has, or never was.
        """
        inbox, outcome = self.inbox, self.turns.outcome
        if inbox is None or outcome is None:
            return
        # A turn on a written history can be over before its process was ever seen ready.
        self._started.set()
        self._end_check()
        if not (outcome.reusable and self.alive):
            self.stop()
            if not ended:
                return  # the consumer is told when the process has ended
        elif not self._unwanted and self._cost_is_due(inbox, outcome):
            return
        self._note_context()
        if self._cleared:
            self.exchanges, self._cleared, self.continued = (), False, False
        elif self.prompt is not None and not outcome.restored:
            lived = exchange_of(self.prompt.prompt, self.turns.events)
            self.exchanges = extended(self.exchanges, lived)
            if outcome.kind == "completed" and not self.continued:
                self.cold.archive.remember(
                    self._files.transcript,
                    self.exchanges,
                    self.turns.events,
                    self.options,
                    fresh=self.origin == "fresh",
                )
        if outcome.error is not None and outcome.error.kind == "altered":
            self.ways.distrust(self._way)
        self.inbox = self.prompt = None
        if not ended:
            self.on_idle(self)
        inbox.finish(self._mark(self._cost.add_to(outcome)))

    def _note_context(self) -> None:
        for event in reversed(self.turns.events):
            if isinstance(event, AssistantMessage) and is_answer(event):
                self._context_tokens = sum(attrs.astuple(event.usage))
                break

    def _mark(self, outcome: Outcome) -> Outcome:
        """Say in an outcome how the turn began, which the turn itself cannot know."""
        result = attrs.evolve(outcome.result, resumed=self._resumes)
        if outcome.error is not None:
            outcome.error.result = result
        return attrs.evolve(outcome, result=result)

    def _cost_is_due(self, inbox: Inbox, outcome: Outcome) -> bool:
        now = trio.current_time()
        inbox.sign_of_life(now)
        limit = self.options.turn_timeout or math.inf
        return self._cost.is_due(outcome, now, until=inbox.opened_at + limit)

    def _end(self) -> None:
        """Tell everybody who waits that there is nothing more to come."""
        try:
            failure = self._defect or self._start_failure
            ready = self._started.is_set() and self._start_failure is None
            if not self._started.is_set():
                failure = failure or startup_error(
                    "exited", "it was stopped", self.session_id, self._process
                )
                self._start_failure = failure
                self._started.set()
            self.turns.fail(failure or failures.closed(self.session_id))
            self._close_turn(ended=True)
            self._files.tidy_up(used=ready)
            self._cost.detach(self.notices)
            if self.host is not None and self.guest is not None:
                self.host.dismiss(self.guest)
        finally:
            self._release()
            self.on_end(self)
            self._ended.set()
