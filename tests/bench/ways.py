"""How long a prompt takes by each way to the CLI; prints a table, on the real CLI.

``python tests/bench/ways.py [--turns 10]``. Each way is made to take each text that it can carry; a
text that arrives as another one ends the measurement. The first turn by the editor in a process is
shown by itself, since the CLI loads its part of that only then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import trio

from claude_trio import BackendOptions, ClaudeCodeBackend, open_backend
from claude_trio._protocol import keys
from claude_trio.testing import find_real_cli, isolated_world, open_loopback_api

LINE: Final = "x" * 79 + "\n"
TEXTS: Final = {
    "40 characters": "Say hello to the heron, and stop after it",
    "2 KB, with tabs": ("\t" + LINE[1:]) * 25 + "end",
    "20 KB": LINE * 250 + "end",
    "200 KB": LINE * 2500 + "end",
    "1 MB": LINE * 12_400 + "end",
}
CARRIED: Final[dict[keys.Way, tuple[str, ...]]] = {
    "paste": ("40 characters",),
    "editor": tuple(TEXTS),
    "transcript": tuple(TEXTS),
}


async def seconds_of(backend: ClaudeCodeBackend, messages: list[dict[str, Any]]) -> float:
    begun = time.perf_counter()
    await backend.complete(messages).get_final_text()
    return time.perf_counter() - begun


async def measure(options: BackendOptions, way: keys.Way, text: str, turns: int) -> list[float]:
    """Return the seconds of turns in one warm conversation, by a way that each is made to take."""
    kept = keys.way_of
    messages = [{"role": "user", "content": "hi"}]
    async with open_backend(options) as backend:
        await seconds_of(backend, messages)
        keys.way_of = lambda *_, **__: way
        try:
            found = []
            for _ in range(turns):
                messages += [
                    {"role": "assistant", "content": "ok"},
                    {"role": "user", "content": text},
                ]
                found.append(await seconds_of(backend, messages))
        finally:
            keys.way_of = kept
    return found


async def run(cli: Path, turns: int) -> None:
    sys.stdout.write(
        "| text | way | first turn | later turns, median [min - max] |\n|---|---|---|---|\n"
    )
    with isolated_world() as world:
        async with open_loopback_api() as api:
            options = BackendOptions(cwd=world.cwd, cli_path=cli, env=world.env(api.base_url))
            for name, text in TEXTS.items():
                for way, carried in CARRIED.items():
                    if name not in carried:
                        continue
                    count = turns if len(text) < 100_000 else min(turns, 4)
                    first, *later = [1000 * s for s in await measure(options, way, text, count)]
                    api.requests.clear()
                    sys.stdout.write(
                        f"| {name} | {way} | {first:.0f} ms | {statistics.median(later):.0f} ms "
                        f"[{min(later):.0f} - {max(later):.0f}] |\n"
                    )
                    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10)
    turns = parser.parse_args().turns
    if turns < 2:
        parser.error("--turns must be 2 or more: the first is shown by itself")
    cli = find_real_cli()
    if cli is None:
        sys.exit("no real CLI: install claude-agent-sdk, or set CLAUDE_TRIO_TEST_CLI")
    trio.run(run, cli, turns)


if __name__ == "__main__":
    main()
