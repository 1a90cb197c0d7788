"""Error records of both generations of the CLI, and the exceptions they become."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from transcripts import SESSION, Script, to_record

from claude_trio import (
    AuthError,
    BackendError,
    CLINotFoundError,
    ProcessError,
    RateLimitError,
    SessionError,
    StartupError,
    TurnTimeout,
    errors,
)
from claude_trio._protocol import failures


def error_from(
    words: str, code: str, *, stop: str = "stop_sequence", **fields: Any
) -> BackendError:
    return failures.failure(to_record(Script().error(words, code, stop=stop, **fields)))


@pytest.mark.parametrize(
    ("code", "status", "words", "kind"),
    [
        ("unknown", 400, "API Error: 400 tools.0: bad", "unknown"),
        ("invalid_request", 400, "Prompt is too long", "context_overflow"),
        ("invalid_request", None, "Context limit reached · /compact or /clear", "context_overflow"),
        ("billing_error", 400, "Credit balance is too low", "billing"),
        ("authentication_failed", 401, "Not logged in · Please run /login", "auth"),
        ("authentication_failed", 401, "Please run /login · API Error: 401 x", "auth"),
        ("unknown", 402, "API Error: 402 x", "billing"),
        ("authentication_failed", 403, "OAuth token revoked · Please run /login", "auth"),
        ("oauth_org_not_allowed", 403, "Your organization has disabled Claude", "auth"),
        ("model_not_found", 404, "There's an issue with the selected model (x)", "model_not_found"),
        ("invalid_request", 413, "Request too large (max 32MB)", "request_too_large"),
        ("unknown", 422, "API Error: 422 x", "unknown"),
        ("rate_limit", 429, "API Error: Request rejected (429) · x", "rate_limit"),
        ("rate_limit", 429, "You've hit your 5-hour limit · resets 6:56am (UTC)", "rate_limit"),
        ("server_error", 500, "API Error: 500 Internal server error", "server"),
        ("server_error", 529, "API Error: 529 Overloaded. This is a server-side issue", "server"),
        ("server_error", None, "API Error: Connection refused — a firewall", "connection"),
        ("server_error", None, "Unable to connect to API (ConnectionRefused)", "connection"),
        ("server_error", None, "API Error: Can't reach the API server (ENOTFOUND)", "connection"),
        ("server_error", None, "API Error: Connection dropped (ECONNRESET)", "connection"),
        ("server_error", None, "Unable to connect to API (ECONNRESET)", "connection"),
        ("server_error", None, "Request timed out. If the API is slow", "timeout"),
        ("server_error", None, "Request timed out", "timeout"),
        ("server_error", None, "API Error: Connection lost mid-response.", "truncated"),
        ("server_error", None, "API Error: Connection closed mid-response.", "truncated"),
        ("server_error", None, "Connection closed mid-response.", "truncated"),
        ("server_error", None, "API Error: Server error mid-response.", "truncated"),
        ("server_error", None, "Connection lost before a response was produced.", "connection"),
        ("server_error", None, "API Error: The response stopped arriving", "timeout"),
        ("server_error", None, "The response stopped arriving", "timeout"),
        ("unknown", None, "The operation timed out.", "timeout"),
        ("unknown", None, "API Error: The operation timed out.", "timeout"),
        ("max_output_tokens", None, "API Error: The model's limit", "max_output_tokens"),
        ("brand_new_code", None, "something", "unknown"),
    ],
)
def test_each_observed_failure_has_its_kind(
    code: str, status: int | None, words: str, kind: str
) -> None:
    error = error_from(words, code, apiErrorStatus=status, requestId="req_1")
    assert (kind, status, "req_1", SESSION) == (
        error.kind,
        error.status,
        error.request_id,
        error.session_id,
    )
    assert words == str(error)
    expected = {"auth": AuthError, "rate_limit": RateLimitError}.get(kind, BackendError)
    assert expected is type(error)


def test_a_refusal_is_known_by_its_stop_reason() -> None:
    assert "refusal" == error_from("API Error: x", "invalid_request", stop="refusal").kind


def test_a_stream_that_stalled_after_output_is_a_timeout() -> None:
    stalled: dict[str, Any] = {"truncatedAfterOutput": True, "apiError": "stream_idle_timeout"}
    words = "API Error: The response stopped arriving. The response above may be incomplete."
    assert "timeout" == error_from(words, "server_error", **stalled).kind


def test_a_cut_after_output_is_known_by_its_flag() -> None:
    cut: dict[str, Any] = {"truncatedAfterOutput": True, "streamCutCause": "reset"}
    assert "truncated" == error_from("API Error: new words", "server_error", **cut).kind


def test_a_new_usage_limit_tells_when_it_is_lifted() -> None:
    limits = {"status": "rejected", "resetsAt": 1795330610, "rateLimitType": "five_hour"}
    error = error_from("You've hit your limit", "rate_limit", quotaLimits=limits)
    assert isinstance(error, RateLimitError)
    assert (1795330610.0, "five_hour") == (error.resets_at, error.limit_type)


@pytest.mark.parametrize("limits", [None, "soon", {}, {"resetsAt": "soon", "rateLimitType": 5}])
def test_an_old_usage_limit_does_not(limits: Any) -> None:
    error = error_from("You've hit your limit", "rate_limit", quotaLimits=limits)
    assert isinstance(error, RateLimitError)
    assert (None, None) == (error.resets_at, error.limit_type)


@pytest.mark.parametrize("value", ["429", 4.5, [], {}])
def test_odd_values_are_left_out(value: Any) -> None:
    error = error_from("x", "server_error", apiErrorStatus=value, requestId=7)
    assert (None, None) == (error.status, error.request_id)


def test_a_failure_without_words_still_says_something() -> None:
    assert str(error_from("", "server_error"))


def test_both_texts_of_an_alteration_are_shown_and_cut() -> None:
    error = failures.altered("sent " + "x" * 500, to_record(Script().prompt("recorded")))
    assert isinstance(error, SessionError)
    assert "sent xxx" in error.message
    assert "recorded" in error.message
    assert len(error.message) < 400


def test_the_tree() -> None:
    assert issubclass(TurnTimeout, TimeoutError)
    assert issubclass(CLINotFoundError, ProcessError)
    assert issubclass(StartupError, ProcessError)
    for kind in (AuthError, RateLimitError, SessionError, TurnTimeout, ProcessError):
        assert issubclass(kind, BackendError)


def test_what_is_set_later_survives_a_copy() -> None:
    error = StartupError("no", kind="trust", exit_code=1, signal=9, screen_tail="last")
    error.session_id = "s"
    again = copy.copy(error)
    assert (1, 9, "last", "s", "trust") == (
        again.exit_code,
        again.signal,
        again.screen_tail,
        again.session_id,
        again.kind,
    )


def test_errors_have_identity() -> None:
    assert BackendError("x") != BackendError("x")
    assert 2 == len({BackendError("x"), BackendError("x")})


def test_every_kind_is_documented() -> None:
    package = Path(errors.__file__).parent
    named = {
        kind
        for path in [*package.glob("*.py"), *package.glob("_protocol/*.py")]
        for kind in re.findall(r'kind="(\w+)"', path.read_text())
    }
    documented = Path(errors.__file__).read_text()
    assert {"died", "not_ready", "unreadable", "closed"} <= named
    assert [] == sorted(kind for kind in named if f"``{kind}``" not in documented)
