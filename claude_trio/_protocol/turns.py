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
* one that is interrupted while the CLI waits for the first output of a request leaves no mark: only
  the status file, back at rest, tells, and the prompt may stand in the input box again;
* a failed one, on newer versions, ends with an error record. An error record can also stand in the
  middle (a stream that broke behind a tool call), so it ends the turn only if no tool is open, the
  CLI is at rest and nothing follows;
* a prompt that was refused has one notice instead, and a command of the CLI the text it printed.

Subagents write transcripts of their own, which may be behind: the end of a turn waits, for a bounded
time, until the last words of each of its subagents are read, and for one that goes on in the
background until it has begun. As long as such a one runs the status file says ``busy``, whatever the
conversation does; the record that ends a turn counts them (`TurnManager.takes_prompt`).

The CLI also starts turns by itself, when a background task has ended, say. Such a turn is never
taken for the answer to a prompt: a prompt's turn begins with the prompt's own record, and is over
when another turn begins.

A prompt that is sent while the turn runs is given to the model between two of its messages, or, where
no tool is called any more, behind the answer, as a turn of the CLI's own, which is then a part of ours.

The theory
----------
A record means one thing for a turn whatever the turn's state: its `Signal`. Silence is a signal too,
if it lasts; which one follows from the status file (`TurnManager._silence`). `TABLE` says what each
signal does in each state: a `Step`. That is all there is; the diagram in the README is drawn from
the table.

The status file runs ahead of the transcript by up to 1.2 seconds, so nothing is concluded from it
before the records have been quiet for `_SETTLE`.
"""

from __future__ import annotations

import collections
import enum
import math
from collections.abc import Mapping
from typing import Final

import attrs

from ..errors import AuthError, BackendError
from ..events import AssistantMessage, Event, SystemMessage, ToolUseBlock
from . import failures
from .client_tools import in_callers_words, is_callers
from .keys import normalized
from .normalize import normalize
from .outcome import Outcome, is_answer, make_result
from .records import Record
from .signals import Signal, signal_of
from .status import Status

_ERROR_SETTLE: Final = 1.0  # seconds without a record until an error record is believed to be last
_SETTLE: Final = 1.5  # seconds at rest without a record until a turn is believed to be over
_TOOL_SETTLE: Final = 4.0  # the same, while a tool's result has to come: an interrupt writes one
_LOAD_SETTLE: Final = 10.0  # seconds at rest until a resumed CLI is believed not to answer
# A permission hook makes the status flash ``waiting`` for 0.4 s. And newer versions say so up to that
# long before they draw the dialog, which then hears nothing for 0.2 s.
_DIALOG_SETTLE: Final = 0.8
_DIALOG_AGAIN: Final = 3.0  # seconds until an Esc that a dialog has not heard is repeated, once
_DIALOG_GRACE: Final = 10.0  # seconds until a dialog that was dismissed is believed to stay
_ENTER_AGAIN: Final = 1.5  # seconds until an Enter without any effect is repeated
_MOST_ENTERS: Final = 3
_LAST_WORDS: Final = 2.0  # seconds that the end of a turn waits for its subagents' transcripts
#: Seconds without a record until the calls of a message are believed to be all there: the CLI writes in
#: batches of 0.1 s. One that comes later is asked about in another message.
_ASKED_SETTLE: Final = 0.25
_OTHERS_SETTLE: Final = 2.0  # the same, while tools of the CLI's are open too
_MOST_UNPROMPTED: Final = 256


class State(enum.Enum):
    """Where a conversation stands."""

    IDLE = "nothing of ours runs"
    SUBMITTED = "a prompt was sent and has not shown up"
    BEHIND = "as SUBMITTED, while the CLI runs a turn that it started itself"
    RUNNING = "our turn runs"
    CLOSING = "our turn is over, and words of its subagents are still to come"
    AUTONOMOUS = "the CLI runs a turn that it started itself"


class Step(enum.Enum):
    """What a signal does in a state."""

    EMIT = "deliver as an event of the turn"
    ACCEPT = "the turn begins; deliver what was held"
    JOIN = "if it is our prompt, the running turn goes on as ours"
    HOLD = "keep until the prompt shows up"
    ASIDE = "belongs to no turn of ours"
    ACKNOWLEDGE = "the prompt was taken; no more Enter"
    ENTER_AGAIN = "press Enter once more"
    REFUSE = "tell of the dialog, and close it with one Esc"
    BEGIN_OTHER = "a turn that is not ours begins"
    END_OTHER = "a turn that is not ours ends"
    COMPLETE = "over: completed, or failed by the error in it"
    WAIT = "over, once its subagents are heard"
    CLOSE = "over, as the record said that was read before"
    GIVE_WAY = "as CLOSE; a turn that is not ours begins"
    INTERRUPT = "over: interrupted"
    REJECT = "over: never began"
    HOOK_STOP = "over: a hook stopped it"
    LOCAL = "over: it was a command"
    FAIL = "over: failed by its last record"
    SETTLE = "over: interrupted without a mark, or left without an end"
    QUEUE = "a further prompt of ours was taken"
    GO_ON = "a further prompt of ours is given to the model; any other one: as OVERTAKE"
    OVERTAKE = "over as it stands; a turn that is not ours begins"
    DIALOG_FAIL = "over: nobody can answer the dialog"
    NOT_ACCEPTED = "over: the prompt had no effect"
    NOT_LOADED = "over: the CLI did not take it up"


class Command(enum.Enum):
    """What the session is to do next."""

    PRESS_ENTER = "the text stands in the box; send it"
    DISMISS = "a dialog that nobody answers is open; close it with one Esc"


_S, _G = Step, Signal
#: What each signal does in each state; a record that a state does not name gets its `DEFAULT`, and
#: silence that it does not name means nothing.
TABLE: Final[Mapping[State, Mapping[Signal, Step]]] = {
    State.IDLE: {
        _G.AUTO_PROMPT: _S.BEGIN_OTHER,
        _G.PROMPT: _S.BEGIN_OTHER,
    },
    State.SUBMITTED: {
        _G.PROMPT: _S.ACCEPT,
        _G.ABSORBED: _S.JOIN,
        _G.ENQUEUED: _S.ACKNOWLEDGE,
        _G.AUTO_PROMPT: _S.BEGIN_OTHER,
        _G.REJECTED: _S.REJECT,
        _G.ASKING: _S.DIALOG_FAIL,
        _G.AT_REST: _S.SETTLE,
        _G.UNTAKEN: _S.ENTER_AGAIN,
        _G.IGNORED: _S.NOT_ACCEPTED,
    },
    State.BEHIND: {
        _G.PROMPT: _S.ACCEPT,
        _G.ABSORBED: _S.JOIN,
        _G.ENQUEUED: _S.ACKNOWLEDGE,
        _G.COMPACTED: _S.HOLD,
        _G.CONTINUATION: _S.HOLD,
        _G.REJECTED: _S.REJECT,
        _G.END: _S.END_OTHER,
        _G.INTERRUPTED: _S.END_OTHER,
        _G.ASKING: _S.DIALOG_FAIL,
        _G.AT_REST: _S.END_OTHER,
    },
    State.RUNNING: {
        _G.END: _S.COMPLETE,
        _G.EARLY_END: _S.WAIT,
        _G.INTERRUPTED: _S.INTERRUPT,
        _G.REJECTED: _S.REJECT,
        _G.HOOK_STOPPED: _S.HOOK_STOP,
        _G.LOCAL_OUTPUT: _S.LOCAL,
        _G.AUTO_PROMPT: _S.OVERTAKE,
        _G.PROMPT: _S.GO_ON,
        _G.ABSORBED: _S.GO_ON,
        _G.ENQUEUED: _S.QUEUE,
        _G.UNTAKEN: _S.ENTER_AGAIN,
        _G.ASKING: _S.REFUSE,
        _G.STILL_ASKING: _S.DIALOG_FAIL,
        _G.FAILED: _S.FAIL,
        _G.AT_REST: _S.SETTLE,
        _G.UNMOVED: _S.NOT_LOADED,
    },
    State.CLOSING: {
        _G.HEARD: _S.CLOSE,
        _G.UNHEARD: _S.CLOSE,
        _G.AUTO_PROMPT: _S.GIVE_WAY,
        _G.PROMPT: _S.GIVE_WAY,
    },
    State.AUTONOMOUS: {
        _G.END: _S.END_OTHER,
        _G.INTERRUPTED: _S.END_OTHER,
        _G.AT_REST: _S.END_OTHER,
    },
}
#: What a record does whose signal the state does not name.
DEFAULT: Final[Mapping[State, Step]] = {
    State.IDLE: _S.ASIDE,
    # 2.1.197 can write a fast first answer before its own prompt. What does not hang on the prompt
    # when that comes is something else: a late line, or the patch of a turn that never ended.
    State.SUBMITTED: _S.HOLD,
    State.BEHIND: _S.ASIDE,
    State.RUNNING: _S.EMIT,
    State.CLOSING: _S.ASIDE,
    State.AUTONOMOUS: _S.ASIDE,
}

#: Where a turn of ours is open.
_OPEN: Final = frozenset({State.SUBMITTED, State.BEHIND, State.RUNNING, State.CLOSING})
#: What may stand before the prompt that it belongs to.
_BEFORE: Final = frozenset({Signal.COMPACTED, Signal.CONTINUATION})


@attrs.define(eq=False)
class Further:
    """A prompt that is sent while the turn runs.

    Attributes:
        text: The text, normalized.
        taken: Whether the CLI has taken it.
        given: Whether it was given to the model.
        lost: Whether it is not known what became of it.
    """

    text: str
    taken: bool = False
    given: bool = False
    lost: bool = False
    entered_at: float = math.inf
    enters: int = 0

    @property
    def open(self) -> bool:
        """Whether it is still to be given to the model."""
        return not (self.given or self.lost)


@attrs.define(eq=False)
class _Turn:
    """What is known of one turn of ours while it lasts."""

    prompt: str | None = None
    submitted_at: float = 0.0
    entered_at: float = 0.0
    enters: int = 1
    acknowledged: bool = False
    interrupt_sent: bool = False
    #: When Esc was pressed last.
    escaped_at: float = -math.inf
    #: How often, at the dialog that is open.
    escapes: int = 0
    #: What the dialog asked for that was refused.
    refused: str | None = None
    status_moved: bool = False
    duration_ms: int | None = None
    #: It was paused: the CLI's figure counts what the caller took.
    went_on: bool = False
    error: Record | None = None
    open_tools: set[str] = attrs.field(factory=set)
    #: Of these, the calls that the caller is to answer.
    asked: dict[str, ToolUseBlock] = attrs.field(factory=dict)
    #: Every tool call of the turn, those of its subagents included.
    calls: set[str] = attrs.field(factory=set)
    #: By the call of each of its subagents, its last words; None for one that goes on.
    last_words: dict[str, str | None] = attrs.field(factory=dict)
    #: By the call of each subagent that was heard, its newest words.
    heard: dict[str, str] = attrs.field(factory=dict)
    #: The record that ends the turn, while subagents are still to be heard; and when it was read.
    end: list[Record] = attrs.field(factory=list)
    ended_at: float = 0.0
    #: What the turn fails by, however it ends.
    doom: BackendError | None = None
    further: list[Further] = attrs.field(factory=list)
    #: The CLI has ended its turn, and a further prompt is still to come.
    ended: bool = False
    #: How long the CLI's turns were that ended before what was added.
    before_ms: int = 0
    #: The subtype of the limit by which the turn is being ended.
    limit: str | None = None
    held: list[Record] = attrs.field(factory=list)
    #: What subagents have said whose calls are not known, with those calls.
    subagents: list[tuple[Record, str]] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    taken: int = 0


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
    dialog_settle: float = _DIALOG_SETTLE
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

    _turn: _Turn = attrs.field(factory=_Turn)
    _status: Status = attrs.field(factory=Status)
    _status_at: float = 0.0
    #: The record of our last prompt.
    _prompt_uuid: str | None = None
    #: How many subagents run in the background, as far as is known.
    _pending: int = 0
    #: 2.1.197 writes the mark of an interrupted turn behind the prompts that were queued meanwhile.
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
        self._turn = _Turn(prompt=prompt, submitted_at=now, entered_at=now)
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
        if self.state is not State.RUNNING or not turn.asked:
            return False
        # A tool of the CLI's may run meanwhile, or wait for its turn behind the caller's.
        others = turn.open_tools - turn.asked.keys()
        return now - self._last_record_at > (_OTHERS_SETTLE if others else _ASKED_SETTLE)

    @property
    def asked(self) -> Mapping[str, ToolUseBlock]:
        """The calls that the caller is to answer, by their ids."""
        return self._turn.asked

    def pause(self) -> None:
        """Let the caller answer calls: what was read so far has an outcome of its own."""
        result = make_result("paused", self._turn.events, duration_ms=None, elapsed=self._elapsed)
        self.outcome = Outcome("paused", attrs.evolve(result, stop_reason="tool_use"))
        self.paused = True

    def go_on(self, now: float) -> None:
        """Go on with a paused turn, which the caller has answered; its events begin anew.

        Args:
            now: As in the class.
        """
        self.outcome, self.paused = None, False
        turn = self._turn
        turn.asked.clear()
        turn.events.clear()
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
        if (further := self._untaken()) is not None:
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
            if self.state is State.RUNNING and self._unheard:
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
                self._release_subagents()
            if self.state is State.CLOSING and not self._unheard:
                self._do(TABLE[self.state][Signal.HEARD], Signal.HEARD, None, now)
        else:
            self._put_aside(record, tool_use_id)
        return self.take()

    @property
    def _unheard(self) -> bool:
        """Whether there are words of the turn's subagents that are still to come."""
        heard = self._turn.heard
        return any(
            call not in heard or (words and words != heard[call])
            for call, words in self._turn.last_words.items()
        )

    def _release_subagents(self) -> None:
        """Deliver what subagents have said whose calls are known now."""
        turn = self._turn
        while known := [said for said in turn.subagents if said[1] in turn.calls]:
            for record, tool_use_id in known:
                turn.subagents.remove((record, tool_use_id))
                turn.calls |= _calls(record)  # it may have subagents of its own
                turn.heard[tool_use_id] = record.text if record.type == "assistant" else ""
                if (event := normalize(record, parent_tool_use_id=tool_use_id)) is not None:
                    turn.events.append(event)

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
        signal = self._silence(now)
        step = TABLE[self.state].get(signal) if signal is not None else None
        if signal is None or step is None:
            return None
        return self._do(step, signal, None, now)

    def fail(self, error: BackendError, *, died: bool = False) -> None:
        """End the turn, if one is open, with an error from outside.

        Args:
            error: What its consumer is to meet.
            died: Whether the process is gone.
        """
        if died and self.state is State.CLOSING:
            self._close()  # its own end was read
        elif self.state in _OPEN:
            self._end("died" if died else "failed", error=error, reusable=False)

    def doom(self, error: BackendError) -> bool:
        """Let the open turn fail by an error of the caller's own, however it ends; the first counts.

        Args:
            error: The error.

        Returns:
            Whether a turn is open.
        """
        if self.state not in _OPEN:
            return False
        self._turn.doom = self._turn.doom or error
        return True

    def limit(self, subtype: str) -> None:
        """Say that a limit of the caller's makes the CLI end the open turn.

        Args:
            subtype: That of the result, if nothing else ends the turn.
        """
        if self.state is State.RUNNING:
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
                if (further := self._further(str(record.raw.get("content")))) is not None:
                    further.taken = True
            case Step.GO_ON if record is not None:
                self._go_on(record, signal, now)
            case Step.COMPLETE | Step.WAIT if record is not None and self._goes_on():
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

    def _goes_on(self) -> bool:
        """Whether our turn goes on behind the end of the CLI's, with what was added to it."""
        return any(further.open for further in self._turn.further) and not (
            self._turn.interrupt_sent
        )

    def _go_on(self, record: Record, signal: Signal, now: float) -> None:
        absorbed = record.absorbed_prompt
        further = self._further(record.text if absorbed is None else absorbed)
        unwanted = further is None or self._turn.interrupt_sent
        if unwanted and signal is Signal.PROMPT:
            self._overtake(record)
            return
        if further is not None:
            further.taken = further.given = True
            self._turn.ended, self._turn.error, self._turn.limit = False, None, None
        self._emit(record, signal)
        self._release(record, now)

    def _further(self, text: str) -> Further | None:
        """Return what was added with this text and is still to be given to the model."""
        found = [each for each in self._turn.further if each.open and each.text == normalized(text)]
        return found[0] if found else None

    def _untaken(self) -> Further | None:
        waiting = [each for each in self._turn.further if each.open and not each.taken]
        return waiting[0] if waiting else None

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
        for early in [held for held in ahead if signal_of(held) in _BEFORE]:
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
        for early in [other for other in held if other.parent_uuid == record.uuid]:
            held.remove(early)
            self._follow(early, now)

    def _emit(self, record: Record, signal: Signal) -> None:
        match signal:
            case Signal.ANSWER | Signal.FILLER:
                self._turn.error = None
                self._turn.open_tools |= _calls(record)
                self._turn.calls |= _calls(record)
            case Signal.TOOL_RESULT:
                self._turn.error = None
                done = {str(block.get("tool_use_id")) for block in record.blocks}
                self._turn.open_tools -= done
                for call_id in done:
                    self._turn.asked.pop(call_id, None)
                self._turn.last_words |= record.last_words
                # Unless an end tells how many there are: an interrupted turn has none.
                self._pending += [*record.last_words.values()].count(None)
            case Signal.CONTINUATION:
                self._turn.error = None
            case Signal.ERROR:
                self._turn.error = record
            case Signal.END:
                duration = record.raw.get("durationMs")
                if isinstance(duration, int):
                    self._turn.duration_ms = self._turn.before_ms + duration
        if (event := normalize(record)) is not None:
            self._turn.events.append(self._in_callers_words(event))
        self._release_subagents()

    def _in_callers_words(self, event: Event) -> Event:
        if not self.client_tools or not isinstance(event, AssistantMessage):
            return event
        renamed = in_callers_words(event)
        ours = [is_callers(getattr(block, "name", None)) for block in event.content]
        if isinstance(renamed, AssistantMessage):
            for block, asked in zip(renamed.content, ours, strict=True):
                if asked and isinstance(block, ToolUseBlock):
                    self._turn.asked[block.id] = block
        return renamed

    # -- silence --------------------------------------------------------------------------------

    def _silence(self, now: float) -> Signal | None:
        """Return what it means that nothing has happened for as long as nothing has."""
        turn, at_rest = self._turn, self._status.at_rest
        quiet = now - max(self._last_record_at, self._status_at)
        if self.state is State.RUNNING and self._final_error() is not None:
            resting = at_rest or self.dialog is not None  # a usage limit opens a panel behind it
            if self._status.state is None:  # the file is gone
                return Signal.FAILED if quiet > _LOAD_SETTLE else None
            return Signal.FAILED if resting and quiet > _ERROR_SETTLE else None
        if self.state is State.CLOSING:
            return Signal.UNHEARD if now - turn.ended_at > _LAST_WORDS else None
        if self.dialog is not None:
            if self._status_at <= turn.escaped_at:
                deaf = now - turn.escaped_at
                if turn.escapes < 2:
                    return Signal.ASKING if deaf > _DIALOG_AGAIN else None
                return Signal.STILL_ASKING if deaf > _DIALOG_GRACE else None
            return Signal.ASKING if now - self._status_at > self.dialog_settle else None
        if self.state is State.RUNNING and (further := self._untaken()) is not None:
            return _silence_about(further, now)
        if self.state is State.SUBMITTED:
            return self._silence_before(now)
        if self.state is State.RUNNING and at_rest and not turn.status_moved:
            # It should have begun to work by now, which the status file would have told.
            return Signal.UNMOVED if quiet > _LOAD_SETTLE else None
        settle = _TOOL_SETTLE if turn.open_tools else _SETTLE
        return Signal.AT_REST if at_rest and quiet > settle else None

    def _silence_before(self, now: float) -> Signal | None:
        """Return what it means that our prompt has not shown up for as long as it has not."""
        turn, at_rest = self._turn, self._status.at_rest
        quiet = now - max(turn.entered_at, self._last_record_at, self._status_at)
        if turn.interrupt_sent:
            return Signal.AT_REST if at_rest and quiet > _SETTLE else None
        idle = self._status.state == "idle" or self._is_kept_busy
        if idle and not turn.acknowledged and turn.enters < _MOST_ENTERS:
            return Signal.UNTAKEN if quiet > _ENTER_AGAIN else None
        return Signal.IGNORED if at_rest and quiet > 2 * _ENTER_AGAIN else None

    def _final_error(self) -> Record | None:
        """Return the error record that ends the turn if nothing follows; None for one in the middle."""
        error = self._turn.error
        if error is None or self._turn.open_tools:
            return None
        return None if error.message.get("stop_reason") == "tool_use" else error

    # -- endings --------------------------------------------------------------------------------

    def _conclude(  # noqa: C901, PLR0912 - one case an ending
        self, step: Step, record: Record | None
    ) -> None:
        """End our turn, as a step of the table says."""
        turn = self._turn
        match step:
            case Step.COMPLETE | Step.FAIL if turn.error is not None:
                error = failures.failure(turn.error, cut=self._is_cut())
                self._end("failed", error=error, reusable=not isinstance(error, AuthError))
            case Step.COMPLETE if self._is_cut():
                raw = said.raw if (said := self._last_answer()) is not None else {}
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

    def _is_cut(self) -> bool:
        """Whether the model's last words have no end, which the API itself never leaves out.

        2.1.197 takes a body that ends without ``message_stop`` for a whole one.
        """
        last = self._last_answer()
        if last is None or last.stop_reason is not None or last.model == "<synthetic>":
            return False
        return bool(last.text)

    def _last_answer(self) -> AssistantMessage | None:
        """Return what the model of the conversation itself said last in this turn."""
        for event in reversed(self._turn.events):
            if isinstance(event, AssistantMessage) and is_answer(event):
                return event
        return None

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


def _silence_about(further: Further, now: float) -> Signal | None:
    """Return what it means that what was added has not shown up; until it has, nothing else is over."""
    if now - further.entered_at <= _ENTER_AGAIN:
        return None
    if further.enters < _MOST_ENTERS:
        return Signal.UNTAKEN
    further.lost = True
    return None


def _calls(record: Record) -> set[str]:
    """Return the ids of the tool calls in a record."""
    return {str(block.get("id")) for block in record.blocks if block.get("type") == "tool_use"}


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
