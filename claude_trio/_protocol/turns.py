"""Turns: what has been asked of a CLI, what it is doing, and how that ended.

`TurnManager` carries out the table in `_protocol.table`, whose theory stands there. It does no input or
output and reads no clock: the session passes in records in file order, readings of the status file,
and the time, and carries out what `TurnManager.tick` asks for.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import AuthError, BackendError
from ..events import AssistantMessage, Event, SystemMessage, ToolUseBlock, UserMessage
from . import failures
from .client_tools import find_told, in_callers_words, is_callers, with_ids
from .keys import normalized
from .normalize import normalize
from .open_turn import Further, OpenTurn
from .outcome import Outcome, make_result
from .records import Record
from .signals import Signal, signal_of
from .silence import DIALOG_SETTLE, Seen, meaning
from .status import Status
from .table import BEFORE, DEFAULT, OPEN, TABLE, Command, State, Step

#: Seconds without a record until the calls of a message are believed to be all there: the CLI writes in
#: batches of 0.1 s. One that comes later is asked about in another message.
_ASKED_SETTLE: Final = 0.25
_OTHERS_SETTLE: Final = 2.0  # the same, while tools of the CLI's are open too
_MOST_UNPROMPTED: Final = 256


@attrs.define(eq=False)
class TurnManager:
    """The turns of one conversation, one at a time.

    Call `submit` when a prompt has been sent, then `feed` with every record and `observe` with every
    reading of the status file, in order, and `tick` as time goes by. The turn is over when `outcome`
    is set. Each `now` is the present time in seconds, by any clock that never goes back.
    """

    state: State = State.IDLE
    outcome: Outcome | None = None
    #: Seconds until a dialog is believed to stay open; more, where hooks of the host answer it.
    dialog_settle: float = DIALOG_SETTLE
    #: Whether there are tools that the caller answers.
    client_tools: bool = False
    #: Whether our turn waits for the caller to answer calls; `outcome` is what it has come to so far.
    paused: bool = False
    #: What the dialog that is open asks for; None when none is.
    dialog: str | None = None
    #: The newest events outside of every turn of ours: those of turns that the CLI started itself,
    #: and notices between turns.
    unprompted: collections.deque[Event] = attrs.field(
        factory=lambda: collections.deque(maxlen=_MOST_UNPROMPTED)
    )

    _turn: OpenTurn = attrs.field(factory=OpenTurn)
    _status: Status = attrs.field(factory=Status)
    _status_at: float = 0.0
    #: The record of our last prompt.
    _prompt_uuid: str | None = None
    #: How many subagents run in the background, as far as is known.
    _pending: int = 0
    #: The CLI may write the mark of an interrupted turn behind the prompts that were queued meanwhile.
    _mark_is_due: bool = False
    _last_record_at: float = 0.0

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of the present or last turn, in order."""
        return tuple(self._turn.events)

    @property
    def last_change_at(self) -> float:
        """When a record was fed, or the status file said something else, for the last time."""
        return max(self._last_record_at, self._status_at)

    @property
    def accepted(self) -> bool:
        """Whether the CLI has taken the prompt of the open turn."""
        return self.state is State.RUNNING

    @property
    def takes_prompt(self) -> bool:
        """Whether the CLI waits for a prompt.

        While a subagent runs in the background its status is ``busy`` between turns too.
        """
        if self.state is State.IDLE and self._is_kept_busy:
            return True
        return self.state in {State.IDLE, State.AUTONOMOUS} and self._status.at_rest

    @property
    def _is_kept_busy(self) -> bool:
        """Whether the status says nothing, since subagents run in the background."""
        return self._pending > 0 and self._status.state == "busy"

    # -- inputs ---------------------------------------------------------------------------------

    def submit(self, prompt: str, now: float) -> None:
        """Say that a prompt stands in the input box and Enter has been pressed once.

        Args:
            prompt: The text, for the comparison with what the CLI records.
            now: Seconds, by the clock that every other call uses.

        Raises:
            RuntimeError: A turn is open.
        """
        self._begin(State.SUBMITTED, normalized(prompt), now)

    def resume(self, now: float) -> None:
        """Say that a CLI was started on a transcript whose last record is the prompt.

        Args:
            now: As in the class.
        """
        self._begin(State.RUNNING, None, now)

    def _begin(self, state: State, prompt: str | None, now: float) -> None:
        if self.state not in {State.IDLE, State.AUTONOMOUS}:
            raise RuntimeError(f"cannot start a turn while {self.state.value}; end that one first")
        self.state = State.BEHIND if self.state is State.AUTONOMOUS else state
        self.outcome, self._mark_is_due = None, False
        self._turn = OpenTurn(prompt=prompt, submitted_at=now, entered_at=now)
        self._last_record_at = now

    def add(self, prompt: str) -> Further:
        """Say that another prompt is being typed while the turn runs, which does not end before it.

        Args:
            prompt: The text, for the comparison with what the CLI records.

        Returns:
            What becomes of it.

        Raises:
            RuntimeError: No turn runs.
        """
        if self.state is not State.RUNNING:
            raise RuntimeError(f"cannot add to a turn while {self.state.value}; send a prompt")
        further = Further(normalized(prompt))
        self._turn.further.append(further)
        return further

    @property
    def added(self) -> bool:
        """Whether anything was added to the present or last turn."""
        return bool(self._turn.further)

    def waits_for_caller(self, now: float) -> bool:
        """Whether our turn goes on only when the caller has answered calls, all of which are known.

        To be asked when such a call has been made: the record with it is there with those of the other
        calls in its message, or a moment before them.

        Args:
            now: As in the class.
        """
        turn = self._turn
        if self.state is not State.RUNNING or not turn.asked or turn.untaken() is not None:
            return False  # and what is being typed is to get to the model first
        # A tool of the CLI's may run meanwhile, or wait for its turn behind the caller's.
        others = turn.open_tools - turn.asked.keys()
        return now - self._last_record_at > (_OTHERS_SETTLE if others else _ASKED_SETTLE)

    def tell_call(self, call: ToolUseBlock, now: float) -> bool:
        """Take a call that has reached the caller's tools before its record is there, as an event.

        Both generations of the CLI run a tool while the end of the model's message is still to come, and
        then write the records of that message only when the tool has returned.

        Args:
            call: The call, under the caller's name of the tool.
            now: As in the class.

        Returns:
            Whether it belongs to our turn; where subagents run it could be one of theirs.
        """
        turn = self._turn
        if self.state is not State.RUNNING or self._pending or turn.subagents or turn.heard:
            return False
        turn.told.append(call)
        turn.asked[call.id] = call
        session_id = self._status.session_id
        turn.events.append(
            AssistantMessage(session_id=session_id, content=(call,), stop_reason="tool_use")
        )
        self._last_record_at = now
        return True

    @property
    def ahead(self) -> bool:
        """Whether the turn has events whose records are still to come."""
        return bool(self._turn.told)

    @property
    def asked(self) -> Mapping[str, ToolUseBlock]:
        """The calls that the caller is to answer, by their ids."""
        return self._turn.asked

    def pause(self) -> None:
        """Let the caller answer calls: what was read so far has an outcome of its own."""
        result = make_result("paused", self._turn.events, duration_ms=None, elapsed=self._elapsed)
        self.outcome = Outcome("paused", attrs.evolve(result, stop_reason="tool_use"))
        self.paused, self._turn.paused_at = True, len(self._turn.events)

    def go_on(self, now: float) -> None:
        """Go on with a paused turn, which the caller has answered; its events begin anew.

        Args:
            now: As in the class.
        """
        self.outcome, self.paused = None, False
        turn = self._turn
        turn.asked.clear()
        del turn.events[: turn.paused_at]
        turn.taken, turn.went_on = 0, True
        turn.submitted_at = self._last_record_at = now

    @property
    def _elapsed(self) -> float:
        return self._last_record_at - self._turn.submitted_at

    def entered(self, now: float) -> None:
        """Say that Enter was pressed for what was added last, or again.

        Args:
            now: As in the class.
        """
        if (further := self._turn.untaken()) is not None:
            further.enters += 1
            further.entered_at = now
            return
        self._turn.enters += 1
        self._turn.entered_at = now

    @property
    def can_interrupt(self) -> bool:
        """Whether Esc would end the turn: the CLI runs it, and Esc has not been sent for that yet.

        Before and after, Esc is just a key; two of them open a dialog.
        """
        turn, busy = self._turn, self._status.state == "busy"
        if self.state is State.SUBMITTED:
            # A command that takes long, such as ``/compact``, is recorded when it is over.
            command = (turn.prompt or "").startswith("/")
            return command and busy and turn.acknowledged and not turn.interrupt_sent
        asking = self.dialog is not None and self._status_at > turn.escaped_at
        return self.state is State.RUNNING and (busy or asking) and not turn.interrupt_sent

    def interrupt_sent(self, now: float) -> None:
        """Say that one Esc has been sent to end the turn.

        Args:
            now: As in the class.
        """
        self._turn.interrupt_sent = True
        self._turn.escaped_at, self._turn.escapes = now, 1
        self._turn.refused = None  # if that did not end the turn, this does

    def feed(self, record: Record, now: float) -> list[Event]:
        """Take the next record of the transcript; return the events it adds to the turn.

        Args:
            record: The record.
            now: As in the class.
        """
        if record.is_sidechain:  # a subagent's, which an early version wrote here
            self._put_aside(record)
            return []
        self._last_record_at = now
        if record.uuid is not None and record.uuid == self._prompt_uuid:
            return []  # 2.1.197 writes the prompt again behind a compaction
        self._follow(record, now)
        return self.take()

    def _follow(self, record: Record, now: float) -> None:
        """Do as the table says for a record, by what is known besides."""
        signal = signal_of(record)
        if signal is Signal.END:
            count = record.raw.get("pendingBackgroundAgentCount")
            self._pending = count if isinstance(count, int) else 0
            if self.state is State.RUNNING and self._turn.unheard:
                signal = Signal.EARLY_END
        elif signal is Signal.PROMPT and self._is_another(record):
            signal = Signal.AUTO_PROMPT
        elif signal is Signal.INTERRUPTED and self._mark_is_due:
            self._mark_is_due, signal = False, Signal.NOTE
        self._do(TABLE[self.state].get(signal, DEFAULT[self.state]), signal, record, now)

    def _is_another(self, record: Record) -> bool:
        """Whether it is somebody else's, which has waited: 2.1.197 may write it before a command."""
        ours = self._turn.prompt
        command = ours is not None and ours.startswith("/")
        return command and _is_queued(record) and normalized(record.text) != ours

    def feed_subagent(self, record: Record, tool_use_id: str, now: float) -> list[Event]:
        """Take the next record of a subagent's transcript; return the events it adds to the turn.

        It says nothing about where the turn stands: that is in the main transcript.

        Args:
            record: The record.
            tool_use_id: The tool call that started the subagent.
            now: Seconds, by the clock that every other call uses.
        """
        if self.state in {State.SUBMITTED, State.RUNNING, State.CLOSING}:
            # Of another file, so it may be there before the call is. One that was started in an
            # earlier turn has none in this one, and stays there until this one is over.
            self._turn.subagents.append((record, tool_use_id))
            if tool_use_id in self._turn.calls:
                self._last_record_at = now
                self._turn.release_subagents()
            if self.state is State.CLOSING and not self._turn.unheard:
                self._do(TABLE[self.state][Signal.HEARD], Signal.HEARD, None, now)
        else:
            self._put_aside(record, tool_use_id)
        return self.take()

    def observe(self, status: Status, now: float) -> None:
        """Take a reading of the status file.

        Args:
            status: What it says.
            now: As in the class.
        """
        if (status.state, status.changed_at) != (self._status.state, self._status.changed_at):
            self._status_at = now
            # A CLI that was just started says ``idle`` once before it has done anything.
            self._turn.status_moved |= self._status.state is not None
        self._status = status
        busy = status.state == "busy" and not self._pending
        if busy and self.state is State.SUBMITTED:
            self._turn.acknowledged = True
        self.dialog = (status.waiting_for or "dialog") if status.state == "waiting" else None

    def tick(self, now: float) -> Command | None:
        """Draw the conclusions that time allows; return what is to be done about it, if anything.

        Args:
            now: As in the class.
        """
        if self.paused:
            return None
        seen = Seen(
            self._status,
            self._status_at,
            self._last_record_at,
            self.dialog,
            self.dialog_settle,
            self._is_kept_busy,
        )
        signal = meaning(self.state, self._turn, seen, now)
        step = TABLE[self.state].get(signal) if signal is not None else None
        if signal is None or step is None:
            return None
        return self._do(step, signal, None, now)

    def fail(self, error: BackendError, *, died: bool = False) -> bool:
        """End the turn, if one is open, with an error from outside.

        Args:
            error: What its consumer is to meet.
            died: Whether the process is gone.

        Returns:
            Whether a turn was open.
        """
        if self.state not in OPEN:
            return False
        if died and self.state is State.CLOSING:
            self._close()  # its own end was read
        else:
            self._end("died" if died else "failed", error=error, reusable=False)
        return True

    def doom(self, error: BackendError) -> bool:
        """Let the open turn fail by an error of the caller's own, however it ends; the first counts.

        Args:
            error: The error.

        Returns:
            Whether a turn is open.
        """
        if self.state not in OPEN:
            return False
        self._turn.doom = self._turn.doom or error
        return True

    def limit(self, subtype: str) -> None:
        """Say that a limit of the caller's makes the CLI end the open turn.

        Args:
            subtype: That of the result, if nothing else ends the turn.
        """
        # The host may hear of it before the record of the prompt was read.
        if self.state in {State.SUBMITTED, State.RUNNING}:
            self._turn.limit = subtype

    @property
    def doomed(self) -> bool:
        """Whether the open turn will fail, however it ends."""
        return self._turn.doom is not None

    def take(self) -> list[Event]:
        """Return the events of the turn that were not returned before."""
        new = self._turn.events[self._turn.taken :]
        self._turn.taken += len(new)
        return new

    # -- steps ----------------------------------------------------------------------------------

    def _do(  # noqa: C901, PLR0912 - one case a step
        self, step: Step, signal: Signal, record: Record | None, now: float
    ) -> Command | None:
        """Carry out one step of the table; a step for silence has no record."""
        match step:
            case Step.ENTER_AGAIN:
                return Command.PRESS_ENTER
            case Step.REFUSE:
                return self._refuse(now)
            case Step.HOLD if record is not None:
                self._turn.held.append(record)
            case Step.ACKNOWLEDGE:
                self._turn.acknowledged = True
            case Step.ASIDE:
                self._put_aside(record)
            case Step.BEGIN_OTHER:
                self._put_aside(record)
                self.state = State.AUTONOMOUS if self.state is State.IDLE else State.BEHIND
            case Step.END_OTHER:
                self._put_aside(record)
                self.state = State.SUBMITTED if self.state is State.BEHIND else State.IDLE
            case Step.ACCEPT if record is not None:
                self._accept(record, now)
            case Step.JOIN if record is not None:
                if normalized(record.absorbed_prompt or "") == self._turn.prompt:
                    self.state, self._turn.acknowledged = State.RUNNING, True
            case Step.OVERTAKE:
                self._overtake(record)
            case Step.QUEUE if record is not None:
                if (further := self._turn.find_further(str(record.raw.get("content")))) is not None:
                    further.taken = True
            case Step.GO_ON if record is not None:
                self._go_on(record, signal, now)
            case Step.COMPLETE | Step.WAIT if record is not None and self._turn.goes_on():
                self._emit(record, Signal.END)
                self._turn.ended, self._turn.before_ms = True, self._turn.duration_ms or 0
                self._release(record, now)
            case Step.WAIT if record is not None:
                self._turn.end.append(record)
                self._turn.ended_at, self.state = now, State.CLOSING
            case Step.CLOSE:
                self._close()
            case Step.GIVE_WAY:
                self._close()
                self._put_aside(record)
                self.state = State.AUTONOMOUS
            case Step.EMIT if record is not None:
                self._emit(record, signal)
                self._release(record, now)
            case _:
                if record is not None:
                    self._emit(record, signal)
                self._conclude(step, record)
        return None

    def _close(self) -> None:
        """End our turn, as the record says that was read before its subagents were."""
        for record in self._turn.end:
            self._emit(record, Signal.END)
        self._turn.end.clear()
        self._conclude(Step.COMPLETE, None)

    def _go_on(self, record: Record, signal: Signal, now: float) -> None:
        absorbed = record.absorbed_prompt
        further = self._turn.find_further(record.text if absorbed is None else absorbed)
        unwanted = further is None or self._turn.interrupt_sent
        if unwanted and signal is Signal.PROMPT:
            self._overtake(record)
            return
        if further is not None:
            further.taken = further.given = True
            self._turn.ended, self._turn.error, self._turn.limit = False, None, None
        self._emit(record, signal)
        self._release(record, now)

    def _overtake(self, record: Record | None) -> None:
        if self._turn.interrupt_sent and _is_queued(record):
            self._conclude(Step.INTERRUPT, None)
            self._put_aside(record)
            self.state, self._mark_is_due = State.AUTONOMOUS, True
            return
        self._conclude(Step.FAIL if self._turn.error is not None else Step.SETTLE, None)
        # What stands in the box cannot be looked after while the other turn runs.
        if self.outcome is not None and self.outcome.restored:
            self.outcome = attrs.evolve(self.outcome, restored=False, reusable=False)
        self._put_aside(record)
        self.state = State.AUTONOMOUS

    def _put_aside(self, record: Record | None, tool_use_id: str | None = None) -> None:
        if record is None:
            return
        if (event := normalize(record, parent_tool_use_id=tool_use_id)) is not None:
            self.unprompted.append(event)

    def _refuse(self, now: float) -> Command:
        again = self._status_at <= self._turn.escaped_at
        self._turn.escapes = self._turn.escapes + 1 if again else 1
        self._turn.escaped_at = now
        if again or self._turn.interrupt_sent:
            return Command.DISMISS
        asked = self._turn.refused = self.dialog or "dialog"
        session_id = self._status.session_id
        data = {"type": "dialog", "waitingFor": asked, "answer": "refused"}
        self._turn.events.append(SystemMessage(subtype="dialog", data=data, session_id=session_id))
        return Command.DISMISS

    def _accept(self, record: Record, now: float) -> None:
        self.state = State.RUNNING
        turn = self._turn
        turn.acknowledged, self._prompt_uuid = True, record.uuid
        # A command is recorded behind a caveat for the model, and behind a compaction if it asked for
        # one. 2.1.197 may write a prompt only behind the compaction that it has caused.
        ahead = turn.held if record.is_command else _leading_up(record, turn.held)
        for early in [held for held in ahead if signal_of(held) in BEFORE]:
            turn.held.remove(early)
            self._emit(early, signal_of(early))
        self._emit(record, Signal.PROMPT)
        prompt = turn.prompt
        if prompt is None or normalized(record.text) == prompt or _runs(record, prompt):
            self._release(record, now)
        else:
            self._end("failed", error=failures.altered(prompt, record), reusable=False)

    def _release(self, record: Record, now: float) -> None:
        """Replay what was held and hangs on this record; the rest is a late line of another turn."""
        held = self._turn.held
        if record.uuid is None:  # bookkeeping, on which nothing hangs
            return
        early = [other for other in held if other.parent_uuid == record.uuid]
        # Before any is followed, which may release others, or end the turn.
        held[:] = [other for other in held if other not in early]
        for each in early:
            self._follow(each, now)

    def _emit(self, record: Record, signal: Signal) -> None:
        self._turn.note(record, signal)
        if signal is Signal.TOOL_RESULT:
            # Unless an end tells how many there are: an interrupted turn has none.
            self._pending += [*record.last_words.values()].count(None)
        event = normalize(record)
        if self.client_tools and isinstance(event, AssistantMessage):
            event = self._in_callers_words(event)
        elif self.client_tools and isinstance(event, UserMessage):
            event = with_ids(event, self._turn.told_as)
        if event is not None:
            self._turn.events.append(event)
        self._turn.release_subagents()

    def _in_callers_words(self, event: AssistantMessage) -> AssistantMessage | None:
        """Note what the caller is asked, and leave out what it was told already."""
        turn, left = self._turn, []
        for block, renamed in zip(event.content, in_callers_words(event).content, strict=True):
            ours = isinstance(block, ToolUseBlock) and is_callers(block.name)
            if ours and isinstance(renamed, ToolUseBlock):
                if (told := find_told(renamed, turn.told)) is not None:
                    turn.told.remove(told)
                    turn.told_as[renamed.id] = told.id
                    continue
                turn.asked[renamed.id] = renamed
            left.append(renamed)
        return attrs.evolve(event, content=tuple(left)) if left else None

    # -- endings --------------------------------------------------------------------------------

    def _conclude(  # noqa: C901, PLR0912 - one case an ending
        self, step: Step, record: Record | None
    ) -> None:
        """End our turn, as a step of the table says."""
        turn = self._turn
        match step:
            case Step.COMPLETE | Step.FAIL if turn.error is not None:
                error = failures.failure(turn.error, cut=self._turn.is_cut())
                self._end("failed", error=error, reusable=not isinstance(error, AuthError))
            case Step.COMPLETE if self._turn.is_cut():
                raw = said.raw if (said := self._turn.last_answer()) is not None else {}
                self._end("failed", error=failures.cut_off(raw.get("requestId")))
            case Step.COMPLETE:
                self._end("completed")
            case Step.SETTLE if turn.ended and not turn.interrupt_sent:
                self._conclude(Step.COMPLETE, None)
            case Step.INTERRUPT | Step.SETTLE if turn.refused is not None:
                error = failures.unanswered(turn.refused)
                self._end("failed", error=error, restored=step is Step.SETTLE)
            case Step.INTERRUPT:
                self._end("interrupted")
            case Step.SETTLE if turn.interrupt_sent:
                # Without a mark the prompt is out of the conversation, and may be back in the box.
                self._end("interrupted", restored=True)
            case Step.REJECT if record is not None:
                # The refused text may stand in the box again, with no way to tell.
                self._end("rejected", error=failures.rejected(record), reusable=False)
            case Step.HOOK_STOP:
                self._end("stopped_by_hook")
            case Step.LOCAL:
                self._end("local_command")
            case Step.DIALOG_FAIL:
                asked = failures.unanswered(self.dialog or "dialog")
                self._end("failed", error=asked, reusable=False)
            case Step.NOT_ACCEPTED:
                self._end("failed", error=failures.not_accepted(), reusable=False)
            case Step.NOT_LOADED if turn.prompt is None:
                self._end("failed", error=failures.not_loaded(), reusable=False)
            case _:
                self._end("failed", error=failures.no_end(), reusable=False)

    def _end(
        self,
        kind: str,
        *,
        error: BackendError | None = None,
        reusable: bool = True,
        restored: bool = False,
    ) -> None:
        for late in self._turn.held:
            self._put_aside(late)
        self._turn.held.clear()
        for record, tool_use_id in self._turn.subagents:
            self._put_aside(record, tool_use_id)
        self._turn.subagents.clear()
        # Something may stand in the box, or be waiting for its turn.
        reusable = reusable and all(each.given for each in self._turn.further)
        if self._turn.limit is not None and kind == "completed":
            kind = self._turn.limit
        if self._turn.doom is not None:
            kind, error = "failed", self._turn.doom
        result = make_result(
            kind,
            self._turn.events,
            duration_ms=None if self._turn.went_on else self._turn.duration_ms,
            elapsed=self._elapsed,
        )
        if error is not None:
            error.partial = self.events
            error.result = result
            known = error.session_id or result.session_id
            error.session_id = known or self._status.session_id  # where nothing was said yet
        self.paused = False
        self.outcome = Outcome(kind, result, error, reusable=reusable, restored=restored)
        self.state = State.IDLE


def _leading_up(record: Record, held: list[Record]) -> list[Record]:
    """Return those of the held records that a record hangs on, the first one first."""
    known = {other.uuid: other for other in held if other.uuid is not None}
    found: list[Record] = []
    while (parent := known.pop(record.parent_uuid or "", None)) is not None:
        found.insert(0, parent)
        record = parent
    return found


def _is_queued(record: Record | None) -> bool:
    """Whether it is a prompt that has waited for the turn before; what Esc restores is in it."""
    return record is not None and record.prompt_source == "queued"


def _runs(record: Record, prompt: str) -> bool:
    """Whether a record is how the CLI writes a command that was sent on purpose."""
    return prompt.startswith(("/", "!")) and record.is_command
