"""What went wrong into the exception that the caller meets.

First the error records that the CLI writes, then the ways in which a conversation itself fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..errors import AuthError, BackendError, RateLimitError, SessionError
from ..events import Event, SystemMessage, TextBlock, UserMessage
from .limits import limit_of
from .records import Record

# The record's `error` code where it says enough by itself; the rest is told apart below.
_KINDS: Final[Mapping[str, str]] = {
    "authentication_failed": "auth",
    "oauth_org_not_allowed": "auth",
    "rate_limit": "rate_limit",
    "billing_error": "billing",
    "model_not_found": "model_not_found",
    "max_output_tokens": "max_output_tokens",
}
# How 2.1.197 and the newest CLI begin the texts of failures that share one code, behind an
# "API Error: " that some of them have.
_TEXTS: Final[tuple[tuple[str, str], ...]] = (
    ("Prompt is too long", "context_overflow"),
    ("Context limit reached", "context_overflow"),
    ("Request too large", "request_too_large"),
    ("Credit balance is too low", "billing"),
    ("Not logged in", "auth"),
    ("Please run /login", "auth"),
    ("Request timed out", "timeout"),
    ("The response stopped arriving", "timeout"),
    ("The operation timed out", "timeout"),
    ("Connection lost mid-response", "truncated"),
    ("Connection closed mid-response", "truncated"),
    ("Server error mid-response", "truncated"),
    ("Connection", "connection"),
    ("Can't reach", "connection"),
    ("Unable to connect", "connection"),
)


def classify(record: Record) -> str:
    """Return the `BackendError.kind` of an error record."""
    code = str(record.raw.get("error"))
    if code in _KINDS:
        return _KINDS[code]
    if record.raw.get("apiError") == "stream_idle_timeout":  # may have been cut off too
        return "timeout"
    if record.raw.get("truncatedAfterOutput") is True:
        return "truncated"
    text = record.text.removeprefix("API Error: ")
    for start, kind in _TEXTS:
        if text.startswith(start):
            return kind
    status = _status(record)
    if record.message.get("stop_reason") == "refusal":
        return "refusal"
    if status in {401, 403}:
        return "auth"
    if status == 402:
        return "billing"
    if code == "server_error":
        return "connection" if status is None else "server"
    return code if code == "invalid_request" else "unknown"


def failure(record: Record, *, cut: bool = False) -> BackendError:
    """Return the exception for an error record; the turn adds what it had read.

    Args:
        record: The record.
        cut: Whether it stands behind an answer that has no end.
    """
    kind = classify(record)
    if cut and kind in {"unknown", "server", "connection"}:
        kind = "truncated"
    common: dict[str, Any] = {
        "message": record.text or "the CLI recorded an error without a text",
        "kind": kind,
        "session_id": record.session_id,
        "request_id": request_id
        if isinstance(request_id := record.raw.get("requestId"), str)
        else None,
        "status": _status(record),
    }
    if kind == "auth":
        return AuthError(**common)
    if kind == "rate_limit":
        limit = limit_of(record)
        return RateLimitError(
            **common,
            resets_at=limit.resets_at,
            limit_type=limit.type,
            retry_after=limit.retry_after,
        )
    return BackendError(**common)


def _status(record: Record) -> int | None:
    status = record.raw.get("apiErrorStatus")
    return status if isinstance(status, int) else None


def cut_off(request_id: object) -> BackendError:
    """Return the error for an answer that ended before its end, which the CLI did not notice.

    Args:
        request_id: What its record says of the request.
    """
    return BackendError(
        "the answer was cut off before its end; what had arrived is in `partial`",
        kind="truncated",
        request_id=request_id if isinstance(request_id, str) else None,
    )


def no_end() -> SessionError:
    """Return the error for a turn that the CLI left without ending it."""
    return SessionError(
        "the CLI went idle without ending the turn; the conversation was closed. "
        "Send the same messages again",
        kind="no_end",
    )


def not_loaded() -> SessionError:
    """Return the error for a written history that a CLI was started on and did not answer."""
    return SessionError(
        "the CLI was started on a written history and did not answer it; the conversation was closed",
        kind="not_loaded",
    )


def not_seen(problem: str, session_id: str) -> SessionError:
    """Return the error for a written history that the model has not seen as it was written."""
    return SessionError(
        f"the model has not seen the history as it was written: {problem}",
        kind="not_seen",
        session_id=session_id,
    )


def not_accepted() -> SessionError:
    """Return the error for a prompt that had no effect."""
    return SessionError(
        "the prompt was typed and sent, and the CLI neither recorded nor refused it; the conversation "
        "was closed. Send the same messages again",
        kind="not_accepted",
    )


def no_process(session_id: str) -> SessionError:
    """Return the error for a conversation without a process."""
    return SessionError(
        f"no process of this backend is in session {session_id}; `sessions` names those that are",
        kind="not_found",
        session_id=session_id,
    )


def not_compacted(events: Iterable[Event], session_id: str) -> SessionError:
    """Return the error for a conversation that the CLI did not compact, from what it said instead."""
    told = [_excerpt(said) for event in events if (said := _printed(event))]
    why = told[-1] if told else "the CLI does not say why"
    return SessionError(
        f"the conversation was not compacted: {why}", kind="not_compacted", session_id=session_id
    )


def _printed(event: Event) -> str:
    """Return what a command of the CLI printed, if that is what an event says."""
    text = ""
    if isinstance(event, SystemMessage) and event.subtype == "local_command":
        text = str(event.data.get("content"))
    elif isinstance(event, UserMessage):
        text = "".join(block.text for block in event.content if isinstance(block, TextBlock))
    printed = re.fullmatch(
        r"<local-command-(stdout|stderr)>(.*)</local-command-\1>", text, re.DOTALL
    )
    return re.sub("\x1b\\[[0-9;]*m", "", printed[2]).strip() if printed else ""


def not_steered(why: str, session_id: str | None) -> SessionError:
    """Return the error for words that could not be added to a turn."""
    return SessionError(
        f"nothing can be added to the turn: {why}", kind="not_steered", session_id=session_id
    )


def rejected(record: Record) -> SessionError:
    """Return the error for a prompt that the CLI, or a hook, refused."""
    return SessionError(
        f"the CLI refused the prompt: {record.raw.get('content', '')}",
        kind="rejected",
        session_id=record.session_id,
    )


def altered(sent: str, record: Record) -> SessionError:
    """Return the error for a prompt that was recorded differently than it was sent."""
    return SessionError(
        "the CLI recorded another prompt than the one that was sent; the conversation was closed. "
        f"Sent and recorded: {_excerpt(sent)} and {_excerpt(record.text)}",
        kind="altered",
        session_id=record.session_id,
    )


def unanswered(asked: str) -> SessionError:
    """Return the error for a dialog that came up, with nobody to answer it."""
    advice = "Allow the tool in the settings, or choose another permission_mode"
    return SessionError(
        f"the CLI opened a dialog ({asked}) that nobody here can answer; it was refused. "
        + (advice if asked == "permission prompt" else "Ask in a way that needs none"),
        kind="dialog",
    )


def no_prompt(session_id: str) -> SessionError:
    """Return the error for a CLI that got ready and then took no prompt."""
    return SessionError(
        "the CLI was ready for a prompt and then was not; the conversation was closed",
        kind="not_ready",
        session_id=session_id,
    )


def not_settled(grace: float, session_id: str) -> SessionError:
    """Return the error for an interrupt that the CLI did not heed."""
    return SessionError(
        f"the CLI did not settle within {grace:g} seconds of the interrupt; the conversation was "
        "closed",
        kind="not_settled",
        session_id=session_id,
    )


def closed(session_id: str) -> SessionError:
    """Return the error for a turn whose conversation was closed under it."""
    return SessionError(
        "the conversation was closed during the turn", kind="closed", session_id=session_id
    )


def callback_failed(name: str, reason: Exception, session_id: str) -> BackendError:
    """Return the error for a callback of the caller's that raised."""
    return BackendError(
        f"{name} raised {reason!r}; the conversation was closed",
        kind="callback",
        session_id=session_id,
    )


def answer_failed(name: str, reason: Exception, session_id: str) -> BackendError:
    """Return the error for a callback that was to answer the CLI and raised."""
    return BackendError(
        f"{name} raised {reason!r}; the CLI was told no, and the turn was interrupted",
        kind="callback",
        session_id=session_id,
    )


def defect(reason: Exception, session_id: str) -> BackendError:
    """Return the error for a defect of this package that a session has come upon."""
    return BackendError(
        f"a defect of claude_trio ended session {session_id}: {reason!r}. Please report it",
        kind="bug",
        session_id=session_id,
    )


def unreadable(reason: OSError, session_id: str) -> SessionError:
    """Return the error for files of the CLI that cannot be read any more."""
    return SessionError(
        f"cannot read what the CLI writes: {reason}; the conversation was closed",
        kind="unreadable",
        session_id=session_id,
    )


def in_use(session_id: str, pid: int | None = None) -> SessionError:
    """Return the error for a conversation that somebody else is having.

    Args:
        session_id: The conversation.
        pid: The CLI that is in it; None for one of a backend of this package.
    """
    whose = "a backend, of this program or of another one," if pid is None else f"process {pid}"
    return SessionError(
        f"{whose} is in session {session_id}; two would write into one transcript. Wait for its end, "
        "or continue from a copy with fork=True",
        kind="in_use",
        session_id=session_id,
    )


def not_locked(reason: OSError, session_id: str) -> SessionError:
    """Return the error for a conversation that cannot be kept from others."""
    return SessionError(
        f"cannot lock session {session_id}, so another program could write into it too: {reason}",
        kind="in_use",
        session_id=session_id,
    )


def no_transcript(path: object, reason: object, session_id: str) -> SessionError:
    """Return the error for a transcript that is to be continued and cannot be."""
    return SessionError(
        f"cannot continue session {session_id} from {path}: {reason}. A session belongs to the "
        "directory that it was started in, and to the CLI's configuration directory",
        kind="not_found",
        session_id=session_id,
    )


def not_written(path: object, reason: OSError, session_id: str) -> SessionError:
    """Return the error for a history that could not be written."""
    return SessionError(
        f"cannot write the history of the conversation to {path}: {reason}",
        kind="not_loaded",
        session_id=session_id,
    )


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
