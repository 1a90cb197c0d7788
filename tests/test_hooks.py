"""Hooks as functions of trio, on the real CLI; and what is refused before anything starts."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from asking import Options, bash, read, results

from claude_trio import (
    Allow,
    AssistantMessage,
    BackendError,
    BackendOptions,
    Deny,
    HookContext,
    HookInput,
    HookMatcher,
    HookOutput,
    PermissionRequest,
    ResultMessage,
    open_backend,
)
from claude_trio._protocol import hooks as protocol
from claude_trio.testing import LoopbackApi, World

PROMPT = [{"role": "user", "content": "go"}]


async def nothing(_: HookInput, __: str | None, ___: HookContext) -> HookOutput | None:
    await trio.lowlevel.checkpoint()
    return None


# --- on the real CLI


async def test_hooks_are_told_in_order_with_their_inputs(
    options: Options, api: LoopbackApi
) -> None:
    told: list[tuple[str, str | None]] = []
    inputs: dict[str, HookInput] = {}
    places: set[HookContext] = set()

    async def hook(body: HookInput, call: str | None, context: HookContext) -> HookOutput | None:
        told.append((body["hook_event_name"], call))
        inputs.setdefault(body["hook_event_name"], body)
        places.add(context)
        return {}

    async def other(body: HookInput, _: str | None, __: HookContext) -> None:
        raise AssertionError(body)

    call = bash("echo heron")
    api.reply(call)
    api.reply("done")
    every = [HookMatcher(None, hook)]
    registered = {
        "UserPromptSubmit": every,
        "PreToolUse": [HookMatcher("Bash", hook), HookMatcher("Write|Edit", other)],
        "PostToolUse": [HookMatcher(hooks=[hook])],
        "PostToolBatch": every,
        "Stop": every,
    }
    async with open_backend(options(hooks=registered)) as backend:
        events = await read(backend.complete(PROMPT))
        session = backend.sessions[0].session_id
    assert [
        ("UserPromptSubmit", None),
        ("PreToolUse", call["id"]),
        ("PostToolUse", call["id"]),
        ("PostToolBatch", None),
        ("Stop", None),
    ] == told
    assert "go" == inputs["UserPromptSubmit"]["prompt"]
    assert "echo heron" == inputs["PreToolUse"]["tool_input"]["command"]
    assert "heron" == inputs["PostToolUse"]["tool_response"]["stdout"]
    assert "done" == inputs["Stop"]["last_assistant_message"]
    assert {HookContext(session, in_turn=True)} == places
    # An empty answer leaves no record of the hook.
    kinds = {e.raw.get("type") for e in events}
    assert "attachment" not in kinds


async def test_a_hook_may_decide_change_and_end(
    options: Options, api: LoopbackApi, world: World
) -> None:
    async def before(body: HookInput, _: str | None, __: HookContext) -> HookOutput | None:
        if "denied" in body["tool_input"]["command"]:
            return {
                "hookSpecificOutput": {
                    "hookEventName": "PreToolUse",
                    "permissionDecision": "deny",
                    "permissionDecisionReason": "not that one",
                }
            }
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "updatedInput": {"command": "touch changed"},
            }
        }

    async def batch(_: HookInput, __: str | None, ___: HookContext) -> HookOutput | None:
        return {"continue_": False, "stopReason": "enough"}

    api.reply(bash("touch denied"), bash("touch plain"))
    registered = {
        "PreToolUse": [HookMatcher("Bash", before)],
        "PostToolBatch": [HookMatcher(None, batch)],
    }
    async with open_backend(options(hooks=registered)) as backend:
        events = await read(backend.complete(PROMPT))
    assert "not that one" in str(results(events)[0].content)
    assert {"changed"} == {path.name for path in world.cwd.iterdir()}
    assert isinstance(events[-1], ResultMessage)
    assert 1 == len(api.conversations)


async def test_a_prompt_may_be_added_to(options: Options, api: LoopbackApi) -> None:
    async def add(_: HookInput, __: str | None, ___: HookContext) -> HookOutput | None:
        more = {"hookEventName": "UserPromptSubmit", "additionalContext": "mind the gap"}
        return {"hookSpecificOutput": more}

    api.reply("ok")
    async with open_backend(options(hooks={"UserPromptSubmit": [HookMatcher(None, add)]})) as b:
        await read(b.complete(PROMPT))
    assert "mind the gap" in json.dumps(api.conversations[0].body["messages"])


@pytest.mark.parametrize("returned", ["raises", 7, {"x": float("nan")}])
async def test_a_prompt_whose_hook_fails_is_not_sent(
    options: Options, api: LoopbackApi, returned: Any
) -> None:
    async def broken(_: HookInput, __: str | None, ___: HookContext) -> Any:
        if returned == "raises":
            raise LookupError("oops")
        return returned

    async with open_backend(options(hooks={"UserPromptSubmit": [HookMatcher(None, broken)]})) as b:
        with pytest.raises(BackendError, match="the hook for UserPromptSubmit raised") as caught:
            await read(b.complete(PROMPT))
    assert "callback" == caught.value.kind
    assert [] == api.conversations


@pytest.mark.parametrize("returned", ["raises", 7, {"x": object()}, {"x": float("nan")}])
async def test_a_hook_that_fails_denies_and_its_exception_reaches_the_reader(
    options: Options, api: LoopbackApi, world: World, returned: Any
) -> None:
    async def allow(_: PermissionRequest) -> Allow | Deny:
        return Allow()

    async def broken(_: HookInput, __: str | None, ___: HookContext) -> Any:
        if returned == "raises":
            raise LookupError("oops")
        return returned

    api.reply(bash("touch file"))
    how = {"hooks": {"PreToolUse": [HookMatcher("Bash", broken)]}, "on_permission": allow}
    async with open_backend(options(**how)) as backend:
        with pytest.raises(BackendError, match="the hook for PreToolUse raised") as caught:
            await read(backend.complete(PROMPT))
    assert "callback" == caught.value.kind
    assert isinstance(caught.value.__cause__, LookupError | TypeError | ValueError)
    assert [] == list(world.cwd.iterdir())


async def test_a_hook_that_fails_outside_of_a_turn_is_logged(
    options: Options, api: LoopbackApi, caplog: pytest.LogCaptureFixture
) -> None:
    called = trio.Event()

    async def broken(_: HookInput, __: str | None, context: HookContext) -> None:
        called.set()
        raise LookupError(str(context.in_turn))

    api.reply("ok")
    registered = {"SessionEnd": [HookMatcher(None, broken)]}
    with caplog.at_level(logging.ERROR, "claude_trio"):
        async with open_backend(options(hooks=registered)) as backend:
            await read(backend.complete(PROMPT))
        assert called.is_set()
    assert "the hook for SessionEnd raised LookupError('False')" in caplog.text


async def test_who_cancels_the_backend_does_not_take_the_host_from_its_sessions(
    options: Options, api: LoopbackApi
) -> None:
    """They settle first, and what the CLI asks meanwhile has an answer."""
    ended = trio.Event()

    async def note(_: HookInput, __: str | None, ___: HookContext) -> None:
        ended.set()

    gate = trio.Event()
    api.reply("Never.", hold_before=gate)
    registered = {"SessionEnd": [HookMatcher(None, note)]}
    with trio.fail_after(60):
        async with (
            trio.open_nursery() as nursery,
            open_backend(options(hooks=registered)) as backend,
        ):
            nursery.start_soon(read, backend.complete(PROMPT))
            await api.wait_until_held(gate)
            nursery.cancel_scope.cancel()
    assert ended.is_set()


@pytest.mark.parametrize("with_hooks", [False, True])
async def test_hooks_change_nothing_but_the_time(
    options: Options, api: LoopbackApi, *, with_hooks: bool
) -> None:
    """The same events with hooks and without; a summary of the hook of the end is all there is more."""
    every = ["UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "MessageDisplay"]
    registered = {event: [HookMatcher(None, nothing)] for event in every} if with_hooks else {}
    api.reply("Let me look.", bash("echo hi"))
    api.reply("It says hi.")
    async with open_backend(options(hooks=registered)) as backend:
        events = await read(backend.complete(PROMPT))
        assert "idle" == backend.sessions[0].state
    shapes = [
        (type(event).__name__, getattr(event, "subtype", None))
        for event in events
        if getattr(event, "subtype", None) != "stop_hook_summary"
    ]
    assert [
        ("UserMessage", None),
        ("AssistantMessage", None),
        ("AssistantMessage", None),
        ("UserMessage", None),
        ("AssistantMessage", None),
        ("SystemMessage", "turn_duration"),
        ("ResultMessage", "success"),
    ] == shapes
    assert "It says hi." == [e.text for e in events if isinstance(e, AssistantMessage)][-1]


async def test_the_callers_own_hooks_in_the_settings_stay(
    options: Options, api: LoopbackApi, world: World
) -> None:
    api.reply("ok")
    mark = world.root / "mark"
    own = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": f"touch {mark}"}]}]}}
    registered = {"Stop": [HookMatcher(None, nothing)]}
    async with open_backend(options(settings=own, hooks=registered)) as backend:
        await read(backend.complete(PROMPT))
    assert mark.exists()


# --- without a CLI


async def decide(_: PermissionRequest) -> Allow | Deny:
    return Allow()


async def answer(_: Any) -> dict[str, str]:
    return {}


def plain(_: Any) -> Any:
    return None


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ({"on_permission": 7}, TypeError, "on_permission must be an async function"),
        ({"on_permission": plain}, TypeError, "an ordinary one"),
        ({"on_question": "x"}, TypeError, "on_question must be"),
        ({"on_plan": Allow}, TypeError, "on_plan must be"),
        (
            {"on_permission": decide, "permission_mode": "default"},
            ValueError,
            "on_permission needs permission_mode 'dontAsk'",
        ),
        (
            {"on_plan": decide, "permission_mode": "bypassPermissions"},
            ValueError,
            "on_plan needs permission_mode",
        ),
        (
            {"on_question": answer, "dangerously_skip_permissions": True},
            ValueError,
            "on_question decides nothing",
        ),
        (
            {"on_permission": decide, "settings": {"disableAllHooks": True}},
            ValueError,
            "disableAllHooks",
        ),
        (
            {"include_partial_messages": True, "env": {"CLAUDE_CODE_SIMPLE": "1"}},
            ValueError,
            "CLAUDE_CODE_SIMPLE",
        ),
        ({"hooks": []}, TypeError, "hooks must be a mapping"),
        ({"hooks": {"PreTool": [HookMatcher(None, nothing)]}}, ValueError, "'PreTool'"),
        ({"hooks": {"PreModelSwitch": []}}, ValueError, "no event of each tested CLI"),
        ({"hooks": {"SessionStart": []}}, ValueError, "a command there"),
        ({"hooks": {"Stop": [nothing]}}, TypeError, r"hooks\['Stop'\] must be a list of"),
        ({"hooks": {"Stop": nothing}}, TypeError, r"hooks\['Stop'\] must be a list of"),
        ({"include_partial_messages": 1}, TypeError, "include_partial_messages"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, how: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        BackendOptions(cwd=tmp_path, **how)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: HookMatcher("Bash"), ValueError),
        (lambda: HookMatcher(7, nothing), TypeError),  # type: ignore[arg-type]
        (lambda: HookMatcher(None, "x"), TypeError),  # type: ignore[arg-type]
        (lambda: HookMatcher(None, nothing, timeout=0), ValueError),
        (lambda: HookMatcher(None, nothing, timeout=True), ValueError),
        (lambda: HookMatcher(None, nothing, timeout=math.inf), ValueError),
        (lambda: HookMatcher(None, plain), TypeError),  # type: ignore[arg-type]
        (lambda: HookMatcher("Bash(", nothing), ValueError),
    ],
    ids=["empty", "matcher", "function", "zero", "bool", "endless", "ordinary", "expression"],
)
def test_a_matcher_that_cannot_be_is_refused(
    make: Callable[[], HookMatcher], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make()


def test_an_empty_answer_is_an_empty_body() -> None:
    assert b"" == protocol.to_json(None) == protocol.to_json({})
    assert protocol.checked_output({}) is None
    assert {"continue": False} == protocol.checked_output({"continue_": False})


def test_settings_are_joined() -> None:
    one = {"hooks": {"Stop": [1]}, "a": 1, "permissions": {"allow": ["x"], "deny": []}}
    two = {"hooks": {"Stop": [2], "PreToolUse": [3]}, "a": 2, "permissions": {"allow": ["y"]}}
    assert {
        "hooks": {"Stop": [1, 2], "PreToolUse": [3]},
        "a": 2,
        "permissions": {"allow": ["x", "y"], "deny": []},
    } == protocol.merged(one, two)


@pytest.mark.parametrize(
    "body",
    [
        {"session_id": "s", "hook_event_name": "PreToolUse"},
        {"tool_name": 7, "tool_input": "x", "tool_use_id": 7},
        {"tool_input": {"questions": 7}},
        {"tool_input": {"questions": [7, {"options": 7}, {"options": [7]}]}},
    ],
)
def test_what_the_cli_has_never_sent_is_taken_all_the_same(body: dict[str, Any]) -> None:
    assert isinstance(protocol.permission_request(body), PermissionRequest)
    assert isinstance(protocol.question_request(body), PermissionRequest)
    assert protocol.plan_request(body).plan is None
    assert isinstance(protocol.call_key(body), str)
