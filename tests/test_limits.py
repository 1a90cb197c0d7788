"""When a usage limit is lifted, as records and texts say."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from transcripts import Script, to_record

from claude_trio._protocol.limits import Limit, limit_of

#: When the record is written: a Monday.
WRITTEN = "2026-11-23T21:58:30.000Z"


def limit(text: str, written: str | None = WRITTEN, **fields: Any) -> Limit:
    raw = Script().error(text, "rate_limit", **fields)
    return limit_of(to_record(raw | {"timestamp": written}))


def utc(*when: int) -> float:
    return datetime.datetime(*when, tzinfo=datetime.UTC).timestamp()  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "resets_at"),
    [
        ("You've hit your session limit · resets 11:56pm (UTC)", utc(2026, 11, 23, 23, 56)),
        ("You've hit your session limit · resets 6:56am (UTC)", utc(2026, 11, 24, 6, 56)),
        ("You've hit your session limit · resets 11pm (UTC)", utc(2026, 11, 23, 23)),
        ("You've hit your session limit · resets 12am (UTC)", utc(2026, 11, 24, 0)),
        ("You've hit your session limit · resets 12:30pm (UTC)", utc(2026, 11, 24, 12, 30)),
        ("You've hit your session limit · resets 9:58pm (UTC)", utc(2026, 11, 23, 21, 58)),
        ("… limit · resets Nov 25, 5:56am (UTC)", utc(2026, 11, 25, 5, 56)),
        ("… limit · resets Jan 2, 5am (UTC)", utc(2027, 1, 2, 5)),
        ("… limit · resets 1am (Europe/Berlin)", utc(2026, 11, 24, 0)),
        ("… limit · resets 6:56pm (America/New_York)", utc(2026, 11, 23, 23, 56)),
    ],
)
def test_a_text_says_when_a_limit_is_lifted(text: str, resets_at: float) -> None:
    found = limit(text)
    assert resets_at == found.resets_at
    assert max(0.0, resets_at - utc(2026, 11, 23, 21, 58, 30)) == found.retry_after


@pytest.mark.parametrize(
    "text",
    [
        "API Error: Request rejected (429) · slow down",
        "You've hit your limit · resets soon",
        "You've hit your limit · resets 25:00am (UTC)",
        "You've hit your limit · resets 6am (Nowhere/At all)",
        "You've hit your limit · resets 6am (../../etc/passwd)",
        "You've hit your limit · resets Foo 30, 6am (UTC)",
        "You've hit your limit · resets Feb 30, 6am (UTC)",
    ],
)
def test_a_text_that_does_not_say_it_is_no_guess(text: str) -> None:
    assert (None, None) == (limit(text).resets_at, limit(text).retry_after)


@pytest.mark.parametrize("written", ["yesterday", "2026-11-23T21:58:30"])
def test_without_the_time_of_the_record_a_text_says_nothing(written: str) -> None:
    assert None is limit("… limit · resets 6:56am (UTC)", written).resets_at


def test_the_record_says_it_better_than_the_text() -> None:
    limits = {"resetsAt": 1795530610, "rateLimitType": "overage"}
    found = limit("5-hour limit · resets 6:56am (UTC)", quotaLimits=limits)
    assert (1795530610.0, "overage") == (found.resets_at, found.type)
    assert 1795530610.0 - utc(2026, 11, 23, 21, 58, 30) == found.retry_after
    assert None is limit("x", "yesterday", quotaLimits=limits).retry_after


@pytest.mark.parametrize("odd", [10**400, float("nan"), float("inf"), -1, True, "soon", None])
def test_a_record_that_says_nonsense_says_nothing(odd: Any) -> None:
    assert None is limit("limit reached", quotaLimits={"resetsAt": odd}).resets_at


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You've hit your 5-hour limit · resets 6:56am (UTC)", "five_hour"),
        ("You've hit your session limit · resets 6:56am (UTC)", "five_hour"),
        ("You've hit your weekly limit · resets Nov 25, 5:56am (UTC)", "seven_day"),
        ("You've hit your Opus limit · resets Nov 25, 5:56am (UTC)", "seven_day_opus"),
        ("You've hit your Sonnet limit", "seven_day_sonnet"),
        ("You've hit some other limit", None),
    ],
)
def test_a_text_names_the_limit(text: str, kind: str | None) -> None:
    assert kind == limit(text).type
