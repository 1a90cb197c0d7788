"""Events as values: what they add up to, and the shape in which the Messages API has them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from transcripts import Script, to_record

from claude_trio import (
    AssistantMessage,
    ContentBlock,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
    Usage,
    UserMessage,
    normalize,
)


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (TextBlock("hi"), {"type": "text", "text": "hi"}),
        (
            ThinkingBlock("hm", "sig"),
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
        ),
        (
            ToolUseBlock("t", "Bash", {"a": 1}),
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {"a": 1}},
        ),
        (
            ToolResultBlock("t", "ok"),
            {"type": "tool_result", "tool_use_id": "t", "content": "ok", "is_error": False},
        ),
        (
            ToolResultBlock("t", ({"type": "text", "text": "x"},), is_error=True),
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "text", "text": "x"}],
                "is_error": True,
            },
        ),
        (UnknownBlock("new", {"type": "new", "x": 1}), {"type": "new", "x": 1}),
    ],
)
def test_a_block_has_the_shape_of_the_api_there_and_back(
    block: ContentBlock, shape: dict[str, Any]
) -> None:
    assert shape == block.to_dict()
    event = normalize(to_record(Script().answer(shape)))
    assert isinstance(event, AssistantMessage)
    assert (block,) == event.content


def test_messages_have_the_shape_of_the_api() -> None:
    answer = AssistantMessage(
        content=(TextBlock("a"),), model="m", message_id="msg", stop_reason="end_turn"
    )
    assert {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": Usage().to_dict(),
    } == answer.to_dict()
    prompt = UserMessage(content=(TextBlock("q"),), origin="prompt")
    assert {"role": "user", "content": [{"type": "text", "text": "q"}]} == prompt.to_dict()
    assert {"x": 1} == SystemMessage(subtype="s", data={"x": 1}).to_dict()


def test_a_result_is_plain_data() -> None:
    result = ResultMessage(subtype="success", is_error=False, usage=Usage(1, 2), session_id="s")
    plain = result.to_dict()
    assert ("result", "s") == (plain["type"], plain["session_id"])
    assert Usage(1, 2).to_dict() == plain["usage"]


def test_the_text_of_a_message_is_its_text_blocks() -> None:
    content = (TextBlock("a"), ThinkingBlock("no"), TextBlock("b"))
    assert "ab" == AssistantMessage(content=content).text


def test_usage_adds_up() -> None:
    assert Usage(11, 22, 33, 44) == Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40)


def test_messages_are_values_whatever_record_they_came_from() -> None:
    one = UserMessage(content=(TextBlock("q"),), raw={"a": 1})
    assert one == UserMessage(content=(TextBlock("q"),), raw={"b": 2})
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.origin = "prompt"  # type: ignore[misc]  # the point of it
