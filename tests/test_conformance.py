"""The scripted stand-in against the real CLI: the same short scenes, the same shape of records."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import trio

from claude_trio import BackendError, BackendOptions, ClaudeCodeBackend, open_backend
from claude_trio._protocol.normalize import BOOKKEEPING
from claude_trio.testing import (
    Answer,
    Echo,
    Fail,
    FakeCLI,
    Hang,
    LoopbackApi,
    Result,
    World,
    thinking,
    tool_use,
)

pytestmark = pytest.mark.real_cli

#: What a driver reads of a record. A key counts when either side has it.
READ: Final = (
    *("type", "subtype", "uuid", "parentUuid", "timestamp", "sessionId", "isSidechain", "isMeta"),
    *("promptSource", "promptId", "isApiErrorMessage", "error", "apiErrorStatus", "durationMs"),
    *("message", "message.id", "message.role", "message.model", "message.content"),
    *("message.stop_reason", "message.usage", "toolUseResult", "sourceToolAssistantUUID"),
)
STATUS: Final = ("pid", "sessionId", "cwd", "version", "status", "statusUpdatedAt", "kind")
QUESTION: Final = [{"role": "user", "content": "say hi"}]
CALL: Final = tool_use("Bash", {"command": "echo x", "description": "Say x"}, id="toolu_1")


def shape(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys that a driver reads, each with the type of its value."""
    found = {}
    for key in READ:
        value: Any = record
        for part in key.split("."):
            value = value.get(part, ...) if isinstance(value, dict) else ...
        if value is not ...:
            found[key] = "present" if key in {"parentUuid", "subtype"} else type(value).__name__
    if record["type"] == "assistant":
        found["blocks"] = ",".join(block["type"] for block in record["message"]["content"])
    return found


def conversation(world: World) -> list[dict[str, str]]:
    """Return the shapes of the records that make up the conversation, in the order of the file."""
    (transcript,) = world.config_dir.glob("projects/*/*.jsonl")
    records = [json.loads(line) for line in transcript.read_bytes().splitlines()]
    return [shape(record) for record in records if record["type"] not in BOOKKEEPING]


Scene: TypeAlias = Callable[[ClaudeCodeBackend], Awaitable[None]]


async def ask(backend: ClaudeCodeBackend) -> None:
    with trio.fail_after(60):
        await backend.complete(QUESTION).get_final_text()


async def ask_in_vain(backend: ClaudeCodeBackend) -> None:
    with pytest.raises(BackendError):
        await ask(backend)


async def ask_and_give_up(backend: ClaudeCodeBackend) -> None:
    with trio.fail_after(60):
        async with backend.complete(QUESTION) as turn:
            await turn.receive()


async def ask_with_history(backend: ClaudeCodeBackend) -> None:
    with trio.fail_after(60):
        history = [*QUESTION, {"role": "assistant", "content": "hi"}, *QUESTION]
        await backend.complete(history).get_final_text()


def one_text(api: LoopbackApi, fake: FakeCLI) -> None:
    api.reply("hi")
    fake.turn(Answer("hi"))


def thinking_and_text(api: LoopbackApi, fake: FakeCLI) -> None:
    api.reply(thinking("hm"), "hi")
    fake.turn(Answer(thinking("hm"), "hi"))


def a_tool(api: LoopbackApi, fake: FakeCLI) -> None:
    api.reply("look", CALL)
    api.reply("done")
    fake.turn(Answer("look", CALL, stop_reason="tool_use"), Result("toolu_1", "x"), Answer("done"))


def an_error(api: LoopbackApi, fake: FakeCLI) -> None:
    api.default = lambda _: api_error()
    fake.turn(Fail("server_error", 529, "API Error: 529 Overloaded"), ends=False)


def api_error() -> Any:
    from claude_trio.testing import HttpError  # noqa: PLC0415 - for one scene

    return HttpError(529)


def silence(api: LoopbackApi, fake: FakeCLI) -> None:
    api.reply("never", hold_before=trio.Event())
    fake.turn(Hang())


SCENES: Final[Mapping[str, tuple[Callable[[LoopbackApi, FakeCLI], None], Scene]]] = {
    "text": (one_text, ask),
    "thinking": (thinking_and_text, ask),
    "tool": (a_tool, ask),
    "error": (an_error, ask_in_vain),
    "interrupt before the first word": (silence, ask_and_give_up),
    "history": (one_text, ask_with_history),
}


def is_old(cli: Path) -> bool:
    return (
        b"2.1.197" in cli.with_name("package.json").read_bytes()
        if (cli.with_name("package.json").exists())
        else False
    )


@pytest.mark.parametrize("name", SCENES)
async def test_the_stand_in_writes_what_the_real_one_writes(
    name: str, world: World, api: LoopbackApi, real_cli: Path, tmp_path: Path
) -> None:
    if is_old(real_cli):
        pytest.skip("the stand-in is modelled on the newest CLI")
    fake = FakeCLI(tmp_path)
    script, scene = SCENES[name]
    script(api, fake)
    shapes = []
    for cli, extra in ((real_cli, {}), (fake.path, fake.env())):
        env = world.env(api.base_url) | extra
        options = BackendOptions(cwd=world.cwd, cli_path=cli, env=env)
        async with open_backend(options) as backend:
            await scene(backend)
        shapes.append(conversation(world))
        for transcript in world.config_dir.glob("projects/*/*.jsonl"):
            transcript.unlink()
    assert shapes[0] == shapes[1]


async def test_the_stand_in_has_the_status_file_and_the_exit_code_of_the_real_one(
    world: World, api: LoopbackApi, real_cli: Path, tmp_path: Path
) -> None:
    fake = FakeCLI(tmp_path)
    fake.turn(Echo())
    seen = []
    for cli, extra in ((real_cli, {}), (fake.path, fake.env())):
        env = world.env(api.base_url) | extra
        options = BackendOptions(cwd=world.cwd, cli_path=cli, env=env)
        async with open_backend(options) as backend:
            await ask(backend)
            (session,) = backend._sessions
            assert session._process is not None
            path = world.config_dir / "sessions" / f"{session._process.pid}.json"
            # It may lag behind the record that ends a turn, and may be half written.
            status: dict[str, Any] = {}
            with trio.fail_after(60):
                while status.get("status") != "idle":
                    await trio.sleep(0.01)
                    with contextlib.suppress(ValueError):
                        status = json.loads(path.read_text())
            os.kill(session._process.pid, signal.SIGTERM)
            with trio.fail_after(60):
                await session._process.wait()
            types = {key: type(status[key]).__name__ for key in STATUS}
            seen.append((types, status["status"], session._process.exit_code, path.exists()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-flag"],
        ["--session-id", "not-a-uuid"],
        ["--resume", "11111111-2222-4333-8444-555555555555", "--model", "m"],
    ],
    ids=lambda arguments: arguments[0],
)
async def test_the_stand_in_refuses_what_the_real_one_refuses(
    world: World, api: LoopbackApi, real_cli: Path, tmp_path: Path, arguments: list[str]
) -> None:
    from claude_trio import open_pty_process  # noqa: PLC0415 - for one test

    fake = FakeCLI(tmp_path)
    seen = []
    for cli, extra in ((real_cli, {}), (fake.path, fake.env())):
        env = world.env(api.base_url) | extra
        async with open_pty_process([str(cli), *arguments], cwd=world.cwd, env=env) as process:
            with trio.fail_after(60):
                await process.wait()
                await process.drained.wait()
        seen.append((process.exit_code, process.screen.render().split("\n")[0].strip()))
    assert seen[0] == seen[1]
