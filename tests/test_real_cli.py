"""The main job on the real interactive CLI, with the loopback API as its model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil
import pytest
import trio
from asking import Message, Options, assistant, read, text_of, user

from claude_trio import (
    AssistantMessage,
    ClaudeCodeBackend,
    ResultMessage,
    SessionError,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    Usage,
    UserMessage,
    open_backend,
)
from claude_trio._sweep import find
from claude_trio.testing import LoopbackApi, RecordedRequest, Reply, World, text, thinking, tool_use

pytestmark = pytest.mark.real_cli


def said(request: RecordedRequest) -> list[tuple[str, str]]:
    """Return who said what in a request, without what the CLI adds."""
    found = []
    for message in request.messages:
        content = message["content"]
        blocks = [text(content)] if isinstance(content, str) else content
        words = [b["text"] for b in blocks if b["type"] == "text"]
        own = [w for w in words if not w.lstrip().startswith("<system-reminder>")]
        if message["role"] != "system" and own:
            found.append((message["role"], "".join(own)))
    return found


async def test_one_turn_yields_the_records_as_events_and_a_result_last(
    options: Options, api: LoopbackApi
) -> None:
    api.reply("Hello there.", usage={"input_tokens": 21, "output_tokens": 5})
    async with open_backend(options()) as backend:
        turn = backend.complete([user("say hi")])
        events = await read(turn)
        assert turn.session is not None
        prompt, answer, end, result = events
        assert isinstance(prompt, UserMessage)
        assert ("prompt", (TextBlock("say hi"),)) == (prompt.origin, prompt.content)
        assert isinstance(answer, AssistantMessage)
        assert ((TextBlock("Hello there."),), "end_turn") == (answer.content, answer.stop_reason)
        assert isinstance(end, SystemMessage)
        assert end.subtype == "turn_duration"
        assert isinstance(result, ResultMessage)
        assert turn.result is result
        assert (False, "success", "Hello there.", "end_turn", 1) == (
            result.is_error,
            result.subtype,
            result.result,
            result.stop_reason,
            result.num_turns,
        )
        assert Usage(input_tokens=21, output_tokens=5) == result.usage
        assert result.duration_ms == end.data["durationMs"]
        assert {turn.session.session_id} == {event.session_id for event in events}
        assert all(event.raw["uuid"] == event.uuid for event in events[:-1])
    assert [("user", "say hi")] == said(api.conversations[0])


async def test_three_turns_run_warm_in_one_process(options: Options, api: LoopbackApi) -> None:
    async with open_backend(options()) as backend:
        messages: list[Message] = []
        seen = []
        for question, reply in (("one", "first"), ("two", "second"), ("three", "third")):
            api.reply(reply)
            messages.append(user(question))
            turn = backend.complete(messages)
            messages.append(assistant(await text_of(turn)))
            assert turn.session is not None
            seen.append((turn.session.pid, turn.session.session_id, turn.session.turns))
        assert 1 == len({pid for pid, _, _ in seen}) == len({session for _, session, _ in seen})
        assert [1, 2, 3] == [turns for _, _, turns in seen]
    assert [(m["role"], m["content"]) for m in messages[:-1]] == said(api.conversations[2])


async def test_blocks_arrive_typed_and_usage_counts_each_message_once(
    options: Options, api: LoopbackApi
) -> None:
    call = tool_use("Bash", {"command": "echo heron", "description": "Say a word"})
    usage = {"input_tokens": 100, "output_tokens": 7, "cache_read_input_tokens": 3}
    api.reply(thinking("Hm."), text("Let me look."), call, usage=usage)
    api.reply("It says heron.", usage={"input_tokens": 200, "output_tokens": 11})
    async with open_backend(options()) as backend:
        events = await read(backend.complete([user("what does echo heron say?")]))
    blocks = [b for e in events if isinstance(e, AssistantMessage | UserMessage) for b in e.content]
    assert [
        TextBlock("what does echo heron say?"),
        ThinkingBlock("Hm.", "bG9vcGJhY2s="),
        TextBlock("Let me look."),
        ToolUseBlock(call["id"], "Bash", call["input"]),
        ToolResultBlock(call["id"], "heron", is_error=False),
        TextBlock("It says heron."),
    ] == blocks
    answers = [e for e in events if isinstance(e, AssistantMessage)]
    assert [3, 1] == [
        len([a for a in answers if a.message_id == name])
        for name in dict.fromkeys(a.message_id for a in answers)
    ]
    result = events[-1]
    assert isinstance(result, ResultMessage)
    assert (2, "It says heron.") == (result.num_turns, result.result)
    assert Usage(300, 18, 0, 3) == result.usage


@pytest.mark.parametrize(
    "spelling", ["string", "text block", "all text", "all blocks", "rounds", "rounds as strings"]
)
async def test_a_reply_finds_its_process_in_each_spelling(
    options: Options, api: LoopbackApi, spelling: str
) -> None:
    call = tool_use("Bash", {"command": "echo heron", "description": "Say a word"})
    api.reply(thinking("Hm."), text("Let me look."), call)
    api.reply(thinking("So."), text("It says heron."))
    api.reply("You are welcome.")
    async with open_backend(options()) as backend:
        first = backend.complete([user("what does it say?")])
        await text_of(first)
        rounds = [
            assistant([thinking("Hm."), text("Let me look."), call]),
            user([{"type": "tool_result", "tool_use_id": call["id"], "content": "heron"}]),
            assistant([thinking("So."), text("It says heron.")]),
        ]
        reply: list[Message] = {
            "string": [assistant("It says heron.")],
            "text block": [assistant([text("It says heron.")])],
            "all text": [assistant("Let me look.\n\nIt says heron.")],
            "all blocks": [assistant([thinking("So."), text("It says heron.")])],
            "rounds": rounds,
            "rounds as strings": [*rounds[:2], assistant("It says heron.")],
        }[spelling]
        second = backend.complete([user("what does it say?"), *reply, user("thank you")])
        assert await text_of(second) == "You are welcome."
        assert first.session is not None
        assert second.session is not None
        assert ("fresh", 2) == (second.session.origin, second.session.turns)
        assert second.session.pid == first.session.pid


async def test_an_altered_reply_goes_by_a_written_transcript(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options()) as backend:
        api.reply("heron")
        first = backend.complete([user("the codeword?")])
        await text_of(first)
        api.reply("I see.")
        second = backend.complete([user("the codeword?"), assistant("otter"), user("thank you")])
        assert await text_of(second) == "I see."
        assert first.session is not None
        assert second.session is not None
        assert second.session.origin == "resumed"
        assert second.session.pid != first.session.pid
        assert [
            ("user", "the codeword?"),
            ("assistant", "otter"),
            ("user", "thank you"),
        ] == said(api.conversations[-1])
        # And that one goes on warm.
        api.reply("Bye.")
        third = backend.complete(
            [
                *(user("the codeword?"), assistant("otter"), user("thank you")),
                *(assistant("I see."), user("bye")),
            ]
        )
        assert await text_of(third) == "Bye."
        assert third.session is not None
        assert second.session.pid == third.session.pid


async def test_a_tool_turn_given_back_without_its_results_is_refused_and_with_them_arrives_whole(
    options: Options, api: LoopbackApi
) -> None:
    call = tool_use("Bash", {"command": "echo heron", "description": "Say a word"})
    api.reply("The word is in a file.", call)
    api.reply("It is heron.")
    async with open_backend(options(dangerously_skip_permissions=True)) as backend:
        events = await read(backend.complete([user("look")]))
        blocks = [b.to_dict() for e in events if isinstance(e, AssistantMessage) for b in e.content]
        with pytest.raises(
            ValueError, match=r"messages\[1\].content\[1\] is a tool_use .*without a"
        ):
            backend.complete([user("look"), assistant(blocks), user("thanks")])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "heron"}
    messages = [user("look"), assistant(blocks[:2]), user([result]), assistant(blocks[2:])]
    async with open_backend(options()) as backend:
        turn = backend.complete([*messages, user("thanks")])
        await text_of(turn)
        assert turn.session is not None
        assert "resumed" == turn.session.origin
    arrived = [
        (message["role"], block["type"], block.get("text") or block.get("id") or block["content"])
        for message in api.conversations[-1].messages
        if message["role"] != "system" and not isinstance(message["content"], str)
        for block in message["content"]
        if not block.get("text", "").lstrip().startswith("<system-reminder>")
    ]
    assert [
        ("user", "text", "look"),
        ("assistant", "text", "The word is in a file."),
        ("assistant", "tool_use", call["id"]),
        ("user", "tool_result", "heron"),
        ("assistant", "text", "It is heron."),
        ("user", "text", "thanks"),
    ] == arrived


@pytest.mark.parametrize(
    "prompt",
    [
        "/cost and more",
        "!ls",
        "exit",
        "see @file.txt",
        "a\ttab",
        "ctrl \x03 and \x1b[201~ in it",
        "ultrathink about it",
        "/tmp/picture.png",
    ],
)
async def test_a_text_that_the_input_box_would_take_for_something_else_arrives_exactly(
    options: Options, api: LoopbackApi, prompt: str
) -> None:
    api.reply("Understood.")
    async with open_backend(options()) as backend:
        assert await text_of(backend.complete([user(prompt)])) == "Understood."
    assert [("user", prompt)] == said(api.conversations[0])


@pytest.mark.parametrize(
    "prompt",
    [
        "one line",
        "two\nlines",
        "\n".join(f"line {n}" for n in range(40)),
        "x" * 5000,
        "  leading blanks, emoji 🦆, 漢字, ümläut",
        "a text that ends in a backslash \\",
        "ends like an emoji :smile",
    ],
    ids=["line", "lines", "forty-lines", "long", "unicode", "backslash", "emoji-name"],
)
async def test_a_typed_text_arrives_exactly_first_and_warm(
    options: Options, api: LoopbackApi, prompt: str
) -> None:
    async with open_backend(options()) as backend:
        first = backend.complete([user(prompt)])
        await text_of(first)
        second = backend.complete([user(prompt), assistant("ok"), user(prompt)])
        await text_of(second)
        assert second.session is not None
        assert ("fresh", 2) == (second.session.origin, second.session.turns)
    assert [("user", prompt), ("assistant", "ok"), ("user", prompt)] == said(api.conversations[1])


async def test_a_prompt_of_several_blocks_and_an_image_arrives_as_it_is(
    options: Options, api: LoopbackApi
) -> None:
    picture = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
    api.reply("A dot.")
    async with open_backend(options()) as backend:
        prompt = [text("What is"), picture, text("on it?")]
        assert await text_of(backend.complete([user(prompt)])) == "A dot."
    (request,) = api.conversations
    arrived = [
        {key: value for key, value in block.items() if key != "cache_control"}
        for message in request.messages
        if message["role"] == "user"
        for block in message["content"]
        if not block.get("text", "").lstrip().startswith("<system-reminder>")
    ]
    assert prompt == arrived


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


async def cancel_when(turn: Turn, ready: Callable[[], Any]) -> None:
    """Read a turn, and cancel the reading once something is ready."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                async for _event in turn:
                    pass

            await ready()
            nursery.cancel_scope.cancel()


async def test_a_turn_cancelled_before_its_first_word_never_was(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options()) as backend:
        api.reply("hello")
        first = backend.complete([user("hi")])
        await text_of(first)
        history = [user("hi"), assistant("hello")]
        gate = trio.Event()
        api.reply("too late", hold_before=gate)
        cancelled = backend.complete([*history, user("write a novel")])
        await cancel_when(cancelled, partial(api.wait_until_held, gate))
        assert cancelled.result is not None
        assert cancelled.result.subtype == "interrupted"
        api.reply("here I am")
        after = backend.complete([*history, user("are you there?")])
        assert await text_of(after) == "here I am"
        assert first.session is not None
        assert after.session is not None
        assert first.session.pid == after.session.pid
    assert [*[(m["role"], m["content"]) for m in history], ("user", "are you there?")] == said(
        api.conversations[-1]
    )


async def test_a_turn_cancelled_in_mid_stream_leaves_a_session_that_answers_the_next(
    options: Options, api: LoopbackApi
) -> None:
    async with open_backend(options()) as backend:
        gate = trio.Event()
        # A line is shown when it is whole.
        api.reply("Once upon a time\nthere was a heron", chunk=17, hold_after=gate)
        cancelled = backend.complete([user("write a novel")])

        async def streaming() -> None:
            await api.wait_until_held(gate)
            (session,) = backend._sessions
            assert session._process is not None
            # No record tells that a piece of it has arrived.
            while "Once upon a time" not in session._process.screen.render():
                await trio.sleep(0.05)

        await cancel_when(cancelled, streaming)
        assert cancelled.result is not None
        assert ("interrupted", "Once upon a time\n") == (
            cancelled.result.subtype,
            cancelled.result.result,
        )
        api.reply("The end.")
        after = backend.complete(
            [user("write a novel"), assistant("Once upon a time"), user("now end it")]
        )
        assert await text_of(after) == "The end."
        assert after.session is not None
        assert ("fresh", 2) == (after.session.origin, after.session.turns)


async def test_a_running_tool_is_ended_with_the_turn(
    options: Options, api: LoopbackApi, world: World
) -> None:
    call = tool_use("Bash", {"command": "sleep 1000", "description": "Wait"})
    api.reply(call)
    async with open_backend(options(dangerously_skip_permissions=True)) as backend:
        turn = backend.complete([user("wait")])
        with trio.fail_after(60):
            async for event in turn:
                if isinstance(event, AssistantMessage):
                    break
            while not await tools_of(backend, "sleep 1000"):
                await trio.sleep(0.01)
            await turn.aclose()
            while await tools_of(
                backend, "sleep 1000"
            ):  # the CLI tells its tool to end, and does not wait for it
                await trio.sleep(0.01)
        assert turn.result is not None
        assert turn.result.subtype == "interrupted"
        api.reply("Awake.")
        after = backend.complete(
            [
                user("wait"),
                assistant([call]),
                user([REJECTED | {"tool_use_id": call["id"]}]),
                user("?"),
            ]
        )
        assert await text_of(after) == "Awake."


REJECTED: Message = {"type": "tool_result", "is_error": True, "content": "rejected"}


async def test_what_a_tool_left_behind_is_ended_with_the_backend(
    options: Options, api: LoopbackApi
) -> None:
    command = "setsid sleep 1001 >/dev/null 2>&1 & nohup sleep 1002 >/dev/null 2>&1 & echo started"
    api.reply(tool_use("Bash", {"command": command, "description": "Leave things behind"}))
    api.reply("Done.")
    async with open_backend(options(dangerously_skip_permissions=True)) as backend:
        await text_of(backend.complete([user("leave something behind")]))
        left = await tools_of(backend, "sleep 1001", "sleep 1002")
        assert {"1001", "1002"} == {p.cmdline()[-1] for p in left}
    assert [] == [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


async def tools_of(backend: ClaudeCodeBackend, *commands: str) -> list[psutil.Process]:
    """Return the processes below the CLI of a backend that run one of some commands."""
    (session,) = backend._sessions
    assert session._process is not None
    found = []
    for process in await find(session._process.marker):
        with contextlib.suppress(psutil.Error):
            if " ".join(process.cmdline()) in commands:
                found.append(process)
    return found


async def test_an_exception_in_the_body_comes_out_as_itself(options: Options) -> None:
    class Own(Exception):  # noqa: N818
        pass

    own = Own("mine")
    with pytest.raises(Own) as caught:
        async with open_backend(options()) as backend:
            await text_of(backend.complete([user("hi")]))
            raise own
    assert caught.value is own
    assert own.__context__ is None


async def test_a_question_that_nobody_can_answer_ends_the_turn(
    options: Options, api: LoopbackApi
) -> None:
    api.reply(tool_use("Bash", {"command": "touch it", "description": "Make a file"}))
    async with open_backend(options(permission_mode="default")) as backend:
        with pytest.raises(SessionError) as caught:
            await text_of(backend.complete([user("make a file")]))
        assert caught.value.kind == "dialog"
        assert any(isinstance(event, AssistantMessage) for event in caught.value.partial)
        api.reply("Still here.")
        assert await text_of(backend.complete([user("hi")])) == "Still here."


async def test_two_conversations_run_side_by_side(options: Options, api: LoopbackApi) -> None:
    api.default = lambda request: Reply(f"about {request.prompt}")
    async with open_backend(options()) as backend:
        answers: dict[str, str] = {}

        async def ask(what: str) -> None:
            answers[what] = await text_of(backend.complete([user(what)]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "herons")
            nursery.start_soon(ask, "otters")
        assert {"herons": "about herons", "otters": "about otters"} == answers
        assert 2 == len({session.pid for session in backend.sessions})
