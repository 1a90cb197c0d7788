"""`Turn.interrupt`, the watchdog, and lines that cannot be read: on the scripted stand-in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from asking import Fake, ask, text_of, until
from asking import fake_options as options

from claude_trio import (
    AssistantMessage,
    BackendError,
    BackendOptions,
    ClaudeCodeBackend,
    Event,
    MessageParseError,
    ResultMessage,
    SessionError,
    SystemMessage,
    Turn,
    TurnTimeout,
    UserMessage,
    open_backend,
)
from claude_trio._inbox import Inbox
from claude_trio._protocol import failures
from claude_trio._protocol.history import Conversation, parse_messages
from claude_trio._protocol.outcome import Outcome
from claude_trio.testing import (
    Answer,
    Dialog,
    Gate,
    Hang,
    Raw,
    Startup,
    World,
    Write,
    cancel_everywhere,
    tool_use,
)

HELLO = [{"role": "user", "content": "hello"}]


async def interrupt_after(turn: Turn, wanted: type[Event], events: list[Event]) -> None:
    """Read a turn to its end, and interrupt it from another task after an event of some type."""
    seen = trio.Event()

    async def interrupt() -> None:
        await seen.wait()
        await turn.interrupt()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt)
            async for event in turn:
                events.append(event)
                if isinstance(event, wanted):
                    seen.set()


async def read_into(events: list[Event], turn: Turn) -> None:
    """Read a turn to its end, and keep what came before an error."""
    async for event in turn:
        events.append(event)  # noqa: PERF401 - it may raise


async def reply_to(backend: ClaudeCodeBackend, prompt: str) -> str:
    with trio.fail_after(60):
        return await backend.complete([{"role": "user", "content": prompt}]).get_final_text()


async def test_an_interrupted_turn_is_read_to_its_end(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Answer("so far"), Hang())
    async with open_backend(options(world, fake)) as backend:
        events: list[Event] = []
        await interrupt_after(backend.complete(HELLO), AssistantMessage, events)
        *_, mark, result = events
        assert isinstance(mark, UserMessage)
        assert isinstance(result, ResultMessage)
        assert ("interrupt", "interrupted", "so far") == (
            mark.origin,
            result.subtype,
            result.result,
        )
        assert not result.is_error
    assert ["\x1b"] == [entry["key"] for entry in fake.log("key") if entry["key"] != "\r"]


async def test_a_turn_interrupted_before_its_first_word_never_was(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        events: list[Event] = []
        await interrupt_after(backend.complete(HELLO), UserMessage, events)
        assert [UserMessage, ResultMessage] == [type(event) for event in events]
        assert await reply_to(backend, "next") == "echo: next"
    assert 1 == len(fake.log("start"))


async def test_a_turn_that_has_not_begun_or_is_over_is_left_as_it_is(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(HELLO)
        await turn.interrupt()
        with trio.fail_after(60):
            assert "echo: hello" == await turn.get_final_text()
            await turn.interrupt()
        assert turn.result is not None
        assert "success" == turn.result.subtype
    assert "\x1b" not in [entry["key"] for entry in fake.log("key")]


@attrs.define(eq=False)
class Reading:
    """A turn that is read in a task of its own."""

    turn: Turn
    events: list[Event] = attrs.field(factory=list)
    over: trio.Event = attrs.field(factory=trio.Event)

    async def run(self) -> None:
        await read_into(self.events, self.turn)
        self.over.set()

    async def interrupt(self) -> None:
        """Interrupt it, and check that it never was."""
        with trio.fail_after(60):
            await self.turn.interrupt()
            await self.over.wait()
        assert [ResultMessage] == [type(event) for event in self.events]
        assert self.turn.result is not None
        assert ("interrupted", False) == (self.turn.result.subtype, self.turn.result.is_error)
        assert self.turn.session is None
        with pytest.raises(trio.EndOfChannel):
            await self.turn.receive()


async def test_an_interrupt_of_a_turn_that_waits_for_a_place_takes_it_out_of_the_line(
    world: World, make_fake: Fake
) -> None:
    fake, gate = make_fake(), world.root / "gate"
    fake.turn(Gate(gate), Answer("first"))
    async with (
        open_backend(options(world, fake, max_sessions=1)) as backend,
        trio.open_nursery() as nursery,
    ):
        first = Reading(backend.complete(HELLO))
        nursery.start_soon(first.run)
        await until(lambda: first.events)
        waiting = [Reading(backend.complete(ask(prompt))) for prompt in ("second", "third")]
        for number, each in enumerate(waiting):
            nursery.start_soon(each.run)
            await until(partial(lambda n: backend._fleet.pool.waiting == n, number + 1))
        await waiting[0].interrupt()
        assert 1 == backend._fleet.pool.waiting
        gate.touch()
        with trio.fail_after(60):
            await waiting[1].over.wait()
    assert ["hello", "third"] == [entry["text"] for entry in fake.log("prompt")]


@pytest.mark.parametrize("kind", ["ready", "exit", "hang"])
async def test_an_interrupt_while_the_process_starts_ends_it(
    world: World, make_fake: Fake, kind: str
) -> None:
    fake = make_fake(startup=Startup(kind=kind, seconds=0.5))
    async with (
        open_backend(options(world, fake)) as backend,
        trio.open_nursery() as nursery,
    ):
        reading = Reading(backend.complete(HELLO))
        nursery.start_soon(reading.run)
        await until(lambda: backend.sessions and backend.sessions[0].pid)
        await reading.interrupt()
        assert ((), 0) == (backend.sessions, backend._fleet.pool.places)
    assert [] == fake.log("paste")


async def test_an_interrupt_while_the_prompt_is_typed_ends_the_process(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with (
        open_backend(options(world, fake)) as backend,
        trio.open_nursery() as nursery,
    ):
        assert "echo: hello" == await reply_to(backend, "hello")
        reading = Reading(backend.complete(ask("next", "hello")))
        process = backend._sessions[0]._process
        assert process is not None
        async with process._typing:  # so it comes no further
            nursery.start_soon(reading.run)
            await until(lambda: process._typing.statistics().tasks_waiting)
            await reading.interrupt()
        assert () == backend.sessions
        assert "next" not in [entry["text"] for entry in fake.log("paste")]
        # Nobody has been told anything, so the conversation goes on where it was.
        assert "echo: next" == await text_of(backend.complete(ask("next", "hello")))


async def test_a_turn_that_was_interrupted_is_not_begun_again(tmp_path: Path) -> None:
    """As it would be when the model has not seen the history."""
    told = Inbox(trio.current_time())
    begun: list[Conversation] = []

    class FakeSession:
        def look_now(self) -> None:
            result = ResultMessage(subtype="error", is_error=True)
            told.finish(Outcome("failed", result, failures.not_seen("it is not there", "s")))

    async def begin(conversation: Conversation) -> tuple[Any, Inbox]:
        await trio.lowlevel.checkpoint()
        begun.append(conversation)
        return FakeSession(), told

    reading = Reading(Turn._create(begin, parse_messages(HELLO), BackendOptions(cwd=tmp_path)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reading.run)
        await until(lambda: begun)
        await trio.testing.wait_all_tasks_blocked()
        await reading.interrupt()
    assert 1 == len(begun)


@attrs.define(eq=False)
class AtStep(trio.abc.Instrument):
    """Reads a turn to its end, and sets an event before some step of that."""

    turn: Turn
    left: int
    reached: trio.Event = attrs.field(factory=trio.Event)
    task: trio.lowlevel.Task | None = None
    end: str = ""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= task is self.task
        if not self.left:
            self.reached.set()

    async def run(self) -> None:
        self.task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)
        try:
            await read_into([], self.turn)
            assert self.turn.result is not None
            self.end = self.turn.result.subtype
        except SessionError as exc:
            self.end = exc.kind
        finally:
            trio.lowlevel.remove_instrument(self)
            self.reached.set()


async def test_a_turn_may_be_interrupted_at_every_step_of_its_reader(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    never, ends = 0, list[str]()
    async with open_backend(options(world, fake, max_sessions=1)) as backend:
        while "success" not in ends:
            reading = AtStep(backend.complete(HELLO), len(ends) + 1)
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(reading.run)
                    await reading.reached.wait()
                    await reading.turn.interrupt()
            ends.append(reading.end)
            never += reading.turn.session is None
            pool = backend._fleet.pool
            assert (0, len(backend.sessions)) == (pool.waiting, pool.places)
            assert all(session.state == "idle" for session in backend.sessions)
    assert never > 5
    # The prompt may have been typed, and not been taken yet.
    assert {"interrupted", "success"} <= {*ends} <= {"interrupted", "success", "not_accepted"}


async def test_a_cli_that_does_not_heed_the_interrupt_is_ended(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(deaf_to_escape=True)
    fake.turn(Answer("so far"), Hang())
    async with open_backend(options(world, fake, interrupt_grace=0.5)) as backend:
        turn = backend.complete(HELLO)
        with pytest.raises(SessionError) as caught:
            try:
                await interrupt_after(turn, AssistantMessage, [])
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
        assert "not_settled" == caught.value.kind
        assert await reply_to(backend, "next") == "echo: next"
    assert 2 == len(fake.log("start"))


@pytest.mark.parametrize("moment", ["in its turn", "while it begins"])
async def test_cancelled_anywhere_an_interrupt_stops_the_waiting_only(
    world: World, make_fake: Fake, moment: str
) -> None:
    fake = make_fake()
    for _ in range(20):
        fake.turn(Answer("so far"), Hang())
    turn: Turn
    events: list[Event] = []
    over = trio.Event()

    async def read() -> None:
        nonlocal over
        await read_into(events, turn)
        over.set()

    async with open_backend(options(world, fake)) as backend, trio.open_nursery() as nursery:

        async def body() -> None:
            nonlocal turn, over
            turn, over = backend.complete(HELLO), trio.Event()
            events.clear()
            nursery.start_soon(read)
            # Only the interrupt itself is to be cancelled.
            with trio.CancelScope(shield=True):
                if moment == "in its turn":
                    while not any(isinstance(event, AssistantMessage) for event in events):
                        await trio.sleep(0.1)
                else:
                    await trio.testing.wait_all_tasks_blocked()
            await turn.interrupt()

        async def check() -> None:
            await over.wait()
            result = events[-1]
            assert isinstance(result, ResultMessage)
            assert "interrupted" == result.subtype
            assert all(session.state == "idle" for session in backend.sessions)

        with trio.fail_after(120):
            assert await cancel_everywhere(body, check) > 1
    interrupts = [entry for entry in fake.log("key") if entry["key"] == "\x1b"]
    assert len(interrupts) == len(fake.log("prompt"))  # one for each turn


async def test_a_cli_that_gives_no_sign_of_life_is_interrupted(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Answer("so far"), Hang())
    async with open_backend(options(world, fake, stall_timeout=1.0)) as backend:
        events: list[Event] = []
        with pytest.raises(TurnTimeout, match="no sign of life for 1 seconds") as caught:
            with trio.fail_after(60):
                await read_into(events, backend.complete(HELLO))
        assert ("stalled", tuple(events)) == (caught.value.kind, caught.value.partial)
        assert ["idle"] == [session.state for session in backend.sessions]


async def test_a_dialog_is_an_event_of_its_turn(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(
        Answer(tool_use("Bash", {"command": "x"}), stop_reason="tool_use"),
        Dialog("permission prompt"),
    )
    async with open_backend(options(world, fake)) as backend:
        events: list[Event] = []
        with pytest.raises(SessionError):
            with trio.fail_after(60):
                await read_into(events, backend.complete(HELLO))
    (dialog,) = [e for e in events if isinstance(e, SystemMessage) and e.subtype == "dialog"]
    assert "permission prompt" == dialog.data["waitingFor"]
    assert dialog.session_id == events[0].session_id


BAD_LINE = Raw(b"not json\n")


async def test_a_callback_is_told_of_a_line_that_cannot_be_read(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(BAD_LINE, Answer("hi"))
    told: list[MessageParseError] = []
    async with open_backend(options(world, fake, on_parse_error=told.append)) as backend:
        assert await reply_to(backend, "hello") == "hi"
        (session,) = backend.sessions
    assert [(b"not json", session.session_id)] == [(e.line, e.session_id) for e in told]


def refuse(error: MessageParseError) -> None:
    raise error


def break_down(_: MessageParseError) -> None:
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("callback", "error", "kind"),
    [(refuse, MessageParseError, "unreadable"), (break_down, BackendError, "callback")],
)
async def test_what_the_callback_raises_fails_the_turn(
    world: World,
    make_fake: Fake,
    callback: Callable[[MessageParseError], None],
    error: type[BackendError],
    kind: str,
) -> None:
    fake = make_fake()
    fake.turn(BAD_LINE, Answer("hi"))
    async with open_backend(options(world, fake, on_parse_error=callback)) as backend:
        with pytest.raises(error) as caught:
            await reply_to(backend, "hello")
        assert kind == caught.value.kind
        assert isinstance(caught.value.__cause__, KeyError) == (kind == "callback")
        assert await reply_to(backend, "next") == "echo: next"
    assert 2 == len(fake.log("start"))


@pytest.mark.parametrize(
    ("callback", "words"),
    [(refuse, "cannot read this line"), (break_down, "on_parse_error raised KeyError('mine')")],
)
async def test_what_the_callback_raises_between_turns_is_logged_and_ends_the_process(
    world: World,
    make_fake: Fake,
    caplog: pytest.LogCaptureFixture,
    callback: Callable[[MessageParseError], None],
    words: str,
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake, on_parse_error=callback)) as backend:
        assert await reply_to(backend, "hello") == "echo: hello"
        (session,) = backend.sessions
        with session.transcript.open("ab") as transcript:
            transcript.write(b"not json\n")
        await until(lambda: not backend.sessions)
        (logged,) = caplog.records
        assert "ERROR" == logged.levelname
        assert words in logged.message
        assert await reply_to(backend, "next") == "echo: next"
    assert 2 == len(fake.log("start"))


async def test_a_turn_of_the_clis_own_is_kept_and_is_no_answer(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    notification = {
        "type": "user",
        "promptSource": "system",
        "origin": {"kind": "task-notification"},
        "message": {"role": "user", "content": "<task-notification>done</task-notification>"},
    }
    fake.turn(Answer("first"))
    fake.turn(Write(notification), Answer("by itself"), prompt=None)
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            first = backend.complete(HELLO)
            await first.get_final_text()
            (session,) = backend._sessions
            assert session._process is not None
            await session._process.write(b"\x1b[200~x\x1b[201~\r")  # what makes the stand-in go
            while len(session.info.unprompted) < 3:
                await trio.sleep(0.01)
        prompt, answer, end = session.info.unprompted
        assert isinstance(prompt, UserMessage)
        assert isinstance(answer, AssistantMessage)
        assert isinstance(end, SystemMessage)
        assert ("auto", "by itself", "turn_duration") == (prompt.origin, answer.text, end.subtype)
        history = [*HELLO, {"role": "assistant", "content": "first"}]
        with trio.fail_after(60):
            again = backend.complete([*history, {"role": "user", "content": "next"}])
            assert "echo: next" == await again.get_final_text()
    assert 1 == len(fake.log("start"))
