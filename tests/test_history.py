"""Messages: their check, their fingerprint, and the spellings of a reply."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asking import assistant, user
from hypothesis import given as given_by
from hypothesis import strategies as st

from claude_trio import (
    AssistantMessage,
    Event,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from claude_trio._protocol.history import (
    Exchange,
    exchange_of,
    fingerprint,
    parse_messages,
    same_history,
)

CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "x"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "42"}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def thought(words: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": words, "signature": "s"}


def lived() -> tuple[Exchange, ...]:
    """Return a turn that thought, spoke, used a tool, thought and spoke."""
    events: list[Event] = [
        UserMessage(content=(TextBlock("what?"),), origin="prompt"),
        AssistantMessage(message_id="m1", content=(ThinkingBlock("hm", "s"),)),
        AssistantMessage(message_id="m1", content=(TextBlock("Let me look."),)),
        AssistantMessage(message_id="m1", content=(ToolUseBlock("t1", "Bash", {"command": "x"}),)),
        UserMessage(content=(ToolResultBlock("t1", "42"),), origin="tool"),
        AssistantMessage(message_id="m2", content=(ThinkingBlock("so", "s"),)),
        AssistantMessage(message_id="m2", content=(TextBlock("It is 42."),)),
    ]
    return (exchange_of((text("what?"),), events),)


def matches(*reply: dict[str, Any]) -> bool:
    given = parse_messages([user("what?"), *reply, user("next")]).exchanges
    assert fingerprint(given) == fingerprint(lived())
    return same_history(given, lived())


@pytest.mark.parametrize(
    "reply",
    [
        [assistant("It is 42.")],
        [assistant(" It is 42.\n")],
        [assistant([text("It is 42.")])],
        [assistant([text("It is 42.", cache_control={"type": "ephemeral"})])],
        [assistant([thought("so"), text("It is 42.")])],
        [assistant("Let me look.It is 42.")],
        [assistant("Let me look.\nIt is 42.")],
        [assistant("Let me look.\n\nIt is 42.")],
        [assistant([text("Let me look."), text("It is 42.")])],
        [assistant([text("Let me look."), CALL]), user([RESULT]), assistant("It is 42.")],
        [
            assistant([thought("hm"), text("Let me look."), CALL]),
            user([RESULT]),
            assistant([thought("so"), text("It is 42.")]),
        ],
        [
            assistant([text("Let me look."), CALL]),
            user([{**RESULT, "content": [text("42")], "is_error": False}]),
            assistant("It is 42."),
        ],
    ],
)
def test_each_spelling_of_a_reply_is_the_reply(reply: list[dict[str, Any]]) -> None:
    assert matches(*reply)


@pytest.mark.parametrize(
    "reply",
    [
        [],
        [assistant("It is 43.")],
        [assistant("It is")],
        [assistant("Let me look.")],
        [assistant([thought("something else"), text("It is 42.")])],
        [assistant([text("Let me look."), CALL]), user([{**RESULT, "content": "43"}])],
        [
            assistant([text("Let me look."), CALL]),
            user([{**RESULT, "is_error": True}]),
            assistant("It is 42."),
        ],
        [
            assistant([text("Let me look."), {**CALL, "input": {"command": "y"}}]),
            user([RESULT]),
            assistant("It is 42."),
        ],
    ],
)
def test_an_altered_reply_is_another_conversation(reply: list[dict[str, Any]]) -> None:
    assert not matches(*reply)


def test_a_prompt_is_the_same_as_a_string_and_as_a_block_with_or_without_its_line_ends() -> None:
    ways = ["a\nb", "a\r\nb  ", [text("a\nb", cache_control={"type": "ephemeral"})]]
    prints = {fingerprint(parse_messages([user(w), user("next")]).exchanges) for w in ways}
    assert len(prints) == 1
    other = fingerprint(parse_messages([user("a b"), user("next")]).exchanges)
    assert other not in prints


def test_a_failed_turn_has_an_empty_reply() -> None:
    failed = (exchange_of((text("what?"),), []),)
    given = parse_messages([user("what?"), user("again")]).exchanges
    assert same_history(given, failed)
    assert not same_history(given, lived())


def test_a_reply_that_was_left_out_matches_only_one_without_a_word() -> None:
    events: list[Event] = [
        AssistantMessage(message_id="m1", content=(TextBlock("I will delete it."),)),
        AssistantMessage(message_id="m1", content=(ToolUseBlock("t1", "Bash", {}),)),
        UserMessage(content=(ToolResultBlock("t1", "42"),), origin="tool"),
    ]
    for reply in ([], [assistant("  ")]):
        given = parse_messages([user("what?"), *reply, user("again")]).exchanges
        assert not same_history(given, (exchange_of((text("what?"),), events),))
        assert same_history(given, (exchange_of((text("what?"),), events[1:]),))
    # Its last words, where the turn ended in a tool's result.
    given = parse_messages([user("what?"), assistant("I will delete it."), user("ok")]).exchanges
    assert same_history(given, (exchange_of((text("what?"),), events),))


def call(name: str) -> dict[str, Any]:
    return {**CALL, "id": name}


def result(name: str) -> dict[str, Any]:
    return {**RESULT, "tool_use_id": name}


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        # What a caller gives back who keeps the model's blocks, and not the tools' results.
        (
            [assistant([text("Let me look."), CALL, text("It is 42.")]), user("thanks")],
            "[1].content[1]",
        ),
        ([assistant([call("a"), call("b")]), user([result("b")])], "[1].content[0]"),
        ([assistant([CALL]), assistant("It is 42."), user("thanks")], "[1].content[0]"),
        ([assistant([CALL]), user("wait"), assistant("why?"), user([RESULT])], "[1].content[0]"),
        ([assistant([CALL]), user([RESULT, RESULT])], "[2].content[1]"),
        ([assistant([CALL]), user([RESULT]), assistant("so"), user([RESULT])], "[4].content[0]"),
        ([assistant([CALL]), user([RESULT]), assistant([CALL]), user([RESULT])], "[3].content[0]"),
        ([assistant([CALL, CALL]), user([RESULT])], "[1].content[1]"),
        ([assistant("42"), user([RESULT])], "[2].content[0]"),
        ([assistant([CALL]), user([result("other"), RESULT])], "[2].content[0]"),
    ],
)
def test_a_call_without_its_result_and_a_result_without_its_call_are_refused(
    messages: list[dict[str, Any]], where: str
) -> None:
    with pytest.raises(ValueError, match=rf"^messages{re.escape(where)}[ .]"):
        parse_messages([user("what?"), *messages])


@pytest.mark.parametrize(
    "messages",
    [
        [assistant([call("a"), call("b")]), user([result("b"), result("a")])],
        [assistant([call("a"), call("b")]), user([result("b")]), user([result("a"), text("ok")])],
        [assistant([call("a")]), assistant([call("b")]), user([result("a"), result("b")])],
        [assistant([CALL]), user("wait"), user([RESULT])],
        [assistant([CALL]), user([RESULT]), user("next")],
    ],
)
def test_calls_and_results_pair_as_in_the_api_where_neighbours_are_one_message(
    messages: list[dict[str, Any]],
) -> None:
    assert parse_messages([user("what?"), *messages]).messages


@given_by(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_any_round_with_one_block_missing_is_refused(
    rounds: list[int], data: st.DataObject
) -> None:
    messages: list[dict[str, Any]] = [user("what?")]
    for number, calls in enumerate(rounds):
        names = [f"{number}-{i}" for i in range(calls)]
        messages.append(assistant([call(name) for name in names]))
        results = data.draw(st.permutations([result(name) for name in names]))
        messages.append(user([*results, text("go on")]))
    parse_messages(messages)
    index = data.draw(st.integers(1, len(messages) - 1))
    blocks = messages[index]["content"]
    tools = [i for i, block in enumerate(blocks) if block["type"] != "text"]
    del blocks[data.draw(st.sampled_from(tools))]
    with pytest.raises(ValueError, match=r"tool_(use|result)"):
        parse_messages(messages)


def test_a_history_of_another_length_does_not_match() -> None:
    assert not same_history((), lived())


def test_messages_are_cut_at_what_the_user_said() -> None:
    conversation = parse_messages(
        [user("a"), assistant([CALL]), user([RESULT]), assistant("b"), user("c"), user("d")]
    )
    assert ["a", "c"] == [e.prompt[0]["text"] for e in conversation.exchanges]
    assert [3, 0] == [len(e.reply) for e in conversation.exchanges]
    assert conversation.prompt_text == "d"
    blocks = parse_messages([user([text("a"), text("b")])])
    assert blocks.prompt_text is None


@pytest.mark.parametrize(
    ("messages", "error", "words"),
    [
        ([], ValueError, "messages is empty"),
        ("hello", TypeError, "list of messages, not str"),
        (7, TypeError, "list of messages, not int"),
        (["hello"], TypeError, r"messages\[0\] must be a mapping"),
        ([user("a"), assistant("b")], ValueError, "must end with a message whose role is 'user'"),
        ([assistant("b"), user("a")], ValueError, r"messages\[0\] must have the role 'user'"),
        ([{"role": "tool", "content": "x"}], ValueError, r"messages\[0\].role must be"),
        (
            [{"role": "system", "content": "x"}, user("a")],
            ValueError,
            "BackendOptions.system_prompt",
        ),
        (
            [user("a"), {"role": "system", "content": [RESULT]}, user("b")],
            ValueError,
            r"messages\[1\] has the role 'system' and may hold text only",
        ),
        (
            [
                user("a"),
                assistant("b"),
                {"role": "system", "content": "S"},
                assistant("c"),
                user("d"),
            ],
            ValueError,
            r"messages\[2\] has the role 'system' and stands between two",
        ),
        (
            [
                user("a"),
                assistant([CALL]),
                user([{**RESULT, "is_error": True, "content": [{"type": "image"}]}]),
            ],
            ValueError,
            r"messages\[2\].content\[0\] is a tool_result with is_error",
        ),
        (
            [user("a"), assistant([thought("hm")]), user("b")],
            ValueError,
            r"messages\[1\] holds nothing but thinking",
        ),
        ([user(None)], TypeError, r"messages\[0\].content must be a string or a list"),
        ([user("  ")], ValueError, r"messages\[0\].content is empty"),
        ([user([])], ValueError, r"messages\[0\].content is empty"),
        ([user(["x"])], TypeError, r"messages\[0\].content\[0\] must be a mapping"),
        ([user([{"text": "x"}])], TypeError, r"content\[0\].type must be a string"),
        ([user([{"type": "text"}])], TypeError, r"content\[0\].text must be a string"),
        ([user([{"type": "image", "source": b"x"}])], TypeError, "cannot be written as JSON"),
        ([user([RESULT]), user("x")], ValueError, r"messages\[0\].content\[0\] is a tool_result"),
        ([user([CALL])], ValueError, r"messages\[0\].content\[0\] is a tool_use; only an assist"),
        ([user("a"), assistant([RESULT]), user("b")], ValueError, "only a user's message"),
        ([user([{"type": "tool_result"}])], TypeError, r"content\[0\].tool_use_id must be a str"),
    ],
)
def test_bad_messages_are_refused_with_their_place(
    messages: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        parse_messages(messages)
