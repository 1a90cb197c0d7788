"""`Turn.steer` on the real CLI: something more for the model while its turn runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from asking import Options, bash, until

from claude_trio import (
    Allow,
    AssistantMessage,
    Deny,
    Event,
    PermissionRequest,
    ResultMessage,
    SessionError,
    Turn,
    UserMessage,
    open_backend,
)
from claude_trio.testing import LoopbackApi, World

PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "go"}]


async def read(turn: Turn, into: list[Event]) -> None:
    with trio.fail_after(60):
        async for event in turn:
            into.append(event)  # noqa: PERF401 - those before an error count too


def prompts(events: list[Event]) -> list[str]:
    told = [e for e in events if isinstance(e, UserMessage) and e.origin == "prompt"]
    return [block.to_dict()["text"] for event in told for block in event.content]


def answers(events: list[Event]) -> list[str]:
    return [e.text for e in events if isinstance(e, AssistantMessage) and e.text]


def told(api: LoopbackApi, position: int) -> str:
    return json.dumps(api.conversations[position].body["messages"], ensure_ascii=False)


TEXTS = {
    "short": "mind the heron",
    "lines": "mind\nthe heron",
    "shell": "!mind the heron",
    "long": "mind the heron, " * 200 + "\n\tand\n\nthe\n\nreeds",
    "odd": "höre „Reiher“ \\ & <b> 鷺",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_between_two_messages_the_model_is_told_with_the_result_of_its_tool(
    options: Options, api: LoopbackApi, text: str
) -> None:
    gate = trio.Event()
    api.reply(bash("echo hi"), hold_before=gate)
    api.reply("Minded.")
    events: list[Event] = []
    async with open_backend(options()) as backend:
        turn = backend.complete(PROMPT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, events)
            with trio.fail_after(60):
                await api.wait_until_held(gate)
                await turn.steer(text)
            gate.set()
        assert ["go", text] == prompts(events)
        assert "Minded." == answers(events)[-1]
        assert isinstance(events[-1], ResultMessage)
        assert ("success", "Minded.", 2) == (
            events[-1].subtype,
            events[-1].result,
            events[-1].num_turns,
        )
        # The model has it to the letter.
        assert json.dumps(text, ensure_ascii=False)[1:-1] in told(api, 1)
        (session,) = backend.sessions
        api.reply("Still here.")
        more = [*PROMPT, {"role": "assistant", "content": "Minded."}, *PROMPT]
        turn = backend.complete(more)
        assert "Still here." == await turn.get_final_text()
        assert [session.pid] == [each.pid for each in backend.sessions]


async def test_behind_an_answer_the_turn_goes_on(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("First.", hold_before=gate)
    api.reply("Second.")
    events: list[Event] = []
    async with open_backend(options(include_partial_messages=True)) as backend:
        turn = backend.complete(PROMPT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, events)
            with trio.fail_after(60):
                await api.wait_until_held(gate)
                await turn.steer("one")
                await turn.steer("two")
            gate.set()
        assert ["go", "one", "two"] == prompts(events)
        assert ["First.", "Second."] == answers(events)
        assert turn.result is not None
        assert ("success", "Second.", 2) == (
            turn.result.subtype,
            turn.result.result,
            turn.result.num_turns,
        )
        assert 1 == sum(isinstance(event, ResultMessage) for event in events)
        with pytest.raises(SessionError, match="it does not run") as caught:
            await turn.steer("late")
        assert "not_steered" == caught.value.kind
        # It is one message of yours, and one reply.
        (session,) = backend.sessions
        api.reply("Still here.")
        more = [*PROMPT, {"role": "assistant", "content": "Second."}, *PROMPT]
        assert "Still here." == await backend.complete(more).get_final_text()
        assert [session.pid] == [each.pid for each in backend.sessions]


async def test_what_is_for_one_turn_is_never_typed_into_the_next(
    options: Options, api: LoopbackApi
) -> None:
    """It waits for its turn at the box, while the other turn takes the place of its own."""
    held = trio.Event(), trio.Event()
    api.reply("First.", hold_before=held[0])
    api.reply("Second.", hold_before=held[1])
    refused: list[str] = []
    events: list[Event] = []
    async with open_backend(options()) as backend:
        first = backend.complete(PROMPT)
        more = [*PROMPT, {"role": "assistant", "content": "First."}, *PROMPT]
        second = backend.complete(more)

        async def steer() -> None:
            with pytest.raises(SessionError, match="it is over") as caught:
                await first.steer("for the first one alone")
            refused.append(caught.value.kind)

        async def read_both() -> None:
            await read(first, [])
            await read(second, events)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_both)
            with trio.fail_after(60):
                await api.wait_until_held(held[0])
                (session,) = backend._sessions
                async with session._steering:
                    nursery.start_soon(steer)
                    await until(lambda: session._steering.statistics().tasks_waiting)
                    held[0].set()
                    await api.wait_until_held(held[1])
                await until(lambda: refused)
            held[1].set()
        assert ["not_steered"] == refused
        assert (["go"], ["Second."]) == (prompts(events), answers(events))


async def test_an_interrupt_before_the_model_was_told_ends_the_process(
    options: Options, api: LoopbackApi
) -> None:
    gate = trio.Event()
    api.reply("Never.", hold_before=gate)
    events: list[Event] = []
    async with open_backend(options()) as backend:
        turn = backend.complete(PROMPT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, events)
            with trio.fail_after(60):
                await api.wait_until_held(gate)
                await turn.steer("one")
                await turn.interrupt()
        assert isinstance(events[-1], ResultMessage)
        assert "interrupted" == events[-1].subtype
        assert () == backend.sessions


async def test_a_callback_may_still_think(options: Options, api: LoopbackApi, world: World) -> None:
    """What is typed while the host decides is no answer in its place."""
    asked, go_on = trio.Event(), trio.Event()

    async def decide(_: PermissionRequest) -> Allow | Deny:
        asked.set()
        await go_on.wait()
        return Deny("no")

    api.reply(bash("touch file"))
    api.reply("Minded.")
    events: list[Event] = []
    async with open_backend(options(on_permission=decide)) as backend:
        turn = backend.complete(PROMPT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, events)
            with trio.fail_after(60):
                await asked.wait()
                await turn.steer("mind the heron")
            go_on.set()
    assert ["go", "mind the heron"] == prompts(events)
    assert [] == list(world.cwd.iterdir())


async def test_what_cannot_be_typed_exactly_is_refused(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply("Done.", hold_before=gate)
    async with open_backend(options(allow_commands=True)) as backend:
        turn = backend.complete(PROMPT)
        with pytest.raises(SessionError, match="does not run"):
            await turn.steer("early")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, turn, [])
            with trio.fail_after(60):
                await api.wait_until_held(gate)
                for text in ("/compact", "exit", "ultrathink", "see @notes", "e\u0301", "a\x1bb"):
                    with pytest.raises(ValueError, match="cannot be typed"):
                        await turn.steer(text)
                with pytest.raises(ValueError, match=r"empty|no text|content"):
                    await turn.steer("")
                with pytest.raises(TypeError):
                    await turn.steer(7)  # type: ignore[arg-type]
            gate.set()
        assert "idle" == backend.sessions[0].state


@pytest.mark.parametrize(
    "how", [{"permission_mode": "acceptEdits"}, {"dangerously_skip_permissions": True}]
)
async def test_where_a_dialog_may_open_it_is_refused(options: Options, how: dict[str, Any]) -> None:
    async with open_backend(options(**how)) as backend:
        with pytest.raises(ValueError, match="needs permission_mode 'dontAsk'"):
            await backend.complete(PROMPT).steer("one")
