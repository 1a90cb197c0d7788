"""`cancel_everywhere`: cancels a piece of code at each of its steps, one after another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.define(eq=False)
class _CancelAtStep(trio.abc.Instrument):
    task: trio.lowlevel.Task
    scope: trio.CancelScope
    step: int
    steps_seen: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.steps_seen += 1
            if self.steps_seen == self.step:
                self.scope.cancel(reason=f"cancel_everywhere, step {self.step}")


async def cancel_everywhere(
    body: Callable[[], Awaitable[object]],
    check: Callable[[], Awaitable[object]],
) -> int:
    """Run some code again and again, cancelled one step later each time, until it gets through.

    A step is one run of the calling task between two suspensions, so this visits each place where a
    cancellation can arrive. Tasks that the code starts are not counted. Put a time limit around it:
    code that swallows its cancellation may hang.

    Args:
        body: The code; each run must be able to start from where the one before left off.
        check: Awaited after each run; raises if something was left behind.

    Returns:
        The number of runs that were cancelled.
    """
    step = 0
    while True:
        step += 1
        with trio.CancelScope() as scope:
            counter = _CancelAtStep(trio.lowlevel.current_task(), scope, step)
            trio.lowlevel.add_instrument(counter)
            try:
                await body()
            finally:
                trio.lowlevel.remove_instrument(counter)
        await check()
        if not scope.cancel_called:
            return step - 1
