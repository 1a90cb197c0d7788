"""Permissions, questions and plans on the real CLI: the host decides, and what goes wrong is a no."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import pytest
import trio
from asking import Endless, Options, bash, read, results

from claude_trio import (
    Allow,
    AssistantMessage,
    BackendError,
    Deny,
    Event,
    PermissionRequest,
    PlanRequest,
    Question,
    QuestionOption,
    QuestionRequest,
    ResultMessage,
    SessionError,
    open_backend,
)
from claude_trio.testing import LoopbackApi, World, tool_use

pytestmark = pytest.mark.real_cli

PROMPT = [{"role": "user", "content": "go"}]


def files(world: World) -> set[str]:
    return {path.name for path in world.cwd.iterdir()}


def session_rule(content: str) -> dict[str, Any]:
    rule = {"toolName": "Bash", "ruleContent": content}
    return {"type": "addRules", "rules": [rule], "behavior": "allow", "destination": "session"}


async def test_each_answer_has_its_effect(options: Options, api: LoopbackApi, world: World) -> None:
    asked: list[PermissionRequest] = []

    async def decide(request: PermissionRequest) -> Allow | Deny:
        asked.append(request)
        match request.input["command"]:
            case "touch denied":
                return Deny("not that one")
            case "touch changed":
                return Allow({"command": "touch other"})
            case "touch ruled":
                return Allow(updated_permissions=[session_rule("touch *")])
        return Allow()

    commands = ["touch plain", "touch denied", "touch changed", "touch ruled", "echo said"]
    calls = [bash(command) for command in commands]
    api.reply(*calls)
    async with open_backend(options(on_permission=decide)) as backend:
        events = await read(backend.complete(PROMPT))
        session = backend.sessions[0].session_id
    assert {"plain", "other", "ruled"} == files(world)
    assert [False, True, False, False, False] == [block.is_error for block in results(events)]
    assert "not that one" in str(results(events)[1].content)
    assert "said" in str(results(events)[4].content)
    # The transcript keeps what the model had asked for.
    said = [e for e in events if isinstance(e, AssistantMessage)]
    assert "touch changed" in [
        b.to_dict().get("input", {}).get("command") for e in said for b in e.content
    ]
    assert [
        ("Bash", call["id"], command, None, "dontAsk", session)
        for call, command in zip(calls, commands, strict=True)
    ] == [
        (
            r.tool_name,
            r.tool_use_id,
            r.input["command"],
            r.agent_id,
            r.permission_mode,
            r.session_id,
        )
        for r in asked
    ]


async def test_a_denial_may_end_the_turn(options: Options, api: LoopbackApi, world: World) -> None:
    async def decide(_: PermissionRequest) -> Allow | Deny:
        return Deny("stop it", interrupt=True)

    api.reply(bash("touch file"))
    api.reply("Warm again.")
    async with open_backend(options(on_permission=decide)) as backend:
        first = backend.complete(PROMPT)
        result = (await read(first))[-1]
        assert isinstance(result, ResultMessage)
        assert ("interrupted", False) == (result.subtype, result.is_error)
        assert "idle" == backend.sessions[0].state
    assert set() == files(world)
    assert 1 == len(api.conversations)


async def test_a_callback_that_raises_denies_and_its_exception_reaches_the_reader(
    options: Options, api: LoopbackApi, world: World
) -> None:
    oops = ValueError("oops")

    async def decide(_: PermissionRequest) -> Allow | Deny:
        raise oops

    api.reply(bash("touch file"))
    async with open_backend(options(on_permission=decide)) as backend:
        turn = backend.complete(PROMPT)
        with pytest.raises(BackendError, match="on_permission raised ValueError") as caught:
            await read(turn)
        assert ("callback", oops) == (caught.value.kind, caught.value.__cause__)
        assert turn.result is not None
        assert turn.result.is_error
        assert "idle" == backend.sessions[0].state
    assert set() == files(world)


async def test_a_callback_that_returns_nonsense_denies(
    options: Options, api: LoopbackApi, world: World
) -> None:
    async def decide(_: PermissionRequest) -> Any:
        return True

    api.reply(bash("touch file"))
    async with open_backend(options(on_permission=decide)) as backend:
        with pytest.raises(BackendError, match="must return Allow or Deny, not True"):
            await read(backend.complete(PROMPT))
    assert set() == files(world)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_callback_that_never_returns_is_cancelled_with_its_turn(
    options: Options, api: LoopbackApi, world: World, *, stubborn: bool
) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def decide(_: PermissionRequest) -> Allow | Deny:
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if not stubborn:
                raise
        finally:
            ended.set()
        return Allow()

    api.reply(bash("touch file"))
    async with open_backend(options(on_permission=decide)) as backend:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(read, backend.complete(PROMPT)))
                await begun.wait()
                nursery.cancel_scope.cancel()
            await ended.wait()
        assert "idle" == backend.sessions[0].state
        api.reply("Still here.")
        assert "Still here." == await backend.complete(PROMPT).get_final_text()
    assert set() == files(world)


async def test_a_backend_that_is_left_cancels_its_callbacks(
    options: Options, api: LoopbackApi, world: World
) -> None:
    decide = Endless()
    api.reply(bash("touch file"))
    with trio.fail_after(60):
        async with (
            trio.open_nursery() as nursery,
            open_backend(options(on_permission=decide)) as backend,
        ):
            nursery.start_soon(partial(read, backend.complete(PROMPT)))
            await decide.begun.wait()
            nursery.cancel_scope.cancel()
    assert decide.ended.is_set()
    assert set() == files(world)


@pytest.mark.parametrize("mode", ["dontAsk", "plan"])
async def test_a_host_that_is_gone_denies(
    options: Options, api: LoopbackApi, world: World, mode: str
) -> None:
    """But on 2.1.197 a command runs that changes nothing, as it would without a hook."""

    async def decide(_: PermissionRequest) -> Allow | Deny:
        return Allow()

    gate = trio.Event()
    api.reply(bash("echo heron"), bash("touch file"), hold_before=gate)
    events: list[Event] = []
    async with open_backend(options(on_permission=decide, permission_mode=mode)) as backend:
        turn = backend.complete(PROMPT)

        async def consume() -> None:
            # On 2.1.197 there is a dialog in plan mode; nobody answers it, so the turn ends.
            with contextlib.suppress(SessionError), trio.fail_after(60):
                async for event in turn:
                    events.append(event)  # noqa: PERF401 - those before an error count too

        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            with trio.fail_after(60):
                await api.wait_until_held(gate)
            host = backend._sessions[0].host
            assert host is not None
            host.close()
            gate.set()
        assert turn.session is not None
        version = turn.session.cli_version
    assert [version != "2.1.197", True] == [block.is_error for block in results(events)]
    assert set() == files(world)


async def test_a_slow_callback_delays_only_its_own_call(
    options: Options, api: LoopbackApi, world: World
) -> None:
    """Calls that the CLI makes at the same time are asked about at the same time."""
    (world.cwd / "a.txt").write_text("a")
    second = trio.Event()

    async def decide(request: PermissionRequest) -> Allow | Deny:
        if request.input["pattern"] == "first":
            await second.wait()
        else:
            second.set()
        return Allow()

    api.reply(*(tool_use("Grep", {"pattern": pattern}) for pattern in ("first", "second")))
    async with open_backend(options(on_permission=decide)) as backend:
        await read(backend.complete(PROMPT))


async def test_a_callback_that_thinks_is_no_stall(options: Options, api: LoopbackApi) -> None:
    """The CLI paints its screen meanwhile, and that is a sign of life."""

    async def decide(_: PermissionRequest) -> Allow | Deny:
        await trio.sleep(4)
        return Allow()

    api.reply(bash("echo said"))
    async with open_backend(options(on_permission=decide, stall_timeout=2)) as backend:
        (block,) = results(await read(backend.complete(PROMPT)))
    assert "said" in str(block.content)


async def test_the_calls_of_a_subagent_carry_its_id(
    options: Options, api: LoopbackApi, world: World
) -> None:
    asked: list[PermissionRequest] = []

    async def decide(request: PermissionRequest) -> Allow | Deny:
        asked.append(request)
        return Deny("no") if request.agent_id else Allow()

    job = {"description": "look", "prompt": "look", "subagent_type": "general-purpose"}
    api.reply(tool_use("Agent", job))
    api.reply(bash("touch file"))
    async with open_backend(options(on_permission=decide)) as backend:
        await read(backend.complete(PROMPT))
    assert ["Agent", "Bash"] == [request.tool_name for request in asked]
    assert asked[0].agent_id is None
    assert asked[1].agent_id
    assert "general-purpose" == asked[1].agent_type
    assert set() == files(world)


QUESTIONS: dict[str, Any] = {
    "questions": [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [
                {"label": "Blue", "description": "like the sea"},
                {"label": "Red", "description": "like a rose"},
            ],
        }
    ]
}


async def test_questions_are_answered(options: Options, api: LoopbackApi) -> None:
    asked: list[QuestionRequest] = []

    async def answer(request: QuestionRequest) -> dict[str, Any] | Deny:
        asked.append(request)
        match len(asked):
            case 1:
                return {"Which colour?": "Blue"}
            case 2:
                return {"Which colour?": ["Blue", "a warm one"]}
        return Deny("ask me later")

    for _ in range(3):
        api.reply(tool_use("AskUserQuestion", QUESTIONS))
    async with open_backend(options(on_question=answer)) as backend:
        events = await read(backend.complete(PROMPT))
    one, several, none = (str(block.content) for block in results(events))
    assert '"Which colour?"="Blue"' in one
    assert '"Which colour?"="Blue, a warm one"' in several
    assert "ask me later" in none
    offered = (QuestionOption("Blue", "like the sea"), QuestionOption("Red", "like a rose"))
    assert (Question("Which colour?", "Colour", offered),) == asked[0].questions


async def test_an_answer_to_another_question_is_refused(options: Options, api: LoopbackApi) -> None:
    async def answer(_: QuestionRequest) -> dict[str, str]:
        return {"Which size?": "XL"}

    api.reply(tool_use("AskUserQuestion", QUESTIONS))
    async with open_backend(options(on_question=answer)) as backend:
        with pytest.raises(BackendError, match="'Which size\\?', which was not asked"):
            await read(backend.complete(PROMPT))


async def test_questions_that_nobody_answers_are_denied_without_a_dialog(
    options: Options, api: LoopbackApi
) -> None:
    async def decide(_: PermissionRequest) -> Allow | Deny:
        return Allow()

    api.reply(tool_use("AskUserQuestion", QUESTIONS))
    async with open_backend(options()) as backend:
        (block,) = results(await read(backend.complete(PROMPT)))
        assert block.is_error
    api.reply(tool_use("AskUserQuestion", QUESTIONS))
    async with open_backend(options(on_permission=decide)) as backend:
        (block,) = results(await read(backend.complete(PROMPT)))
        assert block.is_error


async def test_a_plan_is_revised_then_approved_and_the_host_goes_on_deciding(
    options: Options, api: LoopbackApi, world: World
) -> None:
    asked: list[PermissionRequest] = []
    plans: list[PlanRequest] = []

    async def approve(request: PlanRequest) -> Allow | Deny:
        plans.append(request)
        return Deny("make it shorter") if len(plans) == 1 else Allow()

    async def decide(request: PermissionRequest) -> Allow | Deny:
        asked.append(request)
        return Deny("no") if "denied" in request.input["command"] else Allow()

    api.reply(bash("touch planning"))
    api.reply(tool_use("ExitPlanMode", {"plan": "do it all"}))
    api.reply(tool_use("ExitPlanMode", {"plan": "do it"}))
    api.reply(bash("touch done"), bash("touch denied"))
    how = {"permission_mode": "plan", "on_plan": approve, "on_permission": decide}
    async with open_backend(options(**how)) as backend:
        events = await read(backend.complete(PROMPT))
    assert [False, True, False, False, True] == [block.is_error for block in results(events)]
    assert "make it shorter" in str(results(events)[1].content)
    assert ["plan", "dontAsk", "dontAsk"] == [request.permission_mode for request in asked]
    assert {"planning", "done"} == files(world)
    assert all(plan.plan in {None, "do it all", "do it"} for plan in plans)


async def test_without_callbacks_nothing_is_registered_and_calls_are_denied(
    options: Options, api: LoopbackApi, world: World
) -> None:
    api.reply(bash("touch file"))
    async with open_backend(options()) as backend:
        (block,) = results(await read(backend.complete(PROMPT)))
        assert backend._sessions[0].host is None
    assert block.is_error
    assert set() == files(world)
