"""What the tests of a backend share: messages, options for a CLI, and how a turn is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

import trio

from claude_trio import BackendOptions, Event, ToolResultBlock, Turn, UserMessage
from claude_trio.testing import Block, FakeCLI, World, tool_use

Message: TypeAlias = dict[str, Any]
#: Makes options for the real CLI: the fixture ``options``.
Options: TypeAlias = Callable[..., BackendOptions]
#: Makes a stand-in for it: the fixture ``make_fake``.
Fake: TypeAlias = Callable[..., FakeCLI]
PATIENCE: Final = 60.0  # seconds for a turn
NOWHERE: Final = "http://127.0.0.1:9"  # the stand-in asks no model


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def assistant(content: Any) -> Message:
    return {"role": "assistant", "content": content}


def ask(question: str, *before: str | tuple[str, str]) -> list[Message]:
    """Return a question, and what was said before it; the stand-in has echoed a prompt alone."""
    messages = []
    for each in before:
        prompt, reply = each if isinstance(each, tuple) else (each, f"echo: {each}")
        messages += [user(prompt), assistant(reply)]
    return [*messages, user(question)]


def fake_options(world: World, fake: FakeCLI, **how: Any) -> BackendOptions:
    env = world.env(NOWHERE) | fake.env()
    return BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env, **how)


async def read(turn: Turn) -> list[Event]:
    with trio.fail_after(PATIENCE):
        return [event async for event in turn]


async def text_of(turn: Turn) -> str:
    with trio.fail_after(PATIENCE):
        return await turn.get_final_text()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.01)


def pid_of(turn: Turn) -> int:
    assert turn.session is not None
    assert turn.session.pid is not None
    return turn.session.pid


def results(events: list[Event]) -> list[ToolResultBlock]:
    said = [event for event in events if isinstance(event, UserMessage)]
    blocks = [block for event in said for block in event.content]
    return [block for block in blocks if isinstance(block, ToolResultBlock)]


def bash(command: str) -> Block:
    return tool_use("Bash", {"command": command, "description": "x"})


class Endless:
    """A callback that never returns, and tells when it was called and when it was cancelled."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.ended = trio.Event()

    async def __call__(self, _: object) -> NoReturn:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()
        raise AssertionError
