"""The tables and command lines of the README, against the code."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import test_bench
import test_promises
import trio
from test_examples import EXPECTED

import claude_trio
from claude_trio import Allow, BackendOptions, HookMatcher, errors
from claude_trio import __main__ as command_line
from claude_trio._cli_rules import REFUSED_FLAGS
from claude_trio._launch import child_environment
from claude_trio._print import EXIT_CODES
from claude_trio._protocol import message_request
from claude_trio.testing import LoopbackApi, World, text, tool_use

PACKAGE = Path(claude_trio.__file__).parent
README = PACKAGE.parent / "README.md"
if not README.exists():
    pytest.skip("the README is not beside an installed package", allow_module_level=True)
WORDS = README.read_text()


def section(title: str) -> str:
    """Return the part of the README below a heading."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", WORDS, re.MULTILINE | re.DOTALL
    )
    assert found, title
    return found[2]


def rows(text: str, head: str) -> list[list[str]]:
    """Return the cells of the table that begins with these words."""
    lines = text.partition(f"| {head} |")[2].splitlines()[2:]
    table = [line for line in lines[: next(i for i, x in enumerate([*lines, ""]) if not x)] if line]
    assert table, head
    return [line.strip("| ").split(" | ") for line in table]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# -- the first screen, and the links


def test_the_first_screen_shows_what_the_demo_prints() -> None:
    shown = re.findall(r"```text\n(.*?)```", WORDS, re.DOTALL)[0]
    assert re.fullmatch(EXPECTED["basic_usage.py"], shown)


def test_every_link_inside_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", WORDS, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
    links = re.findall(r"\]\(#([^)]+)\)", WORDS)
    assert len(links) > 10
    assert set() == set(links) - anchors


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:tests|examples|claude_trio)/[\w/]+\.py)`", WORDS)
    assert len(named) > 5
    assert [] == [name for name in named if not (README.parent / name).exists()]


def test_nothing_is_told_twice() -> None:
    said = [part for part in re.split(r"\n\n+|\n(?=[|-] )", WORDS) if len(part) > 60]
    assert [] == [part for part in {*said} if said.count(part) > 1]


# -- what is guaranteed


#: By the beginning of a row: its test, in test_promises.py.
PROMISES: Mapping[str, str] = {
    "the turn ends by itself": "the_turn_ends_by_itself",
    "a read of the turn is cancelled": "a_read_of_the_turn_is_cancelled",
    "the block of `async with": "the_block_of_a_turn_is_left_early",
    "`break` out of a bare": "break_out_of_a_bare_loop",
    "another task calls": "another_task_interrupts_the_turn",
    "the turn takes longer": "the_turn_takes_longer_than_turn_timeout",
    "the CLI gives no sign of life": "the_cli_gives_no_sign_of_life",
    "`turn.interrupt()` while": "a_turn_that_has_not_begun_is_interrupted",
    "the CLI reports an error": "the_cli_reports_an_error",
    "the CLI opens a dialog": "the_cli_opens_a_dialog_in_a_turn",
    "the CLI or a hook refuses": "the_cli_or_a_hook_refuses_the_prompt",
    "the CLI starts a turn": "the_cli_starts_a_turn_by_itself",
    "a line of the transcript": "a_line_of_the_transcript_cannot_be_read",
    "the CLI stops at a start-up": "the_cli_stops_at_a_start_up_dialog",
    "the CLI dies in a turn": "the_cli_dies_in_a_turn",
    "the CLI dies between": "the_cli_dies_between_turns",
    "the backend's block is left": "the_block_of_the_backend_is_left",
}


def test_every_promise_has_its_test() -> None:
    found = [row[0] for row in rows(section("What is guaranteed"), "what happens")]
    assert len(PROMISES) == len(found)
    for begin, row in zip(PROMISES, found, strict=True):
        assert row.startswith(begin)
        assert inspect.iscoroutinefunction(getattr(test_promises, f"test_{PROMISES[begin]}"))


# -- errors


def raised_kinds() -> Iterator[tuple[str, str]]:
    """Yield each error that the package makes with a kind that stands there."""
    for path in PACKAGE.rglob("*.py"):
        if "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                given = [each.value for each in node.keywords if each.arg == "kind"]
                constants = [value.value for value in given if isinstance(value, ast.Constant)]
                if hasattr(errors, node.func.id):
                    yield from ((node.func.id, str(kind)) for kind in constants)


def told_kinds() -> set[tuple[str, str]]:
    table = rows(section("Errors"), "what you see")
    names = [quoted(row[0]) for row in table]
    return {(error, kind) for error, *kinds in names for kind in kinds if error != "ValueError"}


def test_the_table_of_errors_has_every_class_and_what_to_do() -> None:
    table = rows(section("Errors"), "what you see")
    classes = {quoted(row[0])[0] for row in table}
    tree = {name for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, errors.BackendError)}  # fmt: skip
    assert tree | {"ValueError"} == classes
    assert all(len(row) == 3 and all(row) for row in table)


def test_the_table_of_errors_has_every_kind_and_no_other() -> None:
    told = told_kinds()
    startup = {pair for pair in raised_kinds() if pair[0] == "StartupError"}
    assert set() == {*raised_kinds()} - told - startup
    for error, kind in told:
        documented = inspect.getdoc(getattr(errors, error)) or ""
        assert f"``{kind}``" in documented, (error, kind)
    # And what the classes say of their kinds is told.
    for error in ("BackendError", "SessionError", "TurnTimeout", "ProcessError"):
        documented = inspect.getdoc(getattr(errors, error)) or ""
        said = set(re.findall(r"``([a-z_]+)``", documented)) - {"is_error"}
        assert said == {kind for name, kind in told if name == error}, error


# -- the command line


def test_the_table_of_exit_codes_is_that_of_the_command() -> None:
    table = rows(section("Command line"), "exit code")
    assert [(str(code), said) for code, said in EXIT_CODES.items()] == [(*row,) for row in table]


def test_the_table_of_arguments_is_that_of_the_command() -> None:
    told = {name for row in rows(section("Command line"), "argument") for name in quoted(row[0])}
    parser: argparse.ArgumentParser = command_line._prompts("claude-trio")
    names = {name for action in parser._actions for name in action.option_strings}
    assert names - {"-h", "--help", "--allowedTools"} == told


def shown_commands() -> list[str]:
    block: str = re.findall(r"```console\n(.*?)```", section("Command line"), re.DOTALL)[0]
    return block.splitlines()


@pytest.mark.real_cli
async def test_the_command_lines_run_as_they_stand(
    real_cli: Path, world: World, api: LoopbackApi, tmp_path: Path
) -> None:
    """They take the `claude` on the path; here that one is the real CLI, led to the loopback API."""
    variables = world.env(api.base_url)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    programs = {
        "claude": f"{exports}exec {shlex.quote(str(real_cli))}",
        "claude-trio": f"exec {shlex.quote(sys.executable)} -m claude_trio",
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f'#!/bin/sh\n{script} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (world.cwd / "notes.txt").write_text("herons\n")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "PATH": path, "HOME": str(world.home)}
    env = {**env, "CLAUDE_CONFIG_DIR": str(world.config_dir)}
    printed = []
    for command in shown_commands():
        if "list the files" in command:
            api.reply(text("Let me look."), tool_use("Bash", {"command": "ls", "description": "x"}))
        with trio.fail_after(100):
            done = await trio.run_process(
                ["sh", "-c", command],
                env=env,
                cwd=world.cwd,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        printed.append(done.stdout.decode())
        assert 0 == done.returncode, f"{command}: {printed[-1]}"
    assert "ok\n" == printed[0]
    prompts = [request.prompt.rstrip() for request in api.conversations]
    assert "what is missing here?\nherons" == prompts[1]
    assert "list the files" in printed[4]  # the newest session, by watch
    assert "notes.txt" in printed[3]


# -- what is not supported


def refuses(**options: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        BackendOptions(cwd=".", **options)  # type: ignore[arg-type]


async def nothing(*_: object) -> Allow:
    await trio.lowlevel.checkpoint()
    return Allow()


def classifiers() -> str:
    return (PACKAGE.parent / "pyproject.toml").read_text()


def flags_are_refused(row: str) -> None:
    flags = re.findall(r"`--([\w-]+)`", row)
    assert flags
    for flag in flags:
        assert "--print only" in REFUSED_FLAGS[flag]
        refuses(extra_args={flag: "1"})


def modes_are_refused(row: str) -> None:
    for mode in ("default", "acceptEdits", "bypassPermissions"):
        refuses(on_permission=nothing, permission_mode=mode)
    for mode in re.findall(r"than `(\w+)` and `(\w+)`", row)[0]:
        BackendOptions(cwd=".", on_permission=nothing, permission_mode=mode)


def hooks_are_refused(row: str) -> None:
    for event in re.findall(r"`(\w+)`", row.partition(" | ")[0]):
        refuses(hooks={event: [HookMatcher(None, nothing)]})  # type: ignore[arg-type]


def no_key_is_inherited(_: str) -> None:
    assert "ANTHROPIC_API_KEY" not in child_environment({"ANTHROPIC_API_KEY": "x"}, {})
    assert "x" == child_environment({}, {"ANTHROPIC_API_KEY": "x"})["ANTHROPIC_API_KEY"]


#: By the beginning of a row: what shows that it is so; None where another file's tests do.
NOT_SUPPORTED: Mapping[str, Callable[[str], object] | None] = {
    "Windows": lambda _: "Windows" not in classifiers() or pytest.fail("a classifier"),
    "asyncio": lambda _: "Framework :: AsyncIO" not in classifiers() or pytest.fail("a classifier"),
    "text token by token": None,  # test_live_text.py
    "`--json-schema`": flags_are_refused,
    "hooks of": hooks_are_refused,
    "`on_permission` with": modes_are_refused,
    "two turns at once": None,  # test_fleet.py
    "an API key": no_key_is_inherited,
    "answering a start-up": None,  # test_startup.py
    "versions that": None,  # test_check.py
}


def test_what_is_not_supported_is_refused_where_it_is_asked_for() -> None:
    table = rows(section("What is not supported"), "what")
    assert len(NOT_SUPPORTED) == len(table)
    for begin, row in zip(NOT_SUPPORTED, table, strict=True):
        assert row[0].startswith(begin)
        if (shows := NOT_SUPPORTED[begin]) is not None:
            shows(" | ".join(row))


# -- development


def test_the_table_of_the_gateway_has_every_field_of_a_request() -> None:
    table = {
        tuple(quoted(row[0])): row[1]
        for row in rows(section("Messages gateway"), "field of a request")
    }
    fields = [field for group in table for field in group]
    assert sorted(message_request._KNOWN) == sorted(fields)
    assert message_request._IGNORED == set(next(g for g, how in table.items() if "ignored" in how))
    passed = next(group for group, how in table.items() if "go on" in how)
    assert {*message_request._PASSED, "output_config"} == {*passed}


def test_every_session_of_nox_is_named() -> None:
    tree = ast.parse((PACKAGE.parent / "noxfile.py").read_text())
    sessions = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        if any("session" in ast.unparse(each) for each in node.decorator_list)
    }
    assert {"demo", "tests"} < sessions
    assert set() == sessions - {*quoted(section("Development"))}


# -- figures


def test_the_table_of_speed_has_the_rows_that_the_benchmark_prints() -> None:
    table = rows(section("Speed"), "median [p10 - p90]")
    assert len(test_bench.ROWS) == len(table)
    for (name, cells), row in zip(test_bench.ROWS.items(), table, strict=True):
        assert re.fullmatch(re.sub(r"(for|with) \d+", r"\1 \\d+", name), row[0]), row[0]
        assert len([cell for cell in cells if cell]) == len([x for x in row[1:] if x.strip("| ")])
