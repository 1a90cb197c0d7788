"""Transcripts written by hand, and where they lie."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from claude_trio._protocol.history import parse_messages
from claude_trio._protocol.transcript import project_key, write_transcript

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, datetime.UTC)


def records(*messages: dict[str, Any], model: str | None = None) -> list[dict[str, Any]]:
    data = write_transcript(
        parse_messages(messages).messages, session_id="s", cwd="/w", model=model, now=NOW
    )
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


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


def test_a_message_of_nothing_but_thinking_is_left_out() -> None:
    only = [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    (one,) = records(user("a"), assistant(only), user("c"))
    assert ["a", "c"] == [block["text"] for block in one["message"]["content"]]


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
