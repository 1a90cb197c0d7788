"""Each example runs as a user runs it, on the real CLI, and prints what it says it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

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
}
HELPERS = {"common.py"}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} - HELPERS == set(EXPECTED)


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
