"""Places for processes, who waits for one, and conversations that are named: on the stand-in."""

from __future__ import annotations

import datetime
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
import uuid
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
from asking import NOWHERE, Fake, ask, pid_of, until
from asking import fake_options as options

from claude_trio import (
    ClaudeCodeBackend,
    PtyClaudeProcess,
    SessionError,
    StartupError,
    Turn,
    open_backend,
)
from claude_trio._backend import _check_past
from claude_trio._lock import _NAME, SessionLock
from claude_trio._pool import Ticket
from claude_trio._prompter import Prompter
from claude_trio._protocol import keys
from claude_trio._protocol.history import parse_messages
from claude_trio._protocol.past import find_end
from claude_trio._protocol.transcript import project_key, write_transcript
from claude_trio._session import Session
from claude_trio.testing import (
    Answer,
    Die,
    Echo,
    FakeCLI,
    Gate,
    Hang,
    Startup,
    World,
    cancel_everywhere,
)

OWNER: Final = Path(__file__).with_name("killed_owner.py")
ID: Final = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def fake(make_fake: Fake) -> FakeCLI:
    return make_fake()


@pytest.fixture(autouse=True)
def no_lock_is_left(world: World) -> Any:
    yield
    assert [] == [*world.config_dir.glob(f"{_NAME}*")]


async def answer(turn: Turn) -> Turn:
    with trio.fail_after(60):
        await turn.get_final_text()
    assert turn.result is not None
    return turn


def resumed(turn: Turn) -> bool:
    assert turn.result is not None
    return turn.result.resumed


def lives(fake: FakeCLI) -> list[tuple[str, int]]:
    """Return the starts and the exits of processes, in order."""
    return [(e["event"], e["pid"]) for e in fake.log() if e["event"] in {"start", "exit"}]


# -- places


async def test_the_least_recently_used_one_makes_room_and_its_conversation_goes_on_elsewhere(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake, max_sessions=2)) as backend:
        first = await answer(backend.complete(ask("one")))
        second = await answer(backend.complete(ask("two")))
        await answer(backend.complete(ask("and", "one")))
        third = await answer(backend.complete(ask("three")))
        assert [pid_of(first), pid_of(third)] == [session.pid for session in backend.sessions]
        again = await answer(backend.complete(ask("again", "two")))
        assert (False, True) == (resumed(third), resumed(again))
        warm = await answer(backend.complete(ask("warm", "two", "again")))
        assert (pid_of(again), False) == (pid_of(warm), resumed(warm))
    # Each had ended before the next one started.
    assert [
        *(("start", pid_of(first)), ("start", pid_of(second))),
        *(("exit", pid_of(second)), ("start", pid_of(third))),
        *(("exit", pid_of(first)), ("start", pid_of(again))),
    ] == lives(fake)[:6]


def in_line(backend: ClaudeCodeBackend, waiting: int) -> bool:
    return bool(backend.sessions) and backend._fleet.pool.waiting == waiting


async def test_calls_wait_in_the_order_in_which_they_came(world: World, fake: FakeCLI) -> None:
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    answered = []
    async with (
        open_backend(options(world, fake, max_sessions=1)) as backend,
        trio.open_nursery() as nursery,
    ):

        async def call(name: str) -> None:
            await answer(backend.complete(ask(name)))
            answered.append(name)

        scopes = {}
        for number, name in enumerate(("a", "b", "c", "d")):
            scopes[name] = trio.CancelScope()

            async def cancellable(name: str = name) -> None:
                with scopes[name]:
                    await call(name)

            nursery.start_soon(cancellable)
            await until(partial(in_line, backend, number))
        scopes["b"].cancel()
        await until(lambda: backend._fleet.pool.waiting == 2)
        assert 1 == len(backend.sessions)
        gate.touch()
    assert ["a", "c", "d"] == answered
    assert ["start", "exit"] * 3 == [event for event, _ in lives(fake)]


async def test_a_call_that_waits_may_be_given_up_anywhere(world: World, fake: FakeCLI) -> None:
    """Its place in the line goes, and no place of a process is lost."""
    for _ in range(200):
        fake.turn(Answer("x"), Hang())
    backends: list[ClaudeCodeBackend] = []

    async def hold(
        task_status: trio.TaskStatus[ClaudeCodeBackend] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with (
            open_backend(options(world, fake, max_sessions=1)) as backend,
            backend.complete(ask("hang")) as holder,
        ):
            backends.append(backend)
            await holder.receive()
            task_status.started(backend)
            await until(lambda: backend._fleet.pool.waiting)
            await holder.aclose()
            await trio.sleep_forever()

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            backend = await nursery.start(hold)
            async with backend.complete(ask("wait")) as waiter:
                await waiter.receive()
            nursery.cancel_scope.cancel()

    async def check() -> None:
        for backend in backends:
            pool = backend._fleet.pool
            assert (0, 0, ()) == (pool.places, pool.waiting, pool.idle)
            assert () == backend.sessions
        backends.clear()
        assert [] == [*(world.config_dir / "sessions").glob("*.json")]

    with trio.fail_after(240), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await cancel_everywhere(body, check) > 8


@pytest.mark.parametrize("why", ["blocks", "model", "ending"])
async def test_who_was_served_in_vain_has_its_place_before_those_who_came_later(
    world: World, fake: FakeCLI, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose process is of no use to its prompt does not stand in line once more."""
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    answered = []
    how: dict[str, Any] = {"model": "opus"} if why == "model" else {}
    second = ask("second", "first")
    if why == "blocks":
        second[-1]["content"] = [{"type": "text", "text": text} for text in "ab"]
    if why == "ending":
        claim = Session.claim

        def too_late(session: Session) -> bool:
            session.stop()
            monkeypatch.undo()
            return claim(session)

        monkeypatch.setattr(Session, "claim", too_late)
    async with (
        open_backend(options(world, fake, max_sessions=1)) as backend,
        trio.open_nursery() as nursery,
    ):

        async def call(name: str, messages: list[dict[str, Any]], **how: Any) -> None:
            await answer(backend.complete(messages, **how))
            answered.append(name)

        nursery.start_soon(call, "first", ask("first"))
        await until(lambda: backend.sessions)
        for waiting, (name, messages, chosen) in enumerate(
            [("second", second, how), ("third", ask("third"), {})], start=1
        ):
            nursery.start_soon(partial(call, name, messages, **chosen))
            await until(partial(in_line, backend, waiting))
        gate.touch()
    assert ["first", "second", "third"] == answered


async def test_a_process_that_makes_room_for_its_own_successor_costs_no_other_one(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake, max_sessions=2)) as backend:
        other = await answer(backend.complete(ask("other")))
        await answer(backend.complete(ask("hi")))
        blocks = [{"type": "text", "text": text} for text in "ab"]
        messages = [*ask("x", "hi")[:-1], {"role": "user", "content": blocks}]
        assert resumed(await answer(backend.complete(messages)))
        assert not resumed(await answer(backend.complete(ask("again", "other"))))
        assert pid_of(other) in {session.pid for session in backend.sessions}


async def test_a_start_that_fails_gives_its_place_back(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        for _ in range(3):
            with pytest.raises(SessionError) as caught:
                await answer(backend.complete(ask("hi"), session_id=ID))
            assert "not_found" == caught.value.kind
        await answer(backend.complete(ask("hi")))


async def test_a_process_that_dies_gives_its_place_back(world: World, fake: FakeCLI) -> None:
    fake.turn(Die(code=3))
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        with pytest.raises(Exception, match="code 3"):
            await answer(backend.complete(ask("hi")))
        turn = await answer(backend.complete(ask("hi")))
        os.kill(pid_of(turn), signal.SIGKILL)
        await until(lambda: not backend.sessions)
        after = await answer(backend.complete(ask("again", "hi")))
        assert (1, True) == (len(backend.sessions), resumed(after))


async def test_a_prompt_that_cannot_be_typed_waits_for_the_place_of_its_own_process(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        await answer(backend.complete(ask("hi")))
        several = [{"type": "text", "text": "two"}, {"type": "text", "text": "blocks"}]
        last = {"role": "user", "content": several}
        after = await answer(backend.complete([*ask("x", "hi")[:-1], last]))
        assert (1, True) == (len(backend.sessions), resumed(after))


async def test_who_waits_when_the_backend_is_closed_is_told(world: World, fake: FakeCLI) -> None:
    fake.turn(Hang())
    told = []
    async with trio.open_nursery() as nursery:
        async with open_backend(options(world, fake, max_sessions=1)) as backend:
            holder = backend.complete(ask("hang"))
            await holder.receive()

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError) as caught:
                    await answer(backend.complete(ask("wait")))
                told.append(str(caught.value))

            nursery.start_soon(wait)
            await until(lambda: backend._fleet.pool.waiting)
        with pytest.raises(SessionError):
            await answer(holder)
    assert ["this backend has been closed"] == told


async def test_what_is_idle_for_too_long_is_ended(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake, idle_timeout=0.3, prestart=1)) as backend:
        first = await answer(backend.complete(ask("hi")))
        await until(lambda: pid_of(first) not in {session.pid for session in backend.sessions})
        # What is kept ready stays.
        await until(lambda: [(s.state, s.turns) for s in backend.sessions] == [("idle", 0)])
        (ready,) = backend.sessions
        assert ready.idle_since is not None
        await until(lambda: trio.current_time() > (ready.idle_since or math.inf) + 0.4)
        assert [ready.pid] == [session.pid for session in backend.sessions]
        after = await answer(backend.complete(ask("again", "hi")))
        assert resumed(after)


async def test_a_process_that_is_used_is_not_ended_by_its_idle_time(
    world: World, fake: FakeCLI
) -> None:
    gate = world.root / "gate"
    fake.turn(Echo())
    fake.turn(Gate(gate), Echo())
    async with open_backend(options(world, fake, idle_timeout=1.0)) as backend:
        await answer(backend.complete(ask("hi")))
        second = backend.complete(ask("again", "hi"))
        await second.receive()
        begun = trio.current_time()
        await until(lambda: trio.current_time() > begun + 1.2)
        gate.touch()
        assert "echo: again" == await second.get_final_text()


async def test_ready_processes_count_and_make_room(world: World, fake: FakeCLI) -> None:
    def ready() -> list[int | None]:
        return [s.pid for s in backend.sessions if (s.state, s.turns) == ("idle", 0)]

    async with open_backend(options(world, fake, max_sessions=2, prestart=1)) as backend:
        await until(ready)
        first = await answer(backend.complete(ask("one")))
        await until(ready)
        # Both places are held; a conversation makes room for a ready process, not the other way.
        second = await answer(backend.complete(ask("two")))
        await until(ready)
        assert 2 == len(backend.sessions)
        assert pid_of(first) not in {session.pid for session in backend.sessions}
        # None of the ready ones is of use to a conversation that has a history.
        third = await answer(backend.complete(ask("three", "one")))
        assert resumed(third)
        assert pid_of(second) not in {session.pid for session in backend.sessions}
    running = 0
    for event, _ in lives(fake):
        running += 1 if event == "start" else -1
        assert running <= 2


# -- what is shown, and ended


async def test_the_sessions_are_shown_as_they_are(world: World, fake: FakeCLI) -> None:
    fake.turn(Echo())
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        before = trio.current_time()
        turn = await answer(backend.complete(ask("hi")))
        (idle,) = backend.sessions
        assert (pid_of(turn), "idle", 1, 15) == (
            *(idle.pid, idle.state),
            *(idle.turns, idle.context_tokens),
        )
        assert idle.idle_since is not None
        assert before < idle.idle_since <= trio.current_time()
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            idle.turns = 7  # type: ignore[misc]
        async with backend.complete(ask("hang", "hi")) as second:
            await second.receive()
            (busy,) = backend.sessions
            assert (idle.session_id, 2, None, 15) == (
                *(busy.session_id, busy.turns),
                *(busy.idle_since, busy.context_tokens),
            )
        assert 1 == idle.turns


async def test_a_compaction_that_is_over_at_once_is_nothing_that_was_said(
    world: World, fake: FakeCLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_backend(options(world, fake)) as backend:
        await answer(backend.complete(ask("one")))
        (session,) = backend._sessions
        write = PtyClaudeProcess.write

        async def slow(process: PtyClaudeProcess, data: bytes) -> None:
            await write(process, data)
            if data == keys.ENTER:
                await until(lambda: session.inbox is None)

        monkeypatch.setattr(PtyClaudeProcess, "write", slow)
        with pytest.raises(SessionError) as caught:
            await backend.compact(session.session_id)
        assert "not_compacted" == caught.value.kind  # the stand-in has just echoed it
        assert 1 == len(session.exchanges)


async def begin_another(session: Session, world: World) -> str:
    """Have the CLI of an idle session say that it has begun another conversation; return its id."""
    path, new = world.config_dir / "sessions" / f"{session.info.pid}.json", str(uuid.uuid4())
    await until(lambda: "idle" == json.loads(path.read_text())["status"])
    path.write_text(json.dumps({**json.loads(path.read_text()), "sessionId": new}))
    session._follower.look_at_status()
    return new


async def test_a_conversation_that_was_begun_anew_between_turns_is_known_as_that(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake, max_sessions=2)) as backend:
        first = await answer(backend.complete(ask("one")))
        (session,), pool = backend._sessions, backend._fleet.pool
        new = await begin_another(session, world)
        assert [new] == [each.session_id for each in backend.sessions]
        # Who continues what was before gets another process.
        second = await answer(backend.complete(ask("two", "one")))
        assert pid_of(first) != pid_of(second)
        assert session is backend._fleet.take(new)
        with pytest.raises(SessionError, match="is in session"):
            backend._fleet.take(new)  # it is not free any more
        assert (2, 0) == (pool.places, pool.waiting)
        session.stop()


async def test_a_prompt_is_not_sent_to_a_conversation_that_is_begun_anew_meanwhile(
    world: World, fake: FakeCLI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_backend(options(world, fake)) as backend:
        first = await answer(backend.complete(ask("one")))
        (session,) = backend._sessions
        put, typed = Prompter.put, []

        async def cleared_meanwhile(prompter: Prompter, text: str, way: keys.Way) -> None:
            await put(prompter, text, way)
            typed.append(text)
            if len(typed) == 1:
                await begin_another(session, world)

        monkeypatch.setattr(Prompter, "put", cleared_meanwhile)
        second = await answer(backend.complete(ask("two", "one")))
        assert pid_of(first) != pid_of(second)
        assert resumed(second)


async def test_a_session_that_is_given_away_and_begins_anew_is_of_no_use(
    world: World, fake: FakeCLI
) -> None:
    async with open_backend(options(world, fake)) as backend:
        first = await answer(backend.complete(ask("one")))
        (session,), pool = backend._sessions, backend._fleet.pool
        ticket: Ticket[Session] = Ticket(session.session_id)
        pool.ask(ticket)
        assert session is ticket.session
        await begin_another(session, world)
        assert session not in pool.idle
        assert not session.claim()
        pool.keep(ticket)
        await session.wait()
        second = await answer(backend.complete(ask("two", "one")))
        assert pid_of(first) != pid_of(second)


async def test_a_session_can_be_closed(world: World, fake: FakeCLI) -> None:
    fake.turn(Echo())
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        turn = await answer(backend.complete(ask("hi")))
        assert turn.session is not None
        name = turn.session.session_id
        assert await backend.close_session(name)
        assert () == backend.sessions
        assert not await backend.close_session(name)
        assert turn.session.transcript.exists()

        async with trio.open_nursery() as nursery:

            async def hang() -> None:
                with pytest.raises(SessionError) as caught:
                    await answer(backend.complete(ask("hang", "hi")))
                assert "closed" == caught.value.kind

            nursery.start_soon(hang)
            await until(lambda: [s.state for s in backend.sessions] == ["running"])
            (running,) = backend._sessions
            assert await backend.close_session(running.session_id)
        assert resumed(await answer(backend.complete(ask("again", "hi"))))


async def test_a_session_can_be_closed_while_it_starts(world: World, make_fake: Fake) -> None:
    fake = make_fake(startup=Startup(kind="hang"))
    async with open_backend(options(world, fake)) as backend, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def hang() -> None:
            with pytest.raises(SessionError, match="was closed") as caught:
                await answer(backend.complete(ask("hi")))
            assert "closed" == caught.value.kind

        await until(lambda: [s.pid for s in backend.sessions if s.pid])
        (session,) = backend.sessions
        assert "starting" == session.state
        assert await backend.close_session(session.session_id)


# -- conversations by name


def test_a_name_that_makes_no_sense_is_refused() -> None:
    one, more = parse_messages(ask("x")), parse_messages(ask("x", "y"))
    for given, error, message in [
        ("7", ValueError, "UUID"),
        (7, TypeError, "str"),
        ("", ValueError, "UUID"),
    ]:
        with pytest.raises(error, match=message):
            _check_past(given, one, fork=False)
    with pytest.raises(ValueError, match="the new message alone, not 3"):
        _check_past(ID, more, fork=False)
    with pytest.raises(ValueError, match="needs the session_id"):
        _check_past(None, one, fork=True)
    past = _check_past(ID.upper(), one, fork=True)
    assert past is not None
    assert ID == past.session_id


def write(world: World, *prompts: str, end: str | None = None) -> Path:
    """Write a transcript as somebody else's; with `end`, its last prompt has no answer."""
    messages = parse_messages(ask(end or "x", *prompts)).messages
    data = write_transcript(
        messages if end else messages[:-1],
        session_id=ID,
        cwd=str(world.cwd),
        model=None,
        now=datetime.datetime.now(datetime.UTC),
    ).data
    path = world.config_dir / "projects" / project_key(str(world.cwd)) / f"{ID}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


async def test_a_session_of_somebody_else_goes_on_in_its_own_transcript(
    world: World, fake: FakeCLI
) -> None:
    path = write(world, "one")
    before = path.read_bytes()
    async with open_backend(options(world, fake)) as backend:
        first = await answer(backend.complete(ask("two"), session_id=ID))
        assert first.session is not None
        assert (ID, path, True) == (
            first.session.session_id,
            first.session.transcript,
            resumed(first),
        )
        second = await answer(backend.complete(ask("three"), session_id=ID.upper()))
        assert (pid_of(first), False) == (pid_of(second), resumed(second))
        # It is no empty conversation.
        other = await answer(backend.complete(ask("fresh")))
        assert pid_of(other) != pid_of(first)
        assert await backend.close_session(ID)
        third = await answer(backend.complete(ask("four"), session_id=ID))
        assert resumed(third)
    assert path.read_bytes().startswith(before)
    assert ["one", "two", "three", "four"] == [t for role, t in said(path) if role == "user"]


async def test_a_copy_goes_on_under_a_new_name(world: World, fake: FakeCLI) -> None:
    path = write(world, "one")
    with path.open("ab") as file:
        file.write(b'{"torn')
    before = path.read_bytes()
    async with open_backend(options(world, fake)) as backend:
        copies = [
            await answer(backend.complete(ask("two"), session_id=ID, fork=True)) for _ in "ab"
        ]
        names = {turn.session.session_id for turn in copies if turn.session is not None}
        assert 2 == len(names - {ID})
        for name in names:
            again = await answer(backend.complete(ask("three"), session_id=name))
            assert not resumed(again)
    assert before == path.read_bytes()
    for turn in copies:
        assert turn.session is not None
        asked = [t for role, t in said(turn.session.transcript) if role == "user"]
        assert ["one", "two", "three"] == asked
        assert 0o600 == turn.session.transcript.stat().st_mode & 0o777


async def test_a_prompt_that_was_never_answered_is_not_asked_twice(
    world: World, fake: FakeCLI
) -> None:
    path = write(world, "one", end="two")
    async with open_backend(options(world, fake)) as backend:
        await answer(backend.complete(ask("two"), session_id=ID))
    assert ["one", "two"] == [text for role, text in said(path) if role == "user"]


@pytest.mark.parametrize("end", [None, "two"])
async def test_a_start_that_fails_leaves_no_prompt_in_the_transcript(
    world: World, make_fake: Fake, end: str | None
) -> None:
    """Unless it stood there before."""
    fake = make_fake(startup=Startup(kind="exit", text="no", code=1))
    path = write(world, "one", end=end)
    before = path.read_bytes()
    async with open_backend(options(world, fake)) as backend:
        for _ in range(2):
            with pytest.raises(StartupError):
                await answer(backend.complete(ask("two"), session_id=ID))
            with pytest.raises(StartupError):
                await answer(backend.complete(ask("two"), session_id=ID, fork=True))
    assert [path] == [*path.parent.iterdir()]
    assert path.read_bytes().startswith(before)
    assert find_end(before) == find_end(path.read_bytes())
    assert end is None or path.read_bytes() == before


async def test_two_never_write_into_one_transcript(world: World, fake: FakeCLI) -> None:
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    write(world, "one")
    async with open_backend(options(world, fake)) as ours, open_backend(ours.options) as theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, theirs.complete(ask("two"), session_id=ID))
            await until(lambda: fake.log("resumed"))
            for backend in (ours, theirs):
                with pytest.raises(SessionError, match="fork=True") as caught:
                    await answer(backend.complete(ask("three"), session_id=ID))
                assert ("in_use", ID) == (caught.value.kind, caught.value.session_id)
            gate.touch()
        # Its process still has it.
        with pytest.raises(SessionError, match="is in session"):
            await answer(ours.complete(ask("three"), session_id=ID))
        await answer(ours.complete(ask("three"), session_id=ID, fork=True))
        await theirs.close_session(ID)
        await answer(ours.complete(ask("three"), session_id=ID))
    assert () == ours.sessions


async def test_one_of_another_program_is_waited_for_if_it_is_ending(
    world: World, fake: FakeCLI
) -> None:
    write(world, "one")
    lock = SessionLock(world.config_dir, ID)
    async with open_backend(options(world, fake)) as backend, trio.open_nursery() as nursery:

        async def release() -> None:
            await trio.sleep(0.2)
            lock.release()

        nursery.start_soon(release)
        await answer(backend.complete(ask("two"), session_id=ID))


async def test_where_there_can_be_no_lock_only_foreign_sessions_are_refused(
    world: World, fake: FakeCLI
) -> None:
    write(world, "one")
    (world.config_dir / _NAME).write_text("in the way")
    async with open_backend(options(world, fake)) as backend:
        await answer(backend.complete(ask("two")))
        with pytest.raises(SessionError, match="cannot lock"):
            await answer(backend.complete(ask("two"), session_id=ID))
    (world.config_dir / _NAME).unlink()


async def test_one_that_is_just_ending_here_is_waited_for(world: World, fake: FakeCLI) -> None:
    write(world, "one")
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        first = await answer(backend.complete(ask("two"), session_id=ID))
        (session,) = backend._sessions
        session.stop()
        assert "ending" == backend.sessions[0].state
        second = await answer(backend.complete(ask("three"), session_id=ID))
        assert pid_of(first) != pid_of(second)


async def test_calls_for_one_name_that_wait_for_a_place_take_turns(
    world: World, fake: FakeCLI
) -> None:
    """The second finds, when it gets its place, what the first one has started."""
    path = write(world, "one")
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    async with open_backend(options(world, fake, max_sessions=2)) as backend:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, backend.complete(ask("hold")))
            nursery.start_soon(answer, backend.complete(ask("hold too")))
            await until(lambda: len(backend.sessions) == 2)
            outcomes: list[object] = []

            async def call(prompt: str) -> None:
                try:
                    outcomes.append(
                        resumed(await answer(backend.complete(ask(prompt), session_id=ID)))
                    )
                except SessionError as exc:
                    outcomes.append(exc.kind)

            nursery.start_soon(call, "two")
            nursery.start_soon(call, "three")
            gate.touch()
        assert True in outcomes
        assert set(outcomes) <= {True, False, "in_use"}
    asked = [text for role, text in said(path) if role == "user"]
    assert len(asked) == 1 + sum(outcome in {True, False} for outcome in outcomes)


async def test_a_call_for_a_name_that_is_just_starting_is_refused(
    world: World, fake: FakeCLI
) -> None:
    path = write(world, "one")
    outcomes: list[object] = []
    async with open_backend(options(world, fake)) as backend, trio.open_nursery() as nursery:

        async def call(prompt: str) -> None:
            try:
                outcomes.append(resumed(await answer(backend.complete(ask(prompt), session_id=ID))))
            except SessionError as exc:
                outcomes.append(exc.kind)

        nursery.start_soon(call, "two")
        nursery.start_soon(call, "three")
    assert ["in_use", True] == outcomes
    assert 2 == len([text for role, text in said(path) if role == "user"])


async def test_a_call_for_a_name_looks_once_more_when_it_has_got_a_place(
    world: World, fake: FakeCLI
) -> None:
    path = write(world, "one")
    before = path.read_bytes()
    fake.turn(Hang())
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        holder = backend.complete(ask("hang"))
        await holder.receive()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def refused() -> None:
                with pytest.raises(SessionError) as caught:
                    await answer(backend.complete(ask("two"), session_id=ID))
                assert "in_use" == caught.value.kind

            await until(lambda: backend._fleet.pool.waiting)
            # Meanwhile somebody has started a CLI on it: here, this program passes for one.
            status = world.config_dir / "sessions" / f"{os.getpid()}.json"
            started = {"sessionId": ID, "startedAt": time.time() * 1000}
            status.write_text(json.dumps(started))
            await holder.aclose()
        status.unlink()
        assert 0 == backend._fleet.pool.waiting
    assert before == path.read_bytes()


async def test_the_owner_is_killed_and_another_program_goes_on(world: World, fake: FakeCLI) -> None:
    fake.turn(Hang())
    env = world.env(NOWHERE) | fake.env()
    owner = await trio.lowlevel.open_process(
        [sys.executable, str(OWNER), str(fake.path), str(world.cwd)],
        stdout=subprocess.PIPE,
        env={**os.environ, **env},
    )
    assert owner.stdout is not None
    with trio.fail_after(60):
        await owner.stdout.receive_some()
        await until(lambda: [*world.config_dir.glob("projects/*/*.jsonl")])
        (path,) = world.config_dir.glob("projects/*/*.jsonl")
        owner.kill()
        await owner.wait()
        await owner.stdout.aclose()
        async with open_backend(options(world, fake)) as backend:
            turn = await answer(backend.complete(ask("wait"), session_id=path.stem))
            assert "echo: wait" == (turn.result and turn.result.result)
    assert [("user", "wait"), ("assistant", "echo: wait")] == said(path)
    # The lock went with its owner; its file goes with the next who takes it.
    assert [] == [*world.config_dir.glob(f"{_NAME}/*")]


async def test_whoever_keeps_the_messages_needs_no_transcript(world: World, fake: FakeCLI) -> None:
    async with open_backend(options(world, fake)) as backend:
        turn = await answer(backend.complete(ask("hi")))
        assert turn.session is not None
        await backend.close_session(turn.session.session_id)
        turn.session.transcript.unlink()
        with pytest.raises(SessionError) as caught:
            await answer(backend.complete(ask("you"), session_id=turn.session.session_id))
        assert "not_found" == caught.value.kind
        assert resumed(await answer(backend.complete(ask("again", "hi"))))


async def test_another_choice_for_one_call_takes_the_place_of_the_process_before(
    world: World, fake: FakeCLI
) -> None:
    path = write(world, "one")
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        first = await answer(backend.complete(ask("hi")))
        other = await answer(backend.complete(ask("again", "hi"), model="opus"))
        assert first.session is not None
        assert other.session is not None
        assert first.session.session_id == other.session.session_id
        assert resumed(other)
        named = await answer(backend.complete(ask("two"), session_id=ID))
        chosen = await answer(backend.complete(ask("three"), session_id=ID, model="opus"))
        assert pid_of(named) != pid_of(chosen)
    assert ["one", "two", "three"] == [text for role, text in said(path) if role == "user"]


# -- the proof


def said(path: Path) -> list[tuple[str, str]]:
    """Return who said what in a transcript, along the chain that ends it."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines() if line[-1:] == b"}"]
    records = {record["uuid"]: record for record in lines if "uuid" in record}
    found: list[tuple[str, str]] = []
    record = [*records.values()][-1]
    while record is not None:
        if record["type"] in {"user", "assistant"}:
            content = record["message"]["content"]
            text = content if isinstance(content, str) else content[-1]["text"]
            found.append((record["type"], text))
        record = records.get(record["parentUuid"])
    return found[::-1]


async def test_fifty_calls_at_once_on_eight_processes_each_get_their_own_reply(
    world: World, fake: FakeCLI
) -> None:
    chance = random.Random(20261125)
    conversations: list[tuple[str, ...]] = [()] * 8
    begun = 0
    failures: list[str] = []

    async with open_backend(options(world, fake, max_sessions=8, startup_timeout=300)) as backend:

        async def call(*asked: str) -> None:
            nonlocal begun
            *history, prompt = asked
            turn = backend.complete(ask(prompt, *history))
            with trio.fail_after(300):
                reply = await turn.get_final_text()
            begun += 1
            if reply != f"echo: {prompt}":
                failures.append(f"{prompt}: {reply}")
            assert turn.session is not None
            written = [text for role, text in said(turn.session.transcript) if role == "user"]
            # Another call may have gone on in the same process meanwhile, but only behind this one.
            if tuple(written[: len(asked)]) != asked:
                failures.append(f"{prompt}: asked {written}")

        async with trio.open_nursery() as nursery:
            for number in range(50):
                conversations.append((*chance.choice(conversations), f"call {number}"))
                nursery.start_soon(call, *conversations[-1])
            while nursery.child_tasks:
                assert len(backend.sessions) <= 8
                await trio.sleep(0.005)
        pool = backend._fleet.pool
        assert (0, len(backend.sessions)) == (pool.waiting, pool.places)
    assert ([], 50) == (failures, begun)
    running = 0
    for event, _pid in lives(fake):
        running += 1 if event == "start" else -1
        assert running <= 8
    # Each transcript was written by one process, and the other way round.
    written = [entry["argv"][1] for entry in fake.log("start")]
    assert len(written) == len({*written}) == len({entry["pid"] for entry in fake.log("start")})
    files = [path.stem for path in world.config_dir.glob("projects/*/*.jsonl")]
    assert sorted(written) == sorted(files)
