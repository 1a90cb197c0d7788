"""What belongs to a turn of what the CLI tells its status line, without a CLI."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_trio import (
    BackendOptions,
    ContextWindow,
    RateLimit,
    RateLimitError,
    ResultMessage,
    SessionError,
    Usage,
    _cost,
    open_backend,
)
from claude_trio._protocol.cost import NOTHING_USED, CostMeter, StatusLine, parse_status_line
from claude_trio._protocol.outcome import make_result
from claude_trio.events import AssistantMessage
from claude_trio.testing import FakeCLI, World

ONE, TWO = Usage(100, 5), Usage(200, 6, 10, 20)
RESULT = ResultMessage(subtype="success", is_error=False)


def line(cost: float | None, api: int | None = None, usage: Usage | None = None) -> StatusLine:
    return StatusLine(cost, api, usage, ContextWindow(1, 2), {"five_hour": RateLimit(3)})


def test_a_message_to_the_status_line_is_read() -> None:
    told: dict[str, Any] = {
        "cost": {"total_cost_usd": 0.5, "total_api_duration_ms": 70},
        "context_window": {"context_window_size": 1000, "current_usage": TWO.to_dict()},
        "rate_limits": {
            "five_hour": {"used_percentage": 40.5, "resets_at": 1_900_000_000},
            "seven_day": {"used_percentage": 1},
            "odd": {"resets_at": 5},
        },
    }
    assert StatusLine(
        *(0.5, 70, TWO, ContextWindow(236, 1000)),
        {"five_hour": RateLimit(40.5, 1_900_000_000), "seven_day": RateLimit(1)},
    ) == parse_status_line(json.dumps(told).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert parse_status_line(data) is None


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"cost": None, "context_window": 5, "rate_limits": []},
        {"cost": {"total_cost_usd": "0.5"}, "context_window": {"current_usage": None}},
    ],
)
def test_what_a_message_does_not_have_is_none(told: dict[str, Any]) -> None:
    assert StatusLine() == parse_status_line(json.dumps(told).encode())


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan, 10**400])
def test_a_number_that_is_no_amount_is_none(odd: float) -> None:
    told: dict[str, Any] = {
        "cost": {"total_cost_usd": odd, "total_api_duration_ms": odd},
        "context_window": {"context_window_size": odd, "current_usage": TWO.to_dict()},
        "rate_limits": {"five_hour": {"used_percentage": odd}},
    }
    assert StatusLine(usage=TWO) == parse_status_line(json.dumps(told).encode())


def test_a_turn_has_what_was_added_since_the_one_before() -> None:
    meter = CostMeter(NOTHING_USED)
    meter.begin()
    meter.answer(ONE)
    meter.tell(line(0.25, 40, ONE))
    first = meter.add_to(RESULT)
    assert (0.25, 40, ContextWindow(1, 2), {"five_hour": RateLimit(3)}) == (
        *(first.total_cost_usd, first.duration_api_ms, first.context_window, first.rate_limits),
    )
    meter.begin()
    meter.answer(TWO)
    assert RESULT == meter.add_to(RESULT)  # what was told is about the turn before
    meter.tell(line(1.0, 100, TWO))
    second = meter.add_to(RESULT)
    assert (0.75, 60) == (second.total_cost_usd, second.duration_api_ms)


def test_a_message_of_the_same_usage_as_the_one_before_is_waited_for() -> None:
    meter = CostMeter(NOTHING_USED)
    steps = [
        *(partial(meter.tell, line(0.25, 40, ONE)), partial(meter.answer, ONE)),
        partial(meter.tell, line(0.5, 80, ONE)),
    ]
    complete = []
    for step in steps:
        step()
        complete.append(meter.complete)
    assert [True, False, True] == complete


def test_what_is_not_known_is_no_guess() -> None:
    resumed = CostMeter(None)
    resumed.begin()
    resumed.answer(ONE)  # before anything was told
    resumed.tell(line(7.0, 70, ONE))
    told = resumed.add_to(RESULT)
    assert (None, None, ContextWindow(1, 2)) == (
        *(told.total_cost_usd, told.duration_api_ms, told.context_window),
    )
    in_time = CostMeter(None)
    in_time.begin()
    in_time.tell(line(7.0, 70))
    in_time.answer(ONE)
    in_time.tell(line(7.5, 70, ONE))
    assert 0.5 == in_time.add_to(RESULT).total_cost_usd
    late = CostMeter(NOTHING_USED)
    late.begin()
    late.answer(ONE)
    late.begin()  # of the first turn nothing was told: this one would get its cost
    late.answer(TWO)
    late.tell(line(1.0, None, TWO))
    assert late.add_to(RESULT).total_cost_usd is None


def test_a_limit_that_is_used_up_explains_an_error_that_does_not_say_so() -> None:
    limits = {"five_hour": RateLimit(20, 5), "seven_day": RateLimit(100, 1_900_000_000)}
    meter = CostMeter(StatusLine(rate_limits=limits))
    error = RateLimitError("limit")
    meter.explain(error)
    assert (1_900_000_000, "seven_day") == (error.resets_at, error.limit_type)
    known = RateLimitError("limit", resets_at=7.0)
    meter.explain(known)
    assert 7.0 == known.resets_at
    other = SessionError("x")
    meter.explain(other)
    CostMeter(None).explain(error)


def test_each_model_has_its_own_usage_and_subagents_count() -> None:
    def said(name: str, model: str, usage: Usage, call: str | None = None) -> AssistantMessage:
        return AssistantMessage(
            content=(), message_id=name, model=model, usage=usage, parent_tool_use_id=call
        )

    events = [
        *(said("1", "big", ONE), said("1", "big", ONE), said("2", "small", TWO, "call")),
        said("3", "big", TWO),
    ]
    made = make_result("completed", events, duration_ms=1, elapsed=1.0)
    assert {"big": ONE + TWO, "small": TWO} == made.model_usage
    assert ONE + TWO == made.usage


async def test_a_cli_that_tells_nothing_costs_a_turn_a_bounded_time(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cost, "_PATIENCE", 0.3)
    fake = FakeCLI(tmp_path)
    env = world.env("http://127.0.0.1:9", **fake.env())
    options = BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env, include_cost=True)
    with trio.fail_after(60):
        async with open_backend(options) as backend:
            turn = backend.complete([{"role": "user", "content": "hi"}])
            assert "echo: hi" == await turn.get_final_text()
    assert turn.result is not None
    assert (None, None) == (turn.result.total_cost_usd, turn.result.context_window)


async def test_a_turn_that_nobody_wants_does_not_wait_for_its_cost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cost, "_PATIENCE", 1000.0)
    fake = FakeCLI(tmp_path)
    env = world.env("http://127.0.0.1:9", **fake.env())
    options = BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env, include_cost=True)
    with trio.fail_after(60):
        async with open_backend(options) as backend:
            async with backend.complete([{"role": "user", "content": "hi"}]) as turn:
                async for event in turn:
                    if isinstance(event, AssistantMessage):
                        break
            assert ["idle"] == [session.state for session in backend.sessions]


def test_the_last_message_that_was_told_is_kept_whole(tmp_path: Path) -> None:
    """A message that is being written is not looked at, and one that is torn is not believed."""
    watch = _cost.CostWatch(tmp_path / "told")
    (tmp_path / "told").write_text("{")
    watch.begin()
    assert NOTHING_USED == watch._meter.latest
