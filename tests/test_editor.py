"""The way of a prompt through the editor of the CLI: what it takes, when it fails, what it leaves."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

import pytest
import trio
from asking import Fake, ask, text_of

from claude_trio import BackendOptions, ProcessError, open_backend, open_pty_process
from claude_trio._editor import open_editor
from claude_trio.testing import FakeCLI, World, cancel_everywhere

ENV = {"PATH": os.defpath, "TERM": "xterm-256color"}
TEXT = "a\tmakefile:\n" * 50 + "end"


def options(world: World, fake: FakeCLI, **env: str) -> BackendOptions:
    env = world.env("http://127.0.0.1:9") | fake.env() | env
    return BackendOptions(cwd=world.cwd, cli_path=fake.path, env=env)


async def test_a_text_that_no_paste_takes_stays_in_the_process(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        for before in ([], [TEXT], [TEXT, TEXT]):
            assert await text_of(backend.complete(ask(TEXT, *before))) == f"echo: {TEXT}"
        editor = backend._sessions[0]._editor
        assert editor is not None
        place = editor._pipe.parent
        assert 0o700 == stat.S_IMODE(place.stat().st_mode)
        assert [] == [*place.iterdir()]  # only while a prompt is sent
    assert 1 == len(fake.log("start"))
    assert [] == fake.log("paste")
    assert not place.exists()


async def test_where_the_editor_does_not_come_up_a_transcript_is_written(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._editor._HANDSHAKE", 0.5)
    fake = make_fake(deaf_to_editor=True)
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask(TEXT))) == f"echo: {TEXT}"
        assert await text_of(backend.complete(ask("short", TEXT))) == "echo: short"
        # It is not tried again.
        assert await text_of(backend.complete(ask(TEXT, TEXT, "short"))) == f"echo: {TEXT}"
    assert 1 == len([entry for entry in fake.log("key") if entry["key"] == "\x07"])
    assert [TEXT, TEXT] == [entry["text"] for entry in fake.log("resumed")]


async def test_a_pipe_that_cannot_be_made_is_no_reason_to_give_the_editor_up(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("short"))) == "echo: short"
        editor = backend._sessions[0]._editor
        assert editor is not None
        place = editor._pipe.parent
        place.rmdir()
        place.write_text("in its place")
        assert await text_of(backend.complete(ask(TEXT, "short"))) == f"echo: {TEXT}"
        place.unlink()
        assert await text_of(backend.complete(ask(TEXT))) == f"echo: {TEXT}"
    assert [TEXT] == [entry["text"] for entry in fake.log("resumed")]
    assert 3 == len(fake.log("start"))


async def test_an_editor_of_the_users_own_is_left_alone(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake, EDITOR="vi")) as backend:
        assert await text_of(backend.complete(ask(TEXT))) == f"echo: {TEXT}"
        assert backend._sessions[0]._editor is None
    assert [] == fake.log("key")
    assert [TEXT] == [entry["text"] for entry in fake.log("resumed")]


@pytest.mark.parametrize("broken", ["PATH", "TMPDIR", "blank"])
def test_without_what_it_needs_there_is_no_editor(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = dict(ENV)
    if broken == "PATH":
        env["PATH"] = str(tmp_path)
    else:
        blank = tmp_path / "with a blank"
        blank.mkdir()
        place = blank if broken == "blank" else tmp_path / "missing"
        monkeypatch.setattr("tempfile.tempdir", str(place))
    with open_editor(env) as editor:
        assert editor is None


def reader(code: str) -> list[str]:
    """Return a program that waits for a key, and then does something with the pipe ``p``."""
    start = "import os, sys, time, tty; tty.setraw(0); print('ready', flush=True); os.read(0, 1)"
    code = f"{start}\np = os.environ['EDITOR'].split(' ')[1]\n{code}\ntime.sleep(1000)"
    return [sys.executable, "-S", "-I", "-c", code]


async def put(code: str, text: str) -> bool:
    """Put a text into the box of a program that takes it in some way; return whether it did."""
    with open_editor(ENV) as editor:
        assert editor is not None
        env = {**ENV, **editor.environment}
        async with open_pty_process(reader(code), cwd="/", env=env, exit_grace=3) as process:
            with trio.fail_after(60):
                while "ready" not in process.screen.render():
                    await trio.sleep(0.01)
                try:
                    return await editor.put(process, text)
                finally:
                    assert [] == [*editor._pipe.parent.iterdir()]


async def test_a_reader_that_goes_away_in_the_middle_has_not_taken_it() -> None:
    assert await put("with open(p, 'rb') as f: f.read(10)", "x" * 1_000_000) is False


async def test_a_reader_that_takes_everything_has_taken_it() -> None:
    assert await put(
        "with open(p, 'rb') as f: assert f.read() == b'x' * 100_000 + b' '", "x" * 100_000
    )


async def test_a_reader_that_takes_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("claude_trio._editor._TRANSFER", 0.5)
    assert await put("f = open(p, 'rb')", "x" * 1_000_000) is False


async def test_a_program_that_ends_instead_is_reported() -> None:
    with pytest.raises(ProcessError):
        await put("raise SystemExit(3)", "x")


async def test_cancelled_anywhere_no_pipe_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._editor._LOOK", 0.2)  # each look is a step
    command = shlex.join(reader("with open(p, 'rb') as f: f.read()"))
    with open_editor(ENV) as editor:
        assert editor is not None
        env = {**ENV, **editor.environment}

        async def body() -> None:
            argv = ["/bin/sh", "-c", command]
            async with open_pty_process(argv, cwd=tmp_path, env=env, exit_grace=3) as process:
                while "ready" not in process.screen.render():
                    await trio.sleep(0.2)
                await editor.put(process, "hello")

        async def check() -> None:
            assert [] == [*editor._pipe.parent.iterdir()]

        with trio.fail_after(120):
            assert await cancel_everywhere(body, check) > 5
