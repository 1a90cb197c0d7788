"""What the CLI tells its status line, and what of that belongs to one turn.

The CLI counts for the whole process, and tells some time after each API message, so what it told is
complete when it has the usage of the model's last message in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..errors import BackendError, RateLimitError
from ..events import ContextWindow, RateLimit, ResultMessage, Usage
from .normalize import structure_usage
from .objects import parse_object

_USED_UP: Final = 100  # per cent
#: What is more is no amount; nor is ``NaN`` or ``Infinity``, which Python takes for JSON.
_MOST: Final = 1e15


@attrs.frozen
class StatusLine:
    """One message to the status line; what it does not have is None.

    Attributes:
        total_cost_usd: What the process has cost so far, in US dollars by the API's prices.
        total_api_duration_ms: Milliseconds that the process has waited for the API.
        usage: That of the model's last message.
        context_window: How full the context is.
        rate_limits: The limits of the plan, by their names.
    """

    total_cost_usd: float | None = None
    total_api_duration_ms: int | None = None
    usage: Usage | None = None
    context_window: ContextWindow | None = None
    rate_limits: Mapping[str, RateLimit] | None = None


def parse_status_line(data: bytes) -> StatusLine | None:
    """Return what a message to the status line says; None if it is no such message."""
    raw = parse_object(data)
    if raw is None:
        return None
    cost, context = _mapping(raw.get("cost")), _mapping(raw.get("context_window"))
    duration = _number(cost.get("total_api_duration_ms"))
    current = context.get("current_usage")
    usage = structure_usage(current) if isinstance(current, Mapping) else None
    return StatusLine(
        total_cost_usd=_number(cost.get("total_cost_usd")),
        total_api_duration_ms=None if duration is None else round(duration),
        usage=usage,
        context_window=_context_window(usage, _number(context.get("context_window_size"))),
        rate_limits=_rate_limits(_mapping(raw.get("rate_limits"))),
    )


def _context_window(usage: Usage | None, size: float | None) -> ContextWindow | None:
    if usage is None or size is None:
        return None
    return ContextWindow(used_tokens=sum(attrs.astuple(usage)), size=round(size))


def _rate_limits(raw: Mapping[str, Any]) -> dict[str, RateLimit] | None:
    found = {
        name: RateLimit(used, _number(_mapping(limit).get("resets_at")))
        for name, limit in raw.items()
        if (used := _number(_mapping(limit).get("used_percentage"))) is not None
    }
    return found or None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) < _MOST else None


@attrs.define(eq=False)
class CostMeter:
    """Takes apart by turns what a process tells of itself as a whole.

    Args:
        before: What the process has told before its first turn: nothing used, in a new process;
            None if that is not known.
    """

    before: StatusLine | None
    latest: StatusLine | None = attrs.field(init=False)
    #: The usage of the model's last message, and whether anything was told since.
    _answered: Usage | None = None
    _told_since: bool = False

    def __attrs_post_init__(self) -> None:
        self.latest = self.before

    def tell(self, line: StatusLine) -> None:
        """Take what the CLI has just told."""
        self.latest, self._told_since = line, True
        if self.before is None and self._answered is None:  # told late, but of what went before
            self.before = line

    def answer(self, usage: Usage) -> None:
        """Take the usage of a message of the model, as its record has it."""
        self._answered, self._told_since = usage, False

    def begin(self) -> None:
        """A turn begins: what was told so far belongs to others, as far as it is complete."""
        self.before = self.latest if self.matches else None

    @property
    def matches(self) -> bool:
        """Whether what was told has the model's last message in it, as far as usage tells."""
        if self.latest is None:
            return False
        return self._answered is None or self.latest.usage == self._answered

    @property
    def complete(self) -> bool:
        """Whether what was told is about the model's last message for certain."""
        return self.matches and (self._told_since or self._answered is None)

    def add_to(self, result: ResultMessage) -> ResultMessage:
        """Return the result of the turn with what was told of it."""
        now, before = self.latest, self.before
        if now is None or not self.matches:
            return result
        cost = duration = None
        if before is not None:
            if now.total_cost_usd is not None and before.total_cost_usd is not None:
                cost = max(0.0, now.total_cost_usd - before.total_cost_usd)
            if now.total_api_duration_ms is not None and before.total_api_duration_ms is not None:
                duration = max(0, now.total_api_duration_ms - before.total_api_duration_ms)
        return attrs.evolve(
            result,
            total_cost_usd=cost,
            duration_api_ms=duration,
            context_window=now.context_window,
            rate_limits=now.rate_limits,
        )

    def explain(self, error: BackendError) -> None:
        """Add to an error about a limit what was told of the one that is used up, if it lacks it."""
        limits = self.latest.rate_limits if self.latest is not None else None
        if not isinstance(error, RateLimitError) or error.resets_at is not None or not limits:
            return
        for name, limit in limits.items():
            if limit.used_percentage >= _USED_UP and limit.resets_at is not None:
                error.resets_at, error.limit_type = limit.resets_at, error.limit_type or name


#: What a process has used that has done nothing.
NOTHING_USED = StatusLine(total_cost_usd=0.0, total_api_duration_ms=0)
