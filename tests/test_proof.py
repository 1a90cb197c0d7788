"""The model receives the messages that were given: the real CLI on written transcripts.

What the loopback API received is compared with the messages, block by block. The CLI may add only
what `received` takes off: messages of its own in the system's role, and reminders at the head of one
message of the user's. `EXACT` are options with which it adds no reminder.
"""

from __future__ import annotations

import copy
import datetime
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs
import pytest
import trio
from asking import Options, assistant, text_of, user
from generated import PDF, PNG, Message, conversations, media, text
from hypothesis import HealthCheck, Phase, given, settings

from claude_trio import SystemMessage, open_backend
from claude_trio._protocol.history import parse_messages
from claude_trio._protocol.javascript import to_json
from claude_trio._protocol.transcript import Transcript, write_transcript
from claude_trio.testing import LoopbackApi, RecordedRequest, World

pytestmark = pytest.mark.real_cli

EXACT: Final[dict[str, Any]] = {
    "model": "claude-opus-4-8",  # takes system messages in a conversation
    "system_prompt": "You are being tested.",
    "settings": {"attribution": {"commit": "", "pr": ""}},
}
CALL: Final = {
    "type": "tool_use",
    "id": "call_1",
    "name": "mcp__made__up",
    "input": {"a": [1, 2.5]},
}
OTHER: Final = {"type": "tool_use", "id": "call_2", "name": "no_such_tool", "input": {}}


def system(content: Any) -> Message:
    return {"role": "system", "content": content}


def received(request: RecordedRequest) -> list[Message]:
    """Return what the user and the model said in a request: what the CLI adds is taken off."""
    found: list[Message] = []
    for message in copy.deepcopy(request.messages):
        if message["role"] == "system":
            continue
        content = message["content"]
        blocks = [text(content)] if isinstance(content, str) else content
        for block in blocks:
            block.pop("cache_control", None)
        found.append({"role": message["role"], "content": blocks})
    # The reminders stand at the head of the first message of a user's, or of the newest.
    for message in (found[0], found[-1]):
        while message["content"][0].get("text", "").startswith("<system-reminder>\n"):
            del message["content"][0]
    return found


def meant(messages: list[Message], *, thinking: bool = False) -> list[Message]:
    """Return the messages as the API has them: neighbours joined, a string as a block of text."""
    said = parse_messages(messages).messages
    written = write_transcript(
        said,
        session_id="",
        cwd="",
        model=None,
        now=datetime.datetime.now(datetime.UTC),
        may_think=lambda _, __: thinking,
    )
    return [message.to_dict() for message in written.messages]


def assert_received(messages: list[Message], request: RecordedRequest) -> None:
    for ours, theirs in itertools.zip_longest(meant(messages), received(request)):
        assert to_json(ours) == to_json(theirs)
    # What the system says stands behind the user's message, in front of what the CLI says there.
    said = {}
    for before, message in itertools.pairwise(request.messages):
        if message["role"] == "system":
            blocks = message["content"]
            said[id(before)] = blocks if isinstance(blocks, str) else blocks[0]["text"]
    told = "\n\n".join(words for words in said.values())
    for message in messages:
        if message["role"] == "system":
            assert message["content"] in told


MIXED: Final[list[Message]] = [
    user([text("Look: "), media("image", "image/png", PNG), media("document", "application/pdf", PDF)]),
    assistant([text("First."), text("Second."), CALL, OTHER]),
    user(
        [
            {"type": "tool_result", "tool_use_id": "call_2", "content": "nothing", "is_error": True},
            {
                "type": "tool_result",
                "tool_use_id": "call_1",
                "content": [text("42"), media("image", "image/png", PNG)],
            },
            text("And now?"),
        ]
    ),
    system("The user is in a hurry."),
    assistant("Grüße \u2028 🦆\n"),
    user("/cost\n!ls @file"),
    assistant([{**CALL, "id": "call_3"}]),
    user([{"type": "tool_result", "tool_use_id": "call_3"}]),
]  # fmt: skip


async def test_mixed_content_is_received_as_it_is(options: Options, api: LoopbackApi) -> None:
    async with open_backend(options(**EXACT)) as backend:
        turn = backend.complete(MIXED)
        assert await text_of(turn) == "ok"
        assert turn.session is not None
        assert turn.session.origin == "resumed"
    (request,) = api.conversations
    assert_received(MIXED, request)


def numbered(count: int) -> list[Message]:
    messages = [user(f"question {i} " + "x" * 400) for i in range(count)]
    for i in range(1, count, 2):
        messages[i] = assistant(f"answer {i} " + "y" * 400)
    return messages if count % 2 else [*messages, user("the last one")]


@pytest.mark.parametrize("count", [2, 20, 1000])
async def test_histories_of_any_length_are_received_whole(
    options: Options, api: LoopbackApi, count: int
) -> None:
    messages = numbered(count)
    async with open_backend(options(**EXACT)) as backend:
        assert await text_of(backend.complete(messages)) == "ok"
    assert_received(messages, api.conversations[0])
    assert count + 1 == len(received(api.conversations[0]))


Lines: TypeAlias = list[dict[str, Any]]


def cut(lines: Lines) -> Lines:
    """Lose all that comes before the last message."""
    return [*lines[:-1], {**lines[-1], "parentUuid": None}]


def garbled(lines: Lines) -> Lines:
    return json.loads(json.dumps(lines).replace("heron", "otter"))  # type: ignore[no-any-return]


def forked(lines: Lines) -> Lines:
    """Have another message hang on the first one, which the CLI takes for the newest."""
    other = {**lines[-1], "uuid": str(uuid.uuid4()), "parentUuid": lines[0]["uuid"]}
    return [*lines, other]


HISTORY: Final = [user("the codeword is heron"), assistant("noted: heron"), user("what was it?")]


@pytest.mark.parametrize("damage", [cut, garbled, forked])
async def test_a_history_that_the_model_has_not_seen_is_told_again_in_one_message(
    options: Options,
    api: LoopbackApi,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Lines], Lines],
) -> None:
    writes: list[Transcript] = []

    def sabotaged(*arguments: Any, **how: Any) -> Transcript:
        written = write_transcript(*arguments, **how)
        writes.append(written)
        if len(writes) > 1:
            return written
        lines = damage([json.loads(line) for line in written.data.splitlines()])
        return attrs.evolve(written, data=b"".join(json.dumps(x).encode() + b"\n" for x in lines))

    monkeypatch.setattr("claude_trio._cold.write_transcript", sabotaged)
    api.reply("what was what?")
    api.reply("heron")
    api.reply("you are welcome")
    async with open_backend(options(**EXACT)) as backend:
        turn = backend.complete(HISTORY)
        with trio.fail_after(60):
            events = [event async for event in turn]
        assert turn.session is not None
        if damage is not forked and turn.session.cli_version == "2.1.197":
            pytest.skip("this version records no requests, so only the chain is judged")
        note, *rest = events
        assert isinstance(note, SystemMessage)
        assert note.subtype == "history_retold"
        assert [] == [e for e in rest if "what was what" in str(e)]
        assert turn.result is not None
        assert turn.result.result == "heron"
        _, told = api.conversations
        assert [turn.session.session_id] == [session.session_id for session in backend.sessions]
        lead, history, prompt = received(told)[0]["content"]
        assert "Answer only the last message" in lead["text"]
        ours = [{**m, "content": [text(m["content"])]} for m in HISTORY]
        assert (ours[:2], ours[2]["content"]) == (json.loads(history["text"]), [prompt])
        # The process is that of the conversation from now on.
        thanks = backend.complete([*HISTORY, assistant("heron"), user("thank you")])
        assert await text_of(thanks) == "you are welcome"
        assert thanks.session is not None
        assert thanks.session.pid == turn.session.pid


async def test_a_cli_without_the_flag_answers_the_history_all_the_same(
    options: Options, api: LoopbackApi, real_cli: Path, world: World
) -> None:
    older = world.root / "claude"  # what a CLI says that does not know a flag
    older.write_text(
        '#!/bin/sh\ncase " $* " in *" --reply-on-resume "*)\n'
        "echo \"error: unknown option '--reply-on-resume'\" >&2; exit 1;;\nesac\n"
        f'exec {real_cli} "$@"\n'
    )
    older.chmod(0o755)
    async with open_backend(options(cli_path=older, **EXACT)) as backend:
        for _ in range(2):
            turn = backend.complete(MIXED[:-2])
            assert await text_of(turn) == "ok"
            assert_received(MIXED[:-2], api.conversations[-1])
            assert turn.session is not None
            assert turn.session.origin == "resumed"
    assert 2 == len(api.conversations)


NAMES: Final = [
    *("plain", "two  words", "a.b.c", "a_b", "UPPER Case", "\u00fcn\u00efc\u00f6d\u00e9"),
    *("u\u0308ni\u0308co\u0308de\u0301", "duck 🦆", "漢字", "@+=,;'()", ".hidden", "--dashes--"),
]


def odd_directories(root: Path) -> Iterator[Path | str]:
    """Make the directories, and yield the ways in which they are given."""
    for name in NAMES:
        (root / name).mkdir()
        yield root / name
    for length, filling in ((200, "x"), (201, "x"), (243, "é."), (420, "x")):
        path = root
        while len(str(path)) + 102 < length:
            path /= (filling * 100)[:100]
        path /= (filling * 200)[: length - len(str(path)) - 1]
        path.mkdir(parents=True)
        assert length == len(str(path))
        yield path
    (root / "link").symlink_to(root / "plain")
    yield root / "link"
    yield f"{root}/plain/"
    yield f"{root}/a_b/.././plain"
    (root / "repository" / ".git").mkdir(parents=True)
    (root / "repository" / "below").mkdir()
    yield root / "repository" / "below"


async def test_the_transcript_is_found_from_any_directory(
    options: Options, api: LoopbackApi, world: World
) -> None:
    root = world.root / "odd"
    root.mkdir()

    async def ask(cwd: Path | str, limit: trio.CapacityLimiter) -> None:
        async with limit, open_backend(options(cwd=cwd, trust_workspace=True, **EXACT)) as backend:
            turn = backend.complete(HISTORY)
            assert await text_of(turn) == "ok"
            assert turn.session is not None
            assert turn.session.transcript.is_file()

    directories = [*odd_directories(root)]
    assert 20 == len(directories)
    limit = trio.CapacityLimiter(3)
    with trio.fail_after(240):
        async with trio.open_nursery() as nursery:
            for cwd in directories:
                nursery.start_soon(ask, cwd, limit)
    assert len(directories) == len(api.conversations)
    for request in api.conversations:
        assert_received(HISTORY, request)


async def test_concat_message_can_be_chosen(options: Options, api: LoopbackApi) -> None:
    picture = media("image", "image/png", PNG)
    messages = [
        user([text("look"), picture]),
        assistant([CALL]),
        user([{"type": "tool_result", "tool_use_id": "call_1", "content": [picture]}]),
        system("The user is in a hurry."),
    ]
    async with open_backend(options(history="concat_message", **EXACT)) as backend:
        turn = backend.complete([*messages, assistant("seen"), user([text("and?"), picture])])
        with trio.fail_after(60):
            assert [] == [
                e async for e in turn if isinstance(e, SystemMessage) and "his" in e.subtype
            ]
        (message,) = received(api.conversations[0])
        lead, history, first, second, *prompt = message["content"]
        assert "in the order of their numbers" in lead["text"]
        told = json.loads(history["text"])
        assert ["user", "assistant", "user", "system", "assistant"] == [m["role"] for m in told]
        assert {"type": "image", "number": 2} == told[2]["content"][0]["content"][0]
        assert [picture, picture] == [first, second]
        assert [text("and?"), picture] == prompt
        # Results that only a call could have are told too.
        await text_of(backend.complete(messages[:3]))
        (message,) = received(api.conversations[1])
        assert "Go on from the tool results" in message["content"][-1]["text"]


async def test_any_valid_list_of_messages_is_received_as_it_is(
    options: Options, api: LoopbackApi
) -> None:
    async def send(messages: list[Message]) -> None:
        asked = len(api.conversations)
        async with open_backend(options(**EXACT)) as backend:
            assert await text_of(backend.complete(messages)) == "ok"
        (request,) = api.conversations[asked:]
        assert_received(messages, request)

    # Some fifty messages go into each start of the CLI.
    @settings(
        max_examples=10 * settings().max_examples // 100,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(conversations(least=8, most=16))
    def each_arrives(messages: list[Message]) -> None:
        trio.from_thread.run(send, messages)

    await trio.to_thread.run_sync(each_arrives)
