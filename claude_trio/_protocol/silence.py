"""Silence: what it means that nothing has happened for a while."""

from __future__ import annotations

from typing import Final

import attrs

from .open_turn import Further, OpenTurn
from .signals import Signal
from .status import Status
from .table import State

_ERROR_SETTLE: Final = 1.0  # seconds without a record until an error record is believed to be last
_SETTLE: Final = 1.5  # seconds at rest without a record until a turn is believed to be over
_TOOL_SETTLE: Final = 4.0  # the same, while a tool's result has to come: an interrupt writes one
_LOAD_SETTLE: Final = 10.0  # seconds at rest until a resumed CLI is believed not to answer
# A permission hook makes the status flash ``waiting`` for 0.4 s. And newer versions say so up to that
# long before they draw the dialog, which then hears nothing for 0.2 s.
DIALOG_SETTLE: Final = 0.8
_DIALOG_AGAIN: Final = 3.0  # seconds until an Esc that a dialog has not heard is repeated, once
_DIALOG_GRACE: Final = 10.0  # seconds until a dialog that was dismissed is believed to stay
_ENTER_AGAIN: Final = 1.5  # seconds until an Enter without any effect is repeated
_MOST_ENTERS: Final = 3
_LAST_WORDS: Final = 2.0  # seconds that the end of a turn waits for its subagents' transcripts


@attrs.frozen
class Seen:
    """What was heard of a CLI last, and when; all times in seconds, by one clock.

    Attributes:
        status: The status file.
        status_at: Since when it has said so.
        record_at: When the last record came.
        dialog: What the dialog that is open asks for; None when none is.
        dialog_settle: Seconds until a dialog is believed to stay open.
        kept_busy: Whether the status says nothing, since subagents run in the background.
    """

    status: Status
    status_at: float
    record_at: float
    dialog: str | None
    dialog_settle: float
    kept_busy: bool


def meaning(state: State, turn: OpenTurn, seen: Seen, now: float) -> Signal | None:
    """Return what it means that nothing has happened for as long as nothing has.

    Args:
        state: Where the conversation stands.
        turn: Our turn; of a further prompt it is noted here if it is lost.
        seen: What was heard last.
        now: The present time, by the clock of what was seen.
    """
    at_rest = seen.status.at_rest
    quiet = now - max(seen.record_at, seen.status_at)
    if state is State.RUNNING and turn.final_error() is not None:
        resting = at_rest or seen.dialog is not None  # a usage limit opens a panel behind it
        if seen.status.state is None:  # the file is gone
            return Signal.FAILED if quiet > _LOAD_SETTLE else None
        return Signal.FAILED if resting and quiet > _ERROR_SETTLE else None
    if state is State.CLOSING:
        return Signal.UNHEARD if now - turn.ended_at > _LAST_WORDS else None
    if seen.dialog is not None:
        return _at_a_dialog(turn, seen, now)
    if state is State.RUNNING and (further := turn.untaken()) is not None:
        return _about(further, now)
    if state is State.SUBMITTED:
        return _before(turn, seen, now)
    if state is State.RUNNING and at_rest and not turn.status_moved:
        # It should have begun to work by now, which the status file would have told.
        return Signal.UNMOVED if quiet > _LOAD_SETTLE else None
    settle = _TOOL_SETTLE if turn.open_tools else _SETTLE
    return Signal.AT_REST if at_rest and quiet > settle else None


def _at_a_dialog(turn: OpenTurn, seen: Seen, now: float) -> Signal | None:
    if seen.status_at > turn.escaped_at:
        return Signal.ASKING if now - seen.status_at > seen.dialog_settle else None
    deaf = now - turn.escaped_at
    if turn.escapes < 2:
        return Signal.ASKING if deaf > _DIALOG_AGAIN else None
    return Signal.STILL_ASKING if deaf > _DIALOG_GRACE else None


def _before(turn: OpenTurn, seen: Seen, now: float) -> Signal | None:
    """Return what it means that our prompt has not shown up for as long as it has not."""
    at_rest = seen.status.at_rest
    quiet = now - max(turn.entered_at, seen.record_at, seen.status_at)
    if turn.interrupt_sent:
        return Signal.AT_REST if at_rest and quiet > _SETTLE else None
    idle = seen.status.state == "idle" or seen.kept_busy
    if idle and not turn.acknowledged and turn.enters < _MOST_ENTERS:
        return Signal.UNTAKEN if quiet > _ENTER_AGAIN else None
    return Signal.IGNORED if at_rest and quiet > 2 * _ENTER_AGAIN else None


def _about(further: Further, now: float) -> Signal | None:
    """Return what it means that what was added has not shown up; until it has, nothing else is over."""
    if now - further.entered_at <= _ENTER_AGAIN:
        return None
    if further.enters < _MOST_ENTERS:
        return Signal.UNTAKEN
    further.lost = True
    return None
