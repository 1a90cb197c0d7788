"""Measures what conversations at rest cost the process that owns them.

Arguments: the CLI, a number of conversations, and a number of seconds. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Final

import attrs
import psutil
import trio
from wire import say

from claude_trio import BackendOptions, ClaudeCodeBackend, open_backend

_AT_ONCE: Final = 4  # conversations that start side by side
_SETTLING: Final = 2.0  # seconds that the CLIs get to come to rest
_STARTUP: Final = 120.0  # seconds


@attrs.frozen
class Idle:
    """What was measured.

    Args:
        sessions: The number of conversations.
        cpu: The share of a core that our own process used.
        cli_cpu: The share of a core that all the CLIs used together.
        base: Bytes of resident memory of our own process before the first conversation.
        memory: The same with all of them.
        cli_memory: Bytes of resident memory of the CLIs, on average.
        cli_own: Those of them that it shares with no other process, on average.
        start_cpu: Seconds of a core that a CLI has used when its first turn is over, on average.
    """

    sessions: int
    cpu: float
    cli_cpu: float
    base: int
    memory: int
    cli_memory: float
    cli_own: float
    start_cpu: float


async def start(backend: ClaudeCodeBackend, count: int) -> None:
    """Have so many conversations, each with one turn behind it."""
    limit = trio.CapacityLimiter(_AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            messages = [{"role": "user", "content": f"fast {number}"}]
            await backend.complete(messages).get_final_text()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def measure(cli: Path, count: int, seconds: float) -> Idle:
    """Start the conversations, and leave them alone for a while."""
    ours = psutil.Process()
    options = BackendOptions(
        cwd=Path.cwd(),
        cli_path=cli,
        env=dict(os.environ),
        startup_timeout=_STARTUP,
        max_sessions=None,
        idle_timeout=None,
    )
    async with open_backend(options) as backend:
        base = ours.memory_info().rss
        await start(backend, count)
        clis = [psutil.Process(session.pid) for session in backend.sessions]
        await trio.sleep(_SETTLING)
        cli_before = sum(sum(cli.cpu_times()[:2]) for cli in clis)
        before, begun = time.process_time(), time.perf_counter()
        await trio.sleep(seconds)
        cpu, passed = time.process_time() - before, time.perf_counter() - begun
        return Idle(
            sessions=len(clis),
            cpu=cpu / passed,
            cli_cpu=(sum(sum(cli.cpu_times()[:2]) for cli in clis) - cli_before) / passed,
            base=base,
            memory=ours.memory_info().rss,
            cli_memory=sum(cli.memory_info().rss for cli in clis) / len(clis),
            cli_own=sum(cli.memory_full_info().uss for cli in clis) / len(clis),
            start_cpu=cli_before / len(clis),
        )


async def main() -> None:
    """Measure it, and print it."""
    idle = await measure(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
    say(json.dumps(attrs.asdict(idle)))


if __name__ == "__main__":
    trio.run(main)
