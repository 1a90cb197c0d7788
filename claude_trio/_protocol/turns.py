"""Turns: what has been asked of a CLI, what it is doing, and how that ended.

This file owns every state and every transition. It does no input or output and reads no clock: the
session passes in records in file order, readings of the status file, and the time, and carries out
what `TurnManager.tick` asks for.

How a turn shows, as observed on the CLI
----------------------------------------
A prompt counts as taken when its user record appears; until then nothing is certain. While the
model answers nothing is written at all. Then come the blocks of one API message, each with a
``stop_reason`` that says nothing about the turn, then tool results, further messages, continuations
that the CLI asks for by itself, and in the end ``system/turn_duration``: the one record that ends a
turn for certain. Four kinds of turn lack it:

* an interrupted one with output ends with the interrupt mark;
* an interrupted one without output leaves no record at all: only the status file, back at rest,
  tells, and the prompt stands in the input box again;
* a failed one, on newer versions, ends with an error record. An error record can also stand in the
  middle (a stream that broke behind a tool call), so it ends the turn only if no tool is open, the
  CLI is at rest and nothing follows;
* a prompt that was refused has one notice instead.

The status file runs ahead of the transcript by up to 1.2 seconds, so nothing is concluded from it
before the records have been quiet for `_SETTLE`.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import AuthError, BackendError
from ..events import AssistantMessage, Event
from . import failures
from .keys import normalized
from .normalize import normalize
from .outcome import Outcome, make_result
from .records import Record
from .signals import Signal, signal_of
from .status import Status

_ERROR_SETTLE: Final = 1.0  # seconds without a record until an error record is believed to be last
_SETTLE: Final = 1.5  # seconds at rest without a record until a turn is believed to be over
_LOAD_SETTLE: Final = 10.0  # seconds at rest until a resumed CLI is believed not to answer
_DIALOG_SETTLE: Final = 0.5  # a permission hook makes the status flash ``waiting`` for 0.4 s
_DIALOG_GRACE: Final = 10.0  # seconds until a dialog that was dismissed is believed to stay
_ENTER_AGAIN: Final = 1.5  # seconds until an Enter without any effect is repeated
_MOST_ENTERS: Final = 3
_MOST_ASIDE: Final = 256


class State(enum.Enum):
    """Where a conversation stands."""

    IDLE = "nothing of ours runs"
    SUBMITTED = "a prompt was sent and has not shown up"
    BEHIND = "as SUBMITTED, while the CLI runs a turn that it started itself"
    RUNNING = "our turn runs"
    AUTONOMOUS = "the CLI runs a turn that it started itself"


class Step(enum.Enum):
    """What a signal does in a state."""

    EMIT = "deliver as an event of the turn"
    ACCEPT = "the turn begins; deliver what was held"
    HOLD = "keep until the prompt shows up"
    ASIDE = "belongs to no turn of ours"
    ACKNOWLEDGE = "the prompt was taken; no more Enter"
    BEGIN_OTHER = "a turn that is not ours begins"
    END_OTHER = "a turn that is not ours ends"
    COMPLETE = "the turn is over"
    INTERRUPT = "the turn is over: interrupted"
    REJECT = "the turn is over: never began"
    HOOK_STOP = "the turn is over: a hook stopped it"
    LOCAL = "the turn is over: it was a command"


class Command(enum.Enum):
    """What the session is to do next."""

    PRESS_ENTER = "the text stands in the box; send it"
    DISMISS = "a dialog that nobody answers is open; close it with one Esc"


_S, _G = Step, Signal
#: What each signal does in each state; a signal that a state does not name gets its `_DEFAULT`.
TABLE: Final[Mapping[State, Mapping[Signal, Step]]] = {
    State.IDLE: {
        _G.AUTO_PROMPT: _S.BEGIN_OTHER,
        _G.PROMPT: _S.BEGIN_OTHER,
    },
    State.SUBMITTED: {
        _G.PROMPT: _S.ACCEPT,
        _G.ENQUEUED: _S.ACKNOWLEDGE,
        _G.AUTO_PROMPT: _S.BEGIN_OTHER,
        _G.REJECTED: _S.REJECT,
        # A resumed conversation that had ended in the middle of a turn is patched before it goes on.
        _G.FILLER: _S.ASIDE,
        _G.TOOL_RESULT: _S.ASIDE,
    },
    State.BEHIND: {
        _G.PROMPT: _S.ACCEPT,
        _G.ENQUEUED: _S.ACKNOWLEDGE,
        _G.END: _S.END_OTHER,
        _G.INTERRUPTED: _S.END_OTHER,
    },
    State.RUNNING: {
        _G.END: _S.COMPLETE,
        _G.INTERRUPTED: _S.INTERRUPT,
        _G.REJECTED: _S.REJECT,
        _G.HOOK_STOPPED: _S.HOOK_STOP,
        _G.LOCAL_OUTPUT: _S.LOCAL,
    },
    State.AUTONOMOUS: {
        _G.END: _S.END_OTHER,
        _G.INTERRUPTED: _S.END_OTHER,
    },
}
_DEFAULT: Final[Mapping[State, Step]] = {
    State.IDLE: _S.ASIDE,
    State.SUBMITTED: _S.HOLD,  # 2.1.197 can write a fast first answer before its own prompt
    State.BEHIND: _S.ASIDE,
    State.RUNNING: _S.EMIT,
    State.AUTONOMOUS: _S.ASIDE,
}
#: The steps that end our turn, and how they call it.
_ENDINGS: Final[Mapping[Step, str]] = {
    _S.COMPLETE: "completed",
    _S.INTERRUPT: "interrupted",
    _S.REJECT: "rejected",
    _S.HOOK_STOP: "stopped_by_hook",
    _S.LOCAL: "local_command",
}


@attrs.define(eq=False)
class _Turn:
    """What is known of one turn of ours while it lasts."""

    prompt: str | None = None
    submitted_at: float = 0.0
    entered_at: float = 0.0
    enters: int = 1
    acknowledged: bool = False
    interrupt_sent: bool = False
    #: What the last dialog asked for that was dismissed, and when.
    refused: str | None = None
    refused_at: float = 0.0
    status_moved: bool = False
    duration_ms: int | None = None
    error: Record | None = None
    open_tools: set[str] = attrs.field(factory=set)
    held: list[Record] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)


@attrs.define(eq=False)
class TurnManager:
    """The turns of one conversation, one at a time.

    Call `submit` when a prompt has been sent, then `feed` with every record and `observe` with every
    reading of the status file, in order, and `tick` as time goes by. The turn is over when `outcome`
    is set.
    """

    state: State = State.IDLE
    outcome: Outcome | None = None
    #: What the dialog that is open asks for; None when none is.
    dialog: str | None = None
    #: The newest records outside of every turn of ours: those of turns that the CLI started itself,
    #: and notices between turns.
    aside: collections.deque[Record] = attrs.field(
        factory=lambda: collections.deque(maxlen=_MOST_ASIDE)
    )

    _turn: _Turn = attrs.field(factory=_Turn)
    _status: Status = attrs.field(factory=Status)
    _status_at: float = 0.0
    _last_record_at: float = 0.0

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of the present or last turn, in order."""
        return tuple(self._turn.events)

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
        """Say that a CLI was started on a transcript whose last record is the prompt."""
        self._begin(State.RUNNING, None, now)

    def _begin(self, state: State, prompt: str | None, now: float) -> None:
        if self.state not in {State.IDLE, State.AUTONOMOUS}:
            raise RuntimeError(f"cannot start a turn while {self.state.value}; end that one first")
        self.state = State.BEHIND if self.state is State.AUTONOMOUS else state
        self.outcome = None
        self._turn = _Turn(prompt=prompt, submitted_at=now, entered_at=now)
        self._last_record_at = now

    def entered(self, now: float) -> None:
        """Say that Enter was pressed again."""
        self._turn.enters += 1
        self._turn.entered_at = now

    def interrupt_sent(self) -> None:
        """Say that one Esc has been sent to end the turn."""
        self._turn.interrupt_sent = True

    def feed(self, record: Record, now: float) -> list[Event]:
        """Take the next record of the transcript; return the events it adds to the turn."""
        if record.is_sidechain:
            return []
        before = len(self._turn.events)
        self._last_record_at = now
        self._take(record)
        return self._turn.events[before:]

    def observe(self, status: Status, now: float) -> None:
        """Take a reading of the status file."""
        if (status.state, status.changed_at) != (self._status.state, self._status.changed_at):
            self._status_at = now
            # A CLI that was just started says ``idle`` once before it has done anything.
            self._turn.status_moved |= self._status.state is not None
        self._status = status
        if status.state == "busy" and self.state is State.SUBMITTED:
            self._turn.acknowledged = True
        self.dialog = (status.waiting_for or "dialog") if status.state == "waiting" else None

    def fail(self, error: BackendError, *, reusable: bool = False) -> None:
        """End the turn, if one is open, with an error from outside: the process died, say."""
        if self.state in {State.SUBMITTED, State.BEHIND, State.RUNNING}:
            self._end("failed", error=error, reusable=reusable)

    def tick(self, now: float) -> Command | None:
        """Draw the conclusions that time allows; return what is to be done about it, if anything."""
        if self.state is State.RUNNING:
            return self._tick_running(now)
        if self.state in {State.SUBMITTED, State.BEHIND} and self.dialog is not None:
            if now - self._status_at > _DIALOG_SETTLE:
                self._end("failed", error=failures.unanswered(self.dialog), reusable=False)
            return None
        if self.state is State.SUBMITTED:
            return self._tick_submitted(now)
        if self.state in {State.AUTONOMOUS, State.BEHIND} and self._at_rest_for(_SETTLE, now):
            self._step_end_other()
        return None

    @property
    def accepted(self) -> bool:
        """Whether the CLI has taken the prompt of the open turn."""
        return self.state is State.RUNNING

    # -- records --------------------------------------------------------------------------------

    def _take(self, record: Record) -> None:
        signal = signal_of(record)
        step = TABLE[self.state].get(signal, _DEFAULT[self.state])
        match step:
            case Step.ASIDE:
                self.aside.append(record)
            case Step.HOLD:
                self._turn.held.append(record)
            case Step.ACKNOWLEDGE:
                self._turn.acknowledged = True
            case Step.BEGIN_OTHER:
                self.aside.append(record)
                self.state = State.AUTONOMOUS if self.state is State.IDLE else State.BEHIND
            case Step.END_OTHER:
                self.aside.append(record)
                self._step_end_other()
            case Step.ACCEPT:
                self._accept(record)
            case Step.EMIT:
                self._emit(record, signal)
                self._release(record)
            case _:
                self._emit(record, signal)
                self._conclude(step, record)

    def _step_end_other(self) -> None:
        self.state = State.SUBMITTED if self.state is State.BEHIND else State.IDLE

    def _accept(self, record: Record) -> None:
        self.state = State.RUNNING
        self._turn.acknowledged = True
        self._emit(record, Signal.PROMPT)
        if self._turn.prompt is not None and normalized(record.text) != self._turn.prompt:
            error = failures.altered(self._turn.prompt, record)
            self._end("failed", error=error, reusable=False)
        else:
            self._release(record)

    def _release(self, record: Record) -> None:
        """Replay what was held and hangs on this record; the rest is a late line of another turn."""
        held = self._turn.held
        if record.uuid is None:  # bookkeeping, on which nothing hangs
            return
        for early in [other for other in held if other.parent_uuid == record.uuid]:
            held.remove(early)
            self._take(early)

    def _emit(self, record: Record, signal: Signal) -> None:
        match signal:
            case Signal.ANSWER | Signal.FILLER:
                self._turn.error = None
                self._turn.open_tools |= {
                    str(block.get("id"))
                    for block in record.blocks
                    if block.get("type") == "tool_use"
                }
            case Signal.TOOL_RESULT:
                self._turn.error = None
                self._turn.open_tools -= {str(block.get("tool_use_id")) for block in record.blocks}
            case Signal.CONTINUATION:
                self._turn.error = None
            case Signal.ERROR:
                self._turn.error = record
            case Signal.END:
                duration = record.raw.get("durationMs")
                self._turn.duration_ms = duration if isinstance(duration, int) else None
        if (event := normalize(record)) is not None:
            self._turn.events.append(event)

    def _conclude(self, step: Step, record: Record) -> None:
        kind = _ENDINGS[step]
        if step is Step.REJECT:
            # The refused text may stand in the box again, with no way to tell.
            self._end(kind, error=failures.rejected(record), reusable=False)
        elif step is Step.INTERRUPT and self._turn.refused is not None:
            self._end("failed", error=failures.unanswered(self._turn.refused))
        elif step is Step.COMPLETE and self._turn.error is not None:
            self._fail_by(self._turn.error)
        elif step is Step.COMPLETE and (cut := self._cut_answer()) is not None:
            self._end("failed", error=cut)
        else:
            self._end(kind)

    # -- time -----------------------------------------------------------------------------------

    def _tick_submitted(self, now: float) -> Command | None:
        turn = self._turn
        quiet = now - max(turn.entered_at, self._last_record_at, self._status_at)
        if quiet <= _ENTER_AGAIN:
            return None
        untaken = self._status.state == "idle" and not turn.acknowledged
        if untaken and turn.enters < _MOST_ENTERS:
            return Command.PRESS_ENTER
        if self._status.at_rest and quiet > 2 * _ENTER_AGAIN:
            self._end("failed", error=failures.not_accepted(), reusable=False)
        return None

    def _tick_running(self, now: float) -> Command | None:
        if (error := self._final_error()) is not None:
            resting = self._status.at_rest or self._status.state == "waiting"
            quiet = now - max(self._last_record_at, self._status_at)
            if resting and quiet > _ERROR_SETTLE:
                self._fail_by(error)
        elif self.dialog is not None:
            return self._tick_dialog(self.dialog, now)
        elif not self._turn.status_moved:
            # A CLI that was started on a written history should have begun to answer it.
            if self._status.at_rest and now - self._status_at > _LOAD_SETTLE:
                resumed = self._turn.prompt is None
                missing = failures.not_loaded() if resumed else failures.no_end()
                self._end("failed", error=missing, reusable=False)
        elif self._at_rest_for(_SETTLE, now):
            # Without output no mark is written either, and the prompt is back in the box.
            spoken = any(isinstance(event, AssistantMessage) for event in self._turn.events)
            if self._turn.refused is not None:
                unanswered = failures.unanswered(self._turn.refused)
                self._end("failed", error=unanswered, restored=not spoken)
            elif self._turn.interrupt_sent:
                self._end("interrupted", restored=not spoken)
            else:
                self._end("failed", error=failures.no_end(), reusable=False)
        return None

    def _tick_dialog(self, asked: str, now: float) -> Command | None:
        turn = self._turn
        if turn.refused is None or self._status_at > turn.refused_at:
            if now - self._status_at > _DIALOG_SETTLE:
                turn.refused, turn.refused_at = asked, now
                return Command.DISMISS
        elif now - turn.refused_at > _DIALOG_GRACE:
            self._end("failed", error=failures.unanswered(asked), reusable=False)
        return None

    def _final_error(self) -> Record | None:
        """Return the error record that ends the turn if nothing follows; None for one in the middle."""
        error = self._turn.error
        if error is None or self._turn.open_tools:
            return None
        return None if error.message.get("stop_reason") == "tool_use" else error

    def _at_rest_for(self, seconds: float, now: float) -> bool:
        quiet = now - max(self._last_record_at, self._status_at)
        return self._status.at_rest and self._turn.status_moved and quiet > seconds

    # -- endings --------------------------------------------------------------------------------

    def _fail_by(self, record: Record) -> None:
        error = failures.failure(record)
        self._end("failed", error=error, reusable=not isinstance(error, AuthError))

    def _cut_answer(self) -> BackendError | None:
        # 2.1.197 takes a body that ends without message_stop for a whole one; the API itself never
        # ends a message without a stop reason.
        last = next((e for e in reversed(self.events) if isinstance(e, AssistantMessage)), None)
        if last is None or last.stop_reason is not None or last.model == "<synthetic>":
            return None
        return failures.cut_off()

    def _end(
        self,
        kind: str,
        *,
        error: BackendError | None = None,
        reusable: bool = True,
        restored: bool = False,
    ) -> None:
        result = make_result(
            kind,
            self._turn.events,
            duration_ms=self._turn.duration_ms,
            elapsed=self._last_record_at - self._turn.submitted_at,
        )
        if error is not None:
            error.partial = self.events
            error.result = result
            error.session_id = error.session_id or result.session_id
        self.outcome = Outcome(kind, result, error, reusable=reusable, restored=restored)
        self.state = State.IDLE
