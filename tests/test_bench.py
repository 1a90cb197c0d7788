"""The benchmark runs, and prints every row that it promises."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import trio

RUN = Path(__file__).parent / "bench" / "run.py"
TIME = r"[\d.]+ ms \[[\d.]+ - [\d.]+\]"
SHARE = r"[\d.]+ %"
#: What each row is called, and its cells: one for each contestant, or the library's alone.
ROWS = {
    r"warm turn, the model answers at once": [TIME] * 3,
    r"warm turn, model of human speed \(.*\)": [TIME] * 3,
    r"start of a process to first event": [TIME] * 3,
    r"start of a process to result": [TIME] * 3,
    r"own CPU time of a warm turn": [TIME] * 3,
    r"own CPU while the model thinks for 1 s": [SHARE] * 3,
    r"line on disk to event \(scripted CLI\)": [TIME, "", ""],
    r"own CPU while waiting for a line, terminal silent \(scripted CLI\)": [SHARE, "", ""],
    r"line on disk to record, `JsonlWatcher` alone \(no CLI\)": [TIME, "", ""],
    r"own CPU with 2 conversations at rest": [SHARE, "", ""],
    r"own memory with 2 conversations at rest": [r"[\d.]+ MB", "", ""],
}


@pytest.mark.real_cli
async def test_the_benchmark_prints_each_of_its_rows(real_cli: Path) -> None:
    if not os.environ.get("CI") or os.environ.get("CLAUDE_TRIO_TEST_CLI"):
        pytest.importorskip("claude_agent_sdk", reason="the benchmark compares with the SDK")
    with trio.fail_after(240):
        done = await trio.run_process(
            [sys.executable, str(RUN), "--quick", "--rounds", "1", "--sessions", "2"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "CLAUDE_TRIO_TEST_CLI": str(real_cli)},
        )
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    lines = [line for line in printed.splitlines() if line.startswith("| ")]
    head, _, *rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]
    assert ["median [p10 - p90]", "claude_trio", "bare terminal", "official SDK"] == head
    assert len(ROWS) == len(rows), printed
    for (name, cells), row in zip(ROWS.items(), rows, strict=True):
        for expected, cell in zip([name, *cells], row, strict=True):
            assert re.fullmatch(expected, cell.strip()), f"{expected} is not {cell!r} in {row}"
    assert 8 == len([line for line in printed.splitlines() if line.startswith("- ")])
