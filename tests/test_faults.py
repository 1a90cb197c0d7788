"""The backend and a CLI that misbehaves: the scripted stand-in."""

from __future__ import annotations

import errno
import json
import os
import signal
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from asking import Fake, ask, text_of, until
from asking import fake_options as options

from claude_trio import (
    AssistantMessage,
    AuthError,
    BackendError,
    BackendOptions,
    ClaudeCodeBackend,
    CLINotFoundError,
    ProcessError,
    PtyClaudeProcess,
    RateLimitError,
    SessionError,
    StartupError,
    SystemMessage,
    Turn,
    TurnTimeout,
    UserMessage,
    open_backend,
)
from claude_trio._files import SessionFiles
from claude_trio._follower import Follower
from claude_trio._prompter import Prompter
from claude_trio._sweep import find
from claude_trio.testing import (
    Answer,
    Dialog,
    Die,
    Echo,
    Fail,
    FakeCLI,
    Gate,
    Hang,
    Raw,
    Result,
    SetStatus,
    Sleep,
    Spawn,
    Startup,
    World,
    Write,
    cancel_everywhere,
    tool_use,
)


async def test_each_reply_belongs_to_its_prompt(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        history: list[tuple[str, str]] = []
        for number in range(5):
            reply = await text_of(backend.complete(ask(f"prompt {number}", *history)))
            assert f"echo: prompt {number}" == reply
            history.append((f"prompt {number}", reply))
    assert 1 == len(fake.log("start"))
    assert [143] == [entry["code"] for entry in fake.log("exit")]


async def test_a_turn_written_byte_by_byte_arrives_whole(world: World, make_fake: Fake) -> None:
    fake = make_fake(write_bytes=7, write_pause=0.0005)
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("漢字 🦆"))) == "echo: 漢字 🦆"


async def test_records_of_unknown_shape_do_not_end_a_turn(
    world: World, make_fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake = make_fake()
    fake.turn(
        Write({"type": "hologram", "subtype": "new", "depth": 3}),
        Raw(b'5\n[]\n{"type": 7}\nnot json\n\xff\xfe\n\n'),
        Write({"type": "assistant", "message": {"content": [{"type": "odd"}, {"type": "text"}]}}),
        Raw(b'{"type":"half'),
        Sleep(0.1),
        Raw(b'-line"}\n'),
        Echo(),
    )
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            events = [event async for event in backend.complete(ask("hi"))]
    kinds = [e.subtype for e in events if isinstance(e, SystemMessage)]
    assert ["new", "half-line", "turn_duration"] == kinds
    answers = [e for e in events if isinstance(e, AssistantMessage)]
    assert ["odd", "text"] == [block.type for block in answers[0].content]  # type: ignore[union-attr]
    assert "echo: hi" == answers[1].text
    assert 5 == len([r for r in caplog.records if "cannot read this line" in r.message])


async def test_a_line_of_many_megabytes_arrives(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Answer("x" * 5_000_000))
    async with open_backend(options(world, fake)) as backend:
        assert len(await text_of(backend.complete(ask("a lot, please")))) == 5_000_000


async def test_a_slow_consumer_gets_every_event_in_order(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(*(Answer(f"message {n}") for n in range(600)))
    async with open_backend(options(world, fake)) as backend:
        texts = []
        with trio.fail_after(60):
            async for event in backend.complete(ask("count")):
                if isinstance(event, AssistantMessage):
                    texts.append(event.text)
                if len(texts) == 1:
                    await trio.sleep(2.5)  # longer than a turn may be silent at rest
    assert [f"message {n}" for n in range(600)] == texts


async def test_a_dropped_turn_of_many_events_still_settles(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(*(Answer(f"message {n}") for n in range(600)), Hang())
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            async with backend.complete(ask("count")) as turn:
                await turn.receive()
        assert turn.result is not None
        assert turn.result.subtype == "interrupted"
        assert ["idle"] == [session.state for session in backend.sessions]


async def test_a_swallowed_enter_is_pressed_again_and_the_prompt_sent_once(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(swallow_enters=2)
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
    assert ["hello"] == [entry["text"] for entry in fake.log("prompt")]
    assert 3 == len([entry for entry in fake.log("key") if entry["key"] == "\r"])


async def test_a_prompt_that_was_not_taken_is_not_sent_after_its_cancellation(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(swallow_enters=1)
    async with open_backend(options(world, fake)) as backend:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.complete(ask("write a novel")).get_final_text)
            await until(lambda: [entry for entry in fake.log("key") if entry["key"] == "\r"])
            nursery.cancel_scope.cancel()
        assert () == backend.sessions
    assert [] == fake.log("prompt")
    assert 1 == len(fake.log("key"))


async def test_an_interrupted_prompt_that_was_not_taken_is_not_sent(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(swallow_enters=1)
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(ask("write a novel"))

        async def read() -> None:
            with pytest.raises(SessionError) as caught:
                await text_of(turn)
            assert "not_accepted" == caught.value.kind

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until(lambda: [entry for entry in fake.log("key") if entry["key"] == "\r"])
            with trio.fail_after(60):
                await turn.interrupt()
    assert [] == fake.log("prompt")


async def test_a_cli_that_stops_reading_while_a_prompt_is_typed_costs_no_more_than_the_timeout(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    how = {"turn_timeout": 1.0, "exit_grace": 1.5}
    async with open_backend(options(world, fake, **how)) as backend:
        first = await text_of(backend.complete(ask("one")))
        (session,) = backend._sessions
        assert session._process is not None
        await until(lambda: session._files.status.at_rest)
        session._process.send_signal(signal.SIGSTOP)
        with pytest.raises(TurnTimeout, match="did not read the prompt within 1 seconds") as caught:
            await text_of(backend.complete(ask("x" * 50_000, ("one", first))))
        assert ("timeout", session.session_id) == (caught.value.kind, caught.value.session_id)
        assert () == backend.sessions
    assert ["one"] == [entry["text"] for entry in fake.log("prompt")]


async def test_a_death_before_the_first_prompt_is_sent_is_told_as_one(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:

        async def kill() -> None:
            while not backend.sessions or backend.sessions[0].state == "starting":  # noqa: ASYNC110
                await trio.lowlevel.checkpoint()
            pid = backend.sessions[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            with pytest.raises(ProcessError) as caught:
                await text_of(backend.complete(ask("hello")))
    assert ("died", signal.SIGKILL) == (caught.value.kind, caught.value.signal)
    assert caught.value.session_id is not None


@pytest.mark.parametrize("history", [(), (("one", "reply"),)], ids=["fresh", "resumed"])
async def test_cancelled_comes_out_when_a_process_that_was_starting_has_ended(
    world: World, make_fake: Fake, history: tuple[tuple[str, str], ...]
) -> None:
    fake = make_fake(startup=Startup(seconds=1.0), deaf_to_sigterm=True)
    async with open_backend(options(world, fake, exit_grace=3.0)) as backend:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.complete(ask("hello", *history)).get_final_text)
            await until(lambda: fake.log("start"))
            nursery.cancel_scope.cancel()
        (start,) = fake.log("start")
        assert not psutil.pid_exists(start["pid"])
        assert () == backend.sessions
    assert [] == [*world.config_dir.glob("projects/*/*.jsonl")]


async def test_the_error_of_a_cli_that_does_not_settle_comes_when_it_has_ended(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(deaf_to_escape=True, deaf_to_sigterm=True)
    fake.turn(Hang())
    how = {"interrupt_grace": 0.5, "exit_grace": 1.5}
    async with open_backend(options(world, fake, **how)) as backend:
        turn = backend.complete(ask("write a novel"))
        with trio.fail_after(60):
            await turn.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(turn.interrupt)
                with pytest.raises(SessionError) as caught:
                    await turn.get_final_text()
        assert "not_settled" == caught.value.kind
        (start,) = fake.log("start")
        assert not psutil.pid_exists(start["pid"])
        assert () == backend.sessions


async def test_a_turn_can_be_closed_while_another_task_begins_it(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(startup=Startup(seconds=1.0))
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(ask("hello"))

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError, match="closed while it began"):
                await turn.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await until(lambda: fake.log("start"))
            with trio.fail_after(60):
                await turn.aclose()
            assert () == backend.sessions
        assert "<Turn closed>" == repr(turn)
    assert [] == fake.log("prompt")


async def test_a_prompt_that_is_never_taken_is_an_error(world: World, make_fake: Fake) -> None:
    fake = make_fake(swallow_enters=100)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
    assert "not_accepted" == caught.value.kind
    assert 3 == len([entry for entry in fake.log("key") if entry["key"] == "\r"])


async def test_an_altered_prompt_is_an_error_and_ends_the_process(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Hang(), prompt="something else")
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "altered" == caught.value.kind
        assert "'hello' and 'something else'" in str(caught.value)
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
    assert 2 == len(fake.log("start"))


async def test_after_an_altered_prompt_none_is_sent_in_that_way(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Hang(), prompt="something else")
    async with open_backend(options(world, fake)) as backend:
        altered = backend.complete(ask("hello"))
        with pytest.raises(SessionError, match="recorded another prompt"):
            await text_of(altered)
        assert altered.session is not None
        assert 1 == altered.session.altered
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
        assert await text_of(backend.complete(ask("you", ("hello", "echo: hello")))) == "echo: you"
        # What comes from the editor has not been altered.
        tabs = backend.complete(ask("a\ttab", ("hello", "echo: hello"), ("you", "echo: you")))
        assert await text_of(tabs) == "echo: a\ttab"
        assert tabs.session is not None
        assert 2 == tabs.session.turns
    assert ["hello", "you"] == [entry["text"] for entry in fake.log("resumed")]
    assert ["hello", " "] == [entry["text"] for entry in fake.log("paste")]


@pytest.mark.parametrize("change", ["waiting", None])
async def test_no_enter_is_pressed_at_a_dialog_that_came_up_behind_the_text(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch, change: str | None
) -> None:
    fake = make_fake()

    def dialog_comes_up(prompter: Prompter) -> float:
        path = world.config_dir / "sessions" / f"{prompter._process.pid}.json"
        if change is None:
            path.unlink()
        else:
            path.write_text(path.read_text().replace('"idle"', f'"{change}"'))
        return 0.0

    monkeypatch.setattr("claude_trio._prompter.Prompter._enter_gap", dialog_comes_up)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "not_ready" == caught.value.kind
    assert [] == fake.log("key")


async def test_going_idle_before_the_last_record_does_not_end_a_turn(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Sleep(0.1), SetStatus("idle"), Sleep(0.9), Echo(), SetStatus("idle"), Sleep(0.9))
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


async def test_a_turn_without_an_end_is_an_error(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Sleep(0.1), Echo(), ends=False)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
    assert "no_end" == caught.value.kind
    assert any(isinstance(event, AssistantMessage) for event in caught.value.partial)


async def test_a_late_record_of_a_turn_does_not_end_the_next(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Echo(), late=0.3)
    fake.turn(Sleep(0.5), Echo())
    async with open_backend(options(world, fake)) as backend:
        first = await text_of(backend.complete(ask("one")))
        assert await text_of(backend.complete(ask("two", ("one", first)))) == "echo: two"


async def test_a_prompt_waits_for_the_status_that_lags_behind_the_last_record(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Echo(), lag=0.3)
    async with open_backend(options(world, fake)) as backend:
        first = await text_of(backend.complete(ask("one")))
        assert await text_of(backend.complete(ask("two", ("one", first)))) == "echo: two"
    assert 1 == len(fake.log("start"))


async def test_a_panel_that_opened_after_the_turn_is_closed_with_one_escape(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Echo(), panel="dialog open")
    async with open_backend(options(world, fake)) as backend:
        first = await text_of(backend.complete(ask("one")))
        with trio.fail_after(60):
            while backend._sessions[0]._files.status.state != "waiting":
                await trio.sleep(0.01)
        assert await text_of(backend.complete(ask("two", ("one", first)))) == "echo: two"
    assert 1 == len(fake.log("start"))
    assert 1 == len([entry for entry in fake.log("key") if entry["key"] == "\x1b"])


async def test_nothing_is_typed_at_a_cli_that_does_not_say_what_it_is_doing(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._prompter._PROMPT_GRACE", 0.5)
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("one"))) == "echo: one"
        typed = len([*fake.log("key"), *fake.log("paste")])
        (status,) = (world.config_dir / "sessions").glob("*.json")
        with trio.fail_after(60):
            while b'"idle"' not in status.read_bytes():  # it would write it once more
                await trio.sleep(0.01)
        status.unlink()
        again = backend.complete(ask("two", ("one", "echo: one")))
        assert await text_of(again) == "echo: two"
        assert again.session is not None
        assert "resumed" == again.session.origin
    assert typed == len([*fake.log("key"), *fake.log("paste")])


async def test_an_api_error_without_an_end_record_fails_the_turn_and_keeps_the_process(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    limits = {"quotaLimits": {"resetsAt": 1795330610, "rateLimitType": "five_hour"}}
    fake.turn(Sleep(0.1), Fail("rate_limit", 429, "You've hit your limit", limits), ends=False)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(RateLimitError) as caught:
            await text_of(backend.complete(ask("hello")))
        error = caught.value
        assert (1795330610.0, "five_hour", 429) == (error.resets_at, error.limit_type, error.status)
        # The failed prompt stays in the conversation, so that is what finds the process.
        messages = [*ask("hello"), *ask("again")]
        assert await text_of(backend.complete(messages)) == "echo: again"
    assert 1 == len(fake.log("start"))


async def test_an_error_in_the_middle_does_not_fail_the_turn(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    call = tool_use("Bash", {"command": "x"}, id="toolu_1")
    fake.turn(
        Answer(call, stop_reason="tool_use"),
        Fail("server_error", None, "API Error: Connection lost mid-response."),
        Sleep(1.5),
        Result("toolu_1", "done"),
        Echo(),
    )
    async with open_backend(options(world, fake)) as backend:
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


@pytest.mark.parametrize(
    ("step", "code", "number"), [(Die(code=3), 3, None), (Die(signal=9), None, signal.SIGKILL)]
)
async def test_a_death_in_a_turn_comes_after_what_was_written_before_it(
    world: World, make_fake: Fake, step: Die, code: int | None, number: int | None
) -> None:
    fake = make_fake()
    fake.turn(Answer("famous last words"), step)
    async with open_backend(options(world, fake)) as backend:
        seen = []
        with pytest.raises(ProcessError) as caught:
            with trio.fail_after(60):
                async for event in backend.complete(ask("hello")):
                    seen.append(event)  # noqa: PERF401 - what came before the error counts
        assert (code, number) == (caught.value.exit_code, caught.value.signal)
        assert "famous last words" in [e.text for e in seen if isinstance(e, AssistantMessage)]
        assert seen == [*caught.value.partial]
        assert [] == [*(world.config_dir / "sessions").iterdir()]


async def test_a_defect_at_the_end_of_a_session_is_told_to_who_reads_its_turn(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()
    fake.turn(Hang())

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def read_on(turn: Turn, task_status: trio.TaskStatus[None]) -> None:
        assert isinstance(await turn.receive(), UserMessage)
        monkeypatch.setattr("claude_trio._session.Session._note_exchange", broken)
        task_status.started()
        with pytest.raises(BackendError) as caught:
            await turn.get_final_text()
        assert "bug" == caught.value.kind

    with trio.fail_after(60):
        async with trio.open_nursery() as outside:
            with pytest.raises(BackendError) as caught:
                async with open_backend(options(world, fake)) as backend:
                    await outside.start(read_on, backend.complete(ask("hello")))
    assert "bug" == caught.value.kind
    assert "ZeroDivisionError" in str(caught.value)


async def test_a_dialog_is_refused_with_one_escape(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    fake.turn(Dialog("input needed"))
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "dialog" == caught.value.kind
        assert "input needed" in str(caught.value)
    assert 1 == len([entry for entry in fake.log("key") if entry["key"] == "\x1b"])


async def test_a_dialog_before_the_prompt_was_taken_ends_the_process(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Dialog("input needed"), prompt=None)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert "dialog" == caught.value.kind
        assert () == backend.sessions


@pytest.mark.parametrize(
    ("startup", "kind"),
    [
        (Startup(kind="dialog", text="Quick safety check: do you trust this folder?"), "trust"),
        (Startup(kind="dialog", text="Let's get started."), "onboarding"),
        (Startup(kind="exit", text="error: unknown option", code=1), "flag"),
        (Startup(kind="exit", text="Killed", code=1), "exited"),
        (Startup(kind="hang"), "timeout"),
        (Startup(kind="without_status"), "timeout"),
        (Startup(kind="no_status_file"), "timeout"),
        (Startup(kind="stale_status"), "timeout"),
    ],
    ids=lambda value: value.kind if isinstance(value, Startup) else value,
)
async def test_a_start_that_fails_says_why_and_types_nothing(
    world: World, make_fake: Fake, startup: Startup, kind: str
) -> None:
    fake = make_fake(startup=startup)
    async with open_backend(options(world, fake, startup_timeout=3.0)) as backend:
        with pytest.raises(StartupError) as caught:
            await text_of(backend.complete(ask("hello")))
    assert (kind, startup.text) == (
        caught.value.kind,
        caught.value.screen_tail[: len(startup.text)],
    )
    assert [] == fake.log("paste") + fake.log("key")


async def test_a_turn_may_be_over_before_its_process_was_seen_ready(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(startup=Startup(kind="no_status_file"))
    history = [*ask("one"), {"role": "assistant", "content": "two"}]
    async with open_backend(options(world, fake, startup_timeout=30.0)) as backend:
        turn = backend.complete([*history, *ask("hello")])
        assert "echo: hello" == await text_of(turn)
        assert turn.session is not None
        assert "idle" == turn.session.state


async def test_a_turn_that_waits_for_a_subagent_is_over_when_its_process_ends(
    world: World, make_fake: Fake
) -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": "found"}
    result = {
        "type": "user",
        "message": {"role": "user", "content": [block]},
        "toolUseResult": {"agentId": "a1", "status": "completed", "content": []},
    }
    fake = make_fake()
    fake.turn(
        Answer(tool_use("Agent", {}, id="t1"), stop_reason="tool_use"),
        Write(result),
        Answer("all seen"),
        Write({"type": "system", "subtype": "turn_duration", "durationMs": 5}),
        Die(),
        ends=False,
    )
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            turn = backend.complete(ask("hello"))
            events = [event async for event in turn]
    last = events[-2]
    assert isinstance(last, SystemMessage)
    assert "turn_duration" == last.subtype
    assert turn.result is not None
    assert ("all seen", False) == (turn.result.result, turn.result.is_error)


async def test_an_interrupt_presses_escape_once_and_clears_what_came_back(
    world: World, make_fake: Fake, tmp_path: Path
) -> None:
    fake = make_fake()
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            async with backend.complete(ask("write a novel")) as turn:
                assert isinstance(await turn.receive(), UserMessage)
        assert turn.result is not None
        assert "interrupted" == turn.result.subtype
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
    keys = [entry["key"] for entry in fake.log("key")]
    assert ["\r", "\x1b", "\x03", "\r"] == keys
    assert 1 == len(fake.log("start"))


async def test_a_cli_that_is_deaf_to_escape_is_ended(world: World, make_fake: Fake) -> None:
    fake = make_fake(deaf_to_escape=True)
    fake.turn(Hang())
    async with open_backend(options(world, fake, interrupt_grace=0.5)) as backend:
        with trio.move_on_after(1.0) as scope:
            await backend.complete(ask("write a novel")).get_final_text()
        assert scope.cancelled_caught
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"
    assert 1 == len([entry for entry in fake.log("key") if entry["key"] == "\x1b"])
    assert 2 == len(fake.log("start"))


async def test_the_turn_timeout_ends_a_turn_and_tells_what_was_read(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Answer("so far"), Hang())
    async with open_backend(options(world, fake, turn_timeout=1.0)) as backend:
        with pytest.raises(TurnTimeout) as caught:
            await text_of(backend.complete(ask("write a novel")))
        assert ["so far"] == [
            event.text for event in caught.value.partial if isinstance(event, AssistantMessage)
        ]
        assert caught.value.result is not None
        assert (True, "so far") == (caught.value.result.is_error, caught.value.result.result)


async def test_what_has_arrived_is_delivered_even_after_the_timeout(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake, turn_timeout=1.5)) as backend:
        with trio.fail_after(60):
            async with backend.complete(ask("quick")) as turn:
                await turn.receive()
                await trio.sleep(1.6)  # a consumer slower than the limit, of a turn within it
                assert "echo: quick" == await turn.get_final_text()


async def test_a_cli_deaf_to_sigterm_is_ended_with_its_terminal_and_what_it_started(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(deaf_to_sigterm=True)
    fake.turn(Spawn(["sleep", "1005"]), Echo())
    async with open_backend(options(world, fake, exit_grace=1.5)) as backend:
        turn = backend.complete(ask("hello"))
        await text_of(turn)
        assert turn.session is not None
    assert [signal.SIGTERM, signal.SIGHUP] == [entry["number"] for entry in fake.log("signal")]
    assert [129] == [entry["code"] for entry in fake.log("exit")]
    assert [] == [*(world.config_dir / "sessions").iterdir()]


async def test_a_turn_is_a_channel_that_ends_once_and_can_be_closed_twice(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(ask("hello"))
        assert "<Turn not begun>" == repr(turn)
        assert (None, None) == (turn.session, turn.result)
        with trio.fail_after(60):
            with trio.testing.assert_checkpoints():
                await turn.receive()
            assert "<Turn running>" == repr(turn)
            gate.touch()
            await text_of(turn)
        assert "<Turn over>" == repr(turn)
        with pytest.raises(trio.EndOfChannel), trio.testing.assert_checkpoints():
            await turn.receive()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await turn.aclose()
        assert "<Turn closed>" == repr(turn)
        with pytest.raises(trio.ClosedResourceError):
            await turn.receive()
        assert "1 sessions" in repr(backend)
    assert "closed" in repr(backend)


async def test_a_reader_is_told_that_another_task_closed_the_turn(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Hang())
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(ask("write a novel"))

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await turn.receive()

        with trio.fail_after(60):
            await turn.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await turn.aclose()


async def test_a_turn_that_was_never_read_never_began(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        await backend.complete(ask("hello")).aclose()
        with pytest.raises(TypeError, match="Turn has no public constructor"):
            Turn(None, None, None)  # type: ignore[arg-type]
    assert [] == fake.log()


async def test_the_final_message_has_all_its_blocks(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    call = tool_use("Bash", {"command": "x"}, id="toolu_1")
    fake.turn(
        Answer("first", call, stop_reason="tool_use", message_id="m1"),
        Result("toolu_1", "done"),
        Answer("one", "two", message_id="m2"),
    )
    fake.turn()
    async with open_backend(options(world, fake)) as backend:
        with trio.fail_after(60):
            message = await backend.complete(ask("hello")).get_final_message()
            assert ("m2", "onetwo") == (message.message_id, message.text)
            assert 2 == len(message.content)
            silent = backend.complete(ask("say nothing"))
            with pytest.raises(ValueError, match="no message left"):
                await silent.get_final_message()


async def test_a_reply_may_be_spelled_differently_from_one_call_to_the_next(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    call = tool_use("Bash", {"command": "x"}, id="toolu_1")
    fake.turn(
        Answer("Let me look.", call, stop_reason="tool_use"), Result("toolu_1", "42"), Answer("42.")
    )
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"}
    in_full = [
        {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, call]},
        {"role": "user", "content": [result]},
        {"role": "assistant", "content": "42."},
    ]
    async with open_backend(options(world, fake)) as backend:
        await text_of(backend.complete(ask("what?")))
        assert await text_of(backend.complete(ask("and?", ("what?", "42.")))) == "echo: and?"
        messages: list[Any] = [*ask("what?"), *in_full, *ask("so?", ("and?", "echo: and?"))]
        assert await text_of(backend.complete(messages)) == "echo: so?"
    assert 1 == len(fake.log("start"))


async def test_a_turn_that_another_one_waits_for_may_be_dropped(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Answer("so far"), Hang())
    async with open_backend(options(world, fake)) as backend:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            with trio.fail_after(60):
                async for event in backend.complete(ask("write a novel")):
                    if isinstance(event, AssistantMessage):
                        break
        history = ("write a novel", "so far")
        assert await text_of(backend.complete(ask("stop", history))) == "echo: stop"
    assert 1 == len(fake.log("start"))


async def test_a_process_that_died_while_it_was_idle_is_not_asked(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        first = await text_of(backend.complete(ask("one")))
        (session,) = backend._sessions
        assert session._process is not None
        session._process.send_signal(signal.SIGKILL)
        # Without a checkpoint: it is dead, and nobody has had the time to notice.
        os.waitid(os.P_PID, session._process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
        assert await text_of(backend.complete(ask("two", ("one", first)))) == "echo: two"
    assert 2 == len(fake.log("start"))


async def test_two_readers_of_one_turn_are_told(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    gate = world.root / "gate"
    fake.turn(Gate(gate), Echo())
    async with open_backend(options(world, fake)) as backend:
        turn = backend.complete(ask("hello"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(text_of, turn)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await turn.receive()
            gate.touch()


async def test_one_prefix_twice_takes_the_live_process_and_a_written_history(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        await text_of(backend.complete(ask("one")))
        replies: list[str] = []
        origins = []

        async def go_on(question: str) -> None:
            turn = backend.complete(ask(question, ("one", "echo: one")))
            replies.append(await text_of(turn))
            assert turn.session is not None
            origins.append(turn.session.origin)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on, "left")
            nursery.start_soon(go_on, "right")
        assert {"echo: left", "echo: right"} == set(replies)
        assert ["fresh", "resumed"] == sorted(origins)


async def test_bad_messages_and_a_closed_backend_are_refused_at_once(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(ValueError, match="messages is empty"):
            backend.complete([])
        unread = backend.complete(ask("hello"))
    with pytest.raises(trio.ClosedResourceError):
        backend.complete(ask("hello"))
    with pytest.raises(trio.ClosedResourceError):
        await unread.receive()
    assert [] == fake.log()


async def test_a_missing_cli_is_named_before_anything_starts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CLINotFoundError, match="nobody', which is not"):
        async with open_backend(BackendOptions(cwd=world.cwd, cli_path=tmp_path / "nobody")):
            pass
    monkeypatch.setattr("claude_trio._cli._ELSEWHERE", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CLINotFoundError, match="there is no `claude` program"):
        async with open_backend(BackendOptions(cwd=world.cwd)):
            pass


async def test_a_history_that_cannot_be_written_is_an_error(world: World, make_fake: Fake) -> None:
    fake = make_fake()
    (world.config_dir / "projects").write_text("in the way")
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("two", ("one", "reply"))))
        assert "not_loaded" == caught.value.kind


async def test_files_that_cannot_be_read_fail_one_session_and_leave_the_others(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    fake.turn(Answer("one"), Hang())
    directory = world.config_dir / "sessions"
    async with open_backend(options(world, fake, exit_grace=3.0)) as backend:
        with pytest.raises(SessionError) as caught:
            with trio.fail_after(60):
                async for event in backend.complete(ask("hello")):
                    if isinstance(event, AssistantMessage):
                        directory.rename(directory.with_name("away"))
                        directory.write_text("in the way")
        assert "unreadable" == caught.value.kind
        assert "Not a directory" in str(caught.value)
        assert () == backend.sessions
        directory.unlink()
        assert await text_of(backend.complete(ask("still there?"))) == "echo: still there?"


async def test_a_moment_without_descriptors_costs_a_turn_nothing(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()
    gate = world.root / "gate"
    fake.turn(Answer("one"), Gate(gate), Answer("two"))
    failed = 0
    read = SessionFiles.read_records

    def exhausted(files: SessionFiles) -> Any:
        nonlocal failed
        if gate.exists() and failed < 3:
            failed += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return read(files)

    monkeypatch.setattr(SessionFiles, "read_records", exhausted)
    async with open_backend(options(world, fake)) as backend:
        texts = []
        with trio.fail_after(60):
            async for event in backend.complete(ask("hello")):
                if isinstance(event, AssistantMessage):
                    texts.append(event.text)
                    gate.touch()
    assert (["one", "two"], 3) == (texts, failed)


async def test_a_transcript_that_cannot_be_read_from_the_start_fails_the_start(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    (world.config_dir / "projects").write_text("in the way")
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
        assert () == backend.sessions
    assert "unreadable" == caught.value.kind
    assert [] == fake.log("paste")


async def test_a_transcript_that_cannot_be_read_when_the_prompt_is_there_fails_the_start_too(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, look = make_fake(), Follower.look

    def fail(follower: Follower, process: PtyClaudeProcess) -> bytes:
        if follower.turns.takes_prompt:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", "projects")
        return look(follower, process)

    monkeypatch.setattr(Follower, "look", fail)
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete(ask("hello")))
    assert "unreadable" == caught.value.kind
    assert [] == fake.log("prompt")


async def test_the_login_chooser_is_an_error_of_the_login_and_nothing_is_typed_at_it(
    world: World, make_fake: Fake
) -> None:
    rows = "\u276f 1. Claude account with subscription\n  2. Anthropic Console account"
    fake = make_fake(startup=Startup(kind="dialog", text=f"Select login method:\n\n{rows}"))
    async with open_backend(options(world, fake)) as backend:
        for messages in (ask("hello"), ask("two", ("one", "reply"))):
            with pytest.raises(AuthError, match="/login") as caught:
                await text_of(backend.complete(messages))
            assert "auth" == caught.value.kind
            assert () == backend.sessions
            assert not any(psutil.pid_exists(entry["pid"]) for entry in fake.log("start"))
    assert 2 == len(fake.log("start"))
    assert [] == [*fake.log("key"), *fake.log("paste"), *fake.log("prompt")]


async def test_a_written_history_goes_with_a_process_that_never_got_ready(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake(startup=Startup(kind="dialog", text="Let's get started."))
    async with open_backend(options(world, fake)) as backend:
        with pytest.raises(StartupError):
            await text_of(backend.complete(ask("two", ("one", "reply"))))
    assert [] == [*world.config_dir.glob("projects/*/*.jsonl")]


@pytest.mark.parametrize("all_tasks", [False, True], ids=["at the caller's steps", "at any step"])
async def test_cancelled_anywhere_nothing_is_left_and_nothing_hangs(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch, all_tasks: bool
) -> None:
    fake = make_fake()
    spawned: list[PtyClaudeProcess] = []
    in_startup = 0
    spawn = PtyClaudeProcess.spawn.__func__  # type: ignore[attr-defined]

    def noted(cls: type[PtyClaudeProcess], *args: Any, **how: Any) -> PtyClaudeProcess:
        spawned.append(spawn(cls, *args, **how))
        return spawned[-1]

    monkeypatch.setattr(PtyClaudeProcess, "spawn", classmethod(noted))

    async def body() -> None:
        async with open_backend(options(world, fake)) as backend:  # noqa: SIM117 - two to read
            async with backend.complete(ask("hello")) as turn:
                async for _ in turn:
                    pass

    async def check() -> None:
        nonlocal in_startup
        for process in spawned:
            in_startup += process.pid not in {entry["pid"] for entry in fake.log("paste")}
            assert not process.running
            assert set() == await find(process.marker)
        spawned.clear()
        assert [] == [*(world.config_dir / "sessions").glob("*.json")]

    with trio.fail_after(240), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await cancel_everywhere(body, check, all_tasks=all_tasks) > 10
    assert not all_tasks or in_startup > 10


async def resumed_and_warm(backend: ClaudeCodeBackend) -> None:
    await backend.complete(ask("two", ("one", "reply"))).get_final_text()
    await backend.complete(ask("three", ("one", "reply"), ("two", "echo: two"))).get_final_text()


async def interrupted(backend: ClaudeCodeBackend) -> None:
    async with backend.complete(ask("hang")) as turn:
        await turn.receive()


async def interrupted_by_another_task(backend: ClaudeCodeBackend) -> None:
    turn = backend.complete(ask("hang"))
    begun = trio.Event()

    async def read() -> None:
        async for _ in turn:
            begun.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await begun.wait()
        await turn.interrupt()


async def left_in_a_turn(backend: ClaudeCodeBackend) -> None:
    turn = backend.complete(ask("hang"))
    try:
        await turn.receive()
    finally:
        KEPT.append(turn)  # for the session to end, and not the collector


KEPT: list[Turn] = []


async def with_another_choice(backend: ClaudeCodeBackend) -> None:
    await backend.complete(ask("one")).get_final_text()
    messages = ask("two", ("one", "echo: one"))
    await backend.complete(messages, effort="low").get_final_text()


@pytest.mark.parametrize(
    "use",
    [
        resumed_and_warm,
        interrupted,
        interrupted_by_another_task,
        left_in_a_turn,
        with_another_choice,
    ],
)
async def test_other_uses_cancelled_anywhere_leave_nothing_and_do_not_hang(
    world: World, make_fake: Fake, use: Callable[[ClaudeCodeBackend], Awaitable[None]]
) -> None:
    fake = make_fake()
    if use in {interrupted, interrupted_by_another_task, left_in_a_turn}:
        for _ in range(100):
            fake.turn(Hang())
    processes: list[PtyClaudeProcess] = []

    async def body() -> None:
        async with open_backend(options(world, fake, startup_timeout=30)) as backend:
            try:
                await use(backend)
            finally:
                processes.extend(s._process for s in backend._sessions if s._process is not None)

    async def check() -> None:
        KEPT.clear()
        assert [] == [process for process in processes if process.running]
        for process in processes:
            assert set() == await find(process.marker)
        processes.clear()
        assert [] == [*(world.config_dir / "sessions").glob("*.json")]

    with trio.fail_after(240), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert await cancel_everywhere(body, check) > 5


async def test_a_defect_in_a_background_task_comes_out_as_one_error(
    world: World, make_fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_fake()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with open_backend(options(world, fake)) as backend:
        await text_of(backend.complete(ask("hello")))
    monkeypatch.setattr("claude_trio._follower.Follower.look_at_status", broken)
    with pytest.raises(BackendError) as caught:
        async with open_backend(options(world, fake)) as backend:
            await text_of(backend.complete(ask("hello")))
    assert "bug" == caught.value.kind
    assert "ZeroDivisionError" in str(caught.value)


async def two_turns_that_wait(
    backend: ClaudeCodeBackend, world: World, fake: FakeCLI
) -> tuple[Turn, Turn, Path]:
    """Begin two turns; return them, and the file that lets both go on to their answers."""
    gate = world.root / "gate"
    for _ in range(2):
        fake.turn(Gate(gate), Echo())
    turns = backend.complete(ask("hello")), backend.complete(ask("and you"))
    with trio.fail_after(60):
        for turn in turns:
            assert isinstance(await turn.receive(), UserMessage)
    return *turns, gate


async def test_a_defect_that_one_session_comes_upon_ends_that_one_alone(
    world: World,
    make_fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        broken, sound, gate = await two_turns_that_wait(backend, world, fake)
        assert broken.session is not None
        broken_id, look = broken.session.session_id, Follower.look

        def broken_look(follower: Follower, process: PtyClaudeProcess) -> bytes:
            if follower.session_id == broken_id:
                raise ZeroDivisionError
            return look(follower, process)

        monkeypatch.setattr(Follower, "look", broken_look)
        with pytest.raises(BackendError, match="ZeroDivisionError") as caught:
            await text_of(broken)
        assert ("bug", broken_id) == (caught.value.kind, caught.value.session_id)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        (logged,) = [record for record in caplog.records if "defect" in record.message]
        assert logged.exc_info is not None
        assert caught.value.__cause__ is logged.exc_info[1]
        assert [sound.session] == [*backend.sessions]
        gate.touch()
        assert await text_of(sound) == "echo: and you"


async def test_a_cli_that_goes_to_another_live_conversation_ends_its_own_alone(
    world: World, make_fake: Fake
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        strayed, sound, gate = await two_turns_that_wait(backend, world, fake)
        (before,) = [each for each in backend.sessions if each != sound.session]
        assert sound.session is not None
        name_in_status(world, before.pid, sound.session.session_id)
        with pytest.raises(SessionError) as caught:
            await text_of(strayed)
        assert ("in_use", sound.session.session_id) == (caught.value.kind, caught.value.session_id)
        assert [sound.session.session_id] == [each.session_id for each in backend.sessions]
        gate.touch()
        assert await text_of(sound) == "echo: and you"
        assert await text_of(backend.complete(ask("hello"))) == "echo: hello"


async def test_a_cli_that_goes_to_another_live_conversation_between_turns_is_ended(
    world: World, make_fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        for words in ("one", "two"):
            assert await text_of(backend.complete(ask(words))) == f"echo: {words}"
        strayed, sound = backend.sessions
        name_in_status(world, strayed.pid, sound.session_id)
        await until(lambda: len(backend.sessions) < 2)
        assert [sound.session_id] == [each.session_id for each in backend.sessions]
        assert [sound.session_id in record.message for record in caplog.records] == [True]
        assert await text_of(backend.complete(ask("more", "two"))) == "echo: more"
    assert 2 == len(fake.log("start"))


def name_in_status(world: World, pid: int | None, session_id: str) -> None:
    """Have the status file of a CLI at rest, or in a turn, say that it is in a conversation."""
    path = world.config_dir / "sessions" / f"{pid}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sessionId": session_id}))


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"sessionId": "a/b"}', b'{"sessionId": "a\\u0000b"}']
)
async def test_a_status_file_that_makes_no_sense_says_nothing(
    world: World, make_fake: Fake, text: bytes
) -> None:
    fake = make_fake()
    async with open_backend(options(world, fake)) as backend:
        odd, sound, gate = await two_turns_that_wait(backend, world, fake)
        (session,) = [each for each in backend._sessions if each.inbox is odd._inbox]
        (world.config_dir / "sessions" / f"{session.info.pid}.json").write_bytes(text)
        session._follower.look_at_status()
        gate.touch()
        assert await text_of(odd) == "echo: hello"
        assert await text_of(sound) == "echo: and you"
