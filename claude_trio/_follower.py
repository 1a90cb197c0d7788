"""`Follower`: reads what one CLI writes, and says which key to press."""

from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import attrs
import trio

from ._cost import CostWatch
from ._delivery import Delivery
from ._files import SessionFiles
from ._host.client import ClientCall
from ._host.guest import Guest
from ._mcp_watch import McpWatch
from ._notices import FileNotices
from ._protocol import failures, keys, screens
from ._protocol.client_tools import ClientResult
from ._protocol.outcome import Outcome
from ._protocol.records import Record
from ._protocol.status import Status
from ._protocol.table import Command
from ._protocol.turns import TurnManager
from ._pty import PtyClaudeProcess
from .errors import BackendError, MessageParseError
from .options import BackendOptions

#: Seconds until a call is told of without its record: one whose message has ended has it in 0.2,
#: on a busy machine later.
_UNRECORDED: Final = 1.0
#: Seconds until a call that our turn has no record of is believed to be a subagent's, or of a turn that
#: the CLI has started itself.
_UNKNOWN: Final = 5.0
_NOT_OURS: Final = ClientResult(
    (
        {
            "type": "text",
            "text": "nobody waits for this call: only the answer to a prompt of the main conversation "
            "can call this tool",
        },
    ),
    is_error=True,
)
_logger = logging.getLogger("claude_trio")


@attrs.define(eq=False)
class Follower:
    """Feeds the turns of one conversation with what its files say, and their events to the consumer.

    Args:
        options: The session's.
        session_id: The conversation.
        config_directory: Where its CLI keeps its sessions.
        notices: Tells when a file was written.
        on_cleared: Called with the id of the empty conversation that the CLI has begun in the place of
            this one; to be answered with `follow`.
    """

    options: BackendOptions
    session_id: str
    _config_directory: Path
    _notices: FileNotices
    _on_cleared: Callable[[str], None]
    turns: TurnManager = attrs.field(factory=TurnManager)
    files: SessionFiles = attrs.field(init=False)
    delivery: Delivery = attrs.field(init=False)
    cost_watch: CostWatch = attrs.field(factory=lambda: CostWatch(None))
    mcp_watch: McpWatch = attrs.field(factory=McpWatch)
    #: What the CLI is to the host server, while it may ask there.
    guest: Guest | None = None
    _give_up_at: float | None = None
    #: What was read of the transcript and not taken yet.
    _unfed: collections.deque[Record] = attrs.field(factory=collections.deque)

    def __attrs_post_init__(self) -> None:
        self.delivery = Delivery(self.turns)
        self.rename(self.session_id)

    def rename(self, session_id: str) -> None:
        """Follow another conversation from its beginning; to be called before the process runs."""
        self.session_id = session_id
        self.files = SessionFiles(
            self._config_directory,
            self.options.cwd,
            session_id,
            self._notices,
            self._unreadable,
        )

    def follow(self, session_id: str) -> None:
        """Follow another conversation from its beginning, which the CLI has begun meanwhile."""
        self.files.follow(session_id)
        self.session_id = session_id

    def go_on(self) -> None:
        """Say that a paused turn goes on."""
        self._give_up_at = None
        if self.guest is not None:
            self.guest.go_on()
        self.look_now()

    def begin_turn(self, *, resumed: bool) -> None:
        """Say that a turn begins.

        Args:
            resumed: Whether the CLI finds its prompt in its transcript.
        """
        self.cost_watch.begin()
        self._give_up_at = None
        if self.guest is not None:
            self.guest.begin_turn(resumed=resumed)
        self.look_now()

    def end_turn(self) -> None:
        """Say that the turn has ended."""
        if self.guest is not None:
            self.guest.turn_ended()

    def look_now(self) -> None:
        """Look at once at what has changed: at the files, or at what the consumer wants."""
        self.files.look_now()

    def look(self, process: PtyClaudeProcess) -> bytes:
        """Look at the files once; return the key to press, if any.

        Raises:
            OSError: They cannot be read.
            BackendError: The session cannot go on, and there is no turn that could be told.
        """
        now = trio.current_time()
        if not self.delivery.behind:
            self.feed(self.files.read_records())
        self.look_at_status()
        self.turns.unprompted.extend(self.mcp_watch.read(self.session_id))
        # Silence means nothing while there are records that were not read.
        unread = self.delivery.behind or self.files.behind
        command = None if unread else self.turns.tick(now)
        self.delivery.put(self.turns.take())
        self.delivery.put_live()
        if self.guest is not None:
            self.guest.observe(unwanted=self.delivery.unwanted)
        if command is None and self._pause_is_due(now):
            self.turns.pause()
            return b""
        if command is Command.PRESS_ENTER:
            if self.delivery.unwanted:  # what stands in the box is not known
                if not self.turns.accepted:
                    self.turns.fail(failures.not_accepted())
                return b""
            self.turns.entered(now)
            return keys.ENTER
        if command is Command.DISMISS:
            return keys.ESCAPE
        inbox = self.delivery.inbox
        if inbox is None:
            return b""
        if self.turns.outcome is not None:
            return self._key_after(self.turns.outcome, process)
        inbox.sign_of_life(max(self.turns.last_change_at, process.last_output_at))
        return self._interrupt(now) if self.delivery.unwanted else b""

    def _pause_is_due(self, now: float) -> bool:
        """Whether the turn is to be handed to the caller, who has calls to answer."""
        delivery, guest = self.delivery, self.guest
        if guest is None or self.turns.paused:
            return False
        if delivery.inbox is not None and self.turns.outcome is not None:
            return False  # it is over
        if delivery.unwanted or delivery.behind or delivery.check is not None or self.files.behind:
            return False
        waiting = [call for call in guest.calls.waiting if not call.answered.is_set()]
        unknown = [call for call in waiting if not self._is_known(call)]
        if any(now - call.made_at > _UNRECORDED for call in unknown):
            for call in unknown:
                if not self.turns.tell_call(call.block, now) and now - call.made_at > _UNKNOWN:
                    call.answer(_NOT_OURS)
            self.delivery.put(self.turns.take())
        return any(map(self._is_known, waiting)) and self.turns.waits_for_caller(now)

    def _is_known(self, call: ClientCall) -> bool:
        return any(call.is_that_of(block) for block in self.turns.asked.values())

    def feed(self, records: Iterable[Record]) -> None:
        """Take new records of the transcript, and what subagents have written before them.

        Raises:
            OSError: Some cannot be read just now; those that were read are taken at the next call.
        """
        now = trio.current_time()
        self._unfed.extend(records)
        while self._unfed:
            record = self._unfed[0]
            # A tool's result, or the end of the turn: what a subagent said came before.
            if record.type in {"user", "system"}:
                self._feed_subagents(now)
            self._unfed.popleft()  # not before: those of subagents may not be to be read just now
            self.cost_watch.feed(record)
            if (problem := self.delivery.verify(record)) is not None:
                self.turns.fail(failures.not_seen(problem, self.session_id))
            self.delivery.put(self.turns.feed(record, now))
        self._feed_subagents(now)

    def _feed_subagents(self, now: float) -> None:
        for record, tool_use_id in self.files.read_subagents():
            self.delivery.put(self.turns.feed_subagent(record, tool_use_id, now))

    def look_at_status(self) -> Status:
        """Return what the status file says now, after the turns were told.

        Raises:
            OSError: It cannot be read.
            BackendError: As for `look`.
        """
        status = self.files.read_status()
        if status.session_id not in {None, self.session_id}:
            self.feed(self.files.read_last_records())
            self._on_cleared(str(status.session_id))
        self.turns.observe(status, trio.current_time())
        return status

    def _unreadable(self, error: MessageParseError) -> None:
        error.session_id = self.session_id
        failure: BackendError
        try:
            self.options.on_parse_error(error)
        except MessageParseError as exc:
            failure = exc
        except Exception as exc:  # noqa: BLE001 - it is the caller's; it is raised to the caller
            failure = failures.callback_failed("on_parse_error", exc, self.session_id)
            failure.__cause__ = exc
        else:
            return
        if not self.turns.fail(failure):
            raise failure  # whoever looks ends the session by it

    def _key_after(self, outcome: Outcome, process: PtyClaudeProcess) -> bytes:
        """Return the key that makes the input box ready for the next prompt."""
        if not outcome.restored:
            return b""
        text = screens.input_text(process.screen.render())
        if text is None:  # what the next prompt would be added to is not known
            self.turns.outcome = attrs.evolve(outcome, reusable=False)
        return keys.CLEAR if text else b""

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

    # -- what the host server asks and tells: see `Visitor` ---------------------------------------

    @property
    def in_turn(self) -> bool:
        """Whether a turn of the caller's runs that is not being interrupted."""
        return self.delivery.inbox is not None and not self.delivery.unwanted

    @property
    def cost(self) -> float | None:
        """US dollars that the process has told that it cost so far."""
        return self.cost_watch.told

    def limit_reached(self, subtype: str) -> None:
        """Say that the turn is being ended by a limit of the caller's."""
        self.turns.limit(subtype)

    def callback_raised(self, name: str, reason: Exception) -> None:
        """Let the turn fail by what a callback raised; it is interrupted."""
        failure = failures.answer_failed(name, reason, self.session_id)
        failure.__cause__ = reason
        if not self.turns.doom(failure):
            _logger.error("%s", failure, exc_info=reason)
        self.look_now()
