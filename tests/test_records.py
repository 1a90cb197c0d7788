"""Lines into records, records into events: nothing is lost."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_trio import (
    AssistantMessage,
    MessageParseError,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    UserMessage,
    normalize,
    parse_record,
)
from claude_trio._protocol.normalize import BOOKKEEPING
from claude_trio._protocol.records import LineBuffer, Record
from claude_trio._protocol.status import Status, parse_status


def record(**fields: Any) -> Record:
    return parse_record(json.dumps(fields).encode())


@given(st.binary(), st.lists(st.integers(0, 200)))
def test_lines_end_at_line_feeds_however_the_bytes_arrive(data: bytes, places: list[int]) -> None:
    buffer, lines = LineBuffer(), []
    edges = [0, *sorted(p for p in places if p < len(data)), len(data)]
    for start, stop in itertools.pairwise(edges):
        lines += buffer.feed(data[start:stop])
    assert data.split(b"\n") == [*lines, buffer.pending]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"5", "expected an object, got int"),
        (b"[]", "expected an object, got list"),
        (b"{", "Expecting property name"),
        (b"\xff", "can't decode byte"),
        (b'{"type": 7}', "type"),
        (b'{"uuid": "x"}', "required field missing @ $.type"),
        (b'{"type": "user", "message": "x"}', "message"),
        (b'{"type": "user", "isMeta": "yes"}', "expected bool"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_is_no_record_is_an_error_that_keeps_it(line: bytes, problem: str) -> None:
    with pytest.raises(MessageParseError) as caught:
        parse_record(line)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert line == error.line
    assert any(problem in each for each in error.problems)
    assert len(str(error)) < 500


def test_null_is_the_same_as_nothing() -> None:
    assert record(type="user", parentUuid=None, message=None, isMeta=None).parent_uuid is None


def test_an_answer_becomes_an_assistant_message_with_typed_blocks() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "hi", "citations": []},
        {"type": "tool_use", "id": "t", "name": "Bash", "input": {"a": 1}},
        {"type": "server_tool_use", "id": "x"},
        {"type": "text", "text": None},
        {"nothing": 1},
    ]
    usage = {"input_tokens": 3, "output_tokens": "many", "cache_read_input_tokens": 2, "x": 1}
    message = {"id": "m", "model": "c", "content": blocks, "stop_reason": "x", "usage": usage}
    raw = {"type": "assistant", "uuid": "u", "sessionId": "s", "timestamp": "t", "message": message}
    event = normalize(record(**raw), parent_tool_use_id="p")
    assert isinstance(event, AssistantMessage)
    assert (
        ThinkingBlock("hm", "s"),
        TextBlock("hi"),
        ToolUseBlock("t", "Bash", {"a": 1}),
        UnknownBlock("server_tool_use", blocks[3]),
        UnknownBlock("text", blocks[4]),
        UnknownBlock("", blocks[5]),
    ) == event.content
    assert Usage(input_tokens=3, cache_read_input_tokens=2) == event.usage
    assert ("u", "s", "t", "p", "m", "c", "x") == (
        *(event.uuid, event.session_id, event.timestamp, event.parent_tool_use_id),
        *(event.message_id, event.model, event.stop_reason),
    )
    assert raw == event.raw
    assert event.to_dict()["content"][:4] == [
        blocks[0],
        {"type": "text", "text": "hi"},
        *blocks[2:4],
    ]


@pytest.mark.parametrize(
    ("fields", "origin", "content"),
    [
        ({"promptSource": "typed", "message": {"content": "hi"}}, "prompt", (TextBlock("hi"),)),
        ({"isMeta": True, "message": {"content": "go on"}}, "cli", (TextBlock("go on"),)),
        (
            {"message": {"content": [{"type": "text", "text": "[Request interrupted by user]"}]}},
            "interrupt",
            (TextBlock("[Request interrupted by user]"),),
        ),
        (
            {"message": {"content": [{"type": "tool_result", "tool_use_id": "t"}]}},
            "tool",
            (ToolResultBlock("t"),),
        ),
        (
            {
                "message": {
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "text", "text": "x"}],
                            "is_error": True,
                        }
                    ]
                }
            },
            "tool",
            (ToolResultBlock("t", ({"type": "text", "text": "x"},), is_error=True),),
        ),
    ],
)
def test_who_speaks_in_the_user_s_role_is_told(
    fields: dict[str, Any], origin: str, content: Any
) -> None:
    event = normalize(record(type="user", **fields))
    assert isinstance(event, UserMessage)
    assert (origin, content) == (event.origin, event.content)


def test_any_other_record_is_kept_whole() -> None:
    event = normalize(record(type="system", subtype="notice", content="x"))
    assert isinstance(event, SystemMessage)
    assert ("notice", "x") == (event.subtype, event.data["content"])
    event = normalize(record(type="hologram", depth=3))
    assert isinstance(event, SystemMessage)
    assert ("hologram", {"type": "hologram", "depth": 3}) == (event.subtype, event.to_dict())


def test_the_cli_s_own_books_are_no_events() -> None:
    assert [None] * len(BOOKKEEPING) == [normalize(record(type=kind)) for kind in BOOKKEEPING]


def test_a_status_file_is_read_or_read_again() -> None:
    data = b'{"status": "waiting", "waitingFor": "input needed", "statusUpdatedAt": 5, "pid": 1}'
    status = parse_status(data)
    assert status == Status("waiting", "input needed", 5)
    assert not status.at_rest
    assert all(parse_status(data[:length]) is None for length in range(len(data)))
    assert parse_status(b"[]") is None
    shell = parse_status(b'{"status": "shell"}')
    assert shell is not None
    assert shell.at_rest
