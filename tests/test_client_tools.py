"""Tools that the caller answers: a turn pauses, and goes on in the same process."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from asking import Message, Options, read

from claude_trio import (
    AssistantMessage,
    BackendOptions,
    ClaudeCodeBackend,
    Event,
    ResultMessage,
    SessionError,
    TextDelta,
    ToolResultBlock,
    ToolUseBlock,
    TurnManager,
    UserMessage,
    open_backend,
)
from claude_trio._follower import Follower
from claude_trio._host.client import ClientCall, ClientCalls
from claude_trio._host.guest import Guest
from claude_trio._inbox import Inbox
from claude_trio._notices import FileNotices
from claude_trio._protocol import keys
from claude_trio._protocol.client_tools import (
    MADE_UP,
    ClientResult,
    find_told,
    in_words_of_cli,
    results_of,
    with_ids,
)
from claude_trio._protocol.messages import check_messages
from claude_trio._protocol.table import Command
from claude_trio.testing import LoopbackApi, Reply, World, text, thinking, tool_use

WEATHER = {
    "name": "weather",
    "description": "Tell the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ASKED = "mcp__client__weather"
GO: Message = {"role": "user", "content": "What is the weather?"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    def make(**how: Any) -> BackendOptions:
        env = world.env(api.base_url)
        chosen = {"client_tools": [WEATHER], **how}
        return BackendOptions.for_chat(cwd=world.cwd, cli_path=real_cli, env=env, **chosen)

    return make


def reply(events: list[Event]) -> Message:
    """Return what the model said, to be given back."""
    said = [event for event in events if isinstance(event, AssistantMessage)]
    return {"role": "assistant", "content": [b.to_dict() for e in said for b in e.content]}


def calls(events: list[Event]) -> list[ToolUseBlock]:
    said = [event for event in events if isinstance(event, AssistantMessage)]
    return [block for event in said for block in event.content if isinstance(block, ToolUseBlock)]


def answers(*results: tuple[str, Any], **more: Any) -> Message:
    blocks = [
        {"type": "tool_result", "tool_use_id": id_, "content": content, **more}
        for id_, content in results
    ]
    return {"role": "user", "content": blocks}


def end(events: list[Event]) -> ResultMessage:
    assert isinstance(events[-1], ResultMessage)
    return events[-1]


def pid(backend: ClaudeCodeBackend) -> int | None:
    (session,) = backend.sessions
    return session.pid


# --- on the real CLI


async def test_a_turn_pauses_for_all_calls_of_a_message_and_goes_on_in_the_same_process(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(
        "I ask.",
        tool_use(ASKED, {"city": "Delft"}, "toolu_A"),
        tool_use(ASKED, {"city": "Oslo"}, "toolu_B"),
        usage={"input_tokens": 100},
    )
    api.reply("Sun, and no Oslo.", usage={"input_tokens": 7})
    async with open_backend(options()) as backend:
        messages = [GO]
        first = await read(backend.complete(messages))
        assert ("paused", "tool_use", 100) == (
            end(first).subtype,
            end(first).stop_reason,
            end(first).usage.input_tokens,
        )
        assert [
            ToolUseBlock("toolu_A", "weather", {"city": "Delft"}),
            ToolUseBlock("toolu_B", "weather", {"city": "Oslo"}),
        ] == calls(first)
        assert "paused" == backend.sessions[0].state
        process = pid(backend)
        results = answers(("toolu_A", "sun"), ("toolu_B", "no such city"))
        results["content"][1]["is_error"] = True
        messages += [reply(first), results]
        second = await read(backend.complete(messages))
        assert ("success", "Sun, and no Oslo.", 7) == (
            end(second).subtype,
            end(second).result,
            end(second).usage.input_tokens,
        )
        messages += [reply(second), {"role": "user", "content": "Thanks."}]
        await read(backend.complete(messages))
        assert process == pid(backend)
    one, two, three = (request.body for request in api.conversations)
    told = [tool for tool in one["tools"] if tool["name"] == ASKED]
    assert [(WEATHER["description"], WEATHER["input_schema"])] == [
        (tool["description"], tool["input_schema"]) for tool in told
    ]
    given = [block for block in two["messages"][-1]["content"] if block["type"] == "tool_result"]
    assert ["toolu_A", "toolu_B"] == [block["tool_use_id"] for block in given]
    assert [False, True] == [bool(block.get("is_error")) for block in given]
    assert ["sun", "no such city"] == [
        content if isinstance(content := block["content"], str) else content[0]["text"]
        for block in given
    ]
    assert "Thanks." in json.dumps(three["messages"][-1])


async def test_a_turn_can_pause_again(options: Options, api: LoopbackApi) -> None:
    for city in ("a", "b", "c"):
        api.reply(tool_use(ASKED, {"city": city}, f"toolu_{city}"))
    api.reply("Done.")
    async with open_backend(options()) as backend:
        messages = [GO]
        for city in ("a", "b", "c"):
            events = await read(backend.complete(messages))
            assert [{"city": city}] == [dict(call.input) for call in calls(events)]
            messages += [reply(events), answers((f"toolu_{city}", f"sun in {city}"))]
        assert "Done." == await backend.complete(messages).get_final_text()
        assert 1 == backend.sessions[0].turns
    assert 4 == len(api.conversations)


@pytest.mark.parametrize("end_delay", [0.05, 1.5])
async def test_a_call_is_handed_on_before_its_message_has_ended(
    options: Options, api: LoopbackApi, end_delay: float
) -> None:
    """The CLI makes it then, and writes what the message says only when the tool has returned."""
    for city in ("a", "b"):
        api.reply("I ask.", tool_use(ASKED, {"city": city}, f"toolu_{city}"), end_delay=end_delay)
    api.reply("Done.")
    api.reply("Again.")
    messages, said = [GO], []
    async with open_backend(options()) as backend:
        for city in ("a", "b"):
            events = await read(backend.complete(messages))
            said += [event.text for event in events if isinstance(event, AssistantMessage)]
            (call,) = calls(events)
            assert ("weather", {"city": city}) == (call.name, dict(call.input))
            messages += [reply(events), answers((call.id, f"sun in {city}"))]
        turn = backend.complete(messages)
        events = await read(turn)
        said += [event.text for event in events if isinstance(event, AssistantMessage)]
        assert [] == calls(events)
        assert 1 == backend.sessions[0].turns
        assert ["I ask.", "I ask.", "Done."] == [text for text in said if text]
        # What the caller has goes on in the same process, and in another one.
        process = pid(backend)
        messages += [reply(events), {"role": "user", "content": "Again?"}]
        again = await backend.complete(messages).get_final_text()
        assert ("Again.", process) == (again, pid(backend))
        await backend.close_session(backend.sessions[0].session_id)
        messages += [
            {"role": "assistant", "content": again},
            {"role": "user", "content": "And again?"},
        ]
        assert "ok" == await backend.complete(messages).get_final_text()
    results = [
        block["content"]
        for message in api.conversations[-1].messages
        for block in message["content"]
        if isinstance(block, dict) and block["type"] == "tool_result"
    ]
    assert ["sun in a", "sun in b"] == [
        content if isinstance(content, str) else content[0]["text"] for content in results
    ]


def test_a_record_is_that_of_a_call_which_was_told_before() -> None:
    made = f"{MADE_UP}1"
    told = [
        ToolUseBlock(id="toolu_1", name="w", input={}),
        ToolUseBlock(id=made, name="v", input={}),
    ]
    assert told[0] is find_told(ToolUseBlock(id="toolu_1", name="w", input={}), told)
    assert told[1] is find_told(ToolUseBlock(id="toolu_2", name="v", input={}), told)
    assert find_told(ToolUseBlock(id="toolu_3", name="w", input={}), told) is None
    assert find_told(ToolUseBlock(id="toolu_2", name="v", input={"x": 1}), told) is None
    event = UserMessage(content=(ToolResultBlock(tool_use_id="toolu_2", content="sun"),))
    (result,) = with_ids(event, {"toolu_2": made}).content
    assert made == getattr(result, "tool_use_id", None)
    assert event is with_ids(event, {})


async def test_what_nobody_comes_back_for_goes_on_from_a_written_transcript(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(
        thinking("Hm.", "c2ln"), text("I ask."), tool_use(ASKED, {"city": "Delft"}, "toolu_A")
    )
    api.reply("Sun.")
    async with open_backend(options(idle_timeout=0.5)) as backend:
        first = await read(backend.complete([GO]))
        with trio.fail_after(60):
            while backend.sessions:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.05)
        turn = backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
        assert "Sun." == await turn.get_final_text()
        assert turn.result is not None
        assert turn.result.resumed
        directory = backend._sessions[0].start_files.directory
        with trio.fail_after(60):
            while backend.sessions:  # noqa: ASYNC110 - as above
                await trio.sleep(0.05)
        assert [] == list(directory.glob("*.known"))  # what its start was held by
    after = api.conversations[1].body["messages"]
    assert "What is the weather?" in json.dumps(after[0])
    blocks = [b for message in after for b in message["content"] if isinstance(b, dict)]
    assert [(ASKED, "toolu_A")] == [(b["name"], b["id"]) for b in blocks if b["type"] == "tool_use"]
    assert ["toolu_A"] == [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
    assert ["Hm."] == [b["thinking"] for b in blocks if b["type"] == "thinking"]


async def test_a_paused_turn_makes_room_for_others(options: Options, api: LoopbackApi) -> None:
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Something else.")
    api.reply("Sun.")
    async with open_backend(options(max_sessions=1)) as backend:
        first = await read(backend.complete([GO]))
        other = backend.complete([{"role": "user", "content": "Hello."}])
        with trio.fail_after(60):
            assert "Something else." == await other.get_final_text()
            turn = backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
            assert "Sun." == await turn.get_final_text()


async def test_other_messages_do_not_reach_a_paused_turn(
    options: Options, api: LoopbackApi
) -> None:
    api.reply("I ask.", tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Hello again.")
    api.reply("Sun.")
    async with open_backend(options()) as backend:
        first = await read(backend.complete([GO]))
        process = pid(backend)
        # The same words, and none of the tools: a conversation of its own.
        said = {"role": "assistant", "content": "I ask."}
        other = backend.complete([GO, said, {"role": "user", "content": "Never mind."}])
        assert "Hello again." == await other.get_final_text()
        turn = backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
        assert "Sun." == await turn.get_final_text()
        assert turn.session is not None
        assert process == turn.session.pid


IMAGE: Message = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
}


@pytest.mark.parametrize(
    "brought",
    [
        answers(("toolu_A", "x" * 30_000)),
        answers(("toolu_A", "")),
        answers(("toolu_A", " ")),
        answers(("toolu_A", [text("look"), IMAGE])),
        answers(("toolu_A", [text("no"), text("city")]), is_error=True),
        {"role": "user", "content": [*answers(("toolu_A", "sun"))["content"], text("And now?")]},
    ],
)
async def test_what_the_cli_would_alter_goes_by_a_written_transcript(
    options: Options, api: LoopbackApi, brought: Message
) -> None:
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Sun.")
    async with open_backend(options()) as backend:
        first = await read(backend.complete([GO]))
        turn = backend.complete([GO, reply(first), brought])
        with trio.fail_after(60):
            assert "Sun." == await turn.get_final_text()
        assert turn.result is not None
        assert turn.result.resumed
    # The CLI may tell the date behind it.
    sent = [said for said in api.conversations[-1].messages if said["role"] == "user"][-1]
    plain = [{k: v for k, v in block.items() if k != "cache_control"} for block in sent["content"]]
    assert brought["content"] == plain[: len(brought["content"])]


async def test_tools_can_be_chosen_for_one_call(options: Options, api: LoopbackApi) -> None:
    other = {**WEATHER, "name": "tides"}
    api.reply("one")
    api.reply(tool_use("mcp__client__tides", {"city": "Delft"}, "toolu_T"))
    api.reply("High.")
    async with open_backend(options(client_tools=[])) as backend:
        await read(backend.complete([GO]))
        messages = [GO, {"role": "assistant", "content": "one"}, {"role": "user", "content": "?"}]
        events = await read(backend.complete(messages, client_tools=[other]))
        assert ["tides"] == [call.name for call in calls(events)]
        messages += [reply(events), answers(("toolu_T", "high"))]
        done = backend.complete(messages, client_tools=[other])
        assert "High." == await done.get_final_text()
        assert done.result is not None
        assert not done.result.resumed
    assert [[], ["mcp__client__tides"], ["mcp__client__tides"]] == [
        [t["name"] for t in request.body.get("tools", []) if t["name"].startswith("mcp")]
        for request in api.conversations
    ]


async def test_a_tool_of_the_clis_in_the_same_message_is_run_too(
    options: Options, api: LoopbackApi, world: World
) -> None:
    (world.cwd / "file").write_text("kingfisher")
    api.reply(
        tool_use(ASKED, {"city": "Delft"}, "toolu_A"),
        tool_use("Read", {"file_path": str(world.cwd / "file")}, "toolu_R"),
    )
    api.reply("Sun.")
    how = options(tools=["Read"], allowed_tools=["Read"])
    async with open_backend(how) as backend:
        first = await read(backend.complete([GO]))
        assert "tool_use" == end(first).stop_reason
        assert {"weather", "Read"} == {call.name for call in calls(first)}
        # Nobody could give back the result of that one.
        said = reply(first)
        said["content"] = [b for b in said["content"] if b.get("name") != "Read"]
        turn = backend.complete([GO, said, answers(("toolu_A", "sun"))])
        with trio.fail_after(60):
            assert "Sun." == await turn.get_final_text()


async def test_a_subagents_call_is_refused(options: Options, api: LoopbackApi) -> None:
    task = {"description": "d", "prompt": "ask", "subagent_type": "general-purpose"}
    api.reply(tool_use("Agent", task, "toolu_T"))
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_S"))
    api.reply("It may not.")
    api.reply("So be it.")
    how = options(tools=["Agent"], allowed_tools=["Agent"])
    async with open_backend(how) as backend:
        events = await read(backend.complete([GO]))
    assert "So be it." == end(events).result
    assert "nobody waits for this call" in json.dumps(api.conversations[2].messages)


async def test_a_call_in_a_turn_that_the_cli_has_started_is_refused(
    options: Options, api: LoopbackApi
) -> None:
    command = {"command": "sleep 0.5", "description": "Wait", "run_in_background": True}
    for said in (tool_use("Bash", command), "It runs.", tool_use(ASKED, {}, "toolu_A"), "Well."):
        api.reply(said)
    how = options(tools=["Bash"], allowed_tools=["Bash"])
    env = {**how.env, "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": ""}
    async with open_backend(attrs.evolve(how, env=env)) as backend:
        await read(backend.complete([GO]))
        with trio.fail_after(60):
            while len(api.conversations) < 4:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.05)
    assert "nobody waits for this call" in json.dumps(api.conversations[3].messages[-1])


async def test_live_text_goes_on_behind_a_pause(options: Options, api: LoopbackApi) -> None:
    api.reply("I ask.", tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Sun\nand wind\nand more.", interval=0.2, chunk=8)
    async with open_backend(options(include_partial_messages=True)) as backend:
        first = await read(backend.complete([GO]))
        second = await read(backend.complete([GO, reply(first), answers(("toolu_A", "sun"))]))
        assert 1 == len(backend.sessions)
    for events, expected in ((first, "I ask."), (second, "Sun\nand wind\nand more.")):
        assert expected == "".join(e.text for e in events if isinstance(e, TextDelta))
    assert len([event for event in second if isinstance(event, TextDelta)]) > 1


async def test_a_turn_that_went_on_can_be_interrupted(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Never", hold_before=gate)
    async with open_backend(options()) as backend:
        first = await read(backend.complete([GO]))
        messages = [GO, reply(first), answers(("toolu_A", "sun"))]
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, backend.complete(messages))
                await api.wait_until_held(gate)
                nursery.cancel_scope.cancel()
        api.reply("Sun.")
        assert "Sun." == await backend.complete(messages).get_final_text()


async def test_results_whose_turn_was_cancelled_can_be_given_again(
    options: Options, api: LoopbackApi
) -> None:
    """Wherever it was: before anything was done, or in the act of handing them on."""
    async with open_backend(options()) as backend:
        for steps in range(6):
            api.reply(tool_use(ASKED, {"city": "Delft"}, f"toolu_{steps}"))
            prompt = {"role": "user", "content": f"Weather, {steps}?"}
            first = await read(backend.complete([prompt]))
            messages = [prompt, reply(first), answers((f"toolu_{steps}", "sun"))]
            sun = Reply(f"Sun, {steps}.")
            api.default = lambda _, sun=sun: sun  # type: ignore[misc]
            turn = backend.complete(messages)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(turn.receive)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            again = backend.complete(messages)
            with trio.fail_after(60):
                assert f"Sun, {steps}." == await again.get_final_text()


async def test_what_is_for_an_idle_conversation_leaves_a_paused_turn_alone(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Sun.")
    async with open_backend(options()) as backend:
        first = await read(backend.complete([GO]))
        (session,) = backend.sessions
        with pytest.raises(SessionError) as caught:
            await backend.compact(session.session_id)
        assert "in_use" == caught.value.kind
        turn = backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
        with trio.fail_after(60):
            assert "Sun." == await turn.get_final_text()
        assert session.pid == pid(backend)


async def test_a_process_that_dies_in_a_pause_is_replaced(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    api.reply("Sun.")
    async with open_backend(options(max_sessions=1)) as backend:
        first = await read(backend.complete([GO]))
        process = pid(backend)
        assert process is not None
        os.kill(process, signal.SIGKILL)
        with trio.fail_after(60):
            while backend.sessions:  # noqa: ASYNC110 - there is no event for it
                await trio.sleep(0.01)
        turn = backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
        with trio.fail_after(60):
            assert "Sun." == await turn.get_final_text()
        assert process != pid(backend)


async def test_a_backend_that_is_closed_leaves_no_paused_turn(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(tool_use(ASKED, {"city": "Delft"}, "toolu_A"))
    async with open_backend(options()) as backend:
        await read(backend.complete([GO]))
    assert () == backend.sessions


async def test_results_that_nobody_asked_for_are_refused_before_anything_starts(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(tool_use(ASKED, {}, "toolu_A"), tool_use(ASKED, {}, "toolu_B"))
    async with open_backend(options()) as backend:
        first = await read(backend.complete([GO]))
        with pytest.raises(ValueError, match=r"'toolu_B'.*without a tool_result"):
            backend.complete([GO, reply(first), answers(("toolu_A", "sun"))])
        foreign = answers(("toolu_A", "sun"), ("toolu_B", "rain"), ("toolu_C", "snow"))
        with pytest.raises(ValueError, match=r"'toolu_C'.*has no such tool_use"):
            backend.complete([GO, reply(first), foreign])
        assert "paused" == backend.sessions[0].state
    assert 1 == len(api.conversations)


# --- without a CLI


@pytest.mark.parametrize(
    ("tools", "error", "match"),
    [
        ("weather", TypeError, "must be a list of tools"),
        (WEATHER, TypeError, "must be a list of tools"),
        ([1], TypeError, r"client_tools\[0\] must be a mapping"),
        ([{**WEATHER, "type": "custom"}], ValueError, "has type, which the CLI does not pass on"),
        ([{**WEATHER, "name": "a b"}], ValueError, "letters, digits"),
        ([{"name": "a"}], ValueError, "must be a JSON schema of an object"),
        ([{**WEATHER, "description": 1}], TypeError, "must be a str"),
        ([{**WEATHER, "input_schema": {"type": "object", "x": {1}}}], TypeError, "as JSON"),
        ([WEATHER, WEATHER], ValueError, "several tools named weather"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(
    tmp_path: Path, tools: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        BackendOptions(cwd=tmp_path, client_tools=tools)


def test_the_name_of_the_server_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'client', which client_tools needs"):
        BackendOptions(cwd=tmp_path, client_tools=[], mcp_servers={"client": {"command": "x"}})


async def test_a_backend_without_a_server_takes_no_tools(tmp_path: Path) -> None:
    async with open_backend(BackendOptions(cwd=tmp_path, cli_path=sys.executable)) as backend:
        with pytest.raises(ValueError, match=r"BackendOptions\(client_tools=\[\]\)"):
            backend.complete([GO], client_tools=[WEATHER])


async def test_a_call_that_was_answered_late_keeps_its_result(tmp_path: Path) -> None:
    # The session may look at its files before the call has left the line.
    given = ClientResult(({"type": "text", "text": "sun"},))
    options = BackendOptions(cwd=tmp_path)
    follower = Follower(options, "s", tmp_path, FileNotices(), lambda _: None)
    follower.guest = Guest(follower)
    follower.delivery.inbox = Inbox(trio.current_time())
    made_at = trio.current_time() - 3600
    call = ClientCall("weather", {}, "toolu_A", made_at=made_at)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follower.guest.calls.wait, call)
        await trio.testing.wait_all_tasks_blocked()
        block = ToolUseBlock("toolu_A", "weather", {})
        follower.guest.calls.give({"toolu_A": block}, {"toolu_A": given})
        assert not follower._pause_is_due(trio.current_time())
        assert given == call.result


async def test_a_key_that_is_due_is_pressed_before_the_turn_is_handed_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(BackendOptions(cwd=tmp_path), "s", tmp_path, FileNotices(), lambda _: None)
    follower.turns.resume(trio.current_time())
    due = [Command.DISMISS, None]
    monkeypatch.setattr(TurnManager, "tick", lambda *_: due.pop(0))
    monkeypatch.setattr(Follower, "_pause_is_due", lambda *_: True)
    process: Any = None  # nobody looks at it
    assert keys.ESCAPE == follower.look(process)
    assert not follower.turns.paused
    assert b"" == follower.look(process)
    assert follower.turns.paused


async def test_a_result_whose_call_never_came_is_not_that_of_a_later_pause() -> None:
    """An older CLI does not say which call it makes, so two that are alike have the same result."""
    oslo, bergen = (
        ToolUseBlock(id=f"toolu_{city}", name="weather", input={"city": city})
        for city in ("Oslo", "Bergen")
    )
    sun, rain, snow = (
        ClientResult(({"type": "text", "text": t},)) for t in ("sun", "rain", "snow")
    )
    calls = ClientCalls()
    calls.give({oslo.id: oslo}, {oslo.id: sun})
    calls.give({bergen.id: bergen}, {bergen.id: rain})
    call = ClientCall("weather", {"city": "Oslo"})
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls.wait, call)
            await trio.testing.wait_all_tasks_blocked()
            assert call.result is None
            calls.give({oslo.id: oslo}, {oslo.id: snow})
    assert snow == call.result


def test_results_are_put_into_the_words_of_mcp() -> None:
    blocks = [
        *answers(("a", "sun"), ("b", [text("x"), text("")]))["content"],
        *answers(("c", "no"), is_error=True)["content"],
    ]
    assert {
        "a": ClientResult(({"type": "text", "text": "sun"},)),
        "b": ClientResult(({"type": "text", "text": "x"}, {"type": "text", "text": ""})),
        "c": ClientResult(({"type": "text", "text": "no"},), is_error=True),
    } == results_of(blocks)


def test_results_that_the_cli_would_alter_are_not() -> None:
    document = {"type": "document", "source": {"type": "text", "data": "x"}}
    for content in (None, "", [], [text("")], " \n", [text("x"), IMAGE], [document], "x" * 20_001):
        assert None is results_of(answers(("a", content))["content"])
    assert None is results_of(answers(("a", [text("x"), text("y")]), is_error=True)["content"])
    assert None is results_of([*answers(("a", "sun"))["content"], text("x")])
    assert None is results_of([])


def test_a_history_is_put_into_the_words_of_the_cli() -> None:
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": {}}
    other = {**call, "id": "u", "name": "tides"}
    said = check_messages(
        [
            GO,
            {"role": "assistant", "content": [call, other]},
            answers(("t", "sun"), ("u", "high")),
        ]
    )
    names = [block.get("name") for block in in_words_of_cli(said, {"weather"})[1].blocks]
    assert [ASKED, "tides"] == names
