"""What the trio modules share."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Generator
from typing import Any, NoReturn, TypeVar

import attrs
import trio

from .errors import BackendError

T = TypeVar("T")


@attrs.define(eq=False)
class Body:
    """Remembers the exception that a block raised, as the object that it was."""

    exception: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        self.exception = exc


@contextlib.contextmanager
def one_exception() -> Generator[Body, None, None]:
    """Let one exception out of a nursery that the caller cannot see.

    Enter the `Body` that it gives around the caller's part inside the nursery.

    Exactly one layer of group is taken off: the one that our own nursery put on. So the caller's
    exception comes out as the same object, with the context it had, and a group that the caller
    raised stays a group. A cancellation beside it is not lost: trio raises it again at the next
    checkpoint. Two failures at once cannot both come out bare; they come out as one
    `BackendError` that has the group as its cause. Ctrl-C and `SystemExit` win, however many
    nurseries of a background task they came through.
    """
    body = Body()
    try:
        yield body
    except BaseExceptionGroup as group:
        # A background task that fails hands the same object to whoever waits for it.
        failures = list(
            {id(exc): exc for exc in group.exceptions if not _is_cancellation(exc)}.values()
        )
        if len(failures) < 2:
            only = failures[0] if failures else group.exceptions[0]
            if isinstance(only, BaseExceptionGroup) and isinstance(body.exception, type(only)):
                only = body.exception  # a cancelled nursery makes every group in it anew
            else:
                only = _exit_in(only) or only
            _reraise(only)
        for exc in map(_exit_in, failures):
            if exc is not None:
                raise type(exc)(*exc.args) from group
        raise BackendError(
            "the block and a background task of the backend both failed; the cause has both",
            kind="bug",
        ) from group


def _exit_in(exc: BaseException) -> BaseException | None:
    """Return the first Ctrl-C or `SystemExit` in an exception or a group."""
    if isinstance(exc, BaseExceptionGroup):
        return next(filter(None, map(_exit_in, exc.exceptions)), None)
    return exc if isinstance(exc, KeyboardInterrupt | SystemExit) else None


def _is_cancellation(exc: BaseException) -> bool:
    if isinstance(exc, BaseExceptionGroup):  # of a nursery that was cancelled inside
        return exc.split(trio.Cancelled)[1] is None
    return isinstance(exc, trio.Cancelled)


def _reraise(exc: BaseException) -> NoReturn:
    # Raising inside an except clause would overwrite the context that the exception came with.
    context = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = context
        del exc, context


class NoPublicConstructor(abc.ABCMeta):
    """Metaclass of classes that only this package makes, by ``Class._create(…)``."""

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:  # noqa: ARG002
        """Refuse: the object would have nobody to own it."""
        raise TypeError(f"{cls.__name__} has no public constructor; see its docstring")

    def _create(cls: type[T], *args: Any, **kwargs: Any) -> T:
        return super().__call__(*args, **kwargs)  # type: ignore[misc,no-any-return]
