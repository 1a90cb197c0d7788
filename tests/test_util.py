"""The exception that comes out of a nursery that the caller cannot see; cancelling everywhere."""

from __future__ import annotations

import pytest
import trio

from claude_trio import BackendError
from claude_trio._util import NoPublicConstructor, one_exception
from claude_trio.testing import cancel_everywhere


async def crash(exc: BaseException) -> None:
    raise exc  # at once, so that two of them crash in one step


async def test_one_failure_comes_out_bare_with_its_own_context() -> None:
    first = KeyError("first")
    own = ValueError("own")
    own.__context__ = first
    with pytest.raises(ValueError, match="own") as caught, one_exception() as body:
        async with trio.open_nursery():
            with body:
                raise own
    assert caught.value is own
    assert own.__context__ is first


async def test_a_group_that_the_caller_raised_stays_a_group() -> None:
    own = ExceptionGroup("own", [ValueError("inner")])
    with pytest.raises(ExceptionGroup) as caught, one_exception() as body:
        async with trio.open_nursery():
            with body:
                raise own
    assert caught.value is own


async def test_two_failures_come_out_as_one_error_that_has_both() -> None:
    with pytest.raises(BackendError) as caught, one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash, KeyError("a"))
            nursery.start_soon(crash, IndexError("b"))
    assert caught.value.kind == "bug"
    group = caught.value.__cause__
    assert isinstance(group, BaseExceptionGroup)
    assert {KeyError, IndexError} == {type(exc) for exc in group.exceptions}


async def test_an_interrupt_from_the_keyboard_wins() -> None:
    with pytest.raises(KeyboardInterrupt), one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash, KeyboardInterrupt())
            nursery.start_soon(crash, IndexError("b"))


async def crash_within(*excs: BaseException) -> None:
    async with trio.open_nursery() as nursery:
        for exc in excs:
            nursery.start_soon(crash, exc)


async def test_an_interrupt_in_a_nursery_of_a_background_task_comes_out_bare() -> None:
    with pytest.raises(KeyboardInterrupt), one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_within, KeyboardInterrupt())
    with pytest.raises(SystemExit, match="3"), one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_within, SystemExit(3), IndexError("b"))
            nursery.start_soon(crash, IndexError("c"))


async def test_a_group_with_an_interrupt_that_the_caller_raised_stays_a_group() -> None:
    own = BaseExceptionGroup("own", [KeyboardInterrupt()])
    with pytest.raises(BaseExceptionGroup) as caught, one_exception() as body:
        async with trio.open_nursery():
            with body:
                raise own
    assert caught.value is own


async def test_a_cancellation_passes() -> None:
    with trio.CancelScope() as scope, one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_group_of_cancellations_beside_another_is_a_cancellation() -> None:
    async def inner() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    with trio.CancelScope() as scope, one_exception():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)
            scope.cancel()
            await inner()
    assert scope.cancelled_caught


def test_an_object_without_a_public_constructor_says_so() -> None:
    class Made(metaclass=NoPublicConstructor):
        def __init__(self, value: int) -> None:
            self.value = value

    with pytest.raises(TypeError, match="Made has no public constructor"):
        Made(1)
    assert Made._create(2).value == 2


async def test_cancel_everywhere_counts_the_callers_steps_or_those_of_all_its_tasks() -> None:
    async def steps(number: int) -> None:
        for _ in range(number):
            await trio.lowlevel.checkpoint()

    async def grandchildren() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(steps, 5)

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grandchildren)
            await steps(2)

    async with trio.open_nursery() as beside:
        beside.start_soon(steps, 1000)
        few = await cancel_everywhere(body, trio.lowlevel.checkpoint)
        many = await cancel_everywhere(body, trio.lowlevel.checkpoint, all_tasks=True)
        beside.cancel_scope.cancel()
    assert 2 <= few <= 4
    assert few + 6 <= many < 20
