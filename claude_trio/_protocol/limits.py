"""When a usage limit is lifted, and which one it is, from the record that reports it.

Newer versions write both into the record (``quotaLimits``). 2.1.197 only says them, in the time zone
of its environment: ``You've hit your session limit · resets Nov 25, 5:56am (UTC)``.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Mapping
from typing import Final

import attrs

from .records import Record

_RESET: Final = re.compile(
    r"resets (?:(?P<month>[A-Z][a-z]{2}) (?P<day>\d{1,2}),? (?:at )?)?"
    r"(?P<hour>1[0-2]|[1-9])(?::(?P<minute>\d{2}))? ?(?P<half>[ap])m \((?P<zone>[^)]+)\)"
)
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_LATEST: Final = 1e11  # seconds since the epoch; what is later is no time
#: What a text calls a limit, and what a record calls it.
_NAMES: Final[Mapping[str, str]] = {
    "5-hour limit": "five_hour",
    "session limit": "five_hour",
    "weekly limit": "seven_day",
    "Opus limit": "seven_day_opus",
    "Sonnet limit": "seven_day_sonnet",
}


@attrs.frozen
class Limit:
    """What a record tells of a limit.

    Attributes:
        resets_at: When it is lifted, in seconds since the epoch, if that is told.
        type: Which limit it is, if that is told.
        retry_after: Seconds from the record to `resets_at`.
    """

    resets_at: float | None = None
    type: str | None = None
    retry_after: float | None = None


def limit_of(record: Record) -> Limit:
    """Return what an error record tells of the limit that it reports."""
    written = _timestamp(record)
    limits = record.raw.get("quotaLimits")
    limits = limits if isinstance(limits, Mapping) else {}
    resets_at, kind = _moment(limits.get("resetsAt")), limits.get("rateLimitType")
    if resets_at is None and written is not None:
        resets_at = _reset_in(record.text, written)
    if not isinstance(kind, str):
        kind = next((code for name, code in _NAMES.items() if name in record.text), None)
    if resets_at is None:
        return Limit(type=kind)
    after = None if written is None else max(0.0, resets_at - written.timestamp())
    return Limit(resets_at, kind, after)


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < _LATEST else None


def _timestamp(record: Record) -> datetime.datetime | None:
    try:
        written = datetime.datetime.fromisoformat(record.timestamp or "")
    except ValueError:
        return None
    return written if written.tzinfo is not None else None


def _reset_in(text: str, written: datetime.datetime) -> float | None:
    """Return the first moment after `written` that a text means, in seconds since the epoch."""
    found = _RESET.search(text)
    if found is None:
        return None
    try:
        local = written.astimezone(zoneinfo.ZoneInfo(found["zone"]))
        hour = int(found["hour"]) % 12 + 12 * (found["half"] == "p")
        time = datetime.time(hour, int(found["minute"] or 0))
        date = local.date()
        if found["month"] is not None:
            date = date.replace(month=_MONTHS.index(found["month"]) + 1, day=int(found["day"]))
        reset = datetime.datetime.combine(date, time, local.tzinfo)
        # The text names no year, and the short form no day. It is cut to the minute, so the minute
        # of the record itself is still to come.
        if reset < local - datetime.timedelta(minutes=1):
            next_day = date + datetime.timedelta(days=1)
            date = next_day if found["month"] is None else date.replace(year=date.year + 1)
            reset = datetime.datetime.combine(date, time, local.tzinfo)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return None  # no such zone here, or no such date
    return reset.timestamp()
