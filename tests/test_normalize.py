"""Records into events: the corners that a usual transcript does not have."""

from __future__ import annotations

from typing import Any

import pytest
from transcripts import Raw, Script, queue_operation, text, to_record, tool_use

from claude_trio import AssistantMessage, Event, UnknownBlock, Usage, UserMessage, normalize
from claude_trio._protocol.normalize import BOOKKEEPING, structure_usage


def event_of(raw: Raw) -> Event:
    event = normalize(to_record(raw))
    assert event is not None
    return event


def test_the_session_metadata_of_both_generations_is_bookkeeping() -> None:
    assert BOOKKEEPING >= {
        *("last-prompt", "mode", "permission-mode", "ai-title", "cost-state", "tools-used"),
        *("atis-latch", "file-history-snapshot", "file-history-delta", "attachment"),
        *("api-request", "api-request-shape", "api-request-blob", "queue-operation"),
    }


def test_a_blob_that_holds_a_message_is_bookkeeping_all_the_same() -> None:
    message = {"role": "user", "content": "hello"}
    assert normalize(to_record({"type": "api-request-blob", "message": message})) is None


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"type": None},
        {"type": []},
        {"type": 5},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "text", "text": 5},
        {"type": "tool_use", "id": "t", "name": "x", "input": "no object"},
        {"type": "tool_use", "id": "t", "name": "x"},
        {"type": "tool_result", "content": "no id"},
        {"type": "tool_result", "tool_use_id": "t", "content": 5},
        {"type": "tool_result", "tool_use_id": "t", "content": ["no object"]},
        {"type": "tool_result", "tool_use_id": "t", "is_error": "yes"},
        {"type": "redacted_thinking", "data": "x"},
    ],
)
def test_a_block_that_does_not_fit_costs_nothing_else(block: Raw) -> None:
    event = event_of(Script().answer(block, text("kept")))
    assert isinstance(event, AssistantMessage)
    unknown, kept = event.content
    assert isinstance(unknown, UnknownBlock)
    assert block == unknown.raw
    assert text("kept") == kept.to_dict()


@pytest.mark.parametrize("content", [None, 5, {}, ["no object"], []])
def test_odd_contents_are_no_blocks(content: Any) -> None:
    event = event_of({"type": "user", "message": {"content": content}})
    assert isinstance(event, UserMessage)
    assert "" == "".join(str(block.to_dict().get("text", "")) for block in event.content)


def test_a_null_result_is_an_empty_one() -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": None, "is_error": None}
    event = event_of(Script().user([block]))
    assert isinstance(event, UserMessage)
    assert ("tool", "") == (event.origin, event.content[0].to_dict()["content"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, Usage()),
        ([], Usage()),
        ({"input_tokens": 3, "service_tier": "standard", "extra": {}}, Usage(3)),
        ({"input_tokens": True, "output_tokens": None}, Usage()),
        ({"input_tokens": -1, "output_tokens": 2.5}, Usage()),
        ({"cache_read_input_tokens": 4}, Usage(cache_read_input_tokens=4)),
    ],
)
def test_counts_that_are_no_numbers_are_zero(raw: Any, expected: Usage) -> None:
    assert expected == structure_usage(raw)


def test_an_error_record_says_so() -> None:
    event = event_of(Script().error("x", "rate_limit"))
    assert isinstance(event, AssistantMessage)
    assert ("rate_limit", "<synthetic>") == (event.error, event.model)


def test_an_answer_is_no_error_whatever_field_it_has() -> None:
    event = event_of(Script().answer(tool_use("t"), error="x"))
    assert isinstance(event, AssistantMessage)
    assert event.error is None


@pytest.mark.parametrize(
    ("raw", "origin"),
    [
        (Script().prompt("[Request interrupted by user] means what?"), "prompt"),
        (Script().prompt(source="queued"), "prompt"),
        (Script().auto_prompt(), "auto"),
        (Script().continuation(), "cli"),
        (Script().interrupt_mark("[Request interrupted by user for tool use]"), "interrupt"),
        (Script().tool_result("t"), "tool"),
    ],
)
def test_who_made_a_record_is_told(raw: Raw, origin: str) -> None:
    event = event_of(raw)
    assert isinstance(event, UserMessage)
    assert origin == event.origin


def test_a_subagents_record_names_its_call() -> None:
    event = normalize(to_record(Script().answer(text("x"))), parent_tool_use_id="t9")
    assert event is not None
    assert "t9" == event.parent_tool_use_id


def test_a_queue_operation_is_no_event() -> None:
    assert normalize(to_record(queue_operation("enqueue"))) is None
