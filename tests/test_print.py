"""``claude-trio -p``, on the real CLI, against what ``claude -p`` does itself."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from command_line import PATIENCE, CommandLine, Done, finish

from claude_trio import open_pty_process
from claude_trio.__main__ import main
from claude_trio._print import EXIT_CODES, split_rules
from claude_trio._printers import FinalText
from claude_trio.testing import (
    Answer,
    Die,
    FakeCLI,
    Hang,
    LoopbackApi,
    Startup,
    World,
    text,
    thinking,
    tool_use,
)

NOBODY = "00000000-0000-4000-8000-000000000000"
#: What a result has here and not in the CLI's own.
OURS = {"kind", "resumed", "context_window", "rate_limits"}


@pytest.fixture
def line(world: World, api: LoopbackApi, real_cli: Path) -> CommandLine:
    return CommandLine(world, api, real_cli)


@pytest.fixture
def fake_line(
    world: World, api: LoopbackApi, make_fake: Callable[..., FakeCLI]
) -> tuple[CommandLine, FakeCLI]:
    fake = make_fake()
    return CommandLine(world, api, fake.path, fake.env()), fake


def script(api: LoopbackApi) -> None:
    call = tool_use("Bash", {"command": "echo trio", "description": "Say a word"})
    api.reply(thinking("I will look."), text("Let me look."), call)
    api.reply("The shell says: trio.")


async def both(line: CommandLine, *arguments: str) -> tuple[Done, Done]:
    """Run the same with the CLI's own command and with ours, on the same replies."""
    script(line.api)
    theirs = await line.claude(*arguments)
    script(line.api)
    return theirs, await line.run(*arguments)


# -- the output


@pytest.mark.real_cli
async def test_text_is_the_same_in_a_pipe_and_nothing_else_is_said(line: CommandLine) -> None:
    theirs, ours = await both(line, "-p", "say it", "--allowed-tools", "Bash(echo *)")
    assert Done(0, "The shell says: trio.\n", "") == ours
    assert theirs == ours


@pytest.mark.real_cli
async def test_json_has_the_names_and_the_values_of_the_cli_itself(line: CommandLine) -> None:
    arguments = ["-p", "--output-format", "json", "say it", "--allowedTools", "Bash"]
    theirs, ours = await both(line, *arguments)
    assert (0, "") == (ours.code, ours.err)
    assert OURS == ours.json.keys() - theirs.json.keys()
    same = ("type", "subtype", "is_error", "num_turns", "result", "stop_reason", "api_error_status")
    assert {name: theirs.json[name] for name in same} == {name: ours.json[name] for name in same}
    assert ours.json["usage"].items() <= theirs.json["usage"].items()
    (their_model,), (our_model,) = (
        theirs.json["modelUsage"].items(),
        ours.json["modelUsage"].items(),
    )
    assert their_model[0].removesuffix("[1m]") == our_model[0]  # 2.1.197 adds the window
    assert our_model[1].items() <= their_model[1].items()
    for name in ("duration_ms", "duration_api_ms", "total_cost_usd"):
        assert ours.json[name] > 0


@pytest.mark.real_cli
async def test_a_stream_has_the_names_of_the_cli_itself_and_the_sdk_can_read_it(
    line: CommandLine,
) -> None:
    arguments = ["-p", "say it", "--verbose", "--output-format", "stream-json"]
    theirs, ours = await both(line, *arguments, "--allowed-tools", "Bash")
    assert (0, "") == (ours.code, ours.err)
    kinds = [[each["type"] for each in done.lines if each["type"] != "system"] for done in (theirs, ours)]  # fmt: skip
    assert ["assistant"] * 3 + ["user", "assistant", "result"] == kinds[0] == kinds[1]
    init, *rest = ours.lines
    their_init = theirs.lines[0]
    assert init.keys() <= their_init.keys()
    assert their_init["cwd"] == init["cwd"]
    assert ("init", "dontAsk") == (init["subtype"], init["permissionMode"])
    for kind in ("assistant", "user"):
        (their, our) = (next(x for x in done.lines if x["type"] == kind) for done in (theirs, ours))
        assert our.keys() - their.keys() <= {"timestamp"}  # which 2.1.197 does not print
    said = [[each["message"]["content"] for each in done.lines if each["type"] == "assistant"] for done in (theirs, ours)]  # fmt: skip
    assert said[0][:2] == said[1][:2]
    assert said[0][3] == said[1][3]
    assert {init["session_id"]} == {each["session_id"] for each in rest}
    assert {"tool_use_result", "parent_tool_use_id"} <= next(
        x for x in rest if x["type"] == "user"
    ).keys()


@pytest.mark.real_cli
async def test_the_official_sdk_reads_each_line_of_a_stream(line: CommandLine) -> None:
    parser = pytest.importorskip("claude_agent_sdk._internal.message_parser")
    script(line.api)
    ours = await line.run("-p", "x", "--output-format", "stream-json", "--allowed-tools", "Bash")
    read = [type(parser.parse_message(each)).__name__ for each in ours.lines]
    named = ["AssistantMessage"] * 3 + ["UserMessage", "AssistantMessage", "ResultMessage"]
    assert ["SystemMessage", *named] == [name for i, name in enumerate(read) if not i or name != "SystemMessage"]  # fmt: skip


# -- the prompt and the session


@pytest.mark.real_cli
@pytest.mark.parametrize("arguments", [["-p"], ["-p", "what is it?"]])
async def test_what_is_piped_in_is_the_prompt_or_a_part_of_it(
    line: CommandLine, arguments: list[str]
) -> None:
    for run in (line.claude, line.run):
        assert 0 == (await run(*arguments, stdin="a heron, größer\n".encode())).code
    theirs, ours = (request.prompt.rstrip() for request in line.api.conversations)
    assert theirs == ours


@pytest.mark.real_cli
async def test_an_input_that_never_comes_is_not_waited_for(line: CommandLine) -> None:
    reader, writer = os.pipe()
    try:
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                line.command("-p", "say it"), stdin=reader, capture_stdout=True,
                capture_stderr=True, check=False, env=line.environment(),
            )  # fmt: skip
    finally:
        os.close(reader)
        os.close(writer)
    assert (0, b"ok\n") == (done.returncode, done.stdout)
    assert b"nothing came in within 3 s" in done.stderr
    assert "say it" == line.api.conversations[-1].prompt


@pytest.mark.real_cli
async def test_a_session_goes_on_by_its_id_and_as_the_newest_of_the_directory(
    line: CommandLine,
) -> None:
    first = await line.run("-p", "one", "--output-format", "json")
    session = first.json["session_id"]
    second = await line.run("-p", "two", "--resume", session, "--output-format", "json")
    third = await line.run("-p", "three", "--continue", "--output-format", "json")
    assert [session] * 2 == [second.json["session_id"], third.json["session_id"]]
    assert [False, True, True] == [x.json["resumed"] for x in (first, second, third)]
    said = json.dumps(line.api.conversations[-1].messages)
    assert all(word in said for word in ("one", "two", "three"))


@pytest.mark.real_cli
async def test_the_newest_session_may_be_one_of_the_cli_itself_and_the_other_way_round(
    line: CommandLine,
) -> None:
    theirs = await line.claude("-p", "one", "--output-format", "json")
    ours = await line.run("-p", "two", "-c", "--output-format", "json")
    assert theirs.json["session_id"] == ours.json["session_id"]
    assert 0 == (await line.claude("-p", "three", "-c")).code
    said = json.dumps(line.api.conversations[-1].messages)
    assert all(word in said for word in ("one", "two", "three"))


@pytest.mark.real_cli
async def test_the_options_reach_the_cli(line: CommandLine, api: LoopbackApi) -> None:
    api.reply(tool_use("Bash", {"command": "touch made", "description": "x"}))
    done = await line.run(
        *("-p", "do it", "--model", "claude-haiku-4-5", "--system-prompt", "You are a heron."),
        *("--permission-mode", "acceptEdits", "--allowed-tools", "Read,Bash(touch *)", "Edit"),
    )
    assert (0, "ok\n") == (done.code, done.out)
    request = api.conversations[0]
    assert "claude-haiku-4-5" == request.body["model"]
    assert "You are a heron." in request.system_text
    assert (line.world.cwd / "made").exists()


@pytest.mark.real_cli
async def test_a_directory_is_trusted_only_if_that_is_said(
    line: CommandLine, tmp_path: Path
) -> None:
    command = [*line.command("-p", "hi"), "--cwd", str(tmp_path)]  # the last one counts
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            command, capture_stderr=True, capture_stdout=True, check=False, env=line.environment()
        )
        assert 69 == done.returncode
        assert b"trust" in done.stderr
        assert 1 == done.stderr.count(b"\n")
        done = await trio.run_process(
            [*command, "--trust-workspace"], capture_stdout=True, env=line.environment()
        )
    assert b"ok\n" == done.stdout


# -- failures


@pytest.mark.real_cli
@pytest.mark.parametrize(("status", "code"), [(402, 1), (401, 77), (429, 75), (500, 75)], ids=str)
async def test_a_refusal_of_the_api_is_told_as_by_the_cli_itself(
    line: CommandLine, status: int, code: int
) -> None:
    same = ("subtype", "is_error", "api_error_status", "type")
    line.api.error(status)
    theirs = await line.claude("-p", "hi", "--output-format", "json")
    line.api.error(status)
    ours = await line.run("-p", "hi", "--output-format", "json")
    assert (1, code) == (theirs.code, ours.code)
    assert {name: theirs.json[name] for name in same} == {name: ours.json[name] for name in same}
    assert "made-up error" in ours.json["result"]
    assert re.fullmatch(r"claude-trio: .*made-up error.*\n", ours.err)
    assert OURS == ours.json.keys() - theirs.json.keys()


@pytest.mark.real_cli
async def test_a_bound_ends_the_turn_as_in_the_cli_itself(line: CommandLine) -> None:
    arguments = [
        "-p",
        "x",
        "--max-turns",
        "1",
        "--output-format",
        "json",
        "--allowed-tools",
        "Bash",
    ]
    for _ in range(2):  # neither comes to a second message
        line.api.reply(tool_use("Bash", {"command": "echo trio", "description": "x"}))
    theirs, ours = await line.claude(*arguments), await line.run(*arguments)
    assert (1, 1) == (theirs.code, ours.code)
    same = ("subtype", "is_error")
    assert {name: theirs.json[name] for name in same} == {name: ours.json[name] for name in same}
    assert ("error_max_turns", True) == (ours.json["subtype"], ours.json["is_error"])
    assert "error_max_turns" in ours.err


@pytest.mark.real_cli
async def test_a_failed_turn_prints_no_text_and_one_sentence(line: CommandLine) -> None:
    line.api.error(529)
    done = await line.run("-p", "hi")
    assert (75, "") == (done.code, done.out)
    assert re.fullmatch(r"claude-trio: .*529.*\n", done.err)


@pytest.mark.real_cli
async def test_a_turn_that_takes_too_long_is_interrupted(line: CommandLine) -> None:
    line.api.reply("never", hold_before=trio.Event())
    done = await line.run("-p", "hi", "--timeout", "1", "--output-format", "json")
    assert 124 == done.code
    expected = ("error_during_execution", True, "timeout")
    assert expected == (done.json["subtype"], done.json["is_error"], done.json["kind"])
    assert "claude-trio: the turn took longer than 1 seconds; it was interrupted\n" == done.err
    assert ["the turn took longer than 1 seconds; it was interrupted"] == done.json["errors"]


async def test_a_cli_that_dies_is_told_in_one_sentence(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, fake = fake_line
    fake.turn(Die(3))
    done = await line.run("-p", "hi", "--output-format", "json")
    assert 69 == done.code
    assert ("error_during_execution", "died") == (done.json["subtype"], done.json["kind"])
    assert 1 == done.err.count("\n")
    assert "Traceback" not in done.err


async def test_without_a_cli_the_places_are_named(
    fake_line: tuple[CommandLine, FakeCLI], tmp_path: Path
) -> None:
    line = attrs.evolve(fake_line[0], cli=tmp_path / "none")
    done = await line.run("-p", "hi")
    assert (69, "") == (done.code, done.out)
    assert re.fullmatch(r"claude-trio: .*none.*\n", done.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p"], "there is no prompt"),
        (["-p", " \n "], "there is no prompt"),
        (["-p", "hi", "--timeout", "-1"], "claude-trio: --timeout must be"),
        (["-p", "hi", "--max-turns", "0"], "claude-trio: --max-turns must be"),
        (["-p", "hi", "--timeout", "long"], "invalid float"),
        (["-p", "hi", "--permission-mode", "never"], "invalid choice"),
        (["-p", "hi", "--output-format", "xml"], "invalid choice"),
        (["-p", "hi", "--resume", "x"], "claude-trio: --resume must be a UUID"),
        (["-p", "hi", "--resume", NOBODY, "--continue"], "not allowed with"),
        (["-p", "hi", "--continue"], "no conversation was had in"),
        (["-p", "hi", "--resume", NOBODY], NOBODY),
        (["-p", "hi", "--env", "A"], "NAME=VALUE"),
        (["hi"], "required: -p"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_starts(
    fake_line: tuple[CommandLine, FakeCLI], arguments: list[str], said: str
) -> None:
    line, fake = fake_line
    done = await line.run(*arguments)
    assert (2, "") == (done.code, done.out)
    assert said in done.err
    assert "Traceback" not in done.err
    assert [] == fake.log("start")


async def test_what_a_command_was_started_without_is_empty(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, fake = fake_line
    fake.turn(Answer("heard"))
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line.command("-p", "hi")]
    done = await finish(closed, line.environment(), line.world.cwd)
    assert Done(0, "", "") == done
    assert ["hi"] == [entry["text"] for entry in fake.log("prompt")]


async def test_where_it_cannot_be_said_the_exit_code_says_it(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, _ = fake_line
    silent = ["sh", "-c", 'exec "$@" 2>&-', "sh"]
    watch = [sys.executable, "-m", "claude_trio", "watch", NOBODY]
    done = await finish([*silent, *watch], line.environment(), line.world.cwd)
    assert Done(2, "", "") == done
    full = ["sh", "-c", 'exec "$@" 2>&- >/dev/full', "sh", *line.command("-p", "hi")]
    if sys.platform == "linux":
        assert Done(74, "", "") == await finish(full, line.environment(), line.world.cwd)


async def test_an_input_that_cannot_be_read_is_refused(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, fake = fake_line
    command = [
        "sh",
        "-c",
        'exec "$@" 0>"$0"',
        str(line.world.root / "file"),
        *line.command("-p", "hi"),
    ]
    done = await finish(command, line.environment(), line.world.cwd)
    said = "claude-trio: standard input cannot be read: Bad file descriptor\n"
    assert Done(2, "", said) == done
    assert [] == fake.log("start")


def test_a_defect_is_not_taken_for_a_wrong_argument(
    world: World, make_fake: Callable[..., FakeCLI], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ValueError("a defect")

    fake = make_fake()
    fake.turn(Answer("heard"))
    env = {**world.env("http://127.0.0.1:9"), **fake.env()}  # where nobody is
    given = [part for name, value in env.items() for part in ("--env", f"{name}={value}")]
    monkeypatch.setattr(FinalText, "event", broken)
    with pytest.raises(ValueError, match="a defect"):
        main(["-p", "hi", "--cwd", str(world.cwd), "--cli", str(fake.path), *given])


async def test_an_input_that_is_no_text_is_refused(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    done = await fake_line[0].run("-p", stdin=b"\xff")
    assert 2 == done.code
    assert "no UTF-8" in done.err


# -- nobody reads it; signals


async def test_an_output_that_nobody_reads_ends_the_command_in_silence(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, _ = fake_line
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                line.command("-p", "hi"), stdout=writer, capture_stderr=True, check=False,
                env=line.environment(),
            )  # fmt: skip
    finally:
        os.close(writer)
    assert (141, b"") == (done.returncode, done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
async def test_an_output_that_cannot_be_written_is_told(
    fake_line: tuple[CommandLine, FakeCLI],
) -> None:
    line, _ = fake_line
    full = os.open("/dev/full", os.O_WRONLY)
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            line.command("-p", "hi"), stdout=full, capture_stderr=True, check=False,
            env=line.environment(),
        )  # fmt: skip
    os.close(full)
    assert 74 == done.returncode
    assert b"claude-trio: the output cannot be written: No space left on device\n" == done.stderr


async def start(line: CommandLine, nursery: trio.Nursery, *arguments: str) -> trio.Process:
    started = partial(
        trio.run_process, line.command(*arguments), env=line.environment(), check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process: trio.Process = await nursery.start(started)
    return process


async def read(stream: Any) -> str:
    return b"".join([chunk async for chunk in stream]).decode()


@pytest.mark.real_cli
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_ends_the_turn_and_the_cli(
    line: CommandLine, number: signal.Signals, code: int
) -> None:
    hold = trio.Event()
    line.api.reply("never", hold_before=hold)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            process = await start(line, nursery, "-p", "hi", "--output-format", "json")
            await line.api.wait_until_held(hold)
            process.send_signal(number)
            out, err = await read(process.stdout), await read(process.stderr)
    assert code == process.returncode
    if number == signal.SIGINT:  # the turn was interrupted, and its end was printed
        assert ("interrupted", True) == (json.loads(out)["kind"], json.loads(out)["is_error"])
        assert "" == err
    else:
        assert f"claude-trio: ended by {number.name}\n" == err


@pytest.mark.real_cli
async def test_ctrl_c_while_the_cli_starts_ends_it_without_a_prompt(
    world: World, api: LoopbackApi, make_fake: Callable[..., FakeCLI]
) -> None:
    fake = make_fake(startup=Startup(kind="hang"))
    line = CommandLine(world, api, fake.path, fake.env())
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            process = await start(line, nursery, "-p", "hi", "--output-format", "json")
            while not fake.log("start"):  # noqa: ASYNC110
                await trio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = await read(process.stdout), await read(process.stderr)
    assert (130, "") == (process.returncode, err)
    assert ("interrupted", None) == (json.loads(out)["kind"], json.loads(out)["session_id"])
    assert [] == fake.log("paste")


async def test_before_there_is_a_turn_ctrl_c_leaves(line: CommandLine) -> None:
    reader, writer = os.pipe()  # the prompt never comes
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            line.command("-p"), env=line.environment(), stdin=reader, stderr=subprocess.PIPE
        )
        try:
            while not handles_signals(process.pid):  # noqa: ASYNC110
                await trio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            await process.wait()
            err = await read(process.stderr)
            await process.stderr.aclose()  # type: ignore[union-attr]
        finally:
            os.close(reader)
            os.close(writer)
    assert (130, "claude-trio: ended by SIGINT\n") == (process.returncode, err)


async def test_a_signal_that_comes_again_does_not_disturb_the_end(
    world: World, api: LoopbackApi, make_fake: Callable[..., FakeCLI]
) -> None:
    """`timeout` sends SIGTERM twice, and a terminal that is closed SIGHUP."""
    fake = make_fake(deaf_to_escape=True, deaf_to_sigterm=True)  # so it takes a while to end it
    fake.turn(Hang())
    line = CommandLine(world, api, fake.path, fake.env())
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            process = await start(line, nursery, "-p", "hi")
            while not fake.log("prompt"):  # noqa: ASYNC110
                await trio.sleep(0.01)
            for _ in range(5):
                process.send_signal(signal.SIGTERM)
                await trio.sleep(0.05)
            err = await read(process.stderr)
    assert (143, "claude-trio: ended by SIGTERM\n") == (process.returncode, err)


def handles_signals(pid: int) -> bool:
    """Whether a process catches SIGHUP, which Python does not by itself."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    caught = int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16)
    return bool(caught & 1 << (signal.SIGHUP - 1))


# -- a terminal


@attrs.define
class Terminal:
    """A command in a terminal, and what it has shown."""

    process: Any

    @property
    def shown(self) -> str:
        return b"".join(self.process.screen._chunks).decode()

    async def wait_for(self, words: str) -> None:
        while words not in self.shown:  # noqa: ASYNC110
            await trio.sleep(0.01)

    async def end(self) -> int | None:
        await self.process.wait()
        await self.process.drained.wait()
        code: int | None = self.process.exit_code
        return code


@pytest.mark.real_cli
async def test_a_terminal_shows_the_text_while_it_is_written(line: CommandLine) -> None:
    hold = trio.Event()
    call = tool_use("Bash", {"command": "echo x", "description": "x"})
    line.api.reply(text("Let me look."), call)
    line.api.reply(
        "First line.\nSecond \x1b[31mline\x1b[0m.\nThird line.", chunk=20, hold_after=hold
    )
    command = line.command("-p", "hi")
    with trio.fail_after(PATIENCE):
        async with open_pty_process(command, cwd=line.world.cwd, env=line.environment()) as process:
            terminal = Terminal(process)
            await terminal.wait_for("First line.")
            await terminal.wait_for("Let me look.")
            assert "Third" not in terminal.shown
            await terminal.wait_for("claude is thinking, ")
            hold.set()
            assert 0 == await terminal.end()
    shown = terminal.shown
    assert "Second \ufffd[31mline\ufffd[0m." in shown
    plain = re.sub(r"\r\x1b\[K|[^\r\n]*\(Ctrl-C interrupts\)", "", shown).replace("\r\n", "\n")
    assert "Let me look.\nFirst line.\n" in plain
    assert plain.endswith("Third line.\n")
    assert 1 == plain.count("First line.")


@pytest.mark.real_cli
async def test_ctrl_c_interrupts_and_another_one_leaves(
    line: CommandLine, api: LoopbackApi
) -> None:
    for twice in (False, True):
        hold = trio.Event()
        api.reply("never", hold_before=hold)
        with trio.fail_after(PATIENCE):
            command = line.command("-p", "hi")
            env = line.environment()
            async with open_pty_process(command, cwd=line.world.cwd, env=env) as process:
                terminal = Terminal(process)
                await api.wait_until_held(hold)
                await process.write(b"\x03\x03" if twice else b"\x03")
                assert 130 == await terminal.end()
        assert "interrupting; Ctrl-C once more leaves" in terminal.shown or twice
        assert "Traceback" not in terminal.shown


async def test_a_second_ctrl_c_leaves_a_turn_that_does_not_settle(
    world: World, api: LoopbackApi, make_fake: Callable[..., FakeCLI]
) -> None:
    fake = make_fake(deaf_to_escape=True)
    fake.turn(Hang())
    line = CommandLine(world, api, fake.path, fake.env())
    with trio.fail_after(PATIENCE):
        async with open_pty_process(
            line.command("-p", "hi"), cwd=world.cwd, env=line.environment()
        ) as process:
            terminal = Terminal(process)
            await terminal.wait_for("claude is thinking, ")
            await process.write(b"\x03")
            await terminal.wait_for("interrupting; Ctrl-C once more leaves")
            await process.write(b"\x03")
            assert 130 == await terminal.end()
    assert "claude-trio: ended by SIGINT" in terminal.shown


@pytest.mark.real_cli
async def test_progress_is_for_a_terminal_and_leaves_the_output_alone(line: CommandLine) -> None:
    hold = trio.Event()
    line.api.reply("At last.", hold_before=hold)
    master, slave = pty.openpty()
    seen = b""
    try:
        with trio.fail_after(PATIENCE):
            process = await trio.lowlevel.open_process(
                line.command("-p", "hi"), env=line.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=slave,
            )  # fmt: skip
            while b"claude is thinking" not in seen:
                await trio.lowlevel.wait_readable(master)
                seen += os.read(master, 4096)
            hold.set()
            out = await read(process.stdout)
            await process.stdout.aclose()  # type: ignore[union-attr]
            assert 0 == await process.wait()
    finally:
        os.close(slave)
        os.close(master)
    assert "At last.\n" == out


# -- parts


@pytest.mark.parametrize(
    ("given", "rules"),
    [
        ("Read", ["Read"]),
        ("Read,Edit Write", ["Read", "Edit", "Write"]),
        ("Bash(git log *), Read", ["Bash(git log *)", "Read"]),
        ("Bash(echo (a, b)) Edit", ["Bash(echo (a, b))", "Edit"]),
        ("", []),
    ],
)
def test_rules_are_split_as_the_cli_splits_them(given: str, rules: list[str]) -> None:
    assert rules == split_rules(given)


def test_the_help_names_each_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for code in EXIT_CODES:
        assert re.search(rf"^ *{code}  \w|^ *{code}  `", shown, re.MULTILINE), code
    assert "doctor" in shown
    assert "watch" in shown


def test_it_tells_its_version(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    version = importlib.metadata.version("claude-trio")
    assert f"claude-trio {version}\n" == capsys.readouterr().out
    monkeypatch.setattr(importlib.metadata, "version", nothing)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "claude-trio (not installed)\n" == capsys.readouterr().out
