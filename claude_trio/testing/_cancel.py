"""`cancel_everywhere`: cancels a piece of code at each of its steps, one after another."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.define(eq=False)
class _CancelAtStep(trio.abc.Instrument):
    task: trio.lowlevel.Task
    scope: trio.CancelScope
    step: int
    all_tasks: bool
    #: Those that the calling task had open before.
    nurseries: frozenset[trio.Nursery]
    steps_seen: int = 0
    #: Whether a task is one of those that the code has started.
    _ours: weakref.WeakKeyDictionary[trio.lowlevel.Task, bool] = attrs.field(
        factory=weakref.WeakKeyDictionary
    )

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task or (self.all_tasks and self._is_ours(task)):
            self.steps_seen += 1
            if self.steps_seen == self.step:
                self.scope.cancel(reason=f"cancel_everywhere, step {self.step}")

    def _is_ours(self, task: trio.lowlevel.Task) -> bool:
        if task not in self._ours:
            nursery, ours = task.parent_nursery, False
            while nursery is not None and not ours:
                ours = nursery.parent_task is self.task and nursery not in self.nurseries
                nursery = nursery.parent_task.parent_nursery
            self._ours[task] = ours
        return self._ours[task]


async def cancel_everywhere(
    body: Callable[[], Awaitable[object]],
    check: Callable[[], Awaitable[object]],
    *,
    all_tasks: bool = False,
) -> int:
    """Run some code again and again, cancelled one step later each time, until it gets through.

    A step is one run of a task between two suspensions. The steps of the calling task are each place
    where a cancellation of it can arrive. What the code's other tasks do while that one waits is
    visited only with `all_tasks`: then the cancellation also comes before each step of every task
    that the code has started, which takes many more runs. Those steps depend on timing, so another
    run may visit others. Put a time limit around it: code that swallows its cancellation may hang.

    Args:
        body: The code; each run must be able to start from where the one before left off.
        check: Awaited after each run; raises if something was left behind.
        all_tasks: Count the steps of the tasks that the code starts too.

    Returns:
        The number of runs that were cancelled.
    """
    step = 0
    while True:
        step += 1
        with trio.CancelScope() as scope:
            task = trio.lowlevel.current_task()
            counter = _CancelAtStep(task, scope, step, all_tasks, frozenset(task.child_nurseries))
            trio.lowlevel.add_instrument(counter)
            try:
                await body()
            finally:
                trio.lowlevel.remove_instrument(counter)
        await check()
        if not scope.cancel_called:
            return step - 1
