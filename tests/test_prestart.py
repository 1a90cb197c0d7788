"""Processes that are kept ready for conversations that have not begun."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path

import psutil
import pytest
import trio
from asking import fake_options as options
from asking import until

from claude_trio import (
    BackendOptions,
    ClaudeCodeBackend,
    StartupError,
    open_backend,
)
from claude_trio._prestart import Reserve
from claude_trio._sweep import find
from claude_trio.testing import FakeCLI, LoopbackApi, Startup, World, cancel_everywhere

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture
def fake(world: World) -> FakeCLI:
    directory = world.root / "fake"
    directory.mkdir()
    return FakeCLI(directory)


def ready(backend: ClaudeCodeBackend) -> list[int | None]:
    return [s.pid for s in backend.sessions if (s.state, s.turns) == ("idle", 0)]


@pytest.mark.real_cli
async def test_the_first_turn_takes_a_process_that_was_ready(
    world: World, api: LoopbackApi, real_cli: Path
) -> None:
    env = world.env(api.base_url)
    options = BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env, prestart=2)
    api.reply("Hello.")
    async with open_backend(options) as backend:
        await until(lambda: len(ready(backend)) == 2)
        first = ready(backend)
        assert first == [session.pid for session in backend.sessions]
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            assert "Hello." == await turn.get_final_text()
        assert turn.session is not None
        assert ("fresh", 1) == (turn.session.origin, turn.session.turns)
        assert turn.session.pid in first
        # Another one takes its place.
        await until(lambda: len(ready(backend)) == 2)
        assert turn.session.pid not in ready(backend)
        assert 3 == len(backend.sessions)
        pids = {session.pid for session in backend.sessions}
    assert set() == pids & set(psutil.pids())


async def test_the_second_turn_goes_on_in_the_same_process(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake, prestart=1)) as backend:
        await until(lambda: ready(backend))
        first = backend.complete(QUESTION)
        with trio.fail_after(60):
            reply = await first.get_final_text()
            await until(lambda: ready(backend))
            second = backend.complete(
                [*QUESTION, {"role": "assistant", "content": reply}, *QUESTION]
            )
            await second.get_final_text()
        assert first.session is not None
        assert second.session is not None
        assert (first.session.pid, 2) == (second.session.pid, second.session.turns)


async def test_a_turn_does_not_wait_for_one_that_is_not_ready(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake, prestart=1)) as backend:
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            assert "echo: hi" == await turn.get_final_text()
        await until(lambda: ready(backend))
        assert 2 == len(backend.sessions)


async def test_a_prompt_that_cannot_be_typed_takes_no_ready_process(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake, prestart=1)) as backend:
        await until(lambda: ready(backend))
        kept = ready(backend)
        turn = backend.complete([{"role": "user", "content": "/cost"}])
        with trio.fail_after(60):
            assert "echo: /cost" == await turn.get_final_text()
        assert turn.session is not None
        assert "resumed" == turn.session.origin
        assert kept == ready(backend)


async def test_without_it_nothing_is_started(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake)) as backend:
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert () == backend.sessions
    assert [] == fake.log()


async def test_a_start_that_fails_is_nobody_s_failure_and_is_not_repeated_at_once(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._prestart._FIRST_PAUSE", 3600.0)
    monkeypatch.setattr("claude_trio._prestart._LONGEST_PAUSE", 3600.0)
    (world.root / "fake").mkdir()
    fake = FakeCLI(world.root / "fake", startup=Startup(kind="exit", text="error: unknown option"))
    async with open_backend(options(world, fake, prestart=2)) as backend:
        await until(lambda: "did not start" in caplog.text)
        await until(lambda: not backend.sessions)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert 1 == len(fake.log("start"))
        with trio.fail_after(60), pytest.raises(StartupError) as caught:
            await backend.complete(QUESTION).get_final_text()
        assert "flag" == caught.value.kind
    assert 2 == len(fake.log("start"))


def test_attempts_become_rarer() -> None:
    reserve = Reserve(1, pytest.fail, lambda _: None)
    pauses = []
    for failures in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10_000):
        reserve._failures = failures
        pauses.append(reserve.pause)
    assert [0, 1, 2, 4, 8, 16, 32, 60, 60, 60] == pauses


async def test_one_that_died_while_it_waited_is_replaced_and_not_asked(
    world: World, fake: FakeCLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._prestart._FIRST_PAUSE", 0.05)
    async with open_backend(options(world, fake, prestart=1)) as backend:
        await until(lambda: ready(backend))
        (pid,) = ready(backend)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - until it is dead
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            assert "echo: hi" == await turn.get_final_text()
        assert turn.session is not None
        assert pid != turn.session.pid
        # Its end may still be under way.
        await until(lambda: ready(backend) and pid not in ready(backend))


async def test_cancelled_anywhere_nothing_is_left(world: World, fake: FakeCLI) -> None:
    marks: set[str] = set()

    def remember(backend: ClaudeCodeBackend) -> None:
        marks.update(s._process.marker for s in backend._sessions if s._process is not None)

    async def body() -> None:
        async with open_backend(options(world, fake, prestart=1)) as backend:
            try:
                for _ in range(4):  # while it starts
                    await trio.sleep(0.05)
                    remember(backend)
                await until(lambda: ready(backend))
                remember(backend)
                async with backend.complete(QUESTION) as turn:
                    async for _ in turn:
                        remember(backend)
            finally:
                remember(backend)

    async def check() -> None:
        for mark in marks:
            assert set() == await find(mark)
        marks.clear()
        assert [] == [*(world.config_dir / "sessions").glob("*.json")]

    with trio.fail_after(400), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await cancel_everywhere(body, check) > 10
