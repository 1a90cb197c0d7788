"""The table of guarantees in the README, a test for each row, on the real CLI."""

from __future__ import annotations

import gc
import json
import os
import signal
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from asking import Options, pid_of, text_of, until

from claude_trio import (
    AssistantMessage,
    AuthError,
    BackendError,
    BackendOptions,
    Event,
    ProcessError,
    RateLimitError,
    ResultMessage,
    SessionError,
    StartupError,
    Turn,
    TurnTimeout,
    UserMessage,
    open_backend,
)
from claude_trio.testing import LoopbackApi, World, tool_use

pytestmark = pytest.mark.real_cli

QUESTION = [{"role": "user", "content": "say hi"}]


def then(reply: str | None, question: str) -> list[dict[str, Any]]:
    """Return the conversation after `QUESTION` was answered, with a new question."""
    replies = [] if reply is None else [{"role": "assistant", "content": reply}]
    return [*QUESTION, *replies, {"role": "user", "content": question}]


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    return partial(BackendOptions, cwd=world.cwd, cli_path=real_cli, env=world.env(api.base_url))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_the_turn_ends_by_itself(options: Options, api: LoopbackApi) -> None:
    api.reply("hi")
    async with open_backend(options()) as backend:
        first = backend.complete(QUESTION)
        with trio.fail_after(60):
            events = [event async for event in first]
        assert isinstance(events[-1], ResultMessage)
        assert not any(isinstance(event, ResultMessage) for event in events[:-1])
        second = backend.complete(then("hi", "again"))
        await text_of(second)
        assert pid_of(first) == pid_of(second)


async def test_a_read_of_the_turn_is_cancelled(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("never", hold_before=gate)
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(turn.get_final_text)
                await api.wait_until_held(gate)
                nursery.cancel_scope.cancel()
        # Settled: the CLI is idle, so the same process answers at once.
        assert [("idle", pid_of(turn))] == [(s.state, s.pid) for s in backend.sessions]
        with pytest.raises(trio.ClosedResourceError):
            await turn.receive()
        api.reply("yes?")
        after = backend.complete([{"role": "user", "content": "are you there?"}])
        assert await text_of(after) == "yes?"
        assert pid_of(after) == pid_of(turn)


async def test_the_block_of_a_turn_is_left_early(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("Let me look.", tool_use("Bash", {"command": "echo x", "description": "Say"}))
    api.reply("never", hold_before=gate)
    async with open_backend(options()) as backend:
        with trio.fail_after(60):
            async with backend.complete(QUESTION) as turn:
                async for event in turn:
                    if isinstance(event, AssistantMessage):
                        break
        assert turn.result is not None
        assert ("interrupted", ["idle"]) == (
            turn.result.subtype,
            [session.state for session in backend.sessions],
        )


async def test_break_out_of_a_bare_loop(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("Let me look.", tool_use("Bash", {"command": "echo x", "description": "Say"}))
    api.reply("never", hold_before=gate)
    async with open_backend(options()) as backend:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with trio.fail_after(60):
                async for event in backend.complete(QUESTION):
                    if isinstance(event, AssistantMessage):
                        break
            gc.collect()
        assert [ResourceWarning] == [warning.category for warning in caught]
        with trio.fail_after(60):
            while [session.state for session in backend.sessions] != ["idle"]:
                await trio.sleep(0.01)


async def test_the_next_call_waits_for_a_dropped_turn_that_it_continues(
    options: Options, api: LoopbackApi
) -> None:
    api.reply("hi")
    async with open_backend(options()) as backend:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            with trio.fail_after(60):
                async for event in backend.complete(QUESTION):
                    if isinstance(event, AssistantMessage):
                        break
            gc.collect()
        (session,) = backend.sessions
        second = backend.complete(then("hi", "again"))
        await text_of(second)
        assert session.pid == pid_of(second)


async def test_the_turn_takes_longer_than_turn_timeout(options: Options, api: LoopbackApi) -> None:
    api.reply("never", hold_before=trio.Event())
    async with open_backend(options(turn_timeout=1.0)) as backend:
        turn = backend.complete(QUESTION)
        with pytest.raises(TimeoutError, match="longer than 1 seconds") as caught:
            await text_of(turn)
        assert isinstance(caught.value, BackendError)
        assert ["idle"] == [session.state for session in backend.sessions]


@pytest.mark.parametrize(
    ("status", "type_", "error", "kind", "stays"),
    [
        (401, "authentication_error", AuthError, "auth", False),
        (429, "rate_limit_error", RateLimitError, "rate_limit", True),
        (529, "overloaded_error", BackendError, "server", True),
        (404, "not_found_error", BackendError, "model_not_found", True),
    ],
)
async def test_the_cli_reports_an_error(
    options: Options,
    api: LoopbackApi,
    status: int,
    type_: str,
    error: type[BackendError],
    kind: str,
    stays: bool,
) -> None:
    api.default = lambda _: api_error(status, type_)
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        with pytest.raises(error) as caught:
            await text_of(turn)
        assert type(caught.value) is error
        assert (kind, status) == (caught.value.kind, caught.value.status)
        assert (kind == "auth") == ("/login" in str(caught.value))
        assert caught.value.partial
        assert turn.result is not None
        assert turn.result.is_error
        pid = pid_of(turn)
        if stays:
            assert [pid] == [session.pid for session in backend.sessions]
        else:
            with trio.fail_after(60):
                while not gone(pid):
                    await trio.sleep(0.01)


def api_error(status: int, type_: str) -> Any:
    from claude_trio.testing import HttpError  # noqa: PLC0415 - for one test

    return HttpError(status, type=type_)


async def test_the_cli_opens_a_dialog_in_a_turn(options: Options, api: LoopbackApi) -> None:
    api.reply(tool_use("Bash", {"command": "touch it", "description": "Make a file"}))
    async with open_backend(options(permission_mode="default")) as backend:
        turn = backend.complete(QUESTION)
        with pytest.raises(SessionError) as caught:
            await text_of(turn)
        assert caught.value.kind == "dialog"
        assert ["idle"] == [session.state for session in backend.sessions]


async def test_the_cli_or_a_hook_refuses_the_prompt(options: Options, world: World) -> None:
    hook = {"type": "command", "command": "echo no such words >&2; exit 2"}
    settings = {"hooks": {"UserPromptSubmit": [{"hooks": [hook]}]}}
    (world.config_dir / "settings.json").write_text(json.dumps(settings))
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        with pytest.raises(SessionError, match="no such words") as caught:
            await text_of(turn)
        assert caught.value.kind == "rejected"
        assert gone(pid_of(turn))
        assert () == backend.sessions


async def test_the_cli_stops_at_a_start_up_dialog(
    options: Options, world: World, tmp_path: Path
) -> None:
    async with open_backend(options(cwd=tmp_path)) as backend:
        turn = backend.complete(QUESTION)
        with pytest.raises(StartupError) as caught:
            await text_of(turn)
        assert caught.value.kind == "trust"
        assert "trust" in caught.value.screen_tail
        with trio.fail_after(60):
            while backend.sessions:
                await trio.sleep(0.01)


async def test_the_cli_refuses_to_start(options: Options) -> None:
    broken = {**options().env, "NODE_OPTIONS": "--inspect"}
    async with open_backend(options(env=broken)) as backend:
        with pytest.raises(StartupError) as caught:
            await text_of(backend.complete(QUESTION))
        assert ("exited", 1) == (caught.value.kind, caught.value.exit_code)


async def test_the_cli_dies_in_a_turn(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("never", hold_before=gate)
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        with trio.fail_after(60), pytest.raises(ProcessError) as caught:
            async with trio.open_nursery() as nursery:

                async def kill() -> None:
                    await api.wait_until_held(gate)
                    os.kill(pid_of(turn), signal.SIGKILL)

                nursery.start_soon(kill)
                try:
                    await turn.get_final_text()
                except ProcessError as exc:
                    error = exc
            raise error
        assert (None, signal.SIGKILL) == (caught.value.exit_code, caught.value.signal)
        assert "SIGKILL" in str(caught.value)
        assert gone(pid_of(turn))
        api.reply("back again")
        assert await text_of(backend.complete(QUESTION)) == "back again"


async def test_the_cli_dies_between_turns(options: Options, api: LoopbackApi) -> None:
    async with open_backend(options()) as backend:
        first = backend.complete(QUESTION)
        reply = await text_of(first)
        os.kill(pid_of(first), signal.SIGKILL)
        with trio.fail_after(60):
            while backend.sessions:
                await trio.sleep(0.01)
        assert gone(pid_of(first))
        api.reply("as if nothing happened")
        second = backend.complete(then(reply, "again"))
        assert await text_of(second) == "as if nothing happened"
        assert second.session is not None
        assert second.session.origin == "resumed"
        assert second.result is not None
        assert second.result.resumed


@pytest.mark.parametrize("way", ["normally", "by an exception", "by cancellation", "in a turn"])
async def test_the_block_of_the_backend_is_left(
    options: Options, api: LoopbackApi, world: World, way: str
) -> None:
    own = KeyError("mine")
    raised: BaseException | None = None
    with trio.CancelScope() as scope:
        try:
            async with open_backend(options()) as backend:
                turn = backend.complete(QUESTION)
                await text_of(turn)
                if way == "by an exception":
                    raise own
                if way == "by cancellation":
                    scope.cancel()
                    await trio.sleep_forever()
                if way == "in a turn":
                    gate = trio.Event()
                    api.reply("never", hold_before=gate)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", ResourceWarning)
                        unread = backend.complete(then("ok", "write a novel"))
                        with trio.fail_after(60):
                            await unread.receive()
                            await api.wait_until_held(gate)
        except KeyError as exc:
            raised = exc
    assert (own if way == "by an exception" else None) is raised
    assert scope.cancelled_caught == (way == "by cancellation")
    assert gone(pid_of(turn))
    # Its own status file, which it removes when it ends in order.
    assert [] == list((world.config_dir / "sessions").glob("*.json"))
    assert [] == list(world.config_dir.glob("projects/*/*.tmp"))


async def test_another_task_interrupts_the_turn(options: Options, api: LoopbackApi) -> None:
    api.reply("Let me look.", tool_use("Bash", {"command": "echo x", "description": "Say"}))
    gate = trio.Event()
    api.reply("never", hold_before=gate)
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        events = []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def interrupt() -> None:
                    await api.wait_until_held(gate)
                    await turn.interrupt()

                nursery.start_soon(interrupt)
                events += [event async for event in turn]
        result = events[-1]
        assert isinstance(result, ResultMessage)
        assert ("interrupted", False) == (result.subtype, result.is_error)
        assert ["idle"] == [session.state for session in backend.sessions]


async def test_the_cli_gives_no_sign_of_life(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("never", hold_before=gate)
    async with open_backend(options(stall_timeout=2.0, interrupt_grace=0.5)) as backend:
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            await turn.receive()
            await api.wait_until_held(gate)
            os.kill(pid_of(turn), signal.SIGSTOP)
            with pytest.raises(TurnTimeout) as caught:
                async for _ in turn:
                    pass
        assert "stalled" == caught.value.kind
        assert gone(pid_of(turn))


async def test_a_turn_that_has_not_begun_is_interrupted(options: Options, api: LoopbackApi) -> None:
    async def interrupt(turn: Turn, ready: Callable[[], object]) -> None:
        events: list[Event] = []

        async def read() -> None:
            events.extend([event async for event in turn])

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                await until(ready)
                await turn.interrupt()
        (result,) = events
        assert isinstance(result, ResultMessage)
        assert ("interrupted", False) == (result.subtype, result.is_error)

    gate = trio.Event()
    api.reply("hi", hold_before=gate)
    pids: list[int] = []
    async with open_backend(options(max_sessions=1)) as backend:

        def starts() -> bool:
            pids[:] = [s.pid for s in backend.sessions if s.state == "starting" and s.pid]
            return bool(pids)

        async with trio.open_nursery() as nursery:
            first = backend.complete(QUESTION)
            nursery.start_soon(text_of, first)
            await until(lambda: first.session is not None)
            await interrupt(backend.complete(QUESTION), lambda: backend._fleet.pool.waiting)
            gate.set()
        await interrupt(backend.complete(QUESTION), starts)
        assert gone(pids[0])
        assert () == backend.sessions
    assert 1 == len(api.conversations)


async def test_the_cli_starts_a_turn_by_itself(options: Options, api: LoopbackApi) -> None:
    command = {"command": "sleep 0.5", "description": "Wait", "run_in_background": True}
    for reply in (tool_use("Bash", command), "it runs", "it has ended"):
        api.reply(reply)
    own = options(dangerously_skip_permissions=True)
    env = {**own.env, "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": ""}
    async with open_backend(options(dangerously_skip_permissions=True, env=env)) as backend:
        first = backend.complete(QUESTION)
        assert await text_of(first) == "it runs"
        assert first.session is not None
        with trio.fail_after(60):
            while "it has ended" not in [getattr(e, "text", "") for e in first.session.unprompted]:
                await trio.sleep(0.01)
        (by_itself,) = [
            e for e in first.session.unprompted if isinstance(e, UserMessage) and e.origin == "auto"
        ]
        assert "task-notification" == by_itself.raw["origin"]["kind"]
        assert first.result is not None
        assert "it runs" == first.result.result
        assert ["idle"] == [session.state for session in backend.sessions]


async def test_a_line_of_the_transcript_cannot_be_read(
    options: Options, api: LoopbackApi, caplog: pytest.LogCaptureFixture
) -> None:
    gate = trio.Event()
    api.reply("hi", hold_before=gate)
    async with open_backend(options()) as backend:
        turn = backend.complete(QUESTION)
        with trio.fail_after(60):
            await turn.receive()
            await api.wait_until_held(gate)
            assert turn.session is not None
            with turn.session.transcript.open("ab") as transcript:
                transcript.write(b"half a record\n")
            gate.set()
            assert "hi" == await turn.get_final_text()
    assert "cannot read this line of the transcript" in caplog.text
