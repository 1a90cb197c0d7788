"""`tool`: functions of your own program that the model may call.

A list of them is a server in ``BackendOptions(mcp_servers={"app": [add, lookup]})``; the model sees them
as ``mcp__app__add`` and ``mcp__app__lookup``. They are served by the package ``mcp``, which
``pip install claude-trio[tools]`` brings.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

import attrs

P = ParamSpec("P")
R = TypeVar("R")
#: What a tool can be called.
TOOL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Tool(Generic[P, R]):
    """An async function that the model may call; made by `tool`. Calling it calls the function.

    Attributes:
        function: The function.
        name: What the model calls it.
        description: What the model is told about it.
    """

    function: Callable[P, Awaitable[R]]
    name: str
    description: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Call the function."""
        return self.function(*args, **kwargs)


@overload
def tool(function: Callable[P, Awaitable[R]], /) -> Tool[P, R]: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None
) -> Callable[[Callable[P, Awaitable[R]]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Awaitable[Any]] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Make a tool of an async function: ``@tool``, or ``@tool(name=…, description=…)``.

    What it may be called with follows from the types of its parameters, which can be anything that
    pydantic knows; ``Annotated[int, Field(description=…)]`` says more about one. The model reads
    what it returns: a text, or a value as JSON. What it raises becomes the tool's error, which the
    model reads too, and the turn goes on.

    It runs in the backend's nursery, beside the task that reads the turn, and is cancelled with its
    turn. Several calls may run at the same time.

    Args:
        function: The function; one parameter for each argument.
        name: Default: the function's own.
        description: Default: its docstring.

    Raises:
        TypeError: It is no async function.
        ValueError: The name holds what no tool's name can, or there is no description.
    """
    if function is None:
        return functools.partial(_make, name=name, description=description)
    return _make(function, name=name, description=description)


def _make(
    function: Callable[P, Awaitable[R]], /, *, name: str | None, description: str | None
) -> Tool[P, R]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"a tool must be an async function, not {function!r}")
    called = function.__name__ if name is None else name
    if not TOOL_NAME.fullmatch(called):
        raise ValueError(
            f"a tool's name takes 64 letters, digits, - and _; {called!r} does not fit"
        )
    told = inspect.getdoc(function) if description is None else description
    if not told:
        raise ValueError(f"the tool {called} needs a docstring: the model has to know what it does")
    return Tool(function, called, told)
