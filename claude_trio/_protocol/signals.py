"""What one record of a transcript means for a turn, whatever the turn's state."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from .normalize import INTERRUPT_MARK
from .records import Record


class Signal(enum.Enum):
    """What one record, or a silence, means for a turn."""

    # Records
    PROMPT = "a prompt was taken"
    AUTO_PROMPT = "the CLI prompts itself"
    ENQUEUED = "a prompt waits for the running turn"
    REJECTED = "a prompt was refused"
    ANSWER = "the model said something"
    FILLER = "the CLI wrote an answer itself"
    ERROR = "a request failed"
    TOOL_RESULT = "a tool returned"
    CONTINUATION = "the CLI speaks to the model"
    COMPACTED = "the conversation was compacted"
    ABSORBED = "the running turn took a prompt"
    INTERRUPTED = "the interrupt mark"
    LOCAL_OUTPUT = "a command of the CLI printed"
    HOOK_STOPPED = "a hook stopped the turn"
    END = "turn_duration"
    EARLY_END = "turn_duration, before all of its subagents are heard"
    NOTE = "anything else"
    # Of a subagent
    HEARD = "the last words of all subagents"
    # Silence, by what the status file says meanwhile
    UNTAKEN = "a prompt that was sent has not shown up"
    IGNORED = "at rest, and no Enter has made the prompt show up"
    ASKING = "a dialog is open"
    STILL_ASKING = "a dialog is open that was dismissed"
    FAILED = "at rest behind an error"
    AT_REST = "at rest, with nothing new"
    UNHEARD = "no words of a subagent for too long"
    UNMOVED = "at rest, and never anything else in this turn"


_SYSTEM: Final[Mapping[str, Signal]] = {
    "turn_duration": Signal.END,
    "local_command": Signal.LOCAL_OUTPUT,
    "compact_boundary": Signal.COMPACTED,
}


def signal_of(record: Record) -> Signal:
    """Return what a record means for a turn, whatever the state."""
    match record.type, record.subtype:
        case "assistant", _:
            if record.is_api_error:
                return Signal.ERROR
            return Signal.FILLER if record.message.get("model") == "<synthetic>" else Signal.ANSWER
        case "user", _:
            return _user_signal(record)
        case "system", ("turn_duration" | "local_command" | "compact_boundary") as subtype:
            return _SYSTEM[subtype]
        case "system", "informational":
            text = str(record.raw.get("content", ""))
            if text.startswith("Operation stopped by hook"):
                return Signal.HOOK_STOPPED
            if text.startswith("Unknown command") or record.raw.get("preventContinuation") is True:
                return Signal.REJECTED
        case "attachment", _ if record.absorbed_prompt is not None:
            return Signal.ABSORBED
        case "queue-operation", _ if record.raw.get("operation") == "enqueue":
            return Signal.ENQUEUED
    return Signal.NOTE


def _user_signal(record: Record) -> Signal:
    text = record.text
    if any(block.get("type") == "tool_result" for block in record.blocks):
        return Signal.TOOL_RESULT
    if record.prompt_source not in {None, "system"} and not record.is_meta:
        return Signal.PROMPT  # whatever it says: a user may quote the marks below
    if text.startswith(INTERRUPT_MARK):
        return Signal.INTERRUPTED
    if record.prompt_source == "system":
        return Signal.AUTO_PROMPT
    if text.startswith(("<local-command-stdout>", "<local-command-stderr>")):
        return Signal.LOCAL_OUTPUT
    if record.raw.get("isCompactSummary") is True:
        return Signal.COMPACTED
    return Signal.PROMPT if record.is_command else Signal.CONTINUATION
