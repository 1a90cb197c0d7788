"""Functions of this program as tools, called by the real CLI."""

from __future__ import annotations

import builtins
import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import hypothesis
import psutil
import pytest
import trio
from asking import Options, read, results
from pydantic import BaseModel, Field

from claude_trio import (
    Allow,
    BackendOptions,
    ClaudeCodeBackend,
    Deny,
    PermissionRequest,
    Tool,
    ToolResultBlock,
    open_backend,
    tool,
)
from claude_trio._host.tools import ToolServers
from claude_trio.testing import LoopbackApi, Reply, World, tool_use

PROMPT = [{"role": "user", "content": "go"}]
CONTINUED = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]


def said(block: ToolResultBlock) -> str:
    if isinstance(block.content, str):
        return block.content
    return "".join(str(part["text"]) for part in block.content)


def offered(api: LoopbackApi, position: int = 0) -> dict[str, Any]:
    """Return the tools of servers that a request has, by name."""
    tools = api.conversations[position].body["tools"]
    return {t["name"]: t for t in tools if t["name"].startswith("mcp__")}


class Place(BaseModel):
    """Somewhere."""

    city: str
    country: str = "NL"


@tool
async def add(a: int, b: Annotated[int, Field(description="the second one")] = 2) -> int:
    """Add two numbers."""
    return a + b


@tool(name="look-up", description="Look a place up.")
async def lookup(place: Place, how: Literal["fast", "slow"] = "fast") -> dict[str, str]:
    return {"city": place.city, "country": place.country, "how": how}


async def shout(text: str) -> str:
    """Say it loud."""
    return text.upper()


# --- on the real CLI


async def test_the_model_calls_functions_with_their_types(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(
        tool_use("mcp__app__add", {"a": 40}),
        tool_use("mcp__app__look-up", {"place": {"city": "Delft"}, "how": "slow"}),
        tool_use("mcp__other__shout", {"text": "heron"}),
        tool_use("mcp__app__add", {"a": "many"}),
    )
    servers = {"app": [add, lookup], "other": [shout]}
    async with open_backend(options(mcp_servers=servers)) as backend:
        blocks = results(await read(backend.complete(PROMPT)))
    assert [False, False, False, True] == [block.is_error for block in blocks]
    assert "42" == said(blocks[0])
    assert '"country": "NL"' in said(blocks[1])
    assert "HERON" == said(blocks[2])
    assert "valid integer" in said(blocks[3])
    told = offered(api)
    assert {"mcp__app__add", "mcp__app__look-up", "mcp__other__shout"} == set(told)
    assert "Add two numbers." == told["mcp__app__add"]["description"]
    assert "Look a place up." == told["mcp__app__look-up"]["description"]
    schema = told["mcp__app__add"]["input_schema"]
    assert ["a"] == schema["required"]
    assert ("integer", "the second one", 2) == (
        schema["properties"]["b"]["type"],
        schema["properties"]["b"]["description"],
        schema["properties"]["b"]["default"],
    )


async def test_the_first_request_has_the_tools_every_time(
    options: Options, api: LoopbackApi
) -> None:
    """HYPOTHESIS_PROFILE=deep makes it thirty starts."""
    deep = hypothesis.settings.get_profile("deep").max_examples
    for number in range(30 if hypothesis.settings().max_examples == deep else 5):
        api.reply("ok")
        async with open_backend(options(mcp_servers={"app": [add]})) as backend:
            await read(backend.complete(PROMPT))
        assert {"mcp__app__add"} == set(offered(api, number)), f"start {number}"


async def test_a_call_may_take_longer_than_a_minute(options: Options, api: LoopbackApi) -> None:
    """The CLI gives a call up after 60 seconds unless it is told otherwise."""
    deep = hypothesis.settings.get_profile("deep").max_examples
    if hypothesis.settings().max_examples != deep:
        pytest.skip("takes more than a minute; nox -s deep")

    async def take_long() -> str:
        """Take long."""
        await trio.sleep(70)
        return "done at last"

    api.reply(tool_use("mcp__app__take_long", {}))
    async with open_backend(options(mcp_servers={"app": [take_long]})) as backend:
        with trio.fail_after(300):
            events = [event async for event in backend.complete(PROMPT)]
    assert ["done at last"] == [said(block) for block in results(events)]


async def test_a_continued_conversation_has_them_too(options: Options, api: LoopbackApi) -> None:
    api.reply("ok")
    async with open_backend(options(mcp_servers={"app": [add]})) as backend:
        turn = backend.complete(CONTINUED)
        await read(turn)
        assert turn.session is not None
        version = turn.session.cli_version
    if version == "2.1.197":  # it answers what it resumes before its hooks have run
        assert {} == offered(api)
    else:
        assert {"mcp__app__add"} == set(offered(api))


async def test_what_a_function_raises_is_the_tools_error(
    options: Options, api: LoopbackApi, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(why: str) -> str:
        """Fail."""
        raise LookupError(why)

    api.reply(tool_use("mcp__app__fail", {"why": "no such heron"}))
    api.reply("I see.")
    with caplog.at_level(logging.INFO, "claude_trio"):
        async with open_backend(options(mcp_servers={"app": [fail]})) as backend:
            events = await read(backend.complete(PROMPT))
    (block,) = results(events)
    assert block.is_error
    assert "no such heron" in said(block)
    assert "the tool fail raised" in caplog.text


async def test_a_call_is_cancelled_with_its_turn(options: Options, api: LoopbackApi) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def wait() -> str:
        """Wait."""
        begun.set()
        try:
            await trio.sleep(3600)
        finally:
            ended.set()
        return ""

    api.reply(tool_use("mcp__app__wait", {}))
    async with open_backend(options(mcp_servers={"app": [wait]})) as backend:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(read, backend.complete(PROMPT)))
                await begun.wait()
                nursery.cancel_scope.cancel()
            await ended.wait()
        assert "idle" == backend.sessions[0].state
        api.reply("Still here.")
        assert "Still here." == await backend.complete(PROMPT).get_final_text()


async def test_a_call_that_the_cli_gave_up_ends_with_its_turn(
    options: Options, api: LoopbackApi, world: World
) -> None:
    ended = trio.Event()

    async def wait() -> str:
        """Wait."""
        try:
            await trio.sleep_forever()
        finally:
            ended.set()
        raise AssertionError

    api.reply(tool_use("mcp__app__wait", {}))
    made = options(mcp_servers={"app": [wait]})
    patient = attrs.evolve(made, env={**made.env, "MCP_TOOL_TIMEOUT": "1000"})
    async with open_backend(patient) as backend:
        events = await read(backend.complete(PROMPT))
        with trio.fail_after(60):
            await ended.wait()
        assert "idle" == backend.sessions[0].state
    (block,) = results(events)
    assert block.is_error
    assert "timed out" in said(block)


async def test_calls_run_at_the_same_time_in_each_conversation(
    options: Options, api: LoopbackApi
) -> None:
    both = [trio.Event(), trio.Event()]

    async def meet(who: int) -> str:
        """Wait for the other one."""
        both[who].set()
        await both[1 - who].wait()
        return "met"

    async def talk(backend: ClaudeCodeBackend, who: int) -> None:
        blocks = results(await read(backend.complete([{"role": "user", "content": str(who)}])))
        assert ["met"] == [said(block) for block in blocks]

    for _ in range(2):
        api.reply(lambda asked: Reply(tool_use("mcp__app__meet", {"who": int(asked.prompt)})))
    how = options(mcp_servers={"app": [meet]})
    async with open_backend(how) as backend, trio.open_nursery() as nursery:
        for who in (0, 1):
            nursery.start_soon(talk, backend, who)


async def test_the_host_decides_about_its_own_tools_too(options: Options, api: LoopbackApi) -> None:
    asked: list[str] = []

    async def decide(request: PermissionRequest) -> Allow | Deny:
        asked.append(request.tool_name)
        return Deny("no") if request.input["a"] < 0 else Allow()

    api.reply(tool_use("mcp__app__add", {"a": 1}), tool_use("mcp__app__add", {"a": -1}))
    how = {"mcp_servers": {"app": [add]}, "on_permission": decide}
    async with open_backend(options(**how)) as backend:
        blocks = results(await read(backend.complete(PROMPT)))
    assert ["mcp__app__add"] * 2 == asked
    assert [False, True] == [block.is_error for block in blocks]


async def test_no_secret_stands_in_any_arguments_and_nothing_is_left(
    options: Options, api: LoopbackApi, world: World
) -> None:
    """Whatever runs meanwhile: the CLI, its hooks and servers, and the commands of its tools."""
    secret = "the-secret-of-the-heron"
    made = options(
        mcp_servers={
            "app": [add],
            "far": {"type": "http", "url": "http://127.0.0.1:1/", "headers": {"X-Key": secret}},
            "near": {"command": "/bin/cat", "env": {"KEY": secret}},
        },
        include_partial_messages=True,
        include_cost=True,
        system_prompt=secret,
        allowed_tools=["Bash"],
        settings={"env": {"KEY": secret}},
        max_turns=5,
    )
    made = attrs.evolve(made, env={**made.env, "MY_KEY": secret})
    wait = "touch begun; while ! test -e go; do sleep 0.1; done"
    api.reply(tool_use("Bash", {"command": wait, "description": "x"}))
    async with open_backend(made) as backend:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, backend.complete(PROMPT))
            with trio.fail_after(60):
                while not (world.cwd / "begun").exists():  # noqa: ASYNC110 - another process makes it
                    await trio.sleep(0.05)
            session = backend._sessions[0]
            host, directory = session.host, session.start_files.directory
            assert host is not None
            (guest,) = host._server._guests
            lines = []
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    lines.append(" ".join(process.cmdline()))
            assert any("--settings" in line for line in lines)
            assert [] == [each for each in lines if guest.token in each or secret in each]
            # What lies in the files is for this user alone.
            modes = {path.stat().st_mode & 0o777 for path in directory.iterdir() if path.is_file()}
            assert {0o600} == modes
            (world.cwd / "go").touch()
        port = host._server.port
    assert not directory.exists()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", port)


# --- without a CLI


async def test_a_tool_is_still_a_function() -> None:
    assert isinstance(add, Tool)
    assert 3 == await add(1)
    assert ("add", "Add two numbers.") == (add.name, add.description)


def ordinary(a: int) -> int:
    """Add nothing."""
    return a


async def undocumented(a: int) -> int:
    return a


@pytest.mark.parametrize(
    ("servers", "error", "text"),
    [
        ({"app": [ordinary]}, TypeError, "must be an async function"),
        ({"app": [7]}, TypeError, "must be an async function"),
        ({"app": [undocumented]}, ValueError, "needs a docstring"),
        ({"app": []}, ValueError, r"mcp_servers\['app'\] has no tool"),
        ({"my app": [add]}, ValueError, "letters, digits"),
        ({"my__app": [add]}, ValueError, "the name 'my__app'"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(
    tmp_path: Path, servers: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        BackendOptions(cwd=tmp_path, mcp_servers=servers)


def test_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="'two words'"):
        tool(name="two words")(shout)


def test_two_tools_of_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="several tools named add"):
        ToolServers({"app": (add, add)})


def test_a_type_without_a_schema_is_refused() -> None:
    @tool
    async def odd(a: trio.Event) -> None:
        """Take something odd."""

    with pytest.raises(ValueError, match="the parameters of odd cannot be described"):
        ToolServers({"app": (odd,)})


def test_the_logging_of_the_program_stays_its_own() -> None:
    before = list(logging.getLogger().handlers)
    ToolServers({"app": (add,)})
    assert before == logging.getLogger().handlers


async def test_without_mcp_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def no_mcp(name: str, *more: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "mcp":
            raise ModuleNotFoundError(name=name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", no_mcp)
    with pytest.raises(ImportError, match=r"claude-trio\[tools\]"):
        ToolServers({"app": (add,)})
