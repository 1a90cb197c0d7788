"""Each example runs as a user runs it, on the real CLI, and prints what it says it prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from claude_trio.testing import LoopbackApi, World

EXAMPLES = Path(__file__).parent.parent / "examples"
#: What each example must have printed.
EXPECTED: Mapping[str, str] = {
    "basic_usage.py": (
        r"prompt     Run `echo trio` and tell me what it says\.\n"
        r"thinking   I will look instead of guessing\.\n"
        r"assistant  Let me look\.\n"
        r"tool use   Bash .*echo trio.*\n"
        r"result of  trio\n"
        r"assistant  The shell says: trio\.\n"
        r"system     turn_duration\n"
        r"result     success, \d+ ms, 20 tokens in, \d+ out\n"
        r"\n"
        r"claude \d+\.\d+\.\d+, pid \d+:\n"
        r"The shell says: trio\.\n"
    ),
    "multi_turn.py": (
        r"I will remember it\.\n"
        r"The codeword is heron\.\n"
        r"process \d+, turn 2, reused: True\n"
    ),
    "resume.py": (
        r"Noted: the codeword is heron\.\n"
        r"2 messages, resumed: False\n"
        r"It is heron\.\n"
        r"4 messages, resumed: True\n"
    ),
    "branches.py": (
        r"Heron\.\n"
        r"(?=(?s:.*)the live process)(?=(?s:.*)on a copy)"
        r"Something brighter\.  Kingfisher\.  \w[\w ,]+\n"
        r"Something quieter\.   Bittern\.     \w[\w ,]+\n"
    ),
    "permissions.py": (
        r"question   Which colour\?\n"
        r"may it     Bash touch blue\.txt\n"
        r"may it     Bash git push --force\n"
        r"may it     Bash touch red\.txt\n"
        r"Made blue\.txt, and another one as you wished; nothing was published\.\n"
        r"files      blue\.txt, green\.txt\n"
    ),
    "live_text.py": (
        r"A heron stands,\n"
        r"and the river goes by\.\n"
        r"It is in no hurry:\n"
        r"the fish will come\.\n"
        r"It is about\n"
        r"patience\.\n"
        r"in one piece or more: True\n"
    ),
    "mcp_tool.py": (
        r"prompt     Let the echo server say heron\.\n"
        r"tool use   mcp__echo__echo {'text': 'heron'}\n"
        # No prompt waits for a server that connects; a call does, but not on CLI 2.1.197.
        r"result of  .*(echo: heron|No such tool available).*\n"
        r"assistant  The server says: echo: heron\.\n"
        r"system     turn_duration\n"
        r"result     success.*\n"
    ),
    "own_tools.py": (
        r"prompt     What is in stock\? Order what is missing\.\n"
        r"tool use   mcp__shop__in_stock {'article': 'apples'}\n"
        r"tool use   mcp__shop__order {'article': 'pears', 'number': 12}\n"
        r"tool use   mcp__shop__in_stock {'article': 'kiwis'}\n"
        r"result of  .*3.*\n"
        r"result of  .*12 pears will come tomorrow.*\n"
        r"result of  .*we do not sell kiwis\n"
        r"assistant  There are 3 apples, and 12 pears are on their way\. There are no kiwis\.\n"
        r"system     turn_duration\n"
        r"result     success.*\n"
        r"stock      {'apples': 3, 'pears': 12}\n"
    ),
}
#: Those that run until they are ended have tests of their own.
HELPERS = {"common.py", "echo_server.py", "gateway.py"}
#: Run by pytest.
TESTS = {"test_my_app.py"}
README = EXAMPLES.parent / "README.md"


@pytest.mark.real_cli
async def test_the_example_of_the_readme_runs_as_it_stands(
    real_cli: Path, world: World, api: LoopbackApi, tmp_path: Path
) -> None:
    """It takes the `claude` on the path; here that one is the real CLI, led to the loopback API."""
    code = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    settings = world.env(api.base_url)
    exports = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in settings.items())
    claude = tmp_path / "claude"
    claude.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(str(real_cli))} "$@"\n')
    claude.chmod(0o755)
    api.reply("Hi from the README.")
    with trio.fail_after(120):
        done = await trio.run_process(
            [sys.executable, "-c", code],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=world.cwd,
            env={**settings, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        )
    printed = done.stdout.decode()
    assert 0 == done.returncode, printed
    assert "TextBlock(text='Hi from the README.')" in printed
    assert printed.rstrip().split("\n")[-1].startswith("ResultMessage(")


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} - HELPERS - TESTS == set(EXPECTED)


@pytest.mark.real_cli
@pytest.mark.parametrize("name", EXPECTED)
async def test_an_example_prints_what_it_promises(name: str, real_cli: Path) -> None:
    with trio.fail_after(120):
        done = await trio.run_process(
            [sys.executable, str(EXAMPLES / name)],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            env={**os.environ, "CLAUDE_TRIO_TEST_CLI": str(real_cli)},
        )
    printed = done.stdout.decode()
    assert done.returncode == 0, printed
    assert re.fullmatch(EXPECTED[name], printed), printed


@pytest.mark.real_cli
@pytest.mark.parametrize("name", TESTS)
async def test_the_tests_of_an_example_pass_in_a_project_of_their_own(
    name: str, real_cli: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text((EXAMPLES / name).read_text())
    with trio.fail_after(400):
        done = await trio.run_process(
            [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", name],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "CLAUDE_TRIO_TEST_CLI": str(real_cli)},
        )
    printed = done.stdout.decode()
    assert done.returncode == 0, printed
    assert re.search(r"^=+ 4 passed in", printed, re.MULTILINE), printed
