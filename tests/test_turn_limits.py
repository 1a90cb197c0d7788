"""The limits of a turn, on the real CLI: it ends when the tools of a message have returned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from asking import Options, bash

from claude_trio import (
    BackendOptions,
    HookContext,
    HookInput,
    HookMatcher,
    ResultMessage,
    Turn,
    open_backend,
)
from claude_trio._host.guest import Guest
from claude_trio._host.limits import Limits
from claude_trio.testing import LoopbackApi, tool_use

PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
USED = {"input_tokens": 1000, "output_tokens": 100}  # less than 0.1 dollars, and more than 0.001


async def result_of(turn: Turn) -> ResultMessage:
    with trio.fail_after(60):
        events = [event async for event in turn]
    assert isinstance(events[-1], ResultMessage)
    return events[-1]


async def test_a_turn_ends_after_so_many_rounds_of_tools(
    options: Options, api: LoopbackApi
) -> None:
    """Also where the tools were denied, or are none; and the next turn begins at nothing."""
    api.reply(bash("touch denied"))
    api.reply("Once more.", tool_use("NoSuchTool", {"a": 1}), bash("echo heron"))
    async with open_backend(options(max_turns=2)) as backend:
        result = await result_of(backend.complete(PROMPT))
        assert ("error_max_turns", True, 2) == (result.subtype, result.is_error, result.num_turns)
        assert "Once more." == result.result
        assert 2 == len(api.conversations)
        (session,) = backend.sessions
        assert "idle" == session.state
        api.reply(bash("echo heron"))
        api.reply("Done.")
        more = [*PROMPT, {"role": "assistant", "content": "Once more."}, *PROMPT]
        result = await result_of(backend.complete(more))
        assert ("success", "Done.", False) == (result.subtype, result.result, result.resumed)
        assert [session.pid] == [each.pid for each in backend.sessions]


async def test_the_rounds_of_a_subagent_do_not_count(options: Options, api: LoopbackApi) -> None:
    job = {"description": "look", "prompt": "look", "subagent_type": "general-purpose"}
    api.reply(tool_use("Agent", job))
    for _ in range(3):
        api.reply(bash("echo heron"))
    api.reply("Seen.")
    api.reply("Done.")
    async with open_backend(options(max_turns=2)) as backend:
        result = await result_of(backend.complete(PROMPT))
    assert ("success", "Done.") == (result.subtype, result.result)


async def test_a_turn_ends_when_its_budget_is_spent(options: Options, api: LoopbackApi) -> None:
    async with open_backend(options(include_cost=True)) as backend:
        api.reply("Hello.", usage=USED)
        one = (await result_of(backend.complete(PROMPT))).total_cost_usd
    assert one is not None
    for _ in range(4):
        api.reply(bash("echo heron"), usage=USED)
    async with open_backend(options(max_budget_usd=2.5 * one)) as backend:
        result = await result_of(backend.complete(PROMPT))
        assert ("error_max_budget_usd", True, 3) == (
            result.subtype,
            result.is_error,
            result.num_turns,
        )
        assert pytest.approx(3 * one) == result.total_cost_usd
        # The next turn has a budget of its own.
        api.reply("Done.", usage=USED)
        more = [*PROMPT, {"role": "assistant", "content": []}, *PROMPT]
        assert "success" == (await result_of(backend.complete(more))).subtype


async def test_a_callers_hook_is_called_beside_a_limit(options: Options, api: LoopbackApi) -> None:
    told: list[str] = []

    async def hook(body: HookInput, _: str | None, __: HookContext) -> None:
        told.append(body["hook_event_name"])

    api.reply(bash("echo heron"))
    hooks = {"PostToolBatch": [HookMatcher(None, hook)]}
    async with open_backend(options(max_turns=1, hooks=hooks)) as backend:
        assert "error_max_turns" == (await result_of(backend.complete(PROMPT))).subtype
    assert ["PostToolBatch"] == told


# --- without a CLI


@attrs.define(eq=False)
class FakeSession:
    """What a limit needs of a session."""

    session_id: str = "s"
    in_turn: bool = True
    cost: float | None = 0.0
    reached: list[str] = attrs.field(factory=list)

    def look_now(self) -> None:
        pass

    def callback_raised(self, name: str, reason: Exception) -> None:
        raise AssertionError(name) from reason

    def limit_reached(self, subtype: str) -> None:
        self.reached.append(subtype)


@pytest.mark.parametrize("known", [None, 1.0])
async def test_a_cost_that_is_not_told_is_no_budget(
    autojump_clock: trio.testing.MockClock, known: float | None
) -> None:
    session = FakeSession(cost=known)
    guest = Guest(session)
    guest.begin_turn(resumed=False)
    answer = await Limits(None, 5.0).after_tools(guest, {})
    assert answer is not None
    assert answer["continue"] is False
    assert "does not tell" in answer["stopReason"]
    assert ["error_max_budget_usd"] == session.reached


async def test_what_a_process_had_cost_before_is_not_counted() -> None:
    session = FakeSession(cost=None)
    guest = Guest(session)
    guest.begin_turn(resumed=False)
    limits = Limits(None, 1.0)
    # It goes on with another one's conversation, and tells the cost of both.
    session.cost = 7.0
    assert await limits.after_tools(guest, {}) is None
    session.cost = 7.5
    assert await limits.after_tools(guest, {}) is None
    assert await limits.after_tools(guest, {"agent_id": "a"}) is None
    session.cost = 8.0
    assert await limits.after_tools(guest, {"agent_id": "a"}) is not None
    assert ["error_max_budget_usd"] == session.reached


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"max_turns": 0}, ValueError),
        ({"max_turns": 1.5}, TypeError),
        ({"max_turns": True}, TypeError),
        ({"max_budget_usd": 0}, ValueError),
        ({"max_budget_usd": -1.0}, ValueError),
        ({"max_budget_usd": float("nan")}, ValueError),
        ({"max_budget_usd": float("inf")}, ValueError),
        ({"max_budget_usd": "1"}, TypeError),
        ({"max_budget_usd": True}, TypeError),
        ({"max_budget_usd": 1, "settings": {"statusLine": {}}}, ValueError),
        ({"extra_args": {"max-turns": "5"}}, ValueError),
        ({"max_turns": 1, "settings": {"disableAllHooks": True}}, ValueError),
    ],
)
def test_a_limit_that_cannot_be_is_refused(
    tmp_path: Path, how: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"max_turns|max_budget_usd|disableAllHooks"):
        BackendOptions(cwd=tmp_path, **how)
