"""How a turn ended, and the summary that its consumer gets last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ..errors import BackendError
from ..events import AssistantMessage, Event, ResultMessage, Usage

_SUBTYPES: Final[Mapping[str, str]] = {
    "completed": "success",
    "failed": "error",
    "died": "error",
    "rejected": "error",
}


@attrs.frozen
class Outcome:
    """How a turn ended.

    Attributes:
        kind: ``completed``, ``failed``, ``interrupted``, ``rejected``, ``stopped_by_hook``,
            ``local_command``, ``died``, or the subtype of a limit, which begins with ``error_``.
        result: What the turn said and used.
        error: What the caller is to meet, where the turn failed.
        reusable: Whether the conversation can take another prompt as it is.
        restored: Whether the prompt is out of the conversation, and may be back in the input box.
    """

    kind: str
    result: ResultMessage
    error: BackendError | None = None
    reusable: bool = True
    restored: bool = False


def make_result(
    kind: str, events: Sequence[Event], *, duration_ms: int | None, elapsed: float
) -> ResultMessage:
    """Return the summary of a turn.

    Args:
        kind: How it ended, as in `Outcome.kind`.
        events: Its events.
        duration_ms: Its length in milliseconds as the CLI told it, if it did.
        elapsed: Its length in seconds as we saw it.
    """
    answers: dict[str | None, list[AssistantMessage]] = {}
    everybody: dict[str | None, AssistantMessage] = {}
    for event in events:
        if not isinstance(event, AssistantMessage) or event.error is not None:
            continue
        everybody[event.message_id] = event  # each record has the usage of the whole message
        if is_answer(event):
            answers.setdefault(event.message_id, []).append(event)
    usage = Usage()
    for records in answers.values():
        usage += records[-1].usage
    model_usage: dict[str, Usage] = {}
    for message in everybody.values():
        if message.model is not None:
            model_usage[message.model] = model_usage.get(message.model, Usage()) + message.usage
    last = [*answers.values()][-1] if answers else []
    subtype = _SUBTYPES.get(kind, kind)
    return ResultMessage(
        subtype=subtype,
        is_error=subtype.startswith("error"),
        result="".join(event.text for event in last) if last else None,
        stop_reason=last[-1].stop_reason if last else None,
        num_turns=len(answers),
        duration_ms=round(elapsed * 1000) if duration_ms is None else duration_ms,
        usage=usage,
        model=last[-1].model if last else None,
        model_usage=model_usage,
        session_id=events[-1].session_id if events else None,
    )


def is_answer(event: AssistantMessage) -> bool:
    """Whether the model of the conversation itself said it: no error, and no subagent."""
    return event.error is None and event.parent_tool_use_id is None
