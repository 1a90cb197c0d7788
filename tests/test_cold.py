"""Conversations without their process: what the real CLI sends is what it would have sent warm."""

from __future__ import annotations

import copy
import json
import signal
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import trio
from asking import Message, Options, assistant, text_of, user

from claude_trio import BackendOptions, ClaudeCodeBackend, open_backend
from claude_trio.testing import LoopbackApi, RecordedRequest, World, text, thinking, tool_use

pytestmark = pytest.mark.real_cli

BASH: Final = {"command": "echo heron", "description": "Say a word"}


@pytest.fixture
def options(world: World, api: LoopbackApi, real_cli: Path) -> Options:
    def make(**how: Any) -> BackendOptions:
        # Some models are told behind each prompt how many tokens are left. Only a prompt that is
        # typed gets that.
        quiet = {"CLAUDE_CODE_TOTAL_TOKENS_REMINDER_AFTER_USER_TURN": "0"}
        env = world.env(api.base_url, **how.pop("env", quiet))
        how = {"model": "claude-opus-4-8", **how}
        return BackendOptions(cwd=world.cwd, cli_path=real_cli, env=env, **how)

    return make


def body(request: RecordedRequest) -> Message:
    """Return a request without the name of the session, by which alone two may differ."""
    return {key: value for key, value in request.body.items() if key != "metadata"}


def messages_of(request: RecordedRequest) -> list[Message]:
    """Return the messages of a request without the mark of the cache, which is on the newest."""
    messages = copy.deepcopy(request.messages)
    for message in messages:
        if isinstance(message["content"], str):  # the one with the mark is a list
            message["content"] = [text(message["content"])]
        for block in message["content"]:
            block.pop("cache_control", None)
    return messages


async def live(backend: ClaudeCodeBackend, api: LoopbackApi) -> list[Message]:
    """Have a conversation of three turns; return it as a caller gives it back."""
    api.reply(thinking("Hm."), text("Let me look."), tool_use("Bash", BASH))
    api.reply("It says heron.")
    api.reply(thinking("So."), text("Two."))
    api.reply("Three.")
    messages: list[Message] = []
    for prompt in ("one", "two", "three"):
        messages.append(user(prompt))
        turn = backend.complete(messages)
        messages.append(assistant(await text_of(turn)))
        assert turn.session is not None
        assert turn.session.origin == "fresh"
    return messages


async def test_the_same_turn_again_is_the_same_request(options: Options, api: LoopbackApi) -> None:
    async with open_backend(options()) as backend:
        messages = await live(backend, api)
        warm = api.conversations[-1]
        api.reply("Another three.")
        again = backend.complete(messages[:5])
        assert await text_of(again) == "Another three."
        assert again.session is not None
        assert again.session.origin == "resumed"
        assert body(warm) == body(api.conversations[-1])
        # Both conversations have their process now.
        for reply in ("Three.", "Another three."):
            follow = backend.complete([*messages[:5], assistant(reply), user("four")])
            await text_of(follow)
        assert 2 == len(backend.sessions)


async def test_two_continuations_at_once_are_two_requests_with_one_beginning(
    options: Options, api: LoopbackApi
) -> None:
    """One in the live process, the other in another one, on a copy; neither waits."""
    async with open_backend(options()) as backend:
        messages = await live(backend, api)
        gate = trio.Event()
        for _ in range(2):
            api.reply("Four.", hold_before=gate)
        origins = []

        async def go_on(prompt: str) -> None:
            turn = backend.complete([*messages, user(prompt)])
            await text_of(turn)
            assert turn.session is not None
            assert turn.result is not None
            origins.append((turn.session.origin, turn.result.resumed))

        before = len(api.conversations)
        async with trio.open_nursery() as nursery:
            for prompt in ("four", "or five"):
                nursery.start_soon(go_on, prompt)
            with trio.fail_after(60):
                while len(api.conversations) < before + 2:
                    await trio.sleep(0.01)
            gate.set()
        assert {("fresh", False), ("resumed", True)} == set(origins)
        one, other = api.conversations[before:]
        ends = [(messages_of(request), request.body["system"]) for request in (one, other)]
        assert ends[0][0][:-1] == ends[1][0][:-1]
        assert ends[0][1] == ends[1][1]
        assert {"four", "or five"} == {said[-1]["content"][-1]["text"] for said, _ in ends}


async def test_with_the_tokens_left_it_is_the_same_up_to_that_notice(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options(env={})) as backend:
        messages = await live(backend, api)
        warm = messages_of(api.conversations[-1])
        await text_of(backend.complete(messages[:5]))
        cold = messages_of(api.conversations[-1])
    assert "tokens left" not in str(cold[-1])
    assert warm[: len(cold)] == cold
    assert [] == [m for m in warm[len(cold) :] if "tokens left" not in str(m["content"])]


async def test_an_edited_message_goes_on_from_what_was_lived_before_it(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options()) as backend:
        messages = await live(backend, api)
        first, second = messages_of(api.conversations[1]), messages_of(api.conversations[2])
        assert second[: len(first)] == first
        edited = [*messages[:2], user("two, edited")]
        await text_of(backend.complete(edited))
        sent = messages_of(api.conversations[-1])
        # To the letter what was sent before "two", the call of the tool and the thinking included.
        at = second.index(next(m for m in second if "two" in str(m["content"][-1])))
        assert second[:at] == sent[:at]
        assert sent[at]["content"] == [text("two, edited")]
        # A reply that was altered is taken as it is given, behind the turn that was not.
        other = [*messages[:3], assistant("No, 2."), user("three")]
        await text_of(backend.complete(other))
        sent = messages_of(api.conversations[-1])
        assert second[: at + 1] == sent[: at + 1]
        said = [m["content"][-1]["text"] for m in sent[at:] if m["role"] != "system"]
        assert ["two", "No, 2.", "three"] == said


async def test_a_process_that_died_between_turns_is_not_missed(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options()) as backend:
        messages = await live(backend, api)
        (session,) = backend.sessions
        assert session.pid is not None
        psutil.Process(session.pid).send_signal(signal.SIGKILL)
        with trio.fail_after(60):
            while backend.sessions:
                await trio.sleep(0.01)
        api.reply("Four.")
        turn = backend.complete([*messages, user("four")])
        assert await text_of(turn) == "Four."
        before = messages_of(api.conversations[-2])
        assert before == messages_of(api.conversations[-1])[: len(before)]


@pytest.mark.parametrize("own", [{}, {"system_prompt": "You are being tested."}])
async def test_a_history_of_before_is_the_same_request_with_the_preamble_of_another_conversation(
    options: Options, api: LoopbackApi, own: dict[str, Any]
) -> None:
    messages = [user("one"), assistant("first"), user("two")]
    async with open_backend(options(**own)) as backend:
        api.reply("first")
        await text_of(backend.complete(messages[:1]))
        await text_of(backend.complete(messages))
        warm = api.conversations[-1]
    async with open_backend(options(**own)) as backend:
        await text_of(backend.complete([user("something else")]))
        turn = backend.complete(messages)
        await text_of(turn)
        assert turn.session is not None
        assert turn.session.origin == "resumed"
        assert body(warm) == body(api.conversations[-1])


async def test_thinking_goes_back_to_the_model_that_thought_it(
    options: Options, api: LoopbackApi
) -> None:
    thought = thinking("Hm.")
    api.reply(thought, text("first"))
    async with open_backend(options(system_prompt="x")) as backend:
        await text_of(backend.complete([user("one")]))
        said = [thought, text("first")]
        # Under another beginning, so that it is written.
        messages = [user("zero"), assistant("0"), user("one"), assistant(said), user("two")]
        await text_of(backend.complete(messages))
        assert said in [m["content"] for m in messages_of(api.conversations[-1])]
    async with open_backend(options(system_prompt="x")) as backend:
        await text_of(backend.complete(messages))
        assert said[1:] in [m["content"] for m in messages_of(api.conversations[-1])]
        messages[3]["model"] = "claude-opus-4-8"
        messages[-1] = user("three")
        await text_of(backend.complete(messages))
        assert said in [m["content"] for m in messages_of(api.conversations[-1])]


@pytest.mark.parametrize("order", ["as it is", "the answer first"])
async def test_an_older_end_of_a_transcript_does_not_hide_the_new_prompt(
    options: Options, api: LoopbackApi, order: str
) -> None:
    """The CLI says at each end where it is, and a later start goes by what was said last."""
    async with open_backend(options()) as backend:
        api.reply("first")
        turn = backend.complete([user("one")])
        await text_of(turn)
        assert turn.session is not None
        assert await backend.close_session(turn.session.session_id)
        transcript = turn.session.transcript
        records = [json.loads(line) for line in transcript.read_bytes().splitlines()]
        (answer,) = [r for r in records if r["type"] == "assistant"]
        if order == "the answer first":  # as 2.1.197 may write them
            records.remove(answer)
            records.insert(0, answer)
        # Something that hangs on the answer, and is the end for what was said.
        aside = {**answer, "type": "system", "subtype": "x", "content": "", "uuid": "an-end"}
        aside |= {"parentUuid": answer["uuid"], "message": None}
        end = {"type": "last-prompt", "leafUuid": "an-end"}
        records = [end, aside, *records]
        transcript.write_text("".join(json.dumps(record) + "\n" for record in records))
        again = [user("one"), assistant("first"), user("two")]
        await text_of(backend.complete(again))
        said = [m["content"][-1]["text"] for m in messages_of(api.conversations[-1])]
        assert ["one", "first", "two"] == [words for words in said if len(words) < 10]
