"""Live text: pieces while the model writes, in line with the blocks whatever the hook does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import hypothesis
import pytest
import trio
from asking import Options, assistant, read, user
from hypothesis import strategies as st

from claude_trio import (
    AssistantMessage,
    Event,
    TextBlock,
    TextDelta,
    UserMessage,
    open_backend,
)
from claude_trio._protocol.live import LiveText
from claude_trio.testing import Cut, LoopbackApi, Reply, text, thinking, tool_use

PROMPT = [{"role": "user", "content": "go"}]


def check(events: Sequence[Event]) -> None:
    """Check what is promised of a turn's pieces."""
    shown, message, durable = "", None, ""
    for position, event in enumerate(events):
        if isinstance(event, TextDelta):
            shown = event.text if event.index == 0 else shown + event.text
            if event.final:
                assert isinstance(events[position + 1], AssistantMessage)
        elif isinstance(event, AssistantMessage):
            for block in event.content:
                if not isinstance(block, TextBlock):
                    continue
                before = events[position - 1]
                assert isinstance(before, TextDelta)
                assert before.final
                if event.message_id != message:
                    message, durable = event.message_id, ""
                durable += block.text
                assert shown.startswith(durable), (shown, durable)


# --- generated orders of what the hook and the transcript tell


def prompt() -> UserMessage:
    return UserMessage(
        content=(TextBlock("go"),), origin="prompt", raw={"promptId": "p"}, session_id="s"
    )


def block(message: str, content: str) -> AssistantMessage:
    return AssistantMessage(content=(TextBlock(content),), message_id=message, session_id="s")


texts = st.text(alphabet="ab\n é🙂", max_size=8)


@st.composite
def courses(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Return what is told, in an order that each source keeps, interleaved at will."""
    told: list[tuple[str, Any]] = []
    durable: list[tuple[str, Any]] = [("event", prompt())]
    # An empty block behind others is recorded with them, and not seen for itself.
    more = st.lists(texts.filter(bool), max_size=2)
    messages = draw(st.lists(st.tuples(texts, more), max_size=4))
    for number, (first, rest) in enumerate(messages):
        blocks = [first, *rest]
        whole = "".join(blocks)
        fate = draw(st.sampled_from(["good"] * 5 + ["lost", "cut", "other", "repeated"]))
        cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=4)))
        edges = [0, *cuts, len(whole)]
        pieces = [whole[a:b] for a, b in itertools.pairwise(edges)]
        if fate == "other":
            told += [("hook", hook(f"x{number}", 0, draw(texts), final=False))]
        if fate == "cut":
            pieces = pieces[:-1]
        if fate != "lost":
            told += [
                ("hook", hook(f"h{number}", i, piece, final=i == len(pieces) - 1))
                for i, piece in enumerate(pieces)
            ]
        if fate == "repeated" and pieces:
            told.append(("hook", hook(f"h{number}", 0, pieces[0], final=False)))
        durable += [("event", block(f"m{number}", content)) for content in blocks]
    merged: list[tuple[str, Any]] = []
    while told or durable:
        source = told if told and (not durable or draw(st.booleans())) else durable
        merged.append(source.pop(0))
        if draw(st.booleans()):
            merged.append(("take", None))
    return merged


def hook(name: str, index: int, delta: str, *, final: bool) -> dict[str, Any]:
    return {
        "session_id": "s",
        "hook_event_name": "MessageDisplay",
        "prompt_id": "p",
        "message_id": name,
        "index": index,
        "delta": delta,
        "final": final,
    }


def play(course: list[tuple[str, Any]]) -> list[Event]:
    live = LiveText()
    live.begin(resumed=False)
    events: list[Event] = []
    for kind, what in course:
        match kind:
            case "hook":
                live.feed(what)
            case "event":
                events += [*live.before(what), what]
            case _:
                events += live.take()
    return events


@hypothesis.settings(deadline=None)
@hypothesis.given(courses())
def test_the_pieces_are_the_blocks_in_whatever_order_they_are_told(
    course: list[tuple[str, Any]],
) -> None:
    events = play(course)
    check(events)
    assert [e for kind, e in course if kind == "event"] == [
        e for e in events if not isinstance(e, TextDelta)
    ]


def test_pieces_come_before_their_block_and_nothing_behind_it() -> None:
    live = LiveText()
    live.begin(resumed=False)
    live.feed(hook("h", 0, "one\n", final=False))
    assert [] == live.take()  # the prompt has not shown up
    assert [] == live.before(prompt())
    assert [("one\n", 0)] == [(d.text, d.index) for d in live.take()]
    live.feed(hook("h", 2, "three", final=True))  # too early
    assert [] == live.take()
    assert [("two\nthree", 1, True)] == [
        (d.text, d.index, d.final) for d in live.before(block("m", "one\ntwo\nthree"))
    ]
    live.feed(hook("h", 1, "two\n", final=False))
    assert [] == live.take()


def test_a_text_waits_for_the_block_of_the_one_before_it() -> None:
    live = LiveText()
    live.begin(resumed=False)
    live.before(prompt())
    live.feed(hook("h1", 0, "one", final=True))
    live.feed(hook("h2", 0, "two\n", final=False))
    assert ["one"] == [d.text for d in live.take()]
    assert [] == live.take()
    live.before(block("m1", "one"))
    assert [("two\n", 0)] == [(d.text, d.index) for d in live.take()]


def test_what_another_prompt_brought_is_not_shown() -> None:
    live = LiveText()
    live.begin(resumed=False)
    live.feed({**hook("h1", 0, "of a background task\n", final=False), "prompt_id": "q"})
    live.before(prompt())
    assert [] == live.take()
    live.begin(resumed=True)
    live.feed(hook("h1", 1, "still\n", final=False))
    assert [] == live.take()
    live.feed({**hook("h2", 0, "of a resumed turn\n", final=False), "prompt_id": None})
    assert ["of a resumed turn\n"] == [d.text for d in live.take()]


@pytest.mark.parametrize("name", [[], {}, 5, None])
def test_a_prompt_without_a_name_is_another_one(name: Any) -> None:
    live = LiveText()
    live.begin(resumed=False)
    live.before(prompt())
    live.feed({**hook("h1", 0, "of whoever\n", final=False), "prompt_id": name})
    assert [] == live.take()


def test_an_empty_block_behind_the_others_has_its_piece_too() -> None:
    live = LiveText()
    live.begin(resumed=False)
    live.before(prompt())
    live.feed(hook("h1", 0, "one", final=True))
    live.take()
    live.before(block("m1", "one"))
    live.take()
    assert [("", 2, True)] == [(d.text, d.index, d.final) for d in live.before(block("m1", ""))]


def test_what_is_no_piece_is_left_out() -> None:
    live = LiveText()
    live.begin(resumed=True)
    for body in ({}, {"message_id": 1}, {"message_id": "h", "index": "0", "delta": "x"}):
        live.feed(body)
    assert [] == live.take()
    error = AssistantMessage(content=(TextBlock("API Error"),), error="server_error")
    of_a_subagent = AssistantMessage(content=(TextBlock("x"),), parent_tool_use_id="t")
    assert [] == live.before(error) == live.before(of_a_subagent)


# --- on the real CLI


async def test_text_is_shown_while_it_is_written(options: Options, api: LoopbackApi) -> None:
    gate = trio.Event()
    api.reply(text("The first line.\n" + "more " * 20 + "\nthe end"), hold_after=gate, chunk=40)
    async with open_backend(options(include_partial_messages=True)) as backend:
        turn = backend.complete(PROMPT)
        events: list[Event] = []
        with trio.fail_after(60):
            async for event in turn:
                events.append(event)
                if isinstance(event, TextDelta):
                    # The model has not said more yet, so no block can be there.
                    gate.set()
    check(events)
    assert isinstance(events[0], UserMessage)
    assert isinstance(events[1], TextDelta)
    assert ("The first line.\n", 0, False) == (events[1].text, events[1].index, events[1].final)
    assert {event.session_id for event in events} == {events[0].session_id}


async def test_blocks_tools_and_continued_conversations_keep_the_promise(
    options: Options, api: LoopbackApi
) -> None:
    call = tool_use("Bash", {"command": "echo hi", "description": "x"})
    api.reply(
        *(thinking("hm"), text("one\ntwo\nand a tail"), text("again\nx"), call, text("behind it")),
        interval=0.02,
        chunk=4,
    )
    api.reply(text(""), text("  kept \n\n```py\nx\n```\n"), interval=0.02, chunk=4)
    async with open_backend(options(include_partial_messages=True)) as backend:
        events = await read(backend.complete(PROMPT))
        check(events)
        assert 5 <= sum(isinstance(e, TextDelta) and e.final for e in events)
        api.reply(text("resumed\nline"), interval=0.02, chunk=4)
        events = await read(backend.complete([user("a"), assistant("b"), user("c")]))
        check(events)
        assert "resumed\nline" == "".join(e.text for e in events if isinstance(e, TextDelta))


async def test_a_repeated_request_begins_the_text_again(options: Options, api: LoopbackApi) -> None:
    api.reply(text("one line\nmore\nrest"), interval=0.15, chunk=9, fault=Cut(events=4, delay=0.4))
    api.reply(text("one line\nbut other\nrest"), interval=0.02, chunk=9)
    how = options(include_partial_messages=True, env={"CLAUDE_CODE_MAX_RETRIES": "2"})
    async with open_backend(how) as backend:
        events = await read(backend.complete(PROMPT))
    check(events)
    assert 2 == len(api.conversations)


async def test_an_interrupted_text_is_what_the_transcript_has_of_it(
    options: Options, api: LoopbackApi
) -> None:
    gate = trio.Event()
    api.reply(text("one\ntwo\nthree\nfour\n"), hold_after=gate, chunk=8)
    async with open_backend(options(include_partial_messages=True)) as backend:
        turn = backend.complete(PROMPT)
        events: list[Event] = []
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                async for event in turn:
                    events.append(event)
                    if isinstance(event, TextDelta) and event.index == 0:
                        nursery.start_soon(turn.interrupt)
    check(events)
    said = [e.text for e in events if isinstance(e, AssistantMessage)]
    assert "".join(said) == "".join(e.text for e in events if isinstance(e, TextDelta))


lines = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), whitelist_characters="\n\t"), max_size=120
)


async def test_generated_texts_are_shown_as_they_are(options: Options, api: LoopbackApi) -> None:
    """HYPOTHESIS_PROFILE=deep tries many more of them."""
    deep = hypothesis.settings.get_profile("deep").max_examples
    many = hypothesis.settings().max_examples == deep
    examples: list[list[str]] = []

    @hypothesis.settings(database=None, max_examples=300 if many else 12, deadline=None)
    @hypothesis.given(st.lists(lines.filter(str.strip), min_size=1, max_size=3))
    def collect(example: list[str]) -> None:
        examples.append(example)

    collect()
    async with open_backend(options(include_partial_messages=True)) as backend:
        messages: list[dict[str, Any]] = []
        for number, example in enumerate(examples):
            api.reply(*(text(each) for each in example), interval=0.002, chunk=5)
            messages.append(user(f"number {number}"))
            events = await read(backend.complete(messages))
            check(events)
            shown = "".join(e.text for e in events if isinstance(e, TextDelta))
            assert "".join(example) == shown
            messages.append({"role": "assistant", "content": [text(each) for each in example]})
        assert 1 == len(backend.sessions)


@pytest.mark.parametrize("partial", [False, True])
async def test_the_stream_of_strings_is_the_text(
    options: Options, api: LoopbackApi, *, partial: bool
) -> None:
    call = tool_use("Bash", {"command": "echo hi", "description": "x"})
    api.reply(thinking("hm"), text("one\ntwo\n"), call)
    api.reply(text("three"))
    api.error(500)
    async with open_backend(options(include_partial_messages=partial)) as backend:
        with trio.fail_after(60):
            strings = [piece async for piece in backend.complete(PROMPT).text_stream]
    assert "one\ntwo\nthree" == "".join(strings)
    assert all(strings)
    if not partial:
        assert ["one\ntwo\n", "three"] == strings


@pytest.mark.real_cli
async def test_a_reader_that_falls_behind_gets_everything(
    options: Options, api: LoopbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_trio._delivery._MOST_WAITING", 1)
    whole = "".join(f"line {number}\n" for number in range(30))
    api.reply(Reply(text(whole), interval=0.02, chunk=8))
    async with open_backend(options(include_partial_messages=True)) as backend:
        turn = backend.complete(PROMPT)
        with trio.fail_after(60):
            events = [await turn.receive()]
            await trio.sleep(1.5)  # the model goes on meanwhile
            events += [event async for event in turn]
    check(events)
    assert whole == "".join(e.text for e in events if isinstance(e, TextDelta))
