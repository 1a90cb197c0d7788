"""What each option does on the real CLI: seen in the request that it sends, or in what it does.

Options that do not touch each other share a process, since a start is what takes time.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from asking import Message, Options, assistant, read, user

from claude_trio import (
    BackendOptions,
    ClaudeCodeBackend,
    ContextWindow,
    Event,
    RateLimit,
    ResultMessage,
    SystemMessage,
    ToolResultBlock,
    Usage,
    UserMessage,
    open_backend,
)
from claude_trio._launch import version_numbers
from claude_trio.testing import (
    HttpError,
    LoopbackApi,
    RecordedRequest,
    Reply,
    World,
    text,
    thinking,
    tool_use,
)

pytestmark = pytest.mark.real_cli

HAIKU = "claude-haiku-4-5"
SERVER = Path(__file__).with_name("word_server.py")


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    """Return what makes options for the real CLI in this test's world."""

    def make(how: Callable[..., BackendOptions] = BackendOptions, **given: Any) -> BackendOptions:
        env = world.env(api.base_url, **given.pop("env", {}))
        return how(cwd=world.cwd, cli_path=real_cli, env=env, **given)

    return make


async def ask(backend: ClaudeCodeBackend, prompt: str = "hi", **how: Any) -> list[Event]:
    return await read(backend.complete([user(prompt)], **how))


def result(events: list[Event]) -> ResultMessage:
    last = events[-1]
    assert isinstance(last, ResultMessage)
    return last


def tool_results(events: list[Event]) -> list[tuple[str, bool]]:
    """Return the text of each result of a tool, and whether it is an error."""
    return [
        (
            block.content if isinstance(block.content, str) else json.dumps(block.content),
            block.is_error,
        )
        for event in events
        if isinstance(event, UserMessage)
        for block in event.content
        if isinstance(block, ToolResultBlock)
    ]


def tools(request: RecordedRequest) -> set[str]:
    # The newer CLI puts one in that does nothing, for those that it names only on demand.
    return {tool["name"] for tool in request.body["tools"]} - {"DeferredToolPlaceholder"}


def size(request: RecordedRequest) -> int:
    return int(request.headers["content-length"])


def is_new(backend: ClaudeCodeBackend) -> bool:
    return version_numbers(backend.sessions[0].cli_version or "") > (2, 1, 300)


def surround(world: World) -> None:
    """Put into the world what a user's machine has, all of it marked with a word."""
    for directory in (world.cwd, world.config_dir):
        (directory / "CLAUDE.md").write_text("Always say HERON.")
    skill = world.config_dir / "skills" / "heron"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: heron\ndescription: HERON\n---\nHERON\n")
    command = f"touch {world.cwd / 'HERON'}"
    hook = {"hooks": [{"type": "command", "command": command}]}
    (world.config_dir / "settings.json").write_text(
        json.dumps({"hooks": {"UserPromptSubmit": [hook]}, "permissions": {"allow": ["Bash"]}})
    )
    (world.cwd / ".mcp.json").write_text(
        json.dumps({"mcpServers": {"HERON": {"command": "/no/such/program"}}})
    )


async def test_a_chat_sends_the_conversation_and_hardly_anything_else(
    options: Options, api: LoopbackApi, world: World
) -> None:
    surround(world)
    async with open_backend(options(BackendOptions.for_chat)) as backend:
        await ask(backend)
    request = api.conversations[0]
    assert set() == tools(request)
    assert "HERON" not in json.dumps(request.body)
    assert not (world.cwd / "HERON").exists()
    assert 2 == len(request.body["system"])  # what no option removes
    # 1.9 KB were seen, of which the name of the directory and the date are some.
    assert size(request) < 2400


async def test_an_agent_has_its_tools_and_nothing_of_the_machine(
    options: Options, api: LoopbackApi, world: World
) -> None:
    surround(world)
    api.reply(tool_use("Bash", {"command": "echo stork"}))
    agent = options(BackendOptions.for_agent, tools=["Bash", "Read"])
    async with open_backend(agent) as backend:
        events = await ask(backend)
    assert {"Bash", "Read"} == tools(api.conversations[0])
    assert "HERON" not in json.dumps(api.conversations[0].body)
    assert [("stork", False)] == tool_results(events)
    assert not (world.cwd / "HERON").exists()


async def test_what_is_for_the_model_arrives_in_the_request_and_not_in_an_argument(
    options: Options, api: LoopbackApi, world: World
) -> None:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}}
    how = options(
        effort="low",
        thinking={"type": "disabled"},
        max_output_tokens=1234,
        extra_body={"temperature": 0.25, "output_config": {"task_budget": 5}},
        output_format={"type": "json_schema", "schema": schema},
        system_prompt="Secret one.\n--and \U0001f600",
        append_system_prompt="Secret two.",
        tools=["Read"],
        mcp_servers={
            "far": {"type": "http", "url": "http://127.0.0.1:1", "headers": {"X": "Secret 3"}}
        },
        settings={"env": {"MINE": "Secret four."}},
        extra_args={"name": "a name"},
    )
    async with open_backend(how) as backend:
        await ask(backend)
        pid = backend.sessions[0].pid
        command = psutil.Process(pid).cmdline()
        directory = Path(command[command.index("--settings") + 1]).parent
        assert 0o700 == directory.stat().st_mode & 0o777
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                assert "Secret" not in " ".join(process.cmdline())
    assert not directory.exists()
    body = api.conversations[0].body
    assert ("Secret one.\n--and \U0001f600\n\nSecret two.", 1234, 0.25) == (
        *(body["system"][-1]["text"], body["max_tokens"], body["temperature"]),
    )
    assert {
        "effort": "low",
        "task_budget": 5,
        "format": {"type": "json_schema", "schema": schema},
    } == body["output_config"]
    assert body.get("thinking", {"type": "disabled"}) == {"type": "disabled"}
    assert {"Read"} == tools(api.conversations[0])


async def test_a_budget_for_thinking_reaches_a_model_that_takes_one(
    options: Options, api: LoopbackApi
) -> None:
    budget = {"type": "enabled", "budget_tokens": 2048}
    async with open_backend(options(model=HAIKU, thinking=budget, tools=[])) as backend:
        await ask(backend)
    body = api.conversations[0].body
    assert (HAIKU, "enabled", 2048) == (
        *(body["model"], body["thinking"]["type"], body["thinking"]["budget_tokens"]),
    )


async def test_adaptive_thinking_is_on_where_the_user_has_turned_it_off(
    options: Options, api: LoopbackApi, world: World
) -> None:
    (world.config_dir / "settings.json").write_text('{"alwaysThinkingEnabled": false}')
    async with open_backend(options(thinking={"type": "adaptive"}, tools=[])) as backend:
        await ask(backend)
    assert "adaptive" == api.conversations[0].body["thinking"]["type"]


async def test_rules_and_directories_decide_what_runs(
    options: Options, api: LoopbackApi, world: World
) -> None:
    near, far = world.root / "near", world.root / "far"
    for directory in (near, far):
        directory.mkdir()
        (directory / "note").write_text(f"a note in {directory.name}")
    calls = [
        *(tool_use("Bash", {"command": f"touch {name}"}) for name in ("one, two", "bad")),
        tool_use("Bash", {"command": "mkdir three"}),
        *(tool_use("Read", {"file_path": str(place / "note")}) for place in (near, far)),
    ]
    for call in calls:
        api.reply(call)
    how = options(
        tools=["Bash", "Read", "Glob", "WebFetch"],
        allowed_tools=["Bash(touch *)"],
        disallowed_tools=["Bash(touch bad)", "Glob"],
        add_dirs=[near],
    )
    async with open_backend(how) as backend:
        events = await ask(backend)
    assert {"Bash", "Read", "WebFetch"} == tools(api.conversations[0])
    assert [False, True, True, False, True] == [failed for _, failed in tool_results(events)]
    assert "a note in near" in tool_results(events)[3][0]
    assert {"one,", "two"} == {path.name for path in world.cwd.iterdir()}


async def test_a_main_agent_and_its_colleagues(options: Options, api: LoopbackApi) -> None:
    agents = {
        "poet": {"description": "Writes", "prompt": "You write verse.", "model": HAIKU},
        "critic": {"description": "Judges verse", "prompt": "You judge."},
    }
    how = options(
        agents=agents,
        agent="poet",
        setting_sources=["user"],
        extra_args={"disable-slash-commands": None},
        strict_mcp_config=True,
    )
    async with open_backend(how) as backend:
        await ask(backend)
    request = api.conversations[0]
    assert (HAIKU, "You write verse.") == (
        request.body["model"],
        request.body["system"][-1]["text"].splitlines()[0],
    )
    assert "critic: Judges verse" in json.dumps(request.body)
    assert "Skill" not in tools(request)


async def test_a_model_that_is_too_busy_is_replaced(options: Options, api: LoopbackApi) -> None:
    api.default = busy_unless_small
    how = options(
        model="claude-opus-4-8",
        fallback_model=f"{HAIKU},claude-sonnet-5",
        tools=[],
        env={"CLAUDE_CODE_MAX_RETRIES": "5"},
    )
    async with open_backend(how) as backend:
        events = await ask(backend)
    assert HAIKU == result(events).model
    assert {HAIKU} == set(result(events).model_usage)


def busy_unless_small(request: RecordedRequest) -> Reply | HttpError:
    return Reply("ok") if request.body["model"] == HAIKU else HttpError(529)


async def test_a_server_joins_the_conversation_and_its_tool_is_called(
    options: Options, api: LoopbackApi, world: World
) -> None:
    server = {"command": sys.executable, "args": [str(SERVER)], "env": {"WORDS": "Secret"}}
    how = options(tools=[], mcp_servers={"words": server}, allowed_tools=["mcp__words"])
    async with open_backend(how) as backend:
        messages: list[Message] = []
        with trio.fail_after(60):
            # A prompt does not wait for it.
            while not api.conversations or "mcp__words__lookup" not in tools(api.conversations[-1]):
                messages.append(user("go on"))
                messages.append(assistant(await backend.complete(messages).get_final_text()))
        api.reply(tool_use("mcp__words__lookup", {}))
        messages.append(user("what is a heron?"))
        events = await read(backend.complete(messages))
    [(found, failed)] = tool_results(events)
    assert ("a wading bird" in found, False) == (True, failed)


async def test_a_server_that_does_not_start_is_told_where_the_transcript_tells(
    options: Options,
) -> None:
    servers = {"bad": {"command": "/no/such/program"}}
    async with open_backend(options(mcp_servers=servers, setting_sources=[])) as backend:
        events = await ask(backend)
        newer = is_new(backend)
    told = [e for e in events if isinstance(e, SystemMessage) and e.subtype == "mcp_failed"]
    failed = [server["name"] for e in told for server in e.data["attachment"]["failedMcpServers"]]
    assert (["bad"] if newer else []) == failed


async def test_what_becomes_of_each_server_is_told(options: Options, world: World) -> None:
    servers = {
        "words": {"command": sys.executable, "args": [str(SERVER)]},
        "bad": {"command": "/no/such/program"},
        "gone": {"type": "http", "url": "http://127.0.0.1:9/mcp"},
    }
    async with open_backend(options(mcp_servers=servers, setting_sources=[])) as backend:
        await ask(backend)
        with trio.fail_after(60):
            while backend.sessions[0].mcp_servers.keys() != servers.keys():
                backend._sessions[0].look_now()
                await trio.sleep(0.05)
        (told,) = backend.sessions
        (debug,) = backend._sessions[0].start_files.directory.glob("*.debug.txt")
        assert 0o600 == debug.stat().st_mode & 0o777
    assert not debug.exists()
    assert "connected" == told.mcp_servers["words"]
    assert "ENOENT" in told.mcp_servers["bad"]
    assert "connect" in told.mcp_servers["gone"]
    changes = [
        (event.data["server"], event.data["status"])
        for event in told.unprompted
        if isinstance(event, SystemMessage) and event.subtype == "mcp_status"
    ]
    assert [("bad", "failed"), ("gone", "failed"), ("words", "connected")] == sorted({*changes})


async def test_a_debug_file_of_the_callers_own_stays_the_callers(
    options: Options, world: World
) -> None:
    own = world.root / "debug.txt"
    how = options(
        mcp_servers={"bad": {"command": "/no/such/program"}}, extra_args={"debug-file": str(own)}
    )
    async with open_backend(how) as backend:
        await ask(backend)
        (told,) = backend.sessions
    assert {} == told.mcp_servers
    assert own.is_file()


async def test_what_stands_in_files_and_variables_can_be_chosen_for_one_call_too(
    options: Options, api: LoopbackApi
) -> None:
    chosen = {
        "system_prompt": "Be verbose.",
        "thinking": {"type": "disabled"},
        "max_output_tokens": 123,
        "extra_body": {"temperature": 0.25},
    }
    async with open_backend(options(BackendOptions.for_chat, system_prompt="Be brief.")) as backend:
        messages = [user("1")]
        for more in ({}, chosen, chosen, {}):
            turn = backend.complete(messages, **more)  # type: ignore[arg-type]
            messages += [assistant(await turn.get_final_text()), user("again")]
        directory = backend._sessions[0].start_files.directory
        assert 1 == len(list(directory.glob("*system-prompt-file*")))
        assert 1 == len(backend.sessions)
    asked = [request.body for request in api.conversations]
    assert ["Be brief.", "Be verbose.", "Be verbose.", "Be brief."] == [
        body["system"][-1]["text"] for body in asked
    ]
    assert [None, 0.25, 0.25, None] == [body.get("temperature") for body in asked]
    assert [False, True, True, False] == [body["max_tokens"] == 123 for body in asked]
    assert "thinking" in asked[0]
    assert asked[1].get("thinking", {"type": "disabled"}) == {"type": "disabled"}
    assert 1 == len({body["metadata"]["user_id"] for body in asked[:2]})


async def test_a_choice_for_one_call_goes_on_with_the_same_conversation(
    options: Options, api: LoopbackApi, world: World
) -> None:
    write = {"file_path": str(world.cwd / "new"), "content": "x"}
    async with open_backend(options(tools=["Write"], system_prompt="Be brief.")) as backend:
        api.reply(thinking("Hm."), text("one"))
        messages = [user("1")]
        first = backend.complete(messages)
        await read(first)
        # The process does not change as long as nothing else is asked for.
        messages += [assistant("one"), user("2")]
        second = backend.complete(messages, permission_mode="dontAsk")
        await read(second)
        messages += [assistant("ok"), user("3")]
        api.reply(tool_use("Write", write))
        third = backend.complete(messages, effort="low", permission_mode="acceptEdits")
        assert [False] == [failed for _, failed in tool_results(await read(third))]
        messages += [assistant("ok"), user("4")]
        fourth = backend.complete(messages, model=HAIKU)
        await read(fourth)
        messages += [assistant("ok"), user("5")]
        fifth = backend.complete(messages)
        await read(fifth)
        turns = (first, second, third, fourth, fifth)
        infos = [turn.session for turn in turns if turn.session is not None]
        assert 1 == len(backend.sessions)
    pids = [info.pid for info in infos]
    assert pids[0] == pids[1]
    assert 4 == len(set(pids))
    # Without a model there is none that the transcript could be taken up with.
    assert 2 == len({info.session_id for info in infos})
    assert infos[0].session_id == infos[3].session_id != infos[4].session_id
    asked = [request.body for request in api.conversations]
    usual = asked[0]["model"]
    assert [usual, usual, usual, usual, HAIKU, usual] == [body["model"] for body in asked]
    assert "low" == asked[2]["output_config"]["effort"] != asked[0]["output_config"]["effort"]
    assert "Hm." in json.dumps(asked[3]["messages"])
    for body in asked:
        assert "Be brief." == body["system"][-1]["text"]
    said = json.dumps(asked[-1]["messages"])
    assert all(f'"{number}"' in said for number in range(1, 6))


async def test_a_prompt_that_cannot_be_typed_takes_the_other_way_with_the_new_choice(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options(tools=[])) as backend:
        await ask(backend, "1")
        messages = [user("1"), assistant("ok"), user("/help")]
        await read(backend.complete(messages, effort="low"))
        assert 1 == len(backend.sessions)
    assert "/help" == api.conversations[-1].prompt
    assert "low" == api.conversations[-1].body["output_config"]["effort"]


async def test_an_impossible_choice_is_refused_and_costs_nothing(options: Options) -> None:
    async with open_backend(options(tools=[])) as backend:
        await ask(backend, "1")
        pid = backend.sessions[0].pid
        impossible: list[dict[str, Any]] = [
            *({"effort": "huge"}, {"model": ""}, {"permission_mode": "yolo"})
        ]
        for how in impossible:
            with pytest.raises(ValueError, match=next(iter(how))):
                backend.complete([user("1"), assistant("ok"), user("2")], **how)
        assert [pid] == [session.pid for session in backend.sessions]


async def test_each_turn_has_its_own_part_of_the_cost(options: Options, api: LoopbackApi) -> None:
    usages = [
        {"input_tokens": 100_000, "output_tokens": 500},
        {"input_tokens": 200, "output_tokens": 60, "cache_read_input_tokens": 1000},
        {"input_tokens": 300_000, "output_tokens": 700},
    ]
    api.reply(tool_use("Bash", {"command": "echo x"}), usage=usages[0])
    for usage in usages[1:]:
        api.reply("said", usage=usage)
    how = options(include_cost=True, tools=["Bash"], setting_sources=[])
    async with open_backend(how) as backend:
        messages = [user("1")]
        first = result(await read(backend.complete(messages)))
        messages += [assistant("said"), user("2")]
        second = result(await read(backend.complete(messages)))
        messages += [assistant("said"), user("3")]
        third = result(await read(backend.complete(messages, effort="low")))
    assert first.total_cost_usd is not None
    assert second.total_cost_usd is not None
    # The price per token is the same, whatever it is.
    assert 0 < first.total_cost_usd < second.total_cost_usd
    assert first.duration_api_ms is not None
    assert 0 < first.duration_api_ms < 60_000
    assert first.context_window is not None
    assert first.context_window.size >= 200_000
    assert ContextWindow(1260, first.context_window.size) == first.context_window
    assert second.context_window == ContextWindow(300_700, first.context_window.size)
    assert Usage(100_200, 560, 0, 1000) == first.model_usage[str(first.model)]
    assert first.rate_limits is None
    # What the process before has cost is not counted again; a process that has said nothing before
    # its first answer does not tell the two apart.
    assert third.total_cost_usd is None or third.total_cost_usd < first.total_cost_usd


async def test_the_limits_of_a_plan_are_told(options: Options, api: LoopbackApi) -> None:
    soon = int(time.time()) + 3600  # the newer CLI believes no time that is further than its window
    headers = {"anthropic-ratelimit-unified-status": "allowed"}
    for window, used in (("5h", "0.25"), ("7d", "0.5")):
        headers |= {
            f"anthropic-ratelimit-unified-{window}-{name}": value
            for name, value in (
                *(("status", "allowed"), ("utilization", used), ("reset", str(soon))),
            )
        }
    api.reply("said", headers=headers)
    login = {"ANTHROPIC_AUTH_TOKEN": "", "CLAUDE_CODE_OAUTH_TOKEN": "made-up"}
    async with open_backend(options(include_cost=True, tools=[], env=login)) as backend:
        told = result(await ask(backend))
    limits = {"five_hour": RateLimit(25, soon), "seven_day": RateLimit(50, soon)}
    assert limits == told.rate_limits


async def test_nothing_is_told_of_the_cost_unless_asked(options: Options) -> None:
    async with open_backend(options(tools=[])) as backend:
        told = result(await ask(backend))
    assert (None, None, None, None) == (
        *(told.total_cost_usd, told.duration_api_ms, told.context_window, told.rate_limits),
    )
