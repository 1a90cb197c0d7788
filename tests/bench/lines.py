"""Measures how long a line of a transcript takes from the disk to the consumer, and what waiting costs.

Arguments: a number of lines, and a number of seconds to wait. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import attrs
import trio
from wire import HERE, PATIENCE, say

from claude_trio import AssistantMessage, BackendOptions, JsonlWatcher, open_backend


@attrs.frozen
class Lines:
    """What was measured.

    Args:
        session: Seconds from a line's time stamp to its event, for each line, through a session.
        watcher: The same to its record, through a `JsonlWatcher` as it comes.
        waiting: The share of a core that a turn costs in which nothing happens.
    """

    session: list[float]
    watcher: list[float]
    waiting: float


def age(stamp: int) -> float:
    """Return the seconds since a time stamp."""
    return (time.perf_counter_ns() - stamp) / 1e9


def make_program() -> Path:
    """Make a program in the working directory that is the scripted CLI."""
    program = Path("scripted-cli").absolute()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "scripted_cli.py"}" "$@"\n')
    program.chmod(0o700)
    return program


async def through_a_session(count: int, silence: float) -> tuple[list[float], float]:
    """Read lines that a scripted CLI writes in a turn; then take a turn in which it is silent."""
    environment = {**os.environ, "BENCH_LINES": str(count), "BENCH_SILENCE": str(silence)}
    options = BackendOptions(cwd=Path.cwd(), cli_path=make_program(), env=environment)
    messages = [{"role": "user", "content": "go"}]
    async with open_backend(options) as backend:
        turn = backend.complete(messages)
        ages = [
            age(event.raw["benchStamp"])
            async for event in turn
            if isinstance(event, AssistantMessage)
        ]
        assert turn.result is not None
        messages.append({"role": "assistant", "content": turn.result.result or ""})
        messages.append({"role": "user", "content": "wait"})
        cpu, begun = time.process_time(), time.perf_counter()
        async for _ in backend.complete(messages):
            pass
        share = (time.process_time() - cpu) / (time.perf_counter() - begun)
    return ages, share


async def through_a_watcher(count: int, path: Path) -> list[float]:
    """Read lines that another process appends to a file."""
    append = [sys.executable, str(HERE / "scripted_cli.py"), "append", str(path), str(count)]
    ages: list[float] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.run_process, append)
        watcher = JsonlWatcher(path)
        while len(ages) < count:
            record = await watcher.receive()
            ages.append(age(record.raw["benchStamp"]))
    return ages


async def main() -> None:
    """Measure both, and print it."""
    count, silence = int(sys.argv[1]), float(sys.argv[2])
    with trio.fail_after(PATIENCE):
        session, waiting = await through_a_session(count, silence)
        watcher = await through_a_watcher(count, Path.cwd() / "lines.jsonl")
    say(json.dumps(attrs.asdict(Lines(session, watcher, waiting))))


if __name__ == "__main__":
    trio.run(main)
