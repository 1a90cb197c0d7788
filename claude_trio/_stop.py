"""`Stop`: how a command that runs a turn is stopped from outside."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Final

import attrs
import trio

from ._console import Console
from ._turn import Turn

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.define(eq=False)
class Stop:
    """Takes the signals: the first SIGINT interrupts the turn, any other one leaves.

    Either way the CLI is ended in order.

    Args:
        console: Where it is said.
        scope: What is cancelled to leave.
    """

    console: Console
    scope: trio.CancelScope
    #: The turn, once there is one.
    turn: Turn | None = None
    #: The signal that has ended the command.
    signal: int | None = None

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Wait for signals until cancelled."""
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            async with trio.open_nursery() as nursery:
                await self._take(signals, nursery)

    async def _take(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        interrupting = False
        async for number in signals:
            if number != signal.SIGINT or interrupting or self.turn is None:
                self.signal = number
                self.scope.cancel(reason=f"signal {number}")
                return
            interrupting = True
            nursery.start_soon(self.turn.interrupt)
            if self.console.watched:
                nursery.start_soon(self.console.note, "interrupting; Ctrl-C once more leaves")
