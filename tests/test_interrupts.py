"""`Turn.interrupt`, the watchdog, and lines that cannot be read: on the scripted stand-in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from asking import Fake, until
from asking import fake_options as options

from claude_trio import (
    AssistantMessage,
    BackendError,
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
from claude_trio.testing import (
    Answer,
    Dialog,
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


async def test_an_interrupt_while_the_process_starts_ends_the_turn_that_it_begins(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(startup=Startup(seconds=0.5))
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(HELLO)
        events: list[Event] = []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    events.extend([event async for event in turn])

                while not backend.sessions:
                    await trio.sleep(0.01)
                await turn.interrupt()
        assert isinstance(events[-1], ResultMessage)
        assert "interrupted" == events[-1].subtype


async def test_an_interrupt_of_a_turn_that_cannot_begin_returns(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(startup=Startup(kind="exit", text="no", seconds=0.5))
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(HELLO)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _() -> None:
                    with pytest.raises(BackendError, match="did not reach its prompt"):
                        await turn.receive()

                while not backend.sessions:
                    await trio.sleep(0.01)
                await turn.interrupt()


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
