"""What ``help()`` says: every public name has its text, with arguments, units and cancellation."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from types import ModuleType
from typing import Any

import pytest
import trio

import claude_trio
import claude_trio.testing
from claude_trio import callbacks, errors, events, messages_api, options, tools

MODULES = (
    claude_trio,
    claude_trio.testing,
    callbacks,
    errors,
    events,
    messages_api,
    options,
    tools,
)


def names_of(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions of a module that are ours."""
    for name, value in vars(module).items():
        if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        packages = (claude_trio, claude_trio.testing)  # these give the names of others, too
        if value.__module__ == module.__name__ or module in packages:
            yield name, value


def members_of(owner: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, those of its private bases included."""
    for base in owner.__mro__:
        if not base.__module__.startswith("claude_trio"):
            continue
        for name, member in vars(base).items():
            if not name.startswith("_"):
                yield name, member


THINGS = {
    f"{value.__module__}.{value.__qualname__}": value
    for module in MODULES
    for _, value in names_of(module)
}
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    name: (value, None) for name, value in THINGS.items() if inspect.isfunction(value)
}
for _name, _owner in [each for each in THINGS.items() if inspect.isclass(each[1])]:
    for _part, _member in members_of(_owner):
        _plain = getattr(_member, "__func__", _member)  # of a class method
        if inspect.isfunction(_plain):
            FUNCTIONS[f"{_name}.{_part}"] = (_plain, _owner)


def doc_of(function: Any, owner: Any) -> str:
    """Return the text of a function; a method may have that of the base it overrides."""
    text = inspect.getdoc(function if owner is None else getattr(owner, function.__name__))
    return text or ""


@pytest.mark.parametrize("name", THINGS)
def test_every_public_thing_has_a_text_of_its_own(name: str) -> None:
    thing = THINGS[name]
    assert thing.__doc__
    # attrs writes one where there is none.
    assert not thing.__doc__.startswith(f"{thing.__name__}(")


def test_every_public_method_and_property_has_a_text() -> None:
    assert [] == [
        f"{name}.{part}"
        for name, owner in THINGS.items()
        if inspect.isclass(owner)
        for part, member in members_of(owner)
        if isinstance(member, property | cached_property | classmethod | staticmethod)
        or inspect.isfunction(member)
        if not inspect.getdoc(getattr(owner, part))
    ]


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    found = list(inspect.signature(function).parameters.values())
    return [each for each in found if each.name not in {"self", "cls"}]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_explained(name: str) -> None:
    function, owner = FUNCTIONS[name]
    text = doc_of(function, owner)
    for parameter in parameters(function):
        explained = re.search(rf"^    \*{{0,2}}{parameter.name}: ", text, re.MULTILINE)
        assert explained, f"{name}: {parameter.name}"


COUNTED = re.compile(r"second|the clock of|From 0 to 100|dollars|As in the class", re.IGNORECASE)


def explanations(text: str) -> dict[str, str]:
    """Return what a docstring says of each of its arguments and attributes."""
    found = re.findall(r"^ {4}\*{0,2}(\w+): ((?:.*\n?(?: {5,}.*\n?|\n(?= {5,}))*))", text, re.MULTILINE)  # fmt: skip
    return {name: " ".join(said.split()) for name, said in found}


@pytest.mark.parametrize("name", [*{**THINGS, **FUNCTIONS}])
def test_numbers_of_time_say_what_they_count(name: str) -> None:
    if name in FUNCTIONS:
        text = doc_of(*FUNCTIONS[name])
        hints = inspect.get_annotations(FUNCTIONS[name][0])
    else:
        text, hints = inspect.getdoc(THINGS[name]) or "", inspect.get_annotations(THINGS[name])
    said = explanations(text)
    for argument, hint in hints.items():
        if argument in said and re.search(r"\bfloat\b", str(hint)):
            assert COUNTED.search(said[argument]), f"{argument}: {said[argument]}"


def is_async(function: Any) -> bool:
    plain = inspect.unwrap(function)
    return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


@pytest.mark.parametrize("name", [name for name, (f, _) in FUNCTIONS.items() if is_async(f)])
def test_every_async_function_says_what_cancelling_it_does(name: str) -> None:
    function, owner = FUNCTIONS[name]
    said = doc_of(function, owner) + (inspect.getdoc(owner) or "" if owner else "")
    assert re.search("cancel", said, re.IGNORECASE)


def test_help_of_the_package_names_everything_by_what_it_is_for() -> None:
    text = pydoc.plain(pydoc.render_doc(claude_trio))
    public = [name for name, value in vars(claude_trio).items()
              if not name.startswith("_") and not inspect.ismodule(value)]  # fmt: skip
    assert [] == [name for name in public if not re.search(rf"\b{name}\b", text)]
    for part in ("Use", "Errors", "Lower layers", "General layout"):
        assert re.search(rf"^    {part}$", text, re.MULTILINE)
    assert 150 > text.count("\n")


async def python(code: str) -> str:
    with trio.fail_after(60):
        done = await trio.run_process(
            [sys.executable, "-W", "error", "-c", code],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
    printed = done.stdout.decode()
    assert 0 == done.returncode, printed
    return printed


@pytest.mark.parametrize("module", ["claude_trio", "claude_trio.testing", "claude_trio.__main__"])
async def test_importing_warns_of_nothing_and_needs_no_optional_package(module: str) -> None:
    printed = await python(
        f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    optional = {"mcp", "pydantic", "claude_agent_sdk", "anthropic", "pytest", "httpx", "rich"}
    assert set() == optional & set(printed.split())
