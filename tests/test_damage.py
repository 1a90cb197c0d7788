"""Files that vanish, fill up or cannot be read, a terminal that closes, descriptors that run out."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio

from claude_trio import (
    BackendOptions,
    ProcessError,
    SessionError,
    Turn,
    UserMessage,
    open_backend,
)
from claude_trio._sweep import find
from claude_trio.testing import (
    CloseTerminal,
    Echo,
    FakeCLI,
    Gate,
    Hang,
    LoopbackApi,
    Raw,
    Sleep,
    Spawn,
    World,
)

Fake: TypeAlias = Callable[..., FakeCLI]
NOWHERE = "http://127.0.0.1:9"  # the stand-in asks no model


def faked(world: World, fake: FakeCLI, **how: Any) -> BackendOptions:
    env = world.env(NOWHERE) | fake.env()
    return BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env, **how)


@pytest.fixture
def real(world: World, api: LoopbackApi, real_cli: Path) -> BackendOptions:
    return BackendOptions(cwd=world.cwd, cli_path=real_cli, env=world.env(api.base_url))


def ask(question: str, *before: tuple[str, str]) -> list[dict[str, Any]]:
    messages = []
    for prompt, reply in before:
        messages.append({"role": "user", "content": prompt})
        messages.append({"role": "assistant", "content": reply})
    return [*messages, {"role": "user", "content": question}]


async def text_of(turn: Turn) -> str:
    with trio.fail_after(60):
        return await turn.get_final_text()


# -- the transcript


@pytest.mark.real_cli
async def test_a_transcript_that_is_deleted_between_turns_costs_nothing(
    real: BackendOptions, api: LoopbackApi
) -> None:
    api.reply("one")
    api.reply("two")
    api.reply("three")
    async with open_backend(real) as backend:
        first = backend.complete(ask("1"))
        await text_of(first)
        assert first.session is not None
        first.session.transcript.unlink()
        second = backend.complete(ask("2", ("1", "one")))
        assert await text_of(second) == "two"
        assert second.session is not None
        assert first.session.pid == second.session.pid
        # And it dies: what it had lived through is written anew, all of it.
        assert second.session.pid is not None
        os.kill(second.session.pid, signal.SIGKILL)
        with trio.fail_after(60):
            while backend.sessions:
                await trio.sleep(0.01)
        assert await text_of(backend.complete(ask("3", ("1", "one"), ("2", "two")))) == "three"


async def test_a_transcript_that_cannot_be_read_ends_its_conversation_alone(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    gates = [world.root / "one", world.root / "two"]
    for gate in gates:
        fake.turn(Gate(gate), Echo())
    async with open_backend(faked(world, fake)) as backend:
        broken, sound = backend.complete(ask("hello")), backend.complete(ask("and you"))
        with trio.fail_after(60):
            for turn in (broken, sound):
                assert isinstance(await turn.receive(), UserMessage)
        assert broken.session is not None
        broken.session.transcript.unlink()
        broken.session.transcript.mkdir()
        (broken.session.transcript / "so that it has a size").touch()
        with pytest.raises(SessionError, match="cannot read what the CLI writes") as caught:
            await text_of(broken)
        assert "unreadable" == caught.value.kind
        for gate in gates:
            gate.touch()
        assert await text_of(sound) == "echo: and you"
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


@contextlib.contextmanager
def small_disk(at: Path, kilobytes: int) -> Generator[None, None, None]:
    at.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700", "tmpfs", str(at)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount`")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)  # noqa: S607


@pytest.mark.real_cli
async def test_a_full_disk_is_an_error_and_the_next_call_works_once_there_is_room(
    real: BackendOptions, api: LoopbackApi, world: World
) -> None:
    with small_disk(world.config_dir / "projects", 1024):
        async with open_backend(real) as backend:
            api.reply("one")
            first = backend.complete(ask("1"))
            await text_of(first)
            filler = world.config_dir / "projects" / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            api.reply("lost")
            with pytest.raises(SessionError) as caught:
                await text_of(backend.complete(ask("2" * 8000, ("1", "one"))))
            assert caught.value.kind in {"no_end", "not_accepted"}
            with pytest.raises(SessionError, match="No space left on device") as caught:
                await text_of(backend.complete(ask("2" * 8000, ("1", "one"))))
            assert "not_loaded" == caught.value.kind
            filler.unlink()
            api.reply("two")
            assert await text_of(backend.complete(ask("2", ("1", "one")))) == "two"


async def test_a_record_that_is_cut_off_for_good_ends_the_turn_with_an_error(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Sleep(0.1), Raw(b'{"type":"assistant","message":{"content":[{"te'), ends=False)
    async with open_backend(faked(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "no_end" == caught.value.kind
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


# -- the terminal


async def test_a_cli_without_its_terminal_finishes_its_turn_and_is_not_asked_again(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(CloseTerminal(), Sleep(0.3), Echo())
    async with open_backend(faked(world, fake)) as backend:
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
        again = backend.complete(ask("again", ("hello", "echo: hello")))
        assert await text_of(again) == "echo: again"
        assert again.session is not None
        assert "resumed" == again.session.origin


async def test_a_turn_of_a_cli_without_its_terminal_can_be_cancelled(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(CloseTerminal(), Hang())
    async with open_backend(faked(world, fake)) as backend:
        turn = backend.complete(ask("hello"))
        with trio.fail_after(60):
            assert isinstance(await turn.receive(), UserMessage)
            await trio.sleep(0.5)
            await turn.aclose()
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


# -- descriptors


@contextlib.contextmanager
def no_descriptors_left() -> Generator[None, None, None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/dev/fd"))  # noqa: PTH208 - names of numbers
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, before[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_turn_goes_on_when_there_are_descriptors_again(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    async with open_backend(faked(world, fake)) as backend:
        turn = backend.complete(ask("hello"))
        with trio.fail_after(60):
            assert isinstance(await turn.receive(), UserMessage)
        with no_descriptors_left():
            gate.mkdir()
            await trio.sleep(0.5)
            with pytest.raises(ProcessError) as caught:
                await text_of(backend.complete(ask("and you")))
            assert "not_started" == caught.value.kind
        assert await text_of(turn) == "echo: hello"
        assert await text_of(backend.complete(ask("and you"))) == "echo: and you"


async def test_a_backend_can_be_left_without_a_descriptor(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Spawn(["sleep", "1030"]), Echo())
    with contextlib.ExitStack() as stack:
        async with open_backend(faked(world, fake, exit_grace=3)) as backend:
            turn = backend.complete(ask("hello"))
            await text_of(turn)
            (session,) = backend._sessions
            process = session._process
            assert process is not None
            stack.enter_context(no_descriptors_left())
        assert not process.running
    assert set() == await find(process.marker)  # its terminal was the one that the search needed
