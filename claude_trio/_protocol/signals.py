"""One record of a transcript into what it means for a turn, whatever the turn's state."""

from __future__ import annotations

import enum

from .normalize import INTERRUPT_MARK
from .records import Record


class Signal(enum.Enum):
    """What one record means for a turn."""

    PROMPT = "a prompt was taken"
    AUTO_PROMPT = "the CLI prompts itself"
    ENQUEUED = "a prompt waits for the running turn"
    REJECTED = "a prompt was refused"
    ANSWER = "the model said something"
    FILLER = "the CLI wrote an answer itself"
    ERROR = "a request failed"
    TOOL_RESULT = "a tool returned"
    CONTINUATION = "the CLI speaks to the model"
    INTERRUPTED = "the interrupt mark"
    LOCAL_OUTPUT = "a command of the CLI printed"
    HOOK_STOPPED = "a hook stopped the turn"
    END = "turn_duration"
    NOTE = "anything else"


def signal_of(record: Record) -> Signal:
    """Return what a record means for a turn, whatever the state."""
    match record.type, record.subtype:
        case "assistant", _:
            if record.is_api_error:
                return Signal.ERROR
            return Signal.FILLER if record.message.get("model") == "<synthetic>" else Signal.ANSWER
        case "user", _:
            return _user_signal(record)
        case "system", "turn_duration":
            return Signal.END
        case "system", "local_command":
            return Signal.LOCAL_OUTPUT
        case "system", "informational":
            text = str(record.raw.get("content", ""))
            if text.startswith("Operation stopped by hook"):
                return Signal.HOOK_STOPPED
            if text.startswith("Unknown command") or record.raw.get("preventContinuation") is True:
                return Signal.REJECTED
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
    if text.startswith("<local-command-stdout>"):
        return Signal.LOCAL_OUTPUT
    commands = ("<command-name>", "<command-message>", "<bash-input>")
    if not record.is_meta and text.startswith(commands):
        return Signal.PROMPT
    return Signal.CONTINUATION
