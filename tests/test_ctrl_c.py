"""Ctrl-C, wherever it lands: the program ends, nothing outlives it, and it ends as `KeyboardInterrupt`.

Each test runs trio itself, in the main thread, as a program does: there Ctrl-C is raised in whatever
runs at that moment, or, where that is protected, in the main task at its next checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from asking import Fake, ask, text_of
from asking import fake_options as options

from claude_trio import (
    Allow,
    BackendOptions,
    ClaudeCodeBackend,
    PermissionRequest,
    PtyClaudeProcess,
    open_backend,
)
from claude_trio._follower import Follower
from claude_trio._host.host import Host
from claude_trio._session import Session
from claude_trio.testing import World

ENV = {"PATH": os.defpath, "TERM": "xterm-256color"}
PATIENCE = 60.0


def interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what presses Ctrl-C the first time that it is called, and does what the function does."""
    pressed: list[bool] = []

    def call(*args: Any) -> Any:
        if not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        return function(*args)

    return call


def run_until_ctrl_c(
    own: BackendOptions, then: Callable[[ClaudeCodeBackend], Awaitable[None]]
) -> None:
    """Run a program that has had one turn, and what it does then; Ctrl-C is what ends it."""

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with open_backend(own) as backend:
                await text_of(backend.complete(ask("hello")))
                await then(backend)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


async def allow(_: PermissionRequest) -> Allow:
    return Allow()


def test_a_second_one_during_the_teardown_skips_no_step_of_it(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()

    async def leave(_: ClaudeCodeBackend) -> None:
        # What a teardown spends most of its time with.
        monkeypatch.setattr("psutil.pids", interrupted(psutil.pids))
        raise KeyboardInterrupt

    run_until_ctrl_c(options(world, fake), leave)
    assert [143] == [entry["code"] for entry in fake.log("exit")]


@pytest.mark.parametrize("prestart", [0, 1])
def test_one_between_the_making_of_a_session_and_its_start_loses_neither(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch, prestart: int
) -> None:
    own = options(world, make_fake(), on_permission=allow, prestart=prestart, exit_grace=3)
    monkeypatch.setattr(Session, "_launch", interrupted(Session._launch))

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with open_backend(own) as backend:
                if not prestart:
                    await text_of(backend.complete(ask("hello")))
                await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


def test_one_in_the_last_steps_of_a_session_skips_none_of_them(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()

    async def leave(_: ClaudeCodeBackend) -> None:
        monkeypatch.setattr(Host, "dismiss", interrupted(Host.dismiss))

    run_until_ctrl_c(options(world, fake, on_permission=allow), leave)
    assert [143] == [entry["code"] for entry in fake.log("exit")]


def test_one_in_a_background_task_is_no_group(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()

    async def rest(_: ClaudeCodeBackend) -> None:
        monkeypatch.setattr(Follower, "look", interrupted(Follower.look))
        await trio.sleep_forever()

    run_until_ctrl_c(options(world, fake), rest)
    assert [143] == [entry["code"] for entry in fake.log("exit")]


def test_one_while_a_program_is_started_comes_when_its_owner_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = [sys.executable, "-S", "-I", "-c", "import time; time.sleep(1000)"]
    owned: list[PtyClaudeProcess] = []

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", interrupted(os.dup))  # behind the fork
            process = PtyClaudeProcess.spawn(program, cwd=tmp_path, env=ENV)
        owned.append(process)
        try:
            assert process.running
            await trio.lowlevel.checkpoint()
        finally:
            await process.aclose()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert [False] == [process.running for process in owned]
