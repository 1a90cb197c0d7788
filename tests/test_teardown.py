"""However a backend's block is left, and whatever the real CLI does then, nothing outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import psutil
import pytest
import trio
from asking import Options

from claude_trio import (
    BackendOptions,
    ClaudeCodeBackend,
    PtyClaudeProcess,
    Turn,
    UserMessage,
    open_backend,
)
from claude_trio._sweep import find
from claude_trio.testing import LoopbackApi, World, tool_use

pytestmark = pytest.mark.real_cli

SERVER: Final = Path(__file__).with_name("mcp_server.py")
OWNER: Final = Path(__file__).with_name("killed_owner.py")


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    env = world.env(api.base_url)
    return partial(BackendOptions, cwd=world.cwd, cli_path=real_cli, env=env)


def user(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def bash(command: str) -> dict[str, Any]:
    return tool_use("Bash", {"command": command, "description": "Do as told"})


async def running(*commands: str) -> set[psutil.Process]:
    """Wait until processes with these command lines run; return them."""
    with trio.fail_after(60):
        while True:
            found = {}
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    line = shlex.join(process.cmdline())
                    if line in commands and alive(process):
                        found[line] = process
            if found.keys() == {*commands}:
                return set(found.values())
            await trio.sleep(0.02)


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def process_of(backend: ClaudeCodeBackend) -> PtyClaudeProcess:
    (session,) = backend._sessions
    assert session._process is not None
    return session._process


# -- what the CLI is brought to do; each returns the turn, and processes that are to end with it

Doing: TypeAlias = tuple[Turn, set[psutil.Process]]
Activity: TypeAlias = Callable[[ClaudeCodeBackend, LoopbackApi, World], Awaitable[Doing]]


async def idle(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
    turn = backend.complete(user("hi"))
    await turn.get_final_text()
    return turn, set()


async def streaming(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
    gate = trio.Event()
    api.reply("Once upon a time there was a heron", chunk=8, hold_after=gate)
    turn = backend.complete(user("write a novel"))
    assert isinstance(await turn.receive(), UserMessage)
    await api.wait_until_held(gate)
    return turn, set()


async def asking(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
    api.reply(bash("touch it"))
    turn = backend.complete(user("make a file"))
    assert isinstance(await turn.receive(), UserMessage)
    while backend._sessions[0]._files.status.state != "waiting":
        await trio.sleep(0.01)
    return turn, set()


def in_a_tool(command: str, *children: str) -> Activity:
    async def activity(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
        api.reply(bash(command))
        turn = backend.complete(user("wait"))
        assert isinstance(await turn.receive(), UserMessage)
        return turn, await running(*children)

    return activity


def after_a_tool(command: str, *children: str) -> Activity:
    async def activity(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
        api.reply(bash(command))
        turn = backend.complete(user("leave something behind"))
        await turn.get_final_text()
        return turn, await running(*children)

    return activity


def with_a_server(*how: str) -> Activity:
    async def activity(backend: ClaudeCodeBackend, api: LoopbackApi, world: World) -> Doing:
        ready = world.root / "ready"
        path = world.config_dir / ".claude.json"
        config = json.loads(path.read_text())
        arguments = ["-S", "-I", str(SERVER), str(ready), *how]
        config["mcpServers"] = {"idle": {"command": sys.executable, "args": arguments}}
        path.write_text(json.dumps(config))
        turn, _ = await idle(backend, api, world)
        while not (pid := ready.read_text() if ready.exists() else ""):
            await trio.sleep(0.02)
        return turn, {psutil.Process(int(pid))}

    return activity


QUIET: Final = "</dev/null >/dev/null 2>&1 &"
ACTIVITIES: Final[dict[str, Activity]] = {
    "idle": idle,
    "streaming": streaming,
    "asking": asking,
    "in a tool": in_a_tool("sleep 1010", "sleep 1010"),
    "in a tool with an environment of its own": in_a_tool(
        "env -i PATH=$PATH sh -c 'sleep 1011; :'", "sleep 1011", "sh -c 'sleep 1011; :'"
    ),
    "after a tool that left things behind": after_a_tool(
        f"sleep 1012 {QUIET} nohup sleep 1013 {QUIET} setsid sleep 1014 {QUIET} echo started",
        *("sleep 1012", "sleep 1013", "sleep 1014"),
    ),
    "with an MCP server": with_a_server(),
    "with a stubborn MCP server": with_a_server("stubborn"),
}


@pytest.mark.parametrize("way", ["normally", "by an exception", "by cancellation"])
@pytest.mark.parametrize("activity", ACTIVITIES)
async def test_nothing_outlives_the_backend(
    options: Options, api: LoopbackApi, world: World, activity: str, way: str
) -> None:
    how: dict[str, Any] = {"dangerously_skip_permissions": True}
    if activity == "asking":
        how = {"permission_mode": "default"}
    own = KeyError("mine")
    raised: BaseException | None = None
    with trio.fail_after(120), trio.CancelScope() as scope:
        try:
            async with open_backend(options(**how)) as backend:
                turn, children = await ACTIVITIES[activity](backend, api, world)
                process = process_of(backend)
                carriers = await find(process.marker)
                assert {process.pid} <= {carrier.pid for carrier in carriers}
                if way == "by an exception":
                    raise own
                if way == "by cancellation":
                    scope.cancel()
                    await trio.sleep_forever()
        except KeyError as exc:
            raised = exc
    assert (own if way == "by an exception" else None) is raised
    assert scope.cancelled_caught == (way == "by cancellation")
    assert [] == [p for p in {*carriers, *children} if alive(p)]
    assert set() == await find(process.marker)
    # Orderly, whatever it was doing: it was not killed, and removed its status file itself.
    assert process.exit_signal is None
    assert process.exit_code in {143, 0}  # by SIGTERM; rarely, on 2.1.197, as if by its own will
    assert [] == [*(world.config_dir / "sessions").iterdir()]
    assert turn.session is not None


async def test_a_stopped_cli_ends_in_order(options: Options, api: LoopbackApi) -> None:
    with trio.fail_after(60):
        async with open_backend(options()) as backend:
            turn = backend.complete(user("hi"))
            await turn.get_final_text()
            process = process_of(backend)
            process.send_signal(signal.SIGSTOP)
    assert process.exit_signal is None


async def test_the_cli_ends_when_its_owner_is_killed(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    program = [sys.executable, str(OWNER), str(real_cli), str(world.cwd)]
    env = world.env(api.base_url, PYTHONPATH=os.pathsep.join(sys.path))
    api.reply(bash("sleep 1020"))
    run = partial(trio.run_process, program, env=env, stdout=subprocess.PIPE, check=False)
    with trio.fail_after(90):
        async with trio.open_nursery() as nursery:
            owner: trio.Process = await nursery.start(run)
            assert owner.stdout is not None
            cli = psutil.Process(int(await owner.stdout.receive_some(100)))
            tool = await running("sleep 1020")
            # Nobody but the owner holds the terminal, so its end is the end of the terminal.
            assert [] == [p.pid for p in (cli, *tool) if has_open(p, "/dev/ptmx")]
            owner.kill()
        while alive(cli):
            await trio.sleep(0.05)
    for process in tool:  # 2.1.197 leaves it; nobody is left who could end it
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def has_open(process: psutil.Process, path: str) -> bool:
    if sys.platform != "linux":
        return False
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return any(str(link.readlink()) == path for link in links)
