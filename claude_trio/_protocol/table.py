"""The table of turns: every state of a conversation, and what each signal does in it.

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
if it lasts; which one follows from the status file (`_protocol.silence`). `TABLE` says what each
signal does in each state: a `Step`. That is all there is; the diagram in the README is drawn from
the table.

The status file runs ahead of the transcript by up to 1.2 seconds, so nothing is concluded from it
before the records have been quiet for a while.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from .signals import Signal


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
OPEN: Final = frozenset({State.SUBMITTED, State.BEHIND, State.RUNNING, State.CLOSING})
#: What may stand before the prompt that it belongs to.
BEFORE: Final = frozenset({Signal.COMPACTED, Signal.CONTINUATION})
