"""Corners of messages, transcripts, options and files that a usual conversation does not reach."""

from __future__ import annotations

import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from asking import assistant, user
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import Script, tool_use

from claude_trio import (
    AssistantMessage,
    BackendOptions,
    Event,
    JsonlWatcher,
    MessageParseError,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from claude_trio._launch import arguments
from claude_trio._protocol.history import (
    Exchange,
    exchange_of,
    fingerprint,
    parse_messages,
    same_history,
)
from claude_trio._protocol.transcript import project_key, write_transcript

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def histories(*messages: dict[str, Any]) -> tuple[Exchange, ...]:
    return parse_messages([*messages, user("next")]).exchanges


def transcript_of(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    said = parse_messages(messages).messages
    data = write_transcript(said, session_id="s", cwd="/w", model=None, now=NOW).data
    assert data.isascii()
    return [json.loads(line) for line in data.decode().splitlines()]


# -- messages


@pytest.mark.parametrize("words", ["", " \n", "\ufeff", " \ufeff\n"])
def test_a_prompt_that_would_be_empty_when_sent_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"messages\[0\].content is empty"):
        parse_messages([user(words)])


def test_a_tool_result_that_nothing_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r"messages\[0\].content\[0\] is a tool_result"):
        parse_messages([user([RESULT])])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1: "x", "a": "y"}, {"s"}, b"bytes", object()]
)
def test_what_json_cannot_say_is_refused_with_its_place(value: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "x", "input": {"deep": value}}
    with pytest.raises(TypeError, match=r"messages\[1\].content\[0\] cannot be written as JSON"):
        parse_messages([user("a"), assistant([block]), user("b")])


def test_messages_may_be_any_sequences_and_mappings() -> None:
    conversation = parse_messages((user((text("a"),)),))
    assert "a" == conversation.prompt_text
    assert () == conversation.exchanges


def test_a_prompt_of_one_other_block_is_no_text() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}}
    assert parse_messages([user([image])]).prompt_text is None


def tool_turn() -> tuple[Exchange, ...]:
    events: list[Event] = [
        AssistantMessage(message_id="m1", content=(ToolUseBlock("t1", "Bash", {}),)),
        AssistantMessage(message_id="m1", content=(ToolUseBlock("t2", "Bash", {}),)),
        UserMessage(content=(ToolResultBlock("t2", "b"),), origin="tool"),
        UserMessage(content=(ToolResultBlock("t1", "a"),), origin="tool"),
        UserMessage(content=(TextBlock("continue"),), origin="cli"),
        AssistantMessage(message_id="e", content=(TextBlock("API Error"),), error="x"),
        AssistantMessage(message_id="m2", content=(TextBlock("done"),)),
    ]
    return (exchange_of((text("go"),), events),)


def result(tool_id: str, content: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": tool_id, "content": content}


CALLS = assistant([tool_use("t1"), tool_use("t2")])


def test_tool_results_may_be_grouped_as_the_api_does() -> None:
    grouped = histories(
        user("go"), CALLS, user([result("t1", "a"), result("t2", "b")]), assistant("done")
    )
    assert same_history(grouped, tool_turn())


@pytest.mark.parametrize(
    "results",
    [
        [result("t1", "b"), result("t2", "a")],
        [result("t1", "a"), result("t2", "b"), text("and be quick")],
    ],
    ids=["exchanged", "with words of the user"],
)
def test_a_round_that_was_not_so_is_another_conversation(results: list[dict[str, Any]]) -> None:
    assert not same_history(
        histories(user("go"), CALLS, user(results), assistant("done")), tool_turn()
    )


def test_a_continued_answer_is_two_messages() -> None:
    events: list[Event] = [
        AssistantMessage(message_id="m1", content=(TextBlock("half"),), stop_reason="max_tokens"),
        AssistantMessage(message_id="m2", content=(TextBlock(" whole"),)),
    ]
    lived = (exchange_of((text("go"),), events),)
    assert 2 == len(lived[0].reply)
    for spelling in (" whole", "whole", "half\nwhole", [text("half"), text("whole")]):
        assert same_history(histories(user("go"), assistant(spelling)), lived)
    assert not same_history(histories(user("go"), assistant("half")), lived)


def test_errors_and_the_clis_own_words_are_no_part_of_a_reply() -> None:
    assert same_history(histories(user("go"), assistant("done")), tool_turn())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
BLOCK = st.one_of(
    st.builds(text, st.text(min_size=1, max_size=10)),
    st.fixed_dictionaries({"type": st.just("image"), "source": JSON}),
)
MESSAGES = st.lists(
    st.tuples(st.booleans(), st.text(max_size=10) | st.lists(BLOCK, max_size=3)), max_size=6
)


@settings(deadline=None, max_examples=100)
@given(MESSAGES)
def test_a_history_is_the_same_as_itself_and_makes_a_sound_transcript(
    drawn: list[tuple[bool, Any]],
) -> None:
    messages = [user(content) if mine else assistant(content) for mine, content in drawn]
    try:
        conversation = parse_messages([user("first"), *messages, user("next")])
    except ValueError:
        return  # a user who said nothing
    exchanges = conversation.exchanges
    assert same_history(exchanges, exchanges)
    assert len({fingerprint(exchanges[:n]) for n in range(len(exchanges) + 1)}) == 1 + len(
        exchanges
    )
    written = transcript_of(user("first"), *messages, user("next"))
    assert "user" == written[0]["type"]
    assert "user" == written[-1]["type"]
    assert "next" == written[-1]["message"]["content"][-1]["text"]
    assert [None, *(record["uuid"] for record in written[:-1])] == [
        record["parentUuid"] for record in written
    ]
    assert all(a["type"] != b["type"] for a, b in itertools.pairwise(written))
    assert all(record["message"]["content"] for record in written)


# -- transcripts


def test_a_blank_text_is_left_out_whatever_blank_it_is() -> None:
    (only,) = transcript_of(user([text("\ufeff"), text("a")]))
    assert [text("a")] == only["message"]["content"]


def test_each_api_message_has_an_id_of_its_own() -> None:
    written = transcript_of(user("a"), assistant("b"), user("c"), assistant("d"), user("e"))
    ids = [r["message"]["id"] for r in written if r["type"] == "assistant"]
    assert 2 == len(set(ids))


def test_blanks_inside_a_conversation_stay() -> None:
    first, reply, _ = transcript_of(user("  a"), assistant(" b \n"), user("c"))
    assert [text("  a")] == first["message"]["content"]
    assert [text(" b \n")] == reply["message"]["content"]


@pytest.mark.parametrize(
    ("path", "end"),
    [
        # Made with the CLI's own arithmetic, in JavaScript.
        ("/home/me/" + "x" * 191, "xxxxxxxxxx"),
        ("/home/me/" + "x" * 192, "xxxxxxxxxx-9aaahi"),
        ("/" + "aé🦆." * 60, "-a----a----yuclyn"),
        ("/" + "y" * 419, "yyyyyyyyyy-5c5ohi"),
    ],
)
def test_a_key_ends_in_the_hash_of_a_long_path(path: str, end: str) -> None:
    assert end == project_key(path)[190:]


# -- options


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("cwd", 5, TypeError),
        ("cwd", None, TypeError),
        ("cwd", b"/", TypeError),
        ("cwd", "/\0", ValueError),
        ("cli_path", 5, TypeError),
        ("cli_path", b"/bin/claude", TypeError),
        ("cli_path", "/bin/\0", ValueError),
        ("system_prompt", "\ud800", ValueError),
        ("model", "\udfff", ValueError),
        ("env", {"A": "\ud800"}, ValueError),
        ("env", {"\ud800": "A"}, ValueError),
    ],
)
def test_what_no_program_can_be_given_is_refused_by_name(
    argument: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=argument):
        BackendOptions(**{"cwd": "/", argument: value})


def test_an_argument_may_be_as_long_as_the_system_takes_it() -> None:
    options = BackendOptions(cwd="/", model="x" * 131_071)
    assert "x" * 131_071 in arguments(options, {})
    with pytest.raises(ValueError, match="model is 131072 bytes long"):
        BackendOptions(cwd="/", model="x" * 131_072)


def test_a_name_of_undecodable_bytes_is_a_name() -> None:
    assert "\udcff" in arguments(BackendOptions(cwd="/", model="\udcff"), {})
    assert {"A": "\udcff"} == BackendOptions(cwd="/", env={"A": "\udcff"}).env


def test_a_later_change_of_the_mapping_changes_no_options() -> None:
    env = {"A": "1"}
    options = BackendOptions(cwd="/", env=env)
    env["A"] = "2"
    assert "1" == options.environment({})["A"]


@pytest.mark.parametrize("mode", ["default", "acceptEdits", "plan", "dontAsk", "bypassPermissions"])
def test_each_mode_that_both_generations_know_is_passed_on(mode: Any) -> None:
    given = arguments(BackendOptions(cwd="/", permission_mode=mode), {})
    assert ["--permission-mode", mode] == given[:2]


# -- files


def line(name: str) -> bytes:
    return json.dumps(Script().system(name)).encode() + b"\n"


def refuse(error: MessageParseError) -> None:
    raise error


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line("one") + b"nonsense\n" + line("two"))
    return path


def test_a_watcher_shows_where_it_is(broken: Path) -> None:
    watcher = JsonlWatcher(broken)
    watcher.read()
    assert f"{broken.stat().st_size}>" == repr(watcher).rpartition(" ")[2]


def test_a_callback_that_raises_costs_no_record(broken: Path) -> None:
    watcher = JsonlWatcher(broken, on_parse_error=refuse)
    with pytest.raises(MessageParseError) as caught:
        watcher.read()
    assert b"nonsense" == caught.value.line
    assert ["one", "two"] == [record.subtype for record in watcher.read()]


async def test_a_callback_that_raises_in_receive_costs_no_record(  # noqa: ASYNC910 - a test
    broken: Path, autojump_clock: trio.testing.MockClock
) -> None:
    watcher = JsonlWatcher(broken, on_parse_error=refuse)
    received: list[str | None] = []
    errors = 0
    with trio.fail_after(60):  # noqa: ASYNC912 - `receive` is one
        while len(received) < 2:
            try:
                received.append((await watcher.receive()).subtype)
            except MessageParseError:
                errors += 1
    assert (["one", "two"], 1) == (received, errors)


async def test_read_and_receive_share_what_was_read(broken: Path) -> None:
    watcher = JsonlWatcher(broken)
    assert "one" == (await watcher.receive()).subtype
    assert ["two"] == [record.subtype for record in watcher.read()]
