"""How to test a program that uses claude_trio: ``pytest examples/test_my_app.py``.

Needs `pytest` and `pytest-trio`. No account, no network: the CLI is a stand-in, or the real one in a world
of its own with a scripted model.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

import psutil
import pytest
import trio

from claude_trio import BackendOptions, ClaudeCodeBackend, RateLimitError, open_backend
from claude_trio.testing import (
    Answer,
    Fail,
    FakeCLI,
    Gate,
    World,
    cancel_everywhere,
    find_real_cli,
    isolated_world,
    open_loopback_api,
)

# -- the program: several questions at once


async def translate(
    options: BackendOptions, words: Sequence[str], pause: float = 60.0
) -> dict[str, str]:
    """Translate words into German; a limit is waited for, `pause` seconds if nobody says how long."""
    found: dict[str, str] = {}
    async with open_backend(options) as backend, trio.open_nursery() as nursery:
        for word in words:
            nursery.start_soon(_ask, backend, word, pause, found)
    return found


async def _ask(backend: ClaudeCodeBackend, word: str, pause: float, found: dict[str, str]) -> None:
    messages = [{"role": "user", "content": f"German for {word}"}]
    while True:
        try:
            found[word] = await backend.complete(messages).get_final_text()
        except RateLimitError as exc:
            await trio.sleep(exc.retry_after or pause)
        else:
            return


# -- its tests


@pytest.fixture
def world() -> Generator[World, None, None]:
    """Give a home, a configuration and a directory for a CLI, and no other."""
    with isolated_world() as made:
        yield made


@pytest.fixture
def fake(world: World) -> FakeCLI:
    """Give a stand-in for the CLI: it starts in no time, and fails when it is told to."""
    directory = world.root / "fake"
    directory.mkdir()
    return FakeCLI(directory)


@pytest.fixture
def options(world: World, fake: FakeCLI) -> BackendOptions:
    """Give options for the stand-in. It never reaches the address."""
    env = {**world.env("http://127.0.0.1:9"), **fake.env()}
    return BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env)


@pytest.mark.trio
async def test_on_the_real_cli(world: World) -> None:
    """The model is a script on the loopback interface; what it was asked can be looked at."""
    cli = find_real_cli()
    if cli is None:
        pytest.skip("pip install claude-agent-sdk brings one")
    async with open_loopback_api() as api:
        api.reply("Reiher")
        options = BackendOptions(cwd=world.cwd, cli_path=cli, env=world.env(api.base_url))
        assert await translate(options, ["heron"]) == {"heron": "Reiher"}
    assert [request.prompt for request in api.conversations] == ["German for heron"]


@pytest.mark.trio
async def test_after_a_limit_it_asks_again(fake: FakeCLI, options: BackendOptions) -> None:
    """A failure of the model's service, which a real one has at the wrong times only."""
    fake.turn(Fail("rate_limit", 429))
    fake.turn(Answer("Reiher"))
    assert await translate(options, ["heron"], pause=0) == {"heron": "Reiher"}
    assert len(fake.log("prompt")) == 2


@pytest.mark.trio
async def test_two_words_are_asked_for_at_once(
    fake: FakeCLI, options: BackendOptions, tmp_path: Path
) -> None:
    """A gate holds each turn until the test has seen both; nothing sleeps and hopes."""
    gate = tmp_path / "gate"
    for _ in range(2):
        fake.turn(Gate(gate), Answer("Reiher"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(translate, options, ["heron", "tern"])
        with trio.fail_after(60):
            while True:
                await trio.sleep(0.01)
                if len(fake.log("prompt")) == 2:
                    break
        gate.touch()


@pytest.mark.trio
async def test_nothing_is_left_wherever_it_is_cancelled(options: BackendOptions) -> None:
    """Run it again and again, cancelled one step of a task later each time, until it gets through."""

    async def look() -> None:
        await trio.lowlevel.checkpoint()
        assert psutil.Process().children(recursive=True) == []

    with trio.fail_after(300):
        await cancel_everywhere(lambda: translate(options, ["heron"]), look, all_tasks=True)
