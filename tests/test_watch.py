"""``claude-trio watch``: any session, followed from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from command_line import PATIENCE, CommandLine, finish

from claude_trio import (
    AssistantMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    UserMessage,
    open_pty_process,
)
from claude_trio._console import fit, printable
from claude_trio._watch import line as shown_line
from claude_trio.testing import LoopbackApi, World, text, tool_use

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def line(world: World, api: LoopbackApi, tmp_path: Path) -> CommandLine:
    """Give one without a CLI: watching needs none."""
    return CommandLine(world, api, tmp_path / "none")


def transcript(world: World, name: str = NOBODY, *records: dict[str, Any]) -> Path:
    """Write a transcript where the CLI would have it."""
    key = re.sub(r"[^a-zA-Z0-9]", "-", str(world.cwd))
    path = world.config_dir / "projects" / key / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def said(words: str, uuid: str, parent: str | None = None, kind: str = "user") -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": uuid,
        "parentUuid": parent,
        "sessionId": NOBODY,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "promptSource": "typed",
        "message": {"role": kind, "content": [{"type": "text", "text": words}]},
    }


@pytest.mark.real_cli
async def test_a_session_of_the_cli_itself_is_watched_while_it_runs(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    line = CommandLine(world, api, real_cli)
    api.reply(text("Let me look."), tool_use("Bash", {"command": "echo x", "description": "x"}))
    api.reply("It says x.")
    first = await line.claude("-p", "say x", "--allowed-tools", "Bash", "--output-format", "json")
    command = [sys.executable, "-m", "claude_trio", "watch", first.json["session_id"]]
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            command, cwd=world.cwd, env=line.environment(), stdout=subprocess.PIPE
        )
        lines = Lines(process.stdout)
        # What is there, and what comes.
        kinds = [(await lines.next())["type"] for _ in range(5)]
        assert ["user", "assistant", "assistant", "user", "assistant"] == kinds
        api.reply("Good night.")
        assert 0 == (await line.claude("-p", "good night", "--continue")).code
        while "Good night." not in json.dumps(found := await lines.next()):
            pass
        assert ("assistant", first.json["session_id"]) == (found["type"], found["session_id"])
        process.send_signal(2)
        assert 130 == await process.wait()
        await process.stdout.aclose()  # type: ignore[union-attr]


class Lines:
    """The objects that a program prints, one a line."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._data = b""

    async def next(self) -> Any:
        while b"\n" not in self._data:
            data = await self._stream.receive_some()
            assert data, "it has ended"
            self._data += data
        first, _, self._data = self._data.partition(b"\n")
        return json.loads(first)


async def test_the_newest_session_of_the_directory_is_watched(
    line: CommandLine, world: World
) -> None:
    older = "00000000-0000-4000-8000-000000000001"
    path = transcript(world, older, said("older", "a"))
    os.utime(path, (1, 1))
    path = transcript(world, NOBODY, said("newer", "a"), said("answer", "b", "a", "assistant"))
    os.utime(path, (2, 2))
    transcript(world, "00000000-0000-4000-8000-000000000002", {"type": "mode"})  # no conversation
    done = await line.watch("--no-follow")
    assert (0, "") == (done.code, done.err)
    assert ["newer", "answer"] == [x["message"]["content"][0]["text"] for x in done.lines]
    by_path = await line.watch("--no-follow", str(path))
    assert done == by_path
    elsewhere = await line.watch("--no-follow", older, "--cwd", "/")
    assert ["older"] == [x["message"]["content"][0]["text"] for x in elsewhere.lines]
    assert "" == (await line.watch("--no-follow", "--new")).out


async def test_what_subagents_say_is_watched_too(line: CommandLine, world: World) -> None:
    path = transcript(world, NOBODY, said("do it", "a"))
    subagents = path.with_suffix("") / "subagents"
    subagents.mkdir(parents=True)
    record = {**said("from below", "b", None, "assistant"), "isSidechain": True}
    (subagents / "agent-x.jsonl").write_text(json.dumps(record) + "\n")
    (subagents / "agent-x.meta.json").write_text(json.dumps({"toolUseId": "toolu_1"}))
    done = await line.watch("--no-follow")
    assert [None, "toolu_1"] == [each["parent_tool_use_id"] for each in done.lines]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no conversation was had in"),
        ([NOBODY], f"there is no session {NOBODY}"),
        (["/no/such/file.jsonl"], "there is no file"),
        (["nonsense"], "neither the id of a session nor a file"),
        ([f"{300 * 'x'}.jsonl"], f"{300 * 'x'}.jsonl"),  # no system has such a name
    ],
)
async def test_a_session_that_is_not_there_is_said_in_one_sentence(
    line: CommandLine, arguments: list[str], words: str
) -> None:
    done = await line.watch(*arguments)
    assert (2, "") == (done.code, done.out)
    assert words in done.err
    assert 1 == done.err.count("\n")


async def test_without_a_home_that_is_said_in_one_sentence(line: CommandLine) -> None:
    command = ["env", "-u", "HOME", "-u", "CLAUDE_CONFIG_DIR", sys.executable, "-m", "claude_trio"]
    done = await finish([*command, "watch"], line.environment(), line.world.cwd)
    assert (2, "") == (done.code, done.out)
    assert "set one\n" == done.err[-8:]
    assert 1 == done.err.count("\n")


async def test_a_terminal_gets_one_coloured_line_for_each_event(
    line: CommandLine, world: World
) -> None:
    transcript(
        world, NOBODY, said("say it", "a"), said("It\nis " + 200 * "long ", "b", "a", "assistant")
    )
    command = [sys.executable, "-m", "claude_trio", "watch", "--no-follow"]
    for more, colour in (({}, "\x1b[36m"), ({"NO_COLOR": "1"}, "")):
        env = {**line.environment(), **more, "TZ": "UTC", "COLUMNS": "80"}
        with trio.fail_after(PATIENCE):
            async with open_pty_process(command, cwd=world.cwd, env=env) as process:
                await process.wait()
                await process.drained.wait()
        _, first, second, rest = b"".join(process.screen._chunks).decode().split("\r\n")
        assert "" == rest
        assert first.removeprefix("\x1b[1m").startswith("03:04:05 prompt     say it")
        assert second.startswith(f"{colour}03:04:05 assistant  It is long long")
        assert second.removesuffix("\x1b[0m").endswith("…")


def test_each_kind_of_event_has_its_line() -> None:
    def show(event: Any) -> str:
        return shown_line(event, width=60, colour=False)

    call = ToolUseBlock("t", "Bash", {"command": "ls"})
    assert '--:--:-- tool use   Bash {"command": "ls"}' == show(AssistantMessage(content=(call,)))
    below = AssistantMessage(content=(TextBlock("x"),), parent_tool_use_id="t")
    assert "--:--:-- > assistant  x" == show(below)
    failed = UserMessage(content=(ToolResultBlock("t", "no", is_error=True),), origin="tool")
    assert "--:--:-- result of  no" == show(failed)
    assert shown_line(failed, width=60, colour=True).startswith("\x1b[31m")
    assert "--:--:-- system     new" == show(SystemMessage(subtype="new", data={}))
    odd = AssistantMessage(content=(UnknownBlock("odd", {}),))
    assert "--:--:-- assistant  [odd]" == show(odd)
    assert "--:--:-- assistant" == show(AssistantMessage(content=()))


def test_a_terminal_is_never_told_what_to_do() -> None:
    assert "a\ufffd[31mb\tc\nd" == printable("a\x1b[31mb\tc\r\nd")
    assert "\ufffd" == printable("\x9b") == printable("\r") == printable("\u202e")
    assert "größer 鷺" == printable("größer 鷺")


@pytest.mark.parametrize(
    ("given", "width", "shown"),
    [
        ("short", 10, "short"),
        ("exactly", 7, "exactly"),
        ("too long", 7, "too lo…"),
        ("two\nlines\tand", 20, "two lines and"),
        ("鷺鷺鷺", 6, "鷺鷺鷺"),
        ("鷺鷺鷺", 5, "鷺鷺…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_a_line_fits_its_terminal(given: str, width: int, shown: str) -> None:
    assert shown == fit(given, width)
