"""Ends what a CLI started and left behind.

The CLI runs each tool in a session of its own, and a tool may detach further, so neither the process
group nor the terminal reaches them. But all of them inherit the environment, and in it a value that
was made for this one CLI: whoever carries it is ours to end, and nobody else is.
"""

from __future__ import annotations

import contextlib
from typing import Final

import psutil
import trio

#: The variable that marks a CLI and everything below it.
MARKER: Final = "CLAUDE_TRIO_SESSION"
_POLITE: Final = 0.5  # seconds between SIGTERM and SIGKILL
_AGAIN: Final = 0.02  # seconds between two looks
_AT_A_TIME: Final = 50  # processes looked at between two checkpoints


async def sweep(marker: str) -> None:
    """End every process that carries a marker; return when none is left.

    When cancelled, some of them may be still running.

    Args:
        marker: The value of the `MARKER` variable.
    """
    patience = trio.current_time() + _POLITE
    asked: set[psutil.Process] = set()
    while carriers := await find(marker):
        for process in carriers:
            # psutil checks the start time too, so a pid that was given to another is left alone.
            with contextlib.suppress(psutil.Error):
                if trio.current_time() > patience:
                    process.kill()
                elif process not in asked:
                    process.terminate()
        asked |= carriers
        await trio.sleep(_AGAIN)


async def find(marker: str) -> set[psutil.Process]:
    """Return the living processes that carry a marker.

    Args:
        marker: The value of the `MARKER` variable.
    """
    await trio.lowlevel.checkpoint()
    found: set[psutil.Process] = set()
    for i, pid in enumerate(psutil.pids()):
        if i % _AT_A_TIME == _AT_A_TIME - 1:
            await trio.lowlevel.checkpoint()
        # Gone meanwhile, or somebody else's: not ours either way.
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.environ().get(MARKER) == marker:
                found.add(process)
    return found
