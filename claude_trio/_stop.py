"""`Stop`: how a command that runs a turn is stopped from outside."""

from __future__ import annotations

import signal
from typing import Final

import attrs
import trio

from ._console import Console
from ._turn import Turn

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@attrs.define(eq=False)
class Stop:
    """Takes the signals: the first SIGINT interrupts the turn, any other one leaves.

    Either way the CLI is ended in order. What comes after the one that leaves is ignored: that takes
    `BackendOptions.exit_grace` at most, and ``timeout``, or a terminal that is closed, may send the
    same signal twice.

    Args:
        console: Where it is said.
    """

    console: Console
    #: What is left; for the caller to enter.
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    #: The turn, once there is one.
    turn: Turn | None = None
    #: The signal that has ended the command.
    signal: int | None = None
    _interrupting: bool = False

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Wait for signals until cancelled."""
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            task_status.started()
            async with trio.open_nursery() as nursery:
                async for number in signals:
                    self._take(number, nursery)

    def _take(self, number: int, nursery: trio.Nursery) -> None:
        if self.signal is not None:
            return
        if number != signal.SIGINT or self._interrupting or self.turn is None:
            self.signal = number
            self.scope.cancel(reason=f"signal {number}")
            return
        self._interrupting = True
        nursery.start_soon(self.turn.interrupt)
        if self.console.watched:
            nursery.start_soon(self.console.note, "interrupting; Ctrl-C once more leaves")
