"""The model of the benchmark: a scripted Messages API in a process of its own.

Prints its base URL, and serves until its input ends. The first word of a prompt says how it is
answered: ``fast`` at once, ``human`` at the speed of a model, ``held`` after so many seconds.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import trio
from wire import say

from claude_trio.testing import RecordedRequest, Reply, open_loopback_api

_PROMPT: Final = re.compile(r"\b(fast|human|held) (\d+)")
FIRST_TOKEN: Final = 0.5  # seconds
TOKENS_PER_SECOND: Final = 60
TOKENS: Final = 120
_TOKEN: Final = "word"  # as many characters as `chunk` has below


def answer(request: RecordedRequest) -> Reply:
    """Answer as the prompt says."""
    found = _PROMPT.search(request.prompt)
    match found.groups() if found else ("fast", "0"):
        case ("human", _):
            return Reply(
                _TOKEN * TOKENS,
                first_token_delay=FIRST_TOKEN,
                interval=1 / TOKENS_PER_SECOND,
                chunk=len(_TOKEN),
            )
        case ("held", seconds):
            return Reply("ok", delay=float(seconds))
        case _:
            return Reply("ok")


async def main() -> None:
    """Serve until the input ends."""
    async with open_loopback_api() as api:
        api.default = answer
        say(api.base_url)
        await trio.to_thread.run_sync(sys.stdin.read)


if __name__ == "__main__":
    trio.run(main)
