"""The limits of a turn, looked at whenever the tools of a message of the model have returned.

An interactive CLI has no limits of its own, but it ends a turn at once, without another request, when its
PostToolBatch hook says so. Its status line tells what it has cost about 0.3 seconds after each message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from .guest import Guest

_PATIENCE: Final = 3.0  # seconds until what has not come is believed not to
_INTERVAL: Final = 0.02


@attrs.frozen
class Limits:
    """The limits of each turn.

    Args:
        max_turns: How many messages of the model may call tools.
        max_budget_usd: What may be spent, in US dollars, until there is no further request.
        hooks: How many hooks of the caller's own are called for the same event.
    """

    max_turns: int | None
    max_budget_usd: float | None
    hooks: int = 0

    async def after_tools(self, guest: Guest, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Answer a PostToolBatch hook."""
        await trio.lowlevel.checkpoint()
        guest.batches += 1
        answer = await self._answer(guest, own=body.get("agent_id") is None)
        if answer is not None:
            # With the first hook that ends the turn the CLI asks no others.
            with trio.move_on_after(_PATIENCE):  # noqa: ASYNC912 - the loop ends it
                while guest.batches_heard < guest.batches * self.hooks:  # noqa: ASYNC110 - a count
                    await trio.sleep(_INTERVAL)
        return answer

    async def _answer(self, guest: Guest, *, own: bool) -> Mapping[str, Any] | None:
        await trio.lowlevel.checkpoint()
        guest.rounds += own  # and not those of a subagent
        if own and self.max_turns is not None and guest.rounds >= self.max_turns:
            return _stop(guest, "error_max_turns", f"{self.max_turns} rounds of tools were made")
        if self.max_budget_usd is None:
            return None
        if own:
            with trio.move_on_after(_PATIENCE):  # noqa: ASYNC912 - the loop ends it
                # Of a file there is no event.
                while guest.session.cost in {None, guest.cost_seen}:  # noqa: ASYNC110
                    await trio.sleep(_INTERVAL)
        told = guest.session.cost
        if told is None or (own and told == guest.cost_seen):
            why = "the CLI does not tell what it costs"  # which no budget can bear
            return _stop(guest, "error_max_budget_usd", why)
        guest.cost_seen = told
        if guest.cost_before is None:
            guest.cost_before = told
        if told - guest.cost_before < self.max_budget_usd:
            return None
        return _stop(guest, "error_max_budget_usd", f"{self.max_budget_usd:g} US dollars are spent")


def _stop(guest: Guest, subtype: str, why: str) -> Mapping[str, Any]:
    guest.session.limit_reached(subtype)
    return {"continue": False, "stopReason": f"The application ends the turn: {why}."}
