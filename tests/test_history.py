"""Messages: their check, their fingerprint, and the spellings of a reply."""

from __future__ import annotations

from typing import Any

import pytest

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


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


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
        [assistant([text("Let me look."), CALL]), assistant("It is 42.")],
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
        ([{"role": "system", "content": "x"}], ValueError, r"messages\[0\].role must be"),
        ([user(None)], TypeError, r"messages\[0\].content must be a string or a list"),
        ([user("  ")], ValueError, r"messages\[0\].content is empty"),
        ([user([])], ValueError, r"messages\[0\].content is empty"),
        ([user(["x"])], TypeError, r"messages\[0\].content\[0\] must be a mapping"),
        ([user([{"text": "x"}])], TypeError, r"content\[0\].type must be a string"),
        ([user([{"type": "text"}])], TypeError, r"content\[0\].text must be a string"),
        ([user([{"type": "image", "source": b"x"}])], TypeError, "cannot be written as JSON"),
        ([user([RESULT]), user("x")], ValueError, "holds a tool_result"),
    ],
)
def test_bad_messages_are_refused_with_their_place(
    messages: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        parse_messages(messages)
