"""The canonical form of messages: what counts, and what does not."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from generated import conversations, media, text
from hypothesis import given
from hypothesis import strategies as st

from claude_trio import hash_history
from claude_trio._protocol.history import parse_messages, same_history
from claude_trio._protocol.javascript import to_json

Message = dict[str, Any]
MARK = {"cache_control": {"type": "ephemeral"}}


def respelled(messages: list[Message], draw: Any, *, cut: bool = True) -> list[Message]:
    """Write the same messages in another way; `cut` also into more messages."""
    again: list[Message] = []
    names: dict[str, str] = {}
    for message in copy.deepcopy(messages):
        content = message["content"]
        blocks = [text(content)] if isinstance(content, str) else content
        out = []
        for block in blocks:
            if block["type"] == "tool_use":
                names[block["id"]] = f"other_{len(names)}"
                block["id"] = names[block["id"]]
            if block["type"] == "tool_result":
                block["tool_use_id"] = names[block["tool_use_id"]]
                if isinstance(block.get("content"), str):
                    block["content"] = [text(block["content"])]
                block.setdefault("is_error", False)
            spelled = {**block, **(MARK if draw(st.booleans()) else {})}
            out.append(dict(reversed(spelled.items())))
        if message["role"] == "assistant" and draw(st.booleans()):
            out.append(text("  \n "))
        if out[-1]["type"] == "text" and message["role"] != "system":
            out[-1] = {**out[-1], "text": out[-1]["text"] + draw(st.sampled_from(["", " ", "\n"]))}
        where = draw(st.integers(0, len(out))) if cut else 0
        parts = [part for part in (out[:where], out[where:]) if part]
        if any(not "".join(b.get("text", "x") for b in part).strip() for part in parts):
            parts = [out]
        # A space before a joint is inside of a message, where it counts.
        again += [{"content": part, "role": message["role"], "id": "msg_1"} for part in parts]
    return again


@given(conversations(thinking=False), st.data())
def test_the_same_messages_in_another_spelling_have_the_same_hash(
    messages: list[Message], data: st.DataObject
) -> None:
    again = respelled(messages, data.draw)
    assert hash_history(messages) == hash_history(again)
    assert hash_history(messages) == hash_history(json.loads(json.dumps(again)))


@given(conversations(thinking=False), st.data())
def test_messages_with_the_same_hash_are_the_same_to_a_backend(
    messages: list[Message], data: st.DataObject
) -> None:
    ours, theirs = (
        parse_messages(messages),
        parse_messages(respelled(messages, data.draw, cut=False)),
    )
    assert same_history(theirs.exchanges, ours.exchanges)
    assert same_history(ours.exchanges, theirs.exchanges)


@given(conversations(most=3), st.data())
def test_any_other_word_role_or_block_is_another_history(
    messages: list[Message], data: st.DataObject
) -> None:
    other = copy.deepcopy(messages)
    message = other[data.draw(st.integers(0, len(other) - 1))]
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content + "x"
    else:
        block = content[data.draw(st.integers(0, len(content) - 1))]
        match block["type"]:
            case "text":
                block["text"] = f"x{block['text']}"
            case "tool_use":
                block["input"] = {**block["input"], "another": 1}
            case "tool_result":
                block["content"] = "«something else»"
            case _:
                block["source"] = {**block["source"], "media_type": "image/webp"}
    assert hash_history(messages) != hash_history(other)
    assert hash_history(messages[:-1]) != hash_history(messages)


def test_an_image_counts_by_its_bytes_and_thinking_not_at_all() -> None:
    picture = media("image", "image/png", b"abcdef")
    wrapped = copy.deepcopy(picture)
    wrapped["source"]["data"] = "YWJj\nZGVm\n"
    other = media("image", "image/png", b"abcdeg")
    prints = [hash_history([{"role": "user", "content": [p]}]) for p in (picture, wrapped, other)]
    assert prints[0] == prints[1] != prints[2]
    thought: Message = {"type": "thinking", "thinking": "hm", "signature": "s"}
    replies: list[Any] = [[thought, text("b")], "b"]
    with_it, without = (
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": reply}]
        for reply in replies
    )
    assert hash_history(with_it) == hash_history(without)


def test_a_call_that_waits_for_its_result_ends_a_part_of_a_conversation() -> None:
    call: Message = {"type": "tool_use", "id": "t", "name": "x", "input": {}}
    part: list[Message] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [call]},
    ]
    assert hash_history(part)
    with pytest.raises(ValueError, match="without a tool_result"):
        hash_history([*part, {"role": "user", "content": "b"}])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((1.0, "1"), (-0.0, "0"), (0.1, "0.1"), (-1.5, "-1.5"), (100, "100"), (True, "true")),
        *((1e21, "1e+21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"), (1e-7, "1e-7")),
        *((1.5e-10, "1.5e-10"), (123456789012345680000.0, "123456789012345680000")),
        *((2**53 + 1, "9007199254740992"), (1234567890123456789, "1234567890123456800")),
        *(
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (10**400, "null"),
        ),
        *((math.inf, "null"), (-math.inf, "null"), (math.nan, "null")),
        *((None, "null"), ("é\u2028\x00\x7f\n", '"é\u2028\\u0000\x7f\\n"')),
        ({"b": [1, {}], "\ufffd": 1, "\U0001f986": 2}, '{"b":[1,{}],"\U0001f986":2,"\ufffd":1}'),
    ],
)
def test_json_is_what_javascript_writes(value: Any, written: str) -> None:
    assert written == to_json(value)


def test_json_may_be_nested_more_deeply_than_python_calls() -> None:
    deep: Any = {}
    for _ in range(10_000):
        deep = {"x": [deep]}
    assert '{"x":[' * 10_000 + "{}" + "]}" * 10_000 == to_json(deep)
