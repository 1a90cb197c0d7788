"""One live conversation: a process, the files that it writes, and the turn that it is in.

A session is one task (`Session.run`) in the backend's nursery. It is shielded from the cancellation
of that nursery, since an interrupted turn must be seen to settle and a process must be ended in
order; it ends when its process does, or when `stop` is called. Expected failures never leave it:
they become the outcome of the turn, and are raised where the turn is consumed.

How it opens is in `_opening`, how it reads in `_follower`, how it types in `_prompter`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import uuid
from collections.abc import Callable, Container, Generator, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from ._cold import Cold
from ._cost import CostWatch
from ._editor import Editor, open_editor
from ._files import SessionFiles
from ._follower import Follower
from ._host.host import Host
from ._inbox import Inbox
from ._launch import STATUS_LINE, arguments
from ._lock import SessionLock
from ._mcp_watch import McpWatch
from ._notices import FileNotices
from ._opening import Opening, Past, open_after, open_past, open_written
from ._prompter import NoEditor, Prompter, Unusable
from ._protocol import failures, keys
from ._protocol.client_tools import results_of
from ._protocol.history import Conversation, Exchange, exchange_of, extended, fingerprint
from ._protocol.outcome import Outcome, is_answer, make_result
from ._protocol.turns import TurnManager
from ._pty import PtyClaudeProcess, open_pty_process
from ._session_info import Origin, SessionInfo
from ._start_files import StartFiles
from ._startup import StartupWatch, exit_error, startup_error
from ._steering import Steering
from ._ways import Ways
from .errors import BackendError, ProcessError, TurnTimeout
from .events import AssistantMessage, Event, ToolResultBlock, UserMessage
from .options import BackendOptions

_ANSWERED_DIALOG: Final = 5.0  # seconds in which a dialog goes away that a callback has answered
#: By which a caller has the CLI write its debug file elsewhere.
_DEBUG_FLAGS: Final = frozenset({"debug", "debug-file"})
_LAST_WORDS: Final = 0.5  # seconds for the last output of a process that has ended
_INTERVAL: Final = 0.05  # seconds between two tries to read them
_END_MARGIN: Final = 1.0  # seconds on top of a grace, for a slow machine
#: What may be over at the next look: no descriptor left, or a signal.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.EINTR})
_logger = logging.getLogger("claude_trio")


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
    #: What the conversation has lived through, as far as a caller can know it.
    exchanges: tuple[Exchange, ...] = ()
    #: It began from a transcript: before its `exchanges` there is more, which is not known.
    continued: bool = False
    #: When it became free for another prompt, by trio's clock; None while it is not.
    idle_since: float | None = None
    #: The prompt that is being answered.
    prompt: Exchange | None = None
    turn_count: int = 0
    _opening: Opening = attrs.field(factory=Opening)
    _follower: Follower = attrs.field(init=False)
    _process: PtyClaudeProcess | None = None
    _editor: Editor | None = None
    _way: keys.Way = "transcript"
    _scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    _started: trio.Event = attrs.field(factory=trio.Event)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _start_failure: BackendError | None = None
    _defect: BackendError | None = None
    #: Why it cannot go on, where no turn was there to be told.
    _given_up: BackendError | None = None
    #: The CLI has begun a new, empty conversation in this turn.
    _cleared: bool = False
    #: The process was started for this turn, on what the conversation had been so far.
    _resumes: bool = False
    _context_tokens: int | None = None
    _lock: SessionLock | None = None
    #: One at a time types into the box.
    _steering: trio.Lock = attrs.field(factory=trio.Lock)
    #: In the transcript stands something else than the exchanges.
    _differs: bool = False

    def __attrs_post_init__(self) -> None:
        self._follower = Follower(
            self.options,
            str(uuid.uuid4()),
            self.config_directory,
            self.notices,
            self._go_on_empty,
        )
        self.turns.client_tools = bool(self.options.client_tools)

    @property
    def session_id(self) -> str:
        """The conversation, as the CLI names it now."""
        return self._follower.session_id

    @property
    def origin(self) -> Origin:
        """As in `SessionInfo`."""
        return self._opening.origin

    @property
    def turns(self) -> TurnManager:
        """The states of the present turn, and what belongs to none."""
        return self._follower.turns

    @property
    def inbox(self) -> Inbox | None:
        """Where the events of the present turn go; None between turns."""
        return self._follower.delivery.inbox

    @property
    def _files(self) -> SessionFiles:
        return self._follower.files

    @property
    def alive(self) -> bool:
        """Whether the process runs and has not been asked to end."""
        running = self._process is not None and self._process.running
        return running and not self._scope.cancel_called

    @property
    def ending(self) -> bool:
        """Whether the session has been asked to end, or its process has died."""
        died = self._process is not None and not self._process.running
        return died or self._scope.cancel_called

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
            mcp_servers=dict(self._follower.mcp_watch.servers),
            unprompted=tuple(self.turns.unprompted),
        )

    @property
    def _state(self) -> str:
        if self._scope.cancel_called:
            return "ending"
        if self.turns.paused:
            return "paused"
        return self.turns.state.name.lower() if self._started.is_set() else "starting"

    def rest(self, limit: float) -> None:
        """Say that the conversation is free for another prompt; it ends by itself after a time.

        Args:
            limit: Seconds.
        """
        self.idle_since = trio.current_time()
        self._scope.deadline = self.idle_since + limit

    def takes(self, conversation: Conversation) -> bool:
        """Whether the new message is what the session waits for, if it waits for results."""
        if not self.turns.paused:
            return True
        results = results_of(conversation.prompt)
        return results is not None and results.keys() == self.turns.asked.keys()

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
                self._open(open_written(self._files, conversation, self.cold, self.options))

    def go_on_after(self, other: Session) -> None:
        """Lock the conversation of another session, which has ended, to go on with it.

        Raises:
            SessionError: Its transcript cannot be read, or somebody else is in it.
        """
        self._follower.rename(other.session_id)
        self.exchanges, self.continued = other.exchanges, other.continued
        with self._locked(required=True):
            self._open(open_after(self._files, other.info))

    def go_on_from(self, past: Past, conversation: Conversation) -> None:
        """Lock the conversation of a transcript, to go on with it or with a copy of it.

        Raises:
            SessionError: There is no such transcript, it cannot be written, or somebody else is in
                it.
        """
        self.continued = True
        if not past.fork:
            self._follower.rename(past.session_id)
        with self._locked(required=not past.fork):
            self._open(open_past(self._files, past, conversation, self.options))

    def _open(self, opening: Opening) -> None:
        self._opening = opening
        self._follower.delivery.check = opening.check

    @contextlib.contextmanager
    def _locked(self, *, required: bool) -> Generator[None, None, None]:
        self._hold(self.session_id, required=required)
        try:
            yield
        except BaseException:
            self._release()
            raise

    def _hold(self, session_id: str, *, required: bool) -> None:
        """Lock a conversation against other backends.

        Args:
            session_id: The conversation.
            required: Whether somebody else can know its id already. For one that was just made up a
                failure means that there can be no locks at all; nobody else can have it either.
        """
        try:
            self._lock = SessionLock(self.config_directory, session_id)
        except BlockingIOError:
            raise failures.in_use(session_id) from None
        except OSError as exc:
            if required:
                raise failures.not_locked(exc, session_id) from exc

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # -- the consumer's side ----------------------------------------------------------------------

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
            if self._opening.at_rest:
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
            if self.host is not None and self._follower.guest is not None:
                await self.host.wait_until_ready(self._follower.guest)
        except BaseException:
            await self.end()  # noqa: ASYNC102 - shielded and bounded inside
            raise

    def _launch(self, nursery: trio.Nursery) -> None:
        if self.options.tells_cost:
            path = self.start_files.new_status_line()
            self._follower.cost_watch = CostWatch(path, anew=self._opening.before is None)
        if self.options.other_servers and not _DEBUG_FLAGS & self.options.extra_args.keys():
            self._follower.mcp_watch = McpWatch(self.start_files.new_debug_file())
        if self.host is not None:
            self._follower.guest = guest = self.host.admit(self._follower, self.options)
            self._follower.delivery.live = guest.live
            if self.options.on_permission or self.options.on_question or self.options.on_plan:
                self.turns.dialog_settle = _ANSWERED_DIALOG
        nursery.start_soon(self.run)

    def _no_prompt(self) -> BackendError:
        process = self._process
        if self._given_up is not None:
            return self._given_up
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

    async def submit(self, conversation: Conversation, command: keys.Way | None = None) -> Inbox:
        """Type a prompt into the idle CLI and send it; return where its answer will be.

        When cancelled, or when it raises anything but `Unusable`, the session has ended: what stands
        in the input box is not known. After `Unusable` it is stopping.

        Args:
            conversation: The conversation and its new prompt.
            command: How the prompt is typed, if it is a command that is no part of the conversation.

        Raises:
            Unusable: The CLI takes no prompt now, or this one cannot be typed exactly. It has not
                been sent.
            TurnTimeout: The CLI did not read what was typed in the time that a turn has.
        """
        try:
            return await self._send(conversation, command)
        except Unusable:
            self.stop()
            raise
        except BaseException:
            await self.end()  # noqa: ASYNC102 - shielded and bounded inside
            raise

    async def _send(self, conversation: Conversation, command: keys.Way | None) -> Inbox:
        if self.turns.paused:
            return await self._go_on(conversation)
        process, self._way = self._process, command or self.ways.of(conversation)
        if self._way == "transcript" or process is None:
            raise Unusable
        with contextlib.suppress(ProcessError):
            self.start_files.restore()  # it has read them; only its status line misses them
        prompter = Prompter(
            process, self._follower, self._editor, self.ways, first=not self.turn_count
        )
        try:
            await prompter.reach_prompt()
            return await self._type(process, prompter, conversation, is_command=command is not None)
        except ProcessError:
            pass
        # The terminal is closed a moment before the process can be reaped.
        with trio.move_on_after(_LAST_WORDS):
            await process.wait()
        raise Unusable

    async def _go_on(self, conversation: Conversation) -> Inbox:
        """Answer the calls that a paused turn waits for."""
        await trio.lowlevel.checkpoint()
        guest, results = self._follower.guest, results_of(conversation.prompt)
        if guest is None or results is None or not (self.alive and self.turns.paused):
            raise Unusable
        self.prompt, self._resumes = Exchange(conversation.prompt), False
        inbox = Inbox(trio.current_time(), patience=self.options.stall_timeout or math.inf)
        self._follower.delivery.inbox = inbox
        guest.calls.give(self.turns.asked, results)
        self.turns.go_on(trio.current_time())
        self._follower.go_on()
        return inbox

    async def _type(
        self,
        process: PtyClaudeProcess,
        prompter: Prompter,
        conversation: Conversation,
        *,
        is_command: bool,
    ) -> Inbox:
        text = conversation.prompt_text or ""
        begun = trio.current_time()
        limits = (self.options.turn_timeout, self.options.stall_timeout)
        limit = min(math.inf if seconds is None else seconds for seconds in limits)
        with trio.move_on_after(limit):
            await prompter.put(text, self._way)
            # A dialog may have come up meanwhile, and Enter would answer it.
            prompter.require_prompt()
            if self._cleared and (self.exchanges or self.continued):
                raise Unusable  # what the prompt goes on from is not there any more
            inbox = self._open_inbox(conversation, begun)
            if is_command:  # now, since the turn may be over before this goes on
                self.prompt, self._differs = None, True
            self.turns.submit(text, trio.current_time())
            await process.write(keys.ENTER)
            return inbox
        raise TurnTimeout(
            f"the CLI did not read the prompt within {limit:g} seconds; the conversation was closed",
            kind="timeout" if limit == self.options.turn_timeout else "stalled",
            session_id=self.session_id,
        )

    async def steer(self, conversation: Conversation, inbox: Inbox) -> None:
        """Add a text to a turn that runs; return when the CLI has taken it.

        Cancelled before the typing begins, nothing is sent; later on, that stops the waiting only.

        Args:
            conversation: The text, as a prompt.
            inbox: Where the events of the turn go.

        Raises:
            ValueError: It cannot be typed exactly.
            SessionError: The turn does not run any more, or the CLI did not take it.
        """
        process, way = self._process, self.ways.of(conversation)
        text = conversation.prompt_text or ""
        if way == "transcript" or process is None or text.startswith("/"):
            raise ValueError(
                f"this text cannot be typed into a CLI exactly as it is, so it cannot be added to a "
                f"turn that runs; send it as the next message: {text[:60]!r}"
            )
        prompter = Prompter(process, self._follower, self._editor, self.ways, first=True)
        async with self._steering:
            grace = self.options.interrupt_grace
            steering = Steering(process, self._follower, inbox, prompter, grace)
            await steering.send(text, way)

    def look_now(self) -> None:
        """Look at once at what has changed: at the files, or at what the consumer wants."""
        self._follower.look_now()

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
        first = not self.turn_count
        self._resumes = False
        if first:  # later on, what was lived through says more than what is told
            if self._opening.before is None:
                self.exchanges = conversation.exchanges
            self._resumes = self.continued or bool(self.exchanges)
        self.prompt = Exchange(conversation.prompt)
        self.turn_count += 1
        inbox = Inbox(at, patience=self.options.stall_timeout or math.inf)
        if first:
            inbox.put(self._opening.notes)
        self._follower.delivery.inbox = inbox
        self._follower.begin_turn(resumed=first and not self._opening.at_rest)
        return inbox

    # -- the session's own task -------------------------------------------------------------------

    # Ctrl-C is for the main task: with its end skipped, a session would be waited for for ever.
    @trio.lowlevel.enable_ki_protection
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
            self._defect = failures.defect(exc, self.session_id)
            raise self._defect from exc
        finally:
            self._end()

    async def _run_process(self) -> None:
        self.start_files.restore()
        env = {**self._environment(), **(self._editor.environment if self._editor else {})}
        which = self._opening.arguments(self.session_id, self.options, self.cold)
        watch = self._follower.mcp_watch
        if watch.path is not None:
            watch.create()
            which += ["--debug-file", str(watch.path)]
        with self.start_files.flags_for(self.options) as flags:
            argv = [str(self.program), *which, *arguments(self.options, flags)]
            async with open_pty_process(
                argv, cwd=self.options.cwd, env=env, exit_grace=self.options.exit_grace
            ) as process:
                self._process = process
                with self._files.attached(process.pid):
                    self._follower.cost_watch.attach(self.notices, self.look_now)
                    await self._attend(process)

    def _environment(self) -> Mapping[str, str]:
        env = {**self.environment, **self._opening.environment(self.cold)}
        status_line, guest = self._follower.cost_watch.path, self._follower.guest
        if status_line is not None:
            env[STATUS_LINE] = str(status_line)
        if self.host is not None and guest is not None:
            prompted = not self._opening.at_rest
            env |= self.host.environment(guest, self.start_files.directory, prompted=prompted)
        return env

    @trio.lowlevel.disable_ki_protection  # it calls what the caller gave, which may not return
    async def _attend(self, process: PtyClaudeProcess) -> None:  # noqa: ASYNC910 - inner
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._poll, process)
            await process.wait()
            nursery.cancel_scope.cancel()
        # The last records and the last screen may still be on their way.
        with trio.move_on_after(_LAST_WORDS):
            await process.drained.wait()
        await self._read_last_records()
        if not self._started.is_set():
            self._start_failure = exit_error(self.session_id, process)
        self.turns.fail(self._death(process, "the turn cannot be finished"), died=True)
        self._follower.delivery.put(self.turns.take())

    async def _read_last_records(self) -> None:
        """Read what a process has written that is gone, again where that may pass, for a moment."""
        await trio.lowlevel.checkpoint()
        until = trio.current_time() + _LAST_WORDS
        while not self._scope.cancel_called:
            with self._failing_alone(_PASSING if trio.current_time() < until else ()):
                self._follower.feed(self._files.read_last_records())
                until = -math.inf  # these are all
            if until == -math.inf:
                return
            await trio.sleep(_INTERVAL)

    async def _poll(self, process: PtyClaudeProcess) -> None:
        watch = StartupWatch(self.session_id)
        while True:
            self._files.begin_look()
            key = b""
            with self._failing_alone(passing=_PASSING):
                if not self._started.is_set():
                    self._check_start(watch, process)
                key = self._follower.look(process)
            if key:
                await self._press(key, process)
            self._close_turn()
            await self._files.wait_for_next_look(
                active=self.inbox is not None or not self._started.is_set(),
                reading=not self._follower.delivery.behind,
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

    @contextlib.contextmanager
    def _failing_alone(self, passing: Container[int] = ()) -> Generator[None, None, None]:
        """Let what a look at the files raises end this session, and no other one.

        Args:
            passing: The numbers of errors that the next look may not meet any more.
        """
        try:
            yield
        except BackendError as exc:
            self._give_up(exc)
        except OSError as exc:
            if exc.errno not in passing:
                self._give_up(failures.unreadable(exc, self.session_id))
        except Exception as exc:  # noqa: BLE001 - it is logged, and raised to whoever has the turn
            failure = failures.defect(exc, self.session_id)
            failure.__cause__ = exc
            self._give_up(failure)

    def _give_up(self, failure: BackendError) -> None:
        """End the session by what its start or its turn fails by; a defect is logged besides."""
        told = self.turns.fail(failure)
        if not self._started.is_set():
            self._start_failure, told = failure, True
            self._started.set()
        if not told:
            self._given_up = failure
        if failure.kind == "bug" or not told:
            _logger.error("%s", failure, exc_info=failure.__cause__)
        self.stop()

    def _go_on_empty(self, session_id: str) -> None:
        """Follow the CLI into an empty conversation that it has begun in the place of this one.

        Raises:
            SessionError: It is no new one, and somebody else is in it.
        """
        self._release()
        self._hold(session_id, required=False)
        self._follower.follow(session_id)
        self._cleared = True
        if self.idle_since is not None:  # nobody else takes note of it between turns
            self._begin_anew()
            self.on_idle(self)

    def _begin_anew(self) -> None:
        self.exchanges, self._cleared, self.continued = (), False, False

    def _check_start(self, watch: StartupWatch, process: PtyClaudeProcess) -> None:
        status = self._follower.look_at_status()
        # One that resumes may be busy before it was ever seen idle.
        ready = status.at_rest if self._opening.at_rest else status.state is not None
        if not ready:
            self._start_failure = watch.failure(process, self._files, trio.current_time())
        if ready or self._start_failure is not None:
            self._started.set()

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
        self._follower.delivery.end_check()
        if not (outcome.reusable and self.alive):
            self.stop()
            if not ended:
                return  # the consumer is told when the process has ended
        elif not (self._follower.delivery.unwanted or self.turns.paused) and self._cost_is_due(
            inbox, outcome
        ):
            return
        self._note_context()
        self._note_exchange(outcome)
        if outcome.error is not None and outcome.error.kind == "altered":
            self.ways.distrust(self._way)
        self._follower.delivery.inbox = self.prompt = None
        if not self.turns.paused:
            self._follower.end_turn()
        if not ended:
            self.on_idle(self)
        if not self.turns.paused:
            outcome = self._follower.cost_watch.add_to(outcome)
        inbox.finish(self._mark(outcome))

    def _note_exchange(self, outcome: Outcome) -> None:
        """Keep what the conversation has lived through."""
        if self._cleared:
            self._begin_anew()
        elif self.prompt is not None and not outcome.restored:
            lived = exchange_of(self.prompt.prompt, self._lived_events())
            self.exchanges = extended(self.exchanges, lived)
            self._differs |= self.turns.added
            answered = outcome.kind in {"completed", "paused"}
            if answered and not (self.continued or self._differs or self.turns.ahead):
                self.cold.archive.remember(
                    self._files.transcript,
                    self.exchanges,
                    self.turns.events,
                    self.options,
                    fresh=self.origin == "fresh",
                )

    def _lived_events(self) -> list[Event]:
        """Return the events of the turn without the results that its prompt has brought."""
        assert self.prompt is not None
        given = {block.get("tool_use_id") for block in self.prompt.prompt} - {None}
        return [
            event
            for event in self.turns.events
            if not isinstance(event, UserMessage)
            or not any(
                isinstance(block, ToolResultBlock) and block.tool_use_id in given
                for block in event.content
            )
        ]

    def _note_context(self) -> None:
        for event in reversed(self.turns.events):
            if isinstance(event, AssistantMessage) and is_answer(event) and event.uuid:
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
        return self._follower.cost_watch.is_due(outcome, now, until=inbox.opened_at + limit)

    def _end(self) -> None:
        """Tell everybody who waits that there is nothing more to come."""
        ready = self._started.is_set() and self._start_failure is None
        guest = self._follower.guest
        # Whatever one step raises, the others are taken; from the last one to the first.
        with contextlib.ExitStack() as steps:
            steps.callback(self._ended.set)
            steps.callback(self.on_end, self)
            steps.callback(self._release)
            if self.host is not None and guest is not None:
                steps.callback(self.host.dismiss, guest)
            steps.callback(self._follower.mcp_watch.remove)
            steps.callback(self._follower.cost_watch.detach, self.notices)
            steps.callback(self._files.tidy_up, used=ready)
            self._end_turn()

    def _end_turn(self) -> None:
        """End the present turn, if there is one, whose process has ended or never was."""
        inbox = self.inbox
        try:
            failure = self._defect or self._start_failure
            if not self._started.is_set():
                failure = self._start_failure = failure or failures.closed(self.session_id)
                self._started.set()
            self.turns.fail(failure or failures.closed(self.session_id))
            self._close_turn(ended=True)
        except Exception as exc:
            defect = failures.defect(exc, self.session_id)
            if inbox is not None:
                elapsed = trio.current_time() - inbox.opened_at
                result = make_result("failed", (), duration_ms=None, elapsed=elapsed)
                inbox.finish(Outcome("failed", result, defect, reusable=False))
            raise defect from exc
