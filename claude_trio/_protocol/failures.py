"""An error record of the CLI into the exception that the caller meets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..errors import AuthError, BackendError, RateLimitError
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
# How 2.1.197 and the newest CLI begin the texts of failures that share one code.
_TEXTS: Final[tuple[tuple[str, str], ...]] = (
    ("Prompt is too long", "context_overflow"),
    ("Context limit reached", "context_overflow"),
    ("Request too large", "request_too_large"),
    ("Credit balance is too low", "billing"),
    ("Not logged in", "auth"),
    ("Please run /login", "auth"),
    ("Request timed out", "timeout"),
    ("API Error: The response stopped arriving", "timeout"),
    ("API Error: The operation timed out", "timeout"),
    ("API Error: Connection lost mid-response", "truncated"),
    ("API Error: Connection closed mid-response", "truncated"),
    ("API Error: Server error mid-response", "truncated"),
    ("API Error: Connection", "connection"),
    ("API Error: Can't reach", "connection"),
    ("API Error: Unable to connect", "connection"),
    ("Unable to connect to API", "connection"),
)


def classify(record: Record) -> str:
    """Return the `BackendError.kind` of an error record."""
    code = str(record.raw.get("error"))
    if code in _KINDS:
        return _KINDS[code]
    if record.raw.get("truncatedAfterOutput") is True:
        return "truncated"
    if record.raw.get("apiError") == "stream_idle_timeout":
        return "timeout"
    text = record.text
    for start, kind in _TEXTS:
        if text.startswith((start, f"API Error: {start}")):
            return kind
    status = record.raw.get("apiErrorStatus")
    if record.message.get("stop_reason") == "refusal":
        return "refusal"
    if status in {401, 403}:
        return "auth"
    if status == 402:
        return "billing"
    if code == "server_error":
        return "server" if isinstance(status, int) else "connection"
    return code if code == "invalid_request" else "unknown"


def failure(record: Record) -> BackendError:
    """Return the exception for an error record; the turn adds what it had read."""
    kind = classify(record)
    status = record.raw.get("apiErrorStatus")
    common: dict[str, Any] = {
        "message": record.text or "the CLI recorded an error without a text",
        "kind": kind,
        "session_id": record.session_id,
        "request_id": request_id
        if isinstance(request_id := record.raw.get("requestId"), str)
        else None,
        "status": status if isinstance(status, int) else None,
    }
    if kind == "auth":
        return AuthError(**common)
    if kind == "rate_limit":
        limits = record.raw.get("quotaLimits")
        limits = limits if isinstance(limits, Mapping) else {}
        resets_at, limit_type = limits.get("resetsAt"), limits.get("rateLimitType")
        return RateLimitError(
            **common,
            resets_at=float(resets_at) if isinstance(resets_at, int | float) else None,
            limit_type=limit_type if isinstance(limit_type, str) else None,
        )
    return BackendError(**common)
