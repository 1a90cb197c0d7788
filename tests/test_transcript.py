"""Transcripts written by hand, and where they lie."""

from __future__ import annotations

import datetime
import itertools
import json
from typing import Any

import pytest
from asking import assistant, user
from generated import conversations
from hypothesis import given

from claude_trio import hash_history
from claude_trio._protocol.history import parse_messages
from claude_trio._protocol.transcript import project_key, write_transcript

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC)


def records(*messages: dict[str, Any], **how: Any) -> list[dict[str, Any]]:
    said = parse_messages(messages).messages
    written = write_transcript(
        said, **{"session_id": "s", "cwd": "/w", "model": None, "now": NOW, **how}
    )
    data = written.data
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_records_are_chained_and_complete() -> None:
    written = records(user("a"), assistant("b"), user("c"), model="some-model")
    assert [None, *(r["uuid"] for r in written[:-1])] == [r["parentUuid"] for r in written]
    assert ["user", "assistant", "user"] == [r["type"] for r in written]
    assert {"2026-01-02T03:04:05.678Z"} == {r["timestamp"] for r in written}
    assert {("s", "/w")} == {(r["sessionId"], r["cwd"]) for r in written}
    assert [{"type": "text", "text": "c"}] == written[-1]["message"]["content"]
    answer = written[1]["message"]
    assert ("some-model", "end_turn") == (answer["model"], answer["stop_reason"])
    assert {0} == set(answer["usage"].values())


def test_neighbours_of_one_role_become_one_record() -> None:
    written = records(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))
    assert [["a", "b"], ["c", "d"], ["e"]] == [
        [block["text"] for block in r["message"]["content"]] for r in written
    ]


def test_thinking_and_cache_marks_and_blank_texts_are_left_out() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    reply = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": " "},
        {"type": "text", "text": "b", **mark},
    ]
    written = records(user("a"), assistant(reply), user("c"))
    assert [{"type": "text", "text": "b"}] == written[1]["message"]["content"]


def test_tool_rounds_stay_as_they_are() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "x", "input": {"a": [1, None]}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "r", "is_error": True}
    written = records(user("a"), assistant([call]), user([result]), assistant("b"), user("c"))
    assert [call] == written[1]["message"]["content"]
    assert written[1]["message"]["stop_reason"] == "tool_use"
    assert [result] == written[2]["message"]["content"]


def test_the_prompt_is_normalized_as_if_it_was_typed_and_a_lone_surrogate_is_replaced() -> None:
    written = records(user("a\r\nb \ud800\n "))
    assert written[0]["message"]["content"][0]["text"] == "a\nb \ufffd"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/home/me/my project", "-home-me-my-project"),
        ("/a.b/c_d", "-a-b-c-d"),
        ("/ü/漢", "----"),
        ("/🦆", "---"),
        ("/" + "x" * 199, "-" + "x" * 199),
    ],
)
def test_the_key_of_a_directory(path: str, key: str) -> None:
    assert key == project_key(path)


def test_a_long_key_is_cut_and_told_apart_by_a_hash() -> None:
    one, other = project_key("/" + "x" * 300), project_key("/" + "x" * 299 + "y")
    assert one != other
    assert one[:201] == other[:201] == "-" + "x" * 199 + "-"


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


CALL = {"type": "tool_use", "id": "t1", "name": "x", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "r"}


@pytest.mark.parametrize(
    ("messages", "order"),
    [
        ([user("a"), system("S"), assistant("b"), user("c")], "a S b c"),
        ([user("a"), system("S"), user("b")], "ab S"),
        ([user("a"), assistant("b"), system("S"), user("c")], "a b S c"),
        ([user("a"), assistant("b"), user("c"), system("S"), assistant("d"), user("e")], "a b S c d e"),
        ([user("a"), assistant("b"), system("S"), user("c"), system("T"), user("d")], "a b S+T cd"),
        ([user("a"), assistant([CALL]), user([RESULT]), system("S"), assistant("b"), user("c")],
         "a call S result b c"),
        ([user("a"), assistant([CALL]), system("S"), user([RESULT])], "a call S result"),
        ([user("a"), system(" "), user([{"type": "text", "text": "b"}])], "ab"),
    ],
)  # fmt: skip
def test_what_the_system_says_is_an_attachment_before_the_message_that_it_goes_with(
    messages: list[dict[str, Any]], order: str
) -> None:
    words = []
    for record in records(*messages):
        if record["type"] == "attachment":
            assert record["attachment"]["type"] == "critical_system_reminder"
            words.append(record["attachment"]["content"].replace("\n\n", "+"))
        else:
            kinds = {"tool_use": "call", "tool_result": "result"}
            blocks = record["message"]["content"]
            words.append("".join(kinds.get(b["type"]) or b["text"] for b in blocks))
    assert order == " ".join(words)


def test_thinking_is_kept_where_the_model_may_see_it_again() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    other = {"type": "thinking", "thinking": "no", "signature": "s"}
    reply = assistant([thought, other, {"type": "text", "text": "b"}])
    messages = [user("a"), reply, user("c"), assistant("d"), user("e")]
    said = records(*messages, model="m", may_think=lambda _, block: block["thinking"] == "hm")
    assert ["thinking", "text"] == [b["type"] for b in said[1]["message"]["content"]]
    # A session takes thinking of its own model only, or of none in particular.
    assert ["<synthetic>", "m"] == [said[i]["message"]["model"] for i in (1, 3)]


def test_no_half_of_a_surrogate_pair_is_written_anywhere() -> None:
    call = {**CALL, "input": {"\ud800": ["\udfff", {"x": "a\ud800"}]}}
    result = {**RESULT, "content": [{"type": "text", "text": "\ud83e"}]}
    written = records(user("a\ud800"), assistant([call]), user([result]))
    assert "a\ufffd" == written[0]["message"]["content"][0]["text"]
    assert {"\ufffd": ["\ufffd", {"x": "a\ufffd"}]} == written[1]["message"]["content"][0]["input"]
    assert "\ufffd" == written[2]["message"]["content"][0]["content"][0]["text"]


@given(conversations(thinking=True))
def test_any_list_of_messages_is_one_chain_that_says_the_same(
    messages: list[dict[str, Any]],
) -> None:
    said = parse_messages(messages).messages
    written = write_transcript(
        said, session_id="s", cwd="/w", model="m", now=NOW, may_think=lambda _, __: True
    )
    lines = [json.loads(line) for line in written.data.splitlines()]
    assert written.uuids == tuple(record["uuid"] for record in lines)
    assert [None, *written.uuids[:-1]] == [record["parentUuid"] for record in lines]
    assert len({*written.uuids}) == len(lines)
    ours = [
        {"role": r["type"], "content": r["message"]["content"]}
        for r in lines
        if r["type"] != "attachment"
    ]
    assert [message.to_dict() for message in written.messages] == ours
    spoken = [message for message in messages if message["role"] != "system"]
    assert hash_history(spoken) == hash_history(ours)
    assert all(one["role"] != other["role"] for one, other in itertools.pairwise(ours))
    attached = [r["attachment"]["content"] for r in lines if r["type"] == "attachment"]
    assert "\n\n".join(m["content"] for m in messages if m["role"] == "system") == (
        "\n\n".join(attached)
    )
