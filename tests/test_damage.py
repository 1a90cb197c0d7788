"""Files that vanish, fill up or cannot be read, a terminal that closes, descriptors that run out."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import psutil
import pytest
import trio
from asking import Fake, ask, text_of
from asking import fake_options as faked

from claude_trio import (
    BackendError,
    BackendOptions,
    ProcessError,
    SessionError,
    Turn,
    UserMessage,
    _pty,
    _sweep,
    open_backend,
    open_pty_process,
)
from claude_trio._files import SessionFiles
from claude_trio._jsonl import JsonlWatcher
from claude_trio._notices import FileNotices
from claude_trio._protocol.normalize import normalize
from claude_trio._protocol.records import Record, parse_record
from claude_trio._sweep import find
from claude_trio.testing import (
    Answer,
    CloseTerminal,
    Die,
    Echo,
    Gate,
    Hang,
    LoopbackApi,
    Raw,
    Reply,
    Result,
    Sleep,
    Spawn,
    World,
    tool_use,
)

NoRoom: TypeAlias = Callable[..., contextlib.AbstractContextManager[None]]


@pytest.fixture
def real(world: World, api: LoopbackApi, real_cli: Path) -> BackendOptions:
    return BackendOptions(cwd=world.cwd, cli_path=real_cli, env=world.env(api.base_url))


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


async def test_without_room_a_history_is_an_error_and_the_next_call_works(
    world: World, make_fake: Fake, no_room: NoRoom
) -> None:
    fake = make_fake()
    question = ask("2", ("1", "one"))
    async with open_backend(faked(world, fake)) as backend:
        for size in (0, 100):  # nothing can be written, or a part
            with no_room(size), pytest.raises(SessionError) as caught:
                await text_of(backend.complete(question))
            assert "not_loaded" == caught.value.kind
            assert str(world.config_dir / "projects") in caught.value.message
            assert "File too large" in caught.value.message
            assert () == backend.sessions
        assert [] == [*world.config_dir.glob("projects/*/*")]
        assert await text_of(backend.complete(question)) == "echo: 2"
    assert 1 == len(fake.log("start"))


async def test_without_room_a_transcript_that_is_continued_stays_as_it_was(
    world: World, make_fake: Fake, no_room: NoRoom
) -> None:
    fake = make_fake()
    async with open_backend(faked(world, fake)) as backend:
        turn = backend.complete(ask("1"))
        await text_of(turn)
        assert turn.session is not None
        session_id, transcript = turn.session.session_id, turn.session.transcript
        await backend.close_session(session_id)
        before = transcript.read_bytes()
        for fork in (False, True):
            with no_room(len(before) + 20), pytest.raises(SessionError) as caught:
                await text_of(backend.complete(ask("2"), session_id=session_id, fork=fork))
            assert "not_loaded" == caught.value.kind
            assert str(transcript.parent) in caught.value.message
            assert "File too large" in caught.value.message
            assert [transcript] == [*transcript.parent.iterdir()]
            assert before == transcript.read_bytes()
        again = backend.complete(ask("2"), session_id=session_id)
        assert await text_of(again) == "echo: 2"


# -- temporary files


async def test_without_room_for_temporary_files_nothing_starts_and_the_next_call_works(
    world: World, make_fake: Fake, no_room: NoRoom
) -> None:
    fake = make_fake()
    own = faked(world, fake, append_system_prompt="x" * 1000)
    with no_room(100), pytest.raises(ProcessError, match=r"claude-trio-.*File too large") as caught:
        async with open_backend(own):
            raise AssertionError
    assert "not_started" == caught.value.kind
    async with open_backend(own) as backend:
        assert await text_of(backend.complete(ask("0"))) == "echo: 0"
        directory = backend._sessions[0].start_files.directory
        shutil.rmtree(directory)
        with no_room(100), pytest.raises(ProcessError, match="File too large") as caught:
            await text_of(backend.complete(ask("1")))
        assert "not_started" == caught.value.kind
        assert str(directory) in caught.value.message
        assert await text_of(backend.complete(ask("1"))) == "echo: 1"


@pytest.mark.real_cli
async def test_temporary_files_that_are_tidied_up_come_back_with_the_next_turn(
    real: BackendOptions, api: LoopbackApi
) -> None:
    api.default = lambda request: Reply(f"re: {request.prompt}")
    own = attrs.evolve(
        real,
        append_system_prompt="Say moo.",
        include_cost=True,
        mcp_servers={"nobody": {"command": "true"}},
    )
    fetched = "all:\n\tmake"  # what no paste takes

    async def answered(*messages: dict[str, Any], origin: str) -> Turn:
        turn = backend.complete(messages)
        assert await text_of(turn) == f"re: {messages[-1]['content']}"
        assert turn.session is not None
        assert origin == turn.session.origin
        assert "Say moo." in json.dumps(api.conversations[-1].body["system"])
        return turn

    async with open_backend(own) as backend:
        before = await answered(*ask("1"), origin="fresh")
        session = backend._sessions[0]
        assert session._editor is not None
        files, pipe = session.start_files, session._editor._pipe
        as_written = {path: path.read_bytes() for path in files.flags.values()}
        assert 3 == len(as_written)

        def tidy_up() -> None:
            for directory in (files.directory, pipe.parent):
                while directory.exists():  # the CLI may be writing what it has spent
                    shutil.rmtree(directory, ignore_errors=True)

        def check() -> None:
            assert as_written == {path: path.read_bytes() for path in as_written}
            for directory in (files.directory, pipe.parent):
                assert 0o700 == stat.S_IMODE(directory.stat().st_mode)
            assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in as_written}

        tidy_up()
        warm = await answered(*ask(fetched, ("1", "re: 1")), origin="fresh")
        check()
        assert (before.session, warm.session) != (None, None)
        assert before.session.pid == warm.session.pid  # type: ignore[union-attr]
        assert warm.result is not None
        assert warm.result.total_cost_usd
        tidy_up()
        await answered(*ask(fetched), origin="fresh")  # a process of its own
        pipe.parent.mkdir(mode=0o700)
        check()
        tidy_up()
        await answered(*ask("3", ("never", "heard of")), origin="resumed")
        pipe.parent.mkdir(mode=0o700)
        check()


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


async def test_no_record_is_lost_for_want_of_a_descriptor(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()
    call = tool_use("Bash", {"command": "x"}, id="toolu_1")
    fake.turn(Answer(call, stop_reason="tool_use"), Result("toolu_1", "done"), Echo())
    read_records, read_subagents = SessionFiles.read_records, SessionFiles.read_subagents
    exhausted = False

    def read(files: SessionFiles) -> list[Record]:
        nonlocal exhausted
        records = read_records(files)
        exhausted = bool(records)
        return records

    def read_once_more(files: SessionFiles) -> list[tuple[Record, str]]:
        nonlocal exhausted
        if exhausted:  # for a moment, behind each read of the transcript
            exhausted = False
            raise OSError(errno.EMFILE, "Too many open files")
        return read_subagents(files)

    monkeypatch.setattr(SessionFiles, "read_records", read)
    monkeypatch.setattr(SessionFiles, "read_subagents", read_once_more)
    async with open_backend(faked(world, fake)) as backend:
        turn = backend.complete(ask("hello"))
        with trio.fail_after(60):
            events = [event async for event in turn]
        assert turn.session is not None
        written = map(parse_record, turn.session.transcript.read_bytes().splitlines())
        told = [record.uuid for record in written if normalize(record) is not None]
        assert told == [event.uuid for event in events[:-1]]


async def test_the_last_words_of_a_process_are_read_when_there_are_descriptors_again(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()
    fake.turn(Answer("hi"), Die())
    read, tries = SessionFiles.read_last_records, 0

    def exhausted(files: SessionFiles) -> Iterator[Record]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return read(files)

    monkeypatch.setattr(SessionFiles, "read_last_records", exhausted)
    async with open_backend(faked(world, fake)) as backend:
        with pytest.raises(ProcessError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "died" == caught.value.kind
        assert 2 == tries


def test_the_last_records_are_kept_as_far_as_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(watcher: JsonlWatcher) -> list[Record]:
        if watcher.behind:
            raise OSError(errno.EMFILE, "Too many open files")
        watcher.behind = True
        return [Record(type="one"), Record(type="two")]

    monkeypatch.setattr(JsonlWatcher, "read", read)
    files = SessionFiles(tmp_path, tmp_path, "session", FileNotices())
    kept: list[Record] = []
    with pytest.raises(OSError, match="Too many"):
        kept.extend(files.read_last_records())
    assert ["one", "two"] == [record.type for record in kept]


async def test_without_a_descriptor_for_the_editor_a_turn_fails_and_the_next_call_works(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fetched = "all:\n\tmake"  # what no paste takes
    async with open_backend(faked(world, fake)) as backend:
        assert await text_of(backend.complete(ask("1"))) == "echo: 1"
        # It cannot be fetched, and no other process can be started to read it.
        with no_descriptors_left(), pytest.raises(BackendError) as caught:
            await text_of(backend.complete(ask(fetched, ("1", "echo: 1"))))
        assert isinstance(caught.value, ProcessError | SessionError)
        assert "Too many open files" in caught.value.message
        for question in (ask(fetched, ("1", "echo: 1")), ask(fetched)):
            assert await text_of(backend.complete(question)) == f"echo: {fetched}"
    assert 1 == len([entry for entry in fake.log("prompt") if entry["text"] == fetched])


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


async def test_what_cannot_be_looked_at_for_want_of_a_descriptor_counts_as_left(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()
    fake.turn(Spawn(["sleep", "1031"]), Echo())
    with contextlib.ExitStack() as stack:

        async def sweep(*args: Any) -> None:
            monkeypatch.undo()
            stack.enter_context(no_descriptors_left())  # somebody has taken the last ones
            await _sweep.sweep(*args)

        async with open_backend(faked(world, fake, exit_grace=3)) as backend:
            await text_of(backend.complete(ask("hello")))
            (session,) = backend._sessions
            process = session._process
            assert process is not None
            monkeypatch.setattr(_pty, "sweep", sweep)
            with pytest.warns(ResourceWarning, match=r"Still running: \d+; they") as caught:
                await backend.close_session(session.session_id)
            assert process.marker in str(caught[0].message)
            assert process._stream.fileno() == -1
            stack.close()
            assert await text_of(backend.complete(ask("and you"))) == "echo: and you"
    await _sweep.sweep(process.marker)


async def test_what_was_left_is_ended_when_there_are_descriptors_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def survivors(kin: set[psutil.Process]) -> set[psutil.Process]:
        monkeypatch.undo()
        with no_descriptors_left():
            return _sweep.survivors(kin)

    script = "setsid sleep 1032 & exec sleep 1033"
    env = {"PATH": os.defpath}
    async with open_pty_process(["/bin/sh", "-c", script], cwd=tmp_path, env=env) as process:
        with trio.fail_after(60):
            while len(await find(process.marker)) < 2:
                await trio.sleep(0.01)
        monkeypatch.setattr("claude_trio._sweep.survivors", survivors)
    assert set() == await find(process.marker)
