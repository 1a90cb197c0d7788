"""What went wrong, as the Messages API says it: a status, headers and an envelope."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..errors import (
    AuthError,
    BackendError,
    CLINotFoundError,
    RateLimitError,
    StartupError,
    TurnTimeout,
)

#: The API's types of errors, by their HTTP status.
ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
#: The status of a `BackendError` by its kind, where the CLI has not told the API's own.
_KINDS: Final[Mapping[str, int]] = {
    "billing": 402,
    "model_not_found": 404,
    "context_overflow": 400,
    "request_too_large": 413,
    "invalid_request": 400,
    "timeout": 504,
    "stalled": 504,
    # Of a conversation:
    "rejected": 400,
    "in_use": 400,
}
#: How an argument is called in a request, by what an error about it begins with.
_NAMES: Final[Mapping[str, str]] = {
    r"max_output_tokens\b": "max_tokens",
    r"system_prompt\b": "system",
    r"client_tools\b": "tools",
    r"extra_body\['(\w+)'\]": r"\1",
}
#: Seconds; a client that is told to wait longer had better say so to its user.
_PATIENCE: Final = 60.0


@attrs.frozen(kw_only=True)
class ErrorResponse:
    """An error in the shape of the Messages API.

    Attributes:
        status: The HTTP status.
        message: What happened.
        request_id: The API's own name for the failed request, or the server's.
        retry_after: Seconds until it makes sense to try again, if that is known.
        passing: Whether it may be another thing next time; the official clients repeat by themselves what
            has a status of 429 or from 500 on.
        type: The API's type of the error; by default the one for the status.
    """

    status: int
    message: str
    request_id: str | None = None
    retry_after: float | None = None
    passing: bool = True
    type: str = attrs.field(
        default=attrs.Factory(lambda error: _type_of(error.status), takes_self=True)
    )

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that belong to it.

        ``retry-after`` is in whole seconds. Where that is more than a minute, as behind a limit of a
        plan, or the error does not pass, ``x-should-retry`` tells the official clients not to repeat the
        request by themselves.
        """
        headers = {} if self.request_id is None else {"request-id": self.request_id}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(0, math.ceil(self.retry_after)))
        if not self.passing or (self.retry_after or 0) > _PATIENCE:
            headers["x-should-retry"] = "false"
        return headers

    def to_dict(self) -> dict[str, Any]:
        """Return the envelope: the body of a response, or the data of an ``error`` event."""
        error = {"type": self.type, "message": self.message}
        return {"type": "error", "error": error, "request_id": self.request_id}


def error_response(error: Exception, *, request_id: str | None = None) -> ErrorResponse:
    """Return an exception of this package in the shape of the Messages API.

    A `ValueError` or `TypeError`, by which arguments are refused, is a 400, and calls them as a request
    does. A `BackendError` has the status that the API gave, where the CLI has told it, else the one that
    fits its kind. What is wrong on this machine (the program, its process, a conversation), or with the
    connection, is a 500, and so is any other exception, of which nothing is told but its type. Clients are
    told not to repeat such an exception, a start that failed, and a turn that took too long.

    Args:
        error: The exception.
        request_id: The server's own name for the request, where the API's is not known.
    """
    if not isinstance(error, BackendError):
        if isinstance(error, ValueError | TypeError):
            text = _in_words_of_the_api(str(error))
            return ErrorResponse(status=400, message=text, request_id=request_id)
        text = f"the server failed by a {type(error).__name__}"
        return ErrorResponse(status=500, message=text, request_id=request_id, passing=False)
    return ErrorResponse(
        status=_status(error),
        # The last screen of a process may hold more than a client is to see.
        message=error.message or type(error).__name__,
        request_id=error.request_id or request_id,
        retry_after=error.retry_after if isinstance(error, RateLimitError) else None,
        passing=not isinstance(error, CLINotFoundError | StartupError | TurnTimeout),
    )


def _type_of(status: int) -> str:
    other = "invalid_request_error" if 400 <= status < 500 else "api_error"
    return ERROR_TYPES.get(status, other)


def _in_words_of_the_api(text: str) -> str:
    """Name an argument of `ClaudeCodeBackend.complete` as a request does."""
    for ours, theirs in _NAMES.items():
        text = re.sub(rf"\A{ours}", theirs, text)
    return text


def _status(error: BackendError) -> int:
    if error.status is not None and error.status in ERROR_TYPES:
        return error.status
    if isinstance(error, AuthError):
        return 401
    if isinstance(error, RateLimitError):
        return 429
    if isinstance(error, TurnTimeout):
        return 504
    if error.status is not None and 400 <= error.status < 500:
        return 400
    return _KINDS.get(error.kind, 500)
